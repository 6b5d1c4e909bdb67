//! Judges API keys that are to be verified. What a verification spends is spent by the gate.

use std::sync::Arc;
use std::time::Duration;

use model::{Actor, CredentialStatus, LicenseStatus, Refusal, ResourcePermissions, Timestamp};

use super::{ApiKeyOwner, ApiKeyPolicy};
use crate::error::Error;
use crate::license::CachedLicense;
use crate::licensing::Licensing;

/// The reason why an API key is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRefusal {
    /// There is none such, or it is not one that the caller may verify.
    Unknown,
    /// It is switched off.
    Disabled,
    /// It has ended.
    Expired,
    /// It does not give leave for what is asked.
    NotPermitted,
    /// Nothing is left of it.
    Exhausted {
        /// When something may be left again; `None`: never by itself.
        retry_after: Option<Duration>,
    },
    /// It was used too often.
    RateLimited {
        /// When another try may pass.
        retry_after: Duration,
    },
}

impl KeyRefusal {
    /// A refusal of the gate; `None`: it is about us, not about the key.
    #[must_use]
    pub fn of(
        refusal: Refusal,
        retry_after: Option<u32>,
        entry: &CachedLicense,
        now: Timestamp,
    ) -> Option<Self> {
        let retry_after = retry_after.map(|seconds| Duration::from_secs(seconds.into()));
        Some(match refusal {
            Refusal::LicenseDisabled => Self::Disabled,
            Refusal::LicenseExpired => Self::Expired,
            // An app that is no longer served: the key opens nothing.
            Refusal::LicenseUnknown | Refusal::LicenseRevoked | Refusal::AppUnknown => {
                Self::Unknown
            }
            Refusal::IpNotAllowed | Refusal::RouteNotPermitted => Self::NotPermitted,
            Refusal::QuotaExhausted | Refusal::QuotaExhaustedForNow => {
                Self::Exhausted { retry_after }
            }
            // The gate looks at rates first; who has nothing left is told so.
            Refusal::RateLimited if entry.state().meter().is_exhausted(now) => {
                Self::Exhausted { retry_after: None }
            }
            Refusal::RateLimited | Refusal::TooManyConcurrent => Self::RateLimited {
                retry_after: retry_after.unwrap_or(Duration::from_secs(1)),
            },
            _ => return None,
        })
    }
}

impl Licensing {
    /// Everything about a key but its limits, in the order: known, switched on, not ended, permitted. A key that was made
    /// with its license is judged like an API key, and gives leave for nothing in particular.
    ///
    /// # Errors
    /// The first rule that refuses.
    pub fn judge_key(
        &self,
        owner: &ApiKeyOwner,
        entry: &CachedLicense,
        asked: Option<&ResourcePermissions>,
        now: Timestamp,
    ) -> Result<(), KeyRefusal> {
        let license = entry.license();
        let credential = entry.credential();
        if credential.is_token || !owner.accepts(license) {
            return Err(KeyRefusal::Unknown);
        }
        match license.status {
            LicenseStatus::Active => {}
            LicenseStatus::Disabled => return Err(KeyRefusal::Disabled),
            LicenseStatus::Revoked => return Err(KeyRefusal::Unknown),
        }
        let ended = |end: Option<Timestamp>| end.is_some_and(|end| end <= now);
        if credential.status == CredentialStatus::Revoked || ended(credential.expires_at) {
            return Err(KeyRefusal::Unknown);
        }
        if ended(license.spec.expires_at) {
            return Err(KeyRefusal::Expired);
        }
        let permitted = asked.is_none_or(|asked| {
            let own = entry.api_key();
            let own = own.and_then(|cached| cached.key.permissions.as_ref());
            own.is_some_and(|own| own.covers(asked))
        });
        if permitted {
            Ok(())
        } else {
            Err(KeyRefusal::NotPermitted)
        }
    }

    /// Deletes an API key that was found to have ended, or to have nothing left that comes back, where the policy says so.
    /// Licenses that are none are never deleted so.
    ///
    /// # Errors
    /// The store fails.
    pub async fn forget_api_key(
        self: &Arc<Self>,
        policy: &ApiKeyPolicy,
        entry: &CachedLicense,
        refusal: KeyRefusal,
    ) -> Result<(), Error> {
        let over = match refusal {
            KeyRefusal::Expired => true,
            KeyRefusal::Exhausted { .. } => entry.license().spec.limits.refill.is_none(),
            _ => false,
        };
        if policy.forgets && over && entry.api_key().is_some() {
            let id = entry.license().id;
            let gate = self.acting(Actor::GATE);
            gate.set_status_as(id, LicenseStatus::Revoked, "api-key.delete")
                .await?;
        }
        Ok(())
    }
}
