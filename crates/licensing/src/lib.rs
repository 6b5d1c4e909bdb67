//! Admission of calls by license: the license cache, quota and rate meters, and every operation on
//! licenses and keys.
//!
//! The steps of a call. None of them waits while its license is cached:
//!
//! 1. [`Licensing::find`] turns the hash of a presented key into an [`CachedLicense`] ([`Found::Cold`]: await [`Licensing::load`]).
//! 2. [`CachedLicense::check`] is the ordered check of `model` with the state of the credential.
//! 3. [`CachedLicense::reserve`] takes a concurrency slot, every rate window and the units, all or none
//!    ([`ReserveError::NeedLease`]: await [`CachedLicense::acquire`] instead).
//! 4. [`CachedLicense::settle`] or [`CachedLicense::cancel`] ends the reservation, exactly once.
//!
//! The cache is kept true by the change numbers of the store (`changes`). A meter grants only what
//! this gate holds as a lease of the store (`meter`).

#![forbid(unsafe_code)]

mod by_id;
mod cache;
mod cached_license;
mod changes;
mod ended;
mod error;
mod fingerprints;
pub mod fleet;
mod freshness;
mod key_copies;
mod keyring;
mod last_uses;
mod lease_queue;
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

pub use cached_license::{CachedApiKey, CachedCredential, CachedLicense, CutSignal, LicenseState};
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
