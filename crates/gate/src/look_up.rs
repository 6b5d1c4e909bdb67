//! The license of a credential: from memory for most calls, from the store where it is unknown
//! here.

use std::sync::Arc;

use licensing::{CachedLicense, Found};
use model::{Credential, KeyFormat, MAX_ACCESS_TOKEN_BYTES, Refusal, is_access_token};
use telemetry::{LookupResult, LookupTier};

use crate::gate::Gate;
use crate::routed::Routed;
use crate::time::Moment;
use crate::worker::Worker;

impl Gate {
    /// Returns the license of a credential, if it opens the app of the call.
    ///
    /// # Errors
    /// As [`Gate::look_up`]; a license of another app is unknown.
    pub(crate) async fn license_of(
        &self,
        worker: &Worker,
        routed: &Routed,
        credential: &[u8],
    ) -> Result<Arc<CachedLicense>, Refusal> {
        let entry = self.look_up(worker, credential, routed.started).await?;
        let app = &routed.route.app;
        if !entry.license().opens(&app.account, &app.name) {
            return Err(unknown(credential));
        }
        Ok(entry)
    }

    /// Returns the license of a credential, whatever the state of either and whichever the app. A
    /// text that is no credential, but a key of AuthForge's shape in another spelling, stands for
    /// that key.
    ///
    /// # Errors
    /// [`Refusal::LicenseUnknown`] (for access tokens [`Refusal::TokenInvalid`]), or
    /// [`Refusal::LicenseStoreUnavailable`] where that cannot be found out.
    pub(crate) async fn look_up(
        &self,
        worker: &Worker,
        credential: &[u8],
        now: Moment,
    ) -> Result<Arc<CachedLicense>, Refusal> {
        let text = std::str::from_utf8(credential).unwrap_or_default();
        let Some(meant) = Credential::meant_by(text) else {
            return self.look_up_text(worker, credential, now).await;
        };
        let admission = &worker.admission;
        let find = |text: &[u8]| admission.find(&admission.hasher().hash(text), now);
        // Not to wait for news of the text as it was sent on every call.
        let is_absent = matches!(find(credential), Found::Unknown | Found::Unheard);
        let is_meant = || {
            matches!(
                find(meant.expose().as_bytes()),
                Found::Known(_) | Found::Cold
            )
        };
        if is_absent && is_meant() {
            return self
                .look_up_text(worker, meant.expose().as_bytes(), now)
                .await;
        }
        match self.look_up_text(worker, credential, now).await {
            Err(Refusal::LicenseUnknown) => {
                self.look_up_text(worker, meant.expose().as_bytes(), now)
                    .await
            }
            found => found,
        }
    }

    /// Returns the license of a credential as it was sent.
    async fn look_up_text(
        &self,
        worker: &Worker,
        credential: &[u8],
        now: Moment,
    ) -> Result<Arc<CachedLicense>, Refusal> {
        let unknown = unknown(credential);
        let is_token = unknown == Refusal::TokenInvalid;
        let max_length = if is_token {
            MAX_ACCESS_TOKEN_BYTES
        } else {
            Credential::MAX_LENGTH
        };
        if credential.len() > max_length {
            return Err(unknown);
        }
        let admission = &worker.admission;
        let hash = admission.hasher().hash(credential);
        let found = match admission.find(&hash, now) {
            Found::Unread | Found::Unheard if is_token || could_be_a_key(credential) => {
                admission.find_after_refresh(&hash, now).await
            }
            found => found,
        };
        match found {
            Found::Known(entry) => {
                self.metrics.lookup(LookupTier::Memory, LookupResult::Hit);
                admission.with_plan(&hash, entry).await
            }
            // Garbage is told apart by its checksum, whatever the state of the store.
            _ if !is_token && !could_be_a_key(credential) => Err(unknown),
            Found::Unknown => {
                self.metrics.lookup(LookupTier::Memory, LookupResult::Miss);
                Err(unknown)
            }
            // Credentials that wait for the store were refreshed above.
            Found::Unread | Found::Unheard | Found::Unavailable => {
                self.metrics.lookup(LookupTier::Memory, LookupResult::Error);
                Err(Refusal::LicenseStoreUnavailable)
            }
            Found::Cold => {
                self.metrics.lookup(LookupTier::Memory, LookupResult::Miss);
                let found = admission.load(hash).await;
                admission.with_plan(&hash, found?.ok_or(unknown)?).await
            }
        }
    }
}

/// Returns the refusal of a credential that opens nothing.
fn unknown(credential: &[u8]) -> Refusal {
    if is_access_token(credential) {
        Refusal::TokenInvalid
    } else {
        Refusal::LicenseUnknown
    }
}

/// Returns whether a text that no license has could have been a key: texts that begin like our own
/// keys carry a checksum.
fn could_be_a_key(credential: &[u8]) -> bool {
    std::str::from_utf8(credential).is_ok_and(|text| KeyFormat::of(text).is_some())
}
