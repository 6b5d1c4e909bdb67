//! The licenses as this gate holds them: one [`CachedLicense`] for each credential, and one
//! [`LicenseState`] that all credentials of a license share.

mod cached;
mod cut_signal;
mod ended;
mod last_uses;
mod notify_table;
mod queues;
mod state;
mod states;

pub use cached::{CachedApiKey, CachedCredential, CachedLicense};
pub use cut_signal::CutSignal;
pub(crate) use notify_table::NotifyTable;
pub(crate) use queues::LicenseQueues;
pub use state::LicenseState;
pub(crate) use states::States;
