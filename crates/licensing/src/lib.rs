//! Who may call, and how much: the license cache, quota and rate meters, and every operation on licenses and keys.
//!
//! The way of a call through this crate, none of which waits while a license is warm:
//!
//! 1. [`Licensing::find`] turns the hash of a presented key into an [`CachedLicense`] ([`Found::Cold`]: await [`Licensing::load`]).
//! 2. [`CachedLicense::check`] is the ordered check of `model` with the state of the credential.
//! 3. [`CachedLicense::reserve`] takes a concurrency slot, every rate window and the units, all or none
//!    ([`ReserveError::NeedLease`]: await [`CachedLicense::acquire`] instead).
//! 4. [`CachedLicense::settle`] or [`CachedLicense::cancel`] ends the reservation, exactly once.
//!
//! What the cache knows is kept true by the store's change numbers; see `changes`. What a meter grants it holds as a
//! lease of the store; see `meter`.

#![forbid(unsafe_code)]

mod by_id;
mod cache;
mod changes;
mod ended;
mod entry;
mod error;
mod fingerprints;
pub mod fleet;
mod freshness;
mod hub;
mod key_copies;
mod keyring;
mod last_uses;
mod leases;
mod licensing;
mod load;
mod meter;
mod numbered;
mod operations;
mod options;
mod plan_wait;
mod plans;
mod served;
pub mod sessions;
pub mod signing;
mod single_flight;
mod states;

pub use entry::{CachedApiKey, CachedLicense, CutSignal, EntryCredential, LicenseState};
pub use error::Error;
pub use fingerprints::FingerprintSet;
pub use fleet::{Fleet, FleetKey, FleetOptions};
pub use freshness::Freshness;
pub use key_copies::{KeyCopies, LicenseKeys};
pub use keyring::{Keyring, KeyringSecret};
pub use licensing::{CacheSize, Found, Licensing};
pub use meter::{Ask, HeldUnits, Meter, RateView, Refused, Reservation, ReserveError};
pub use operations::{ADDRESSES_FEATURE, may_use_from};
pub use operations::{
    ApiKeyOwner, ApiKeyPolicy, ApiKeyRequest, ApiKeyUpdate, ApiKeyView, AppSecrets,
    AuditedLicensing, BalanceView, ClaimedToken, Idempotency, IdempotencyGuard, IdempotentRequest,
    IssueRequest, Issued, IssuedApiKey, IssuedAppSecret, IssuedManagementKey, IssuedToken, KeyEnd,
    KeyRefusal, KeySource, LicenseUpdate, ManagementKeyRequest, NotIssued, TokenRequest,
    UserRequest,
};
pub use options::{LeaseOptions, LicensingOptions};
pub use plans::{Allowance, AppTerms, EffectiveLimits, Plans};
pub use served::DeclaredRoute;
pub use sessions::Sessions;
pub use signing::Signing;
