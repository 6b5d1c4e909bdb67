//! What software that is sold with an app needs beyond licenses: the app as it knows it, sessions,
//! throttles, offline files.

mod apps;
mod beats;
mod licenses;
mod offline;
mod self_ban;
mod session;
mod settings;
mod shared_read;
mod shown_settings;
mod terms;
mod throttle;

pub use apps::SoftwareApp;
pub(crate) use apps::{SoftwareApps, app_id};
pub use beats::{CountedBeat, Heartbeats};
pub use licenses::LicenseOfKey;
pub use offline::{ActivatingDevice, NewOfflineFile};
pub use self_ban::SelfBan;
pub use session::SoftwareSession;
pub(crate) use shared_read::SharedRead;
pub use terms::SoftwareTerms;
pub use throttle::{Taken, Throttle};
