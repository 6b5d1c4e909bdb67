//! The admission of calls: the narrow view of licensing that the gate takes.
//!
//! The steps of a call. None of them waits while its license is cached:
//!
//! 1. [`Admission::find`] turns the hash of a presented key into a [`CachedLicense`]
//!    ([`Found::Cold`]: await [`Admission::load`]).
//! 2. [`CachedLicense::check`] is the ordered check of `model` with the state of the credential.
//! 3. [`CachedLicense::reserve`] takes a concurrency slot, every rate window and the units, all or
//!    none ([`ReserveError::NeedLease`](crate::ReserveError::NeedLease): await
//!    [`CachedLicense::acquire`] instead).
//! 4. [`CachedLicense::settle`] or [`CachedLicense::cancel`] ends the reservation, exactly once.

use std::sync::Arc;

use model::{AccountName, CallId, KeyHash, KeyHasher, LicenseId, Moment, Refusal, RequestToken};

use crate::cache::{Found, LicenseCache};
use crate::license::CachedLicense;
use crate::load::{LicenseLoader, Outcome};
use crate::meter::Refused;
use crate::operations::{ClaimedToken, IssuedToken, RequestTokens, TokenRequest};
use crate::plans::{CurrentPlans, Plans};

/// The licenses and request tokens by which calls are admitted.
pub struct Admission {
    pub(crate) hasher: KeyHasher,
    pub(crate) plans: Arc<CurrentPlans>,
    pub(crate) cache: Arc<LicenseCache>,
    pub(crate) loader: Arc<LicenseLoader>,
    pub(crate) tokens: Arc<RequestTokens>,
}

impl Admission {
    /// Returns the hasher of presented keys, whose hashes [`Admission::find`] takes.
    #[must_use]
    pub const fn hasher(&self) -> &KeyHasher {
        &self.hasher
    }

    /// Returns the present plans and apps.
    #[must_use]
    pub fn plans(&self) -> Arc<Plans> {
        self.plans.load_full()
    }

    /// Returns what is known of a key for a call that came at `now`. Takes at most two look-ups in
    /// memory, allocates nothing and waits for nothing, unless the plans changed since the license
    /// was cached.
    #[must_use]
    pub fn find(&self, hash: &KeyHash, now: Moment) -> Found {
        self.cache.find(hash, now)
    }

    /// Repeats [`Admission::find`] after the changes were read, for a key that must not be judged
    /// before. A gate that was suspended is waited for at most twice `load_timeout`, for by then
    /// the store is known to fail or to be silent; a key unknown here, at most
    /// `unknown_key_timeout`. Never returns [`Found::Unread`] or [`Found::Unheard`]. All who wait
    /// share one reading; how many wait is bounded by the running calls. Those whom it refuses are
    /// not answered all in one moment, in which calls with good keys would have to wait for them.
    pub async fn find_after_refresh(&self, hash: &KeyHash, now: Moment) -> Found {
        self.cache.find_after_refresh(hash, now).await
    }

    /// Loads the license of a key that [`Admission::find`] called cold; `None`: no license has the
    /// key. May be called from any runtime with a timer; the store is asked on the runtime that
    /// licensing was opened on.
    ///
    /// # Errors
    /// [`Refusal::LicenseStoreUnavailable`] if the store fails, is too slow, or too many look-ups
    /// are under way.
    pub async fn load(&self, hash: KeyHash) -> Outcome {
        self.loader.load(hash).await
    }

    /// Returns a cached license once the terms of its plan are known here. `place` is where it lies
    /// in the cache: the hash of its key. A license that names a plan of another gate's file is
    /// limited by that from its first call.
    ///
    /// # Errors
    /// [`Refusal::LicenseStoreUnavailable`] if the terms are not known within
    /// `unknown_key_timeout`.
    pub async fn with_plan(
        &self,
        place: &KeyHash,
        license: Arc<CachedLicense>,
    ) -> Result<Arc<CachedLicense>, Refusal> {
        self.cache.with_plan(place, license).await
    }

    /// Returns a license by its own id, without any of its credentials, from memory or from the
    /// store; `None`: there is none of this id. It is as fresh as what [`Admission::find`] finds.
    /// May be called from any runtime with a timer.
    ///
    /// # Errors
    /// [`Refusal::LicenseStoreUnavailable`] if the store fails or is too slow, and the license is
    /// not known here or its grace is over.
    pub async fn license_by_id(
        &self,
        id: LicenseId,
        now: Moment,
    ) -> Result<Option<Arc<CachedLicense>>, Refusal> {
        self.loader.license_by_id(id, now).await
    }

    /// Returns the wallet of an account: the license whose units are the account's credits; `None`:
    /// the account has none, and its credits are not counted. Neither answer costs a look-up in the
    /// store once it is known here; both follow the changes of the store, as licenses do. May be
    /// called from any runtime with a timer.
    ///
    /// # Errors
    /// [`Refusal::LicenseStoreUnavailable`] if the store fails or is too slow, and nothing is known
    /// here.
    pub async fn wallet(
        &self,
        account: &AccountName,
        now: Moment,
    ) -> Result<Option<Arc<CachedLicense>>, Refusal> {
        self.loader.wallet(account, now).await
    }

    /// Returns whether a license was read so long ago that its app admits no call by it: it may
    /// have been revoked since. Costs two loads.
    #[must_use]
    pub fn is_beyond_grace(&self, license: &CachedLicense, now: Moment) -> bool {
        self.cache.freshness(now).is_beyond(license.grace())
    }

    /// Issues a request token and holds its units.
    ///
    /// # Errors
    /// [`Refusal::QuotaExhausted`] or [`Refusal::QuotaExhaustedForNow`] if too few are left;
    /// [`Refusal::QuotaUnavailable`] if the store fails.
    pub async fn issue_token(&self, request: &TokenRequest<'_>) -> Result<IssuedToken, Refused> {
        self.tokens.issue(request).await
    }

    /// Returns the request token of a text, whatever its state; `None`: there is none. May be
    /// called from any runtime with a timer.
    ///
    /// # Errors
    /// [`Refusal::LicenseStoreUnavailable`] if the store fails or is too slow.
    pub async fn token(&self, secret: &[u8]) -> Result<Option<RequestToken>, Refusal> {
        self.tokens.find(secret).await
    }

    /// Claims a request token for a call. Of any number of calls that try, on whichever gates, one
    /// wins (G7). May be called from any runtime with a timer; a win that comes too late for the
    /// caller is given back.
    ///
    /// # Errors
    /// [`Refusal::TokenInvalid`] if the token is unknown, used, being used or expired;
    /// [`Refusal::LicenseStoreUnavailable`] if the store fails or is too slow.
    pub async fn claim_token(
        &self,
        secret: &[u8],
        call_id: CallId,
    ) -> Result<ClaimedToken, Refusal> {
        self.tokens.claim(secret, call_id).await
    }
}

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admission").finish_non_exhaustive()
    }
}
