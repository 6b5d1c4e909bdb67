//! The credentials of a license that ended, for calls that were let in before (G5).

use arc_swap::ArcSwapOption;
use model::{CredentialId, Refusal, Timestamp};
use store::{CredentialInfo, CredentialStatus};

/// Those credentials of a license that were revoked or have an end of their own. Most licenses have none, which costs one
/// load to know.
#[derive(Debug, Default)]
pub(crate) struct EndedCredentials(ArcSwapOption<Vec<Ended>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ended {
    id: CredentialId,
    /// When it ends; `None`: it was revoked.
    at: Option<Timestamp>,
}

impl EndedCredentials {
    /// Learns of all credentials of the license but its access tokens. Whether anything changed.
    pub(crate) fn learn(&self, credentials: &[CredentialInfo]) -> bool {
        let ended = credentials.iter().filter_map(|info| match info.status {
            CredentialStatus::Revoked => Some((info.id, None)),
            CredentialStatus::Active => info.expires_at.map(|end| (info.id, Some(end))),
        });
        let mut ended: Vec<_> = ended.map(|(id, at)| Ended { id, at }).collect();
        ended.sort_unstable_by_key(|ended| ended.id);
        let before = self.0.load();
        if before.as_deref().map_or(&[][..], Vec::as_slice) == ended {
            return false;
        }
        self.0.store((!ended.is_empty()).then(|| ended.into()));
        true
    }

    /// Why a credential may not be used any more, as far as is known here.
    pub(crate) fn refusal(&self, id: CredentialId, now: Timestamp) -> Option<Refusal> {
        let ended = self.0.load();
        let ended = ended.as_deref()?;
        let place = ended.binary_search_by_key(&id, |ended| ended.id).ok()?;
        match ended[place].at {
            None => Some(Refusal::LicenseRevoked),
            Some(end) => (end <= now).then_some(Refusal::LicenseExpired),
        }
    }
}
