//! The operations on licenses, keys and accounts, each once, for the command line and all
//! protocols.
//!
//! What an operation changes is in force on this gate when it returns, and on the others with their
//! next reading of the changes.

mod acting;
mod addresses;
mod api_keys;
mod app_credentials;
mod app_secret_cache;
mod audit;
mod change;
mod credits;
mod expiry;
mod idempotency;
mod import;
mod in_flight;
mod issue;
mod management;
mod management_cache;
mod prepared;
mod show_key;
mod time;
mod tokens;
mod user;
mod validate;

pub use acting::AuditedLicensing;
pub(crate) use acting::shown;
pub use addresses::{ADDRESSES_FEATURE, may_use_from};
pub use api_keys::{
    ApiKeyOwner, ApiKeyPolicy, ApiKeyRequest, ApiKeyUpdate, ApiKeyView, IssuedApiKey, KeyEnd,
    KeyRefusal,
};
pub use app_credentials::{AppSecrets, IssuedAppSecret};
pub(crate) use app_secret_cache::AppSecretCache;
pub use change::BalanceView;
pub use credits::AdjustedBalance;
pub(crate) use expiry::ExpiryTask;
pub use idempotency::{Idempotency, IdempotencyGuard, IdempotentRequest, Unfinished};
pub use import::{ExistingKey, ImportRequest, ImportedRow, RowToImport};
pub(crate) use in_flight::InFlight;
pub(crate) use issue::Minted;
pub use issue::{IssueRequest, Issued, KeySource, NotIssued};
pub(crate) use management::has_ended;
pub use management::{IssuedManagementKey, ManagementKeyRequest};
pub(crate) use management_cache::ManagementCache;
pub(crate) use prepared::PreparedAnswers;
pub(crate) use show_key::{masked, rank};
pub(crate) use time::after;
pub(crate) use tokens::RequestTokens;
pub use tokens::{ClaimedToken, IssuedToken, TokenRequest};
pub use user::UserRequest;
