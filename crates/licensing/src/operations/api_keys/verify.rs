//! The verification of API keys. The gate spends what a verification costs.

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
    /// There is no such key, or it is not one that the caller may verify.
    Unknown,
    /// The key is disabled.
    Disabled,
    /// The key has ended.
    Expired,
    /// The key does not give the permissions that were asked for.
    NotPermitted,
    /// No units of the key are left.
    Exhausted {
        /// The time after which units may be left again; `None`: never by itself.
        retry_after: Option<Duration>,
    },
    /// The key was used too often.
    RateLimited {
        /// The time after which another try may pass.
        retry_after: Duration,
    },
}

impl KeyRefusal {
    /// Returns the reason for a refusal of the gate; `None`: the refusal is about us, not about the
    /// key.
    #[must_use]
    pub fn of(
        refusal: Refusal,
        retry_after: Option<u32>,
        cached: &CachedLicense,
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
            Refusal::RateLimited if cached.state().meter().is_exhausted(now) => {
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
    /// Judges everything about a key but its limits, in this order: known, enabled, not ended,
    /// permitted. A key that was made with its license is judged like an API key, and gives no
    /// permissions.
    ///
    /// # Errors
    /// The reason of the first rule that is broken.
    pub fn judge_key(
        &self,
        owner: &ApiKeyOwner,
        cached: &CachedLicense,
        asked: Option<&ResourcePermissions>,
        now: Timestamp,
    ) -> Result<(), KeyRefusal> {
        let license = cached.license();
        let credential = cached.credential();
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
            let own = cached.api_key();
            let own = own.and_then(|cached| cached.key.permissions.as_ref());
            own.is_some_and(|own| own.covers(asked))
        });
        if permitted {
            Ok(())
        } else {
            Err(KeyRefusal::NotPermitted)
        }
    }

    /// Deletes an API key that was found to have ended, or to have nothing left that comes back, if
    /// the policy says so. Licenses that are no API keys are never deleted so.
    ///
    /// # Errors
    /// The store fails.
    pub async fn forget_api_key(
        self: &Arc<Self>,
        policy: &ApiKeyPolicy,
        cached: &CachedLicense,
        refusal: KeyRefusal,
    ) -> Result<(), Error> {
        let over = match refusal {
            KeyRefusal::Expired => true,
            KeyRefusal::Exhausted { .. } => cached.license().spec.limits.refill.is_none(),
            _ => false,
        };
        if policy.forgets && over && cached.api_key().is_some() {
            let id = cached.license().id;
            let gate = self.acting(Actor::GATE);
            gate.set_status_as(id, LicenseStatus::Revoked, "api-key.delete")
                .await?;
        }
        Ok(())
    }
}
