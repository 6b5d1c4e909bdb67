//! A presented key, judged without a call.

use std::sync::Arc;

use model::{Alias, Credential, KeyFormat, Refusal};

use crate::entry::Entry;
use crate::licensing::{Found, Licensing};

impl Licensing {
    /// The license that a presented key belongs to, with the state of that key. Waits only where it is not known here.
    ///
    /// # Errors
    /// [`Refusal::LicenseUnknown`]; [`Refusal::LicenseStoreUnavailable`] where the store is out of reach and the license is
    /// not known here, never "unknown" (G8).
    pub async fn present(self: &Arc<Self>, presented: &[u8]) -> Result<Arc<Entry>, Refusal> {
        if presented.len() > Credential::LONGEST {
            return Err(Refusal::LicenseUnknown);
        }
        let hash = self.hasher().hash(presented);
        let found = self.find(&hash, self.clock.now());
        // Garbage is told by its checksum, whatever the state of the store.
        if !matches!(found, Found::Known(_)) && !could_be_a_key(presented) {
            return Err(Refusal::LicenseUnknown);
        }
        match found {
            Found::Known(entry) => Ok(entry),
            Found::Unknown => Err(Refusal::LicenseUnknown),
            Found::Unavailable => Err(Refusal::LicenseStoreUnavailable),
            Found::Cold => self.load(hash).await?.ok_or(Refusal::LicenseUnknown),
        }
    }

    /// What the app may call the holder of a license: the alias of its user, or, where it names none, one of its own.
    #[must_use]
    pub fn holder_alias(&self, license: &model::License) -> Alias {
        match &license.user {
            Some(user) => self.alias(&license.app, user),
            None => self.alias(&license.app, &format!("\0{}", license.id)),
        }
    }
}

/// Whether a text that no license has could have been one: texts that begin like our own keys tell by their checksum.
fn could_be_a_key(presented: &[u8]) -> bool {
    std::str::from_utf8(presented).is_ok_and(|text| KeyFormat::of(text).is_some())
}
