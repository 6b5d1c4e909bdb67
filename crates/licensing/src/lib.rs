//! Admission of calls by license: the license cache, quota and rate meters, and every operation on
//! licenses and keys.
//!
//! [`Licensing`] puts the parts together; each can be read alone:
//!
//! - `admission`: what a call needs ([`Admission`]).
//! - `cache`: what this gate knows, in memory. `load` fills it from the store, and `changes` keeps
//!   it true by the store's change numbers.
//! - `license`: a license as it is held here. `meter` counts its calls and units, and grants only
//!   what this gate holds as a lease of the store; `leases` takes and returns leases.
//! - `plans`: the plans and apps of the configuration.
//! - `operations`: every operation, for the command line and all protocols; `audit`: the log of
//!   them; `sessions` and `signing`: access tokens and the keys that sign them.
//! - `agents`: the policies on AI agents, and their tokens.
//! - `software`: what software that is sold with an app needs beyond its license.
//! - `keys`: the keyring. `fleet`: what the gates of one store share beside it.

#![forbid(unsafe_code)]

mod admission;
mod agents;
mod audit;
mod cache;
mod changes;
mod error;
pub mod fleet;
mod keys;
mod leases;
mod license;
mod licensing;
mod load;
mod meter;
mod numbered;
mod operations;
mod options;
mod plans;
pub mod sessions;
pub mod signing;
mod software;
#[cfg(test)]
mod testing;

pub use admission::Admission;
pub use agents::{
    AgentAsked, AgentDecided, AgentPolicies, AgentRefreshToken, AgentRuleRequest, AgentTokenFound,
    AgentTokens,
};
pub use cache::{CacheSize, FingerprintSet, Found, Freshness};
pub use error::Error;
pub use fleet::{Fleet, FleetKey, FleetOptions};
pub use keys::{KeyCopies, Keyring, KeyringSecret, LicenseKeys, Sealer};
pub use license::{CachedApiKey, CachedCredential, CachedLicense, CutSignal, LicenseState};
pub use licensing::Licensing;
pub use meter::{Ask, HeldUnits, Meter, RateView, Refused, Reservation, ReserveError};
pub use operations::{ADDRESSES_FEATURE, may_use_from};
pub use operations::{
    AdjustedBalance, ApiKeyOwner, ApiKeyPolicy, ApiKeyRequest, ApiKeyUpdate, ApiKeyView,
    AppSecrets, AuditedLicensing, BalanceView, ClaimedToken, ExistingKey, Idempotency,
    IdempotencyGuard, IdempotentRequest, ImportRequest, ImportedRow, IssueRequest, Issued,
    IssuedApiKey, IssuedAppSecret, IssuedManagementKey, IssuedToken, KeyEnd, KeyRefusal, KeySource,
    ManagementKeyRequest, NotIssued, RowToImport, TokenRequest, Unfinished, UserRequest,
};
pub use options::{LeaseOptions, LicensingOptions};
pub use plans::{Allowance, AppTerms, DeclaredRoute, EffectiveLimits, Plans};
pub use sessions::Sessions;
pub use signing::Signing;
pub use software::{
    ActivatingDevice, CountedBeat, Heartbeats, LicenseOfKey, NewOfflineFile, SelfBan, SoftwareApp,
    SoftwareSession, SoftwareTerms, Taken, Throttle,
};
