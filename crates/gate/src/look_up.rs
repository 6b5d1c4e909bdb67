//! Whose credential it is: from memory for most calls, from the store where it is not known here.

use std::sync::Arc;

use licensing::{CachedLicense, Found};
use model::{Credential, KeyFormat, MAX_ACCESS_TOKEN_BYTES, Refusal, is_access_token};
use telemetry::{LookupResult, LookupTier};

use crate::admit::{Gate, Presented, Routed};
use crate::time::Moment;
use crate::worker::Worker;

impl Gate {
    /// The license of what was presented.
    pub(crate) async fn entry(
        &self,
        worker: &Worker,
        routed: &Routed,
        presented: Presented<'_>,
    ) -> Result<Arc<CachedLicense>, Refusal> {
        let credential = match presented {
            Presented::Credential(credential) => credential,
            Presented::Nothing => return Err(Refusal::LicenseMissing),
            Presented::Ambiguous => return Err(Refusal::CredentialAmbiguous),
            // Tokens have an admission of their own.
            Presented::Token(_) => return Err(Refusal::TokenInvalid),
        };
        let entry = self.look_up(worker, credential, routed.started).await?;
        let app = &routed.route.app;
        if !entry.license().opens(&app.account, &app.name) {
            return Err(unknown(credential));
        }
        Ok(entry)
    }

    /// The license that a credential belongs to, whatever the state of either and whichever the app.
    ///
    /// # Errors
    /// [`Refusal::LicenseUnknown`] (for access tokens [`Refusal::TokenInvalid`]), or
    /// [`Refusal::LicenseStoreUnavailable`] where that cannot be told.
    pub(crate) async fn look_up(
        &self,
        worker: &Worker,
        credential: &[u8],
        now: Moment,
    ) -> Result<Arc<CachedLicense>, Refusal> {
        let unknown = unknown(credential);
        let is_token = unknown == Refusal::TokenInvalid;
        let longest = if is_token {
            MAX_ACCESS_TOKEN_BYTES
        } else {
            Credential::MAX_LENGTH
        };
        if credential.len() > longest {
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
            // Garbage is told by its checksum, whatever the state of the store.
            _ if !is_token && !could_be_a_key(credential) => Err(unknown),
            Found::Unknown => {
                self.metrics.lookup(LookupTier::Memory, LookupResult::Miss);
                Err(unknown)
            }
            // Of those that wait for the store, none is left here.
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

/// What a credential that opens nothing is refused as.
fn unknown(credential: &[u8]) -> Refusal {
    if is_access_token(credential) {
        Refusal::TokenInvalid
    } else {
        Refusal::LicenseUnknown
    }
}

/// Whether a text that no license has could have been one: texts that begin like our own keys tell by their checksum.
fn could_be_a_key(credential: &[u8]) -> bool {
    std::str::from_utf8(credential).is_ok_and(|text| KeyFormat::of(text).is_some())
}
