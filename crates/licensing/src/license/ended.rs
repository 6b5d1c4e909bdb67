//! The ended credentials of a license, for calls that were admitted before they ended (G5).

use std::collections::BTreeMap;

use arc_swap::ArcSwapOption;
use model::{CredentialId, CredentialInfo, CredentialStatus, Refusal, Timestamp};
use parking_lot::Mutex;

/// The credentials of a license that were revoked or have an end of their own. Most licenses have
/// none, which costs one load to know.
#[derive(Debug, Default)]
pub(crate) struct EndedCredentials(ArcSwapOption<Vec<Ended>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ended {
    id: CredentialId,
    /// The end of the credential; `None`: it was revoked.
    at: Option<Timestamp>,
}

/// The access tokens of a license that running calls may have presented. They are not among the
/// license's credentials, so that their ends have to be asked for.
#[derive(Debug, Default)]
pub(crate) struct TokensInUse {
    /// The tokens with the end that each was given, until that has come.
    promised: Mutex<BTreeMap<CredentialId, Timestamp>>,
    ends: EndedCredentials,
}

impl EndedCredentials {
    /// Takes in all credentials of the license but its access tokens.
    pub(crate) fn learn(&self, credentials: &[CredentialInfo]) {
        let ended = credentials.iter().filter_map(|info| match info.status {
            CredentialStatus::Revoked => Some((info.id, None)),
            CredentialStatus::Active => info.expires_at.map(|end| (info.id, Some(end))),
        });
        self.put(ended.map(|(id, at)| Ended { id, at }).collect());
    }

    /// Returns why a credential may not be used any more, as far as is known here.
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
    /// Records that a token was looked up, and its end. A token that calls were admitted with
    /// before keeps the end that it had then.
    pub(crate) fn note(&self, id: CredentialId, end: Timestamp, now: Timestamp) {
        let mut promised = self.promised.lock();
        promised.retain(|_, end| *end > now);
        if end > now {
            promised.entry(id).or_insert(end);
        }
    }

    /// Returns the tokens whose promised end has not come yet.
    pub(crate) fn all(&self) -> Vec<CredentialId> {
        self.promised.lock().keys().copied().collect()
    }

    /// Takes in the ends of tokens as the store has them.
    pub(crate) fn learn(&self, ends: impl IntoIterator<Item = (CredentialId, Timestamp)>) {
        let sooner = |(id, at): &(CredentialId, Timestamp)| {
            let promised = self.promised.lock();
            promised.get(id).is_some_and(|promised| at < promised)
        };
        let ended = ends.into_iter().filter(sooner);
        let ended = ended.map(|(id, at)| Ended { id, at: Some(at) });
        self.ends.put(ended.collect());
    }

    /// Returns whether a token was ended sooner than promised. One that ends in its time cuts no
    /// call.
    pub(crate) fn was_ended(&self, id: CredentialId, now: Timestamp) -> bool {
        self.ends.refusal(id, now).is_some()
    }
}
