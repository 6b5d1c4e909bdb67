//! Every operation on licenses, keys and accounts, once, for the command line and all protocols.
//!
//! What an operation changes is in force on this gate when it returns, and on the others with their next reading of
//! the changes.

mod acting;
mod addresses;
mod api_keys;
mod app_credentials;
mod audit;
mod change;
mod idempotency;
mod issue;
mod lost_claim;
mod management;
mod show_key;
mod token;
mod user;
mod validate;

pub use acting::AuditedLicensing;
pub(crate) use acting::shown;
pub use addresses::{ADDRESSES_FEATURE, may_use_from};
pub use api_keys::{
    ApiKeyOwner, ApiKeyPolicy, ApiKeyRequest, ApiKeyUpdate, ApiKeyView, IssuedApiKey, KeyEnd,
    KeyRefusal,
};
pub(crate) use app_credentials::AppSecretCache;
pub use app_credentials::{AppSecrets, IssuedAppSecret};
pub(crate) use audit::AuditQueue;
pub use change::{BalanceView, LicenseUpdate};
pub(crate) use idempotency::InFlight;
pub use idempotency::{Idempotency, IdempotencyGuard, IdempotentRequest};
pub use issue::{IssueRequest, Issued, KeySource, NotIssued};
pub(crate) use lost_claim::MAX_LOST_CLAIMS;
pub use management::{IssuedManagementKey, ManagementKeyRequest};
pub(crate) use management::{ManagementCache, has_ended};
pub use token::{ClaimedToken, IssuedToken, TokenRequest};
pub use user::UserRequest;
