//! The credentials of a license that ended, for calls that were let in before (G5).

use std::collections::BTreeMap;

use arc_swap::ArcSwapOption;
use model::{CredentialId, Refusal, Timestamp};
use parking_lot::Mutex;
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

/// The access tokens of a license that calls may be under way with: they are not among its credentials, so that what became
/// of them has to be asked for.
#[derive(Debug, Default)]
pub(crate) struct TokensInUse {
    /// Each with the end that it was given, until that has come.
    promised: Mutex<BTreeMap<CredentialId, Timestamp>>,
    ends: EndedCredentials,
}

impl EndedCredentials {
    /// Learns of all credentials of the license but its access tokens.
    pub(crate) fn learn(&self, credentials: &[CredentialInfo]) {
        let ended = credentials.iter().filter_map(|info| match info.status {
            CredentialStatus::Revoked => Some((info.id, None)),
            CredentialStatus::Active => info.expires_at.map(|end| (info.id, Some(end))),
        });
        self.put(ended.map(|(id, at)| Ended { id, at }).collect());
    }

    /// Why a credential may not be used any more, as far as is known here.
    pub(crate) fn refusal(&self, id: CredentialId, now: Timestamp) -> Option<Refusal> {
        match self.end(id)? {
            None => Some(Refusal::LicenseRevoked),
            Some(end) => (end <= now).then_some(Refusal::LicenseExpired),
        }
    }

    fn put(&self, mut ended: Vec<Ended>) {
        ended.sort_unstable_by_key(|ended| ended.id);
        if self.0.load().as_deref().map_or(&[][..], Vec::as_slice) != ended {
            self.0.store((!ended.is_empty()).then(|| ended.into()));
        }
    }

    fn end(&self, id: CredentialId) -> Option<Option<Timestamp>> {
        let ended = self.0.load();
        let ended = ended.as_deref()?;
        let place = ended.binary_search_by_key(&id, |ended| ended.id).ok()?;
        Some(ended[place].at)
    }
}

impl TokensInUse {
    /// Notes that a token was looked up, which ends then. What calls were let in with before stays promised to them.
    pub(crate) fn note(&self, id: CredentialId, end: Timestamp, now: Timestamp) {
        let mut promised = self.promised.lock();
        promised.retain(|_, end| *end > now);
        if end > now {
            promised.entry(id).or_insert(end);
        }
    }

    /// Those whose end has not come yet, as far as was promised.
    pub(crate) fn all(&self) -> Vec<CredentialId> {
        self.promised.lock().keys().copied().collect()
    }

    /// Learns when these end.
    pub(crate) fn learn(&self, ends: impl IntoIterator<Item = (CredentialId, Timestamp)>) {
        let sooner = |(id, at): &(CredentialId, Timestamp)| {
            let promised = self.promised.lock();
            promised.get(id).is_some_and(|promised| at < promised)
        };
        let ended = ends.into_iter().filter(sooner);
        let ended = ended.map(|(id, at)| Ended { id, at: Some(at) });
        self.ends.put(ended.collect());
    }

    /// Whether a token was ended sooner than it was promised to. One that ends in its time ends no call.
    pub(crate) fn was_ended(&self, id: CredentialId, now: Timestamp) -> bool {
        self.ends.refusal(id, now).is_some()
    }
}
