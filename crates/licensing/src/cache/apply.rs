//! Changes of licenses as the cache takes them in.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use model::{Fingerprint, LicenseId};
use store::{Change, ChangeNumber, StoredLicense};

use super::LicenseCache;
use super::change_log::LoggedChange;
use super::fingerprints::Renewal;
use super::{FingerprintSet, History};

impl LicenseCache {
    /// Takes in a change that was read from the store. Returns whether this gate did not know of it
    /// and its license existed before, so that it is in force here only now.
    pub(crate) fn apply(&self, change: &Change) -> bool {
        let mut log = self.log.lock();
        if let Some(fingerprint) = change.added {
            self.add_fingerprint(fingerprint);
        }
        let is_news = change.added.is_none() && !log.history.knows(change);
        self.absent_wallets.remove(change.license_id);
        log.history.push(change);
        log.record(LoggedChange {
            number: change.number,
            license_id: change.license_id,
            added: change.added,
        });
        let state = self.states.get(change.license_id);
        let outdated = state.is_some_and(|state| state.outdate(change.number));
        drop(log);
        if outdated {
            self.pending_cuts.add(change.license_id);
        }
        is_news
    }

    /// Takes in a change that this gate made and that is committed. It is in force when this
    /// returns.
    pub(crate) fn apply_own(&self, changed: &StoredLicense, added: Option<Fingerprint>) {
        let mut log = self.log.lock();
        if let Some(fingerprint) = added {
            self.add_fingerprint(fingerprint);
        }
        self.absent_wallets.remove(changed.license.id);
        log.history.note(changed.license.id, changed.version);
        log.record(LoggedChange {
            number: changed.version,
            license_id: changed.license.id,
            added,
        });
        if let Some(state) = self.states.get(changed.license.id) {
            state.outdate(changed.version);
            if changed.version >= state.version() {
                state.learn_all(changed);
            }
        }
    }

    /// Takes in licenses that this gate created.
    pub(crate) fn apply_created(&self, number: ChangeNumber, created: &[(LicenseId, Fingerprint)]) {
        let mut log = self.log.lock();
        for (license_id, fingerprint) in created {
            self.add_fingerprint(*fingerprint);
            log.record(LoggedChange {
                number,
                license_id: *license_id,
                added: Some(*fingerprint),
            });
        }
    }

    fn add_fingerprint(&self, fingerprint: Fingerprint) {
        self.fingerprints.insert([fingerprint]);
        self.negative.remove(fingerprint);
    }

    /// Begins to read everything again, since what is known does not match the store any more.
    /// Until [`LicenseCache::end_resync`], no call is judged by it.
    pub(crate) fn begin_resync(&self) -> Renewal<'_> {
        self.resyncing.store(true, Ordering::Release);
        self.drop_everything();
        self.fingerprints.renew()
    }

    /// Takes in what was read since [`LicenseCache::begin_resync`]. Call
    /// [`LicenseCache::end_resync`] afterwards.
    pub(crate) fn finish_resync(
        &self,
        renewal: Renewal<'_>,
        fingerprints: FingerprintSet,
        history: History,
    ) {
        self.drop_everything();
        self.set_history(history);
        renewal.finish(fingerprints);
    }

    /// Ends a resynchronization: calls are judged again.
    pub(crate) fn end_resync(&self) {
        self.pending_cuts.wake();
        self.resyncing.store(false, Ordering::Release);
    }

    /// Replaces the history of changes.
    pub(crate) fn set_history(&self, history: History) {
        self.log.lock().history = history;
    }

    /// Drops all licenses. Everything must be loaded again, and running calls must learn again what
    /// became of their licenses.
    fn drop_everything(&self) {
        let mut log = self.log.lock();
        log.supersede_all();
        self.licenses.clear();
        self.negative.clear();
        self.absent_wallets.clear();
        let mut ids = Vec::new();
        self.states.for_each(|state: &Arc<_>| {
            state.reset_version();
            ids.push(state.id());
        });
        self.pending_cuts.extend(ids);
    }
}
