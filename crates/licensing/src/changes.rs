//! Follows the store's changes, so that what is cached stays true (G5).
//!
//! Every change raises the version of its license's state: entries read before are outdated from then on and are loaded
//! again by the next call. A fill that raced with a change is told by the log: it is thrown away if a change came in
//! since the fill began that is newer than what it read.

use std::collections::{HashSet, VecDeque};

use model::{Fingerprint, LicenseId};
use store::{Change, ChangeNumber, StoredLicense};

use crate::fingerprints::FingerprintSet;
use crate::licensing::Licensing;

/// The changes of the recent past, in the order in which this gate learned of them.
#[derive(Debug, Default)]
pub(crate) struct ChangeLog {
    recent: VecDeque<Change>,
    /// Changes ever noted; the last of `recent` is this one.
    noted: u64,
}

/// A point in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark(u64);

impl ChangeLog {
    const LONGEST: usize = 8_192;

    pub(crate) const fn mark(&self) -> Mark {
        Mark(self.noted)
    }

    fn note(&mut self, change: Change) {
        if self.recent.len() == Self::LONGEST {
            self.recent.pop_front();
        }
        self.recent.push_back(change);
        self.noted += 1;
    }

    /// Makes everything that was read so far superseded.
    fn forget(&mut self) {
        self.recent.clear();
        self.noted += 1;
    }

    /// Whether something that was read after `mark` may be older than a change that matters to it.
    pub(crate) fn is_superseded(&self, mark: Mark, matters: impl Fn(&Change) -> bool) -> bool {
        let since = usize::try_from(self.noted - mark.0).unwrap_or(usize::MAX);
        since > self.recent.len() || self.recent.iter().rev().take(since).any(matters)
    }
}

impl Licensing {
    const CHANGES_AT_ONCE: usize = 1_000;

    /// Reads all changes since the last reading, and says when it began once it is up with the store.
    pub(crate) async fn follow(&self) -> Result<(), store::Error> {
        loop {
            let begun = self.clock.now();
            let seen = self.seen_change();
            let (changes, last) = self
                .store
                .changes_since(seen, Self::CHANGES_AT_ONCE)
                .await?;
            if last < seen {
                self.start_over(last).await?;
                continue;
            }
            let mut reached = seen;
            for change in &changes {
                self.note(*change);
                reached = reached.max(change.number);
            }
            let complete = changes.len() < Self::CHANGES_AT_ONCE || reached >= last;
            self.set_seen_change(if complete { reached.max(last) } else { reached });
            if complete {
                self.read_changes_at(begun);
                return Ok(());
            }
        }
    }

    /// Reads the changes that were just made by way of the store, so that they are in force here when the operation
    /// returns. Where the store does not answer, the next turn reads them.
    pub(crate) async fn learn_now(&self) {
        if let Err(error) = self.follow().await {
            tracing::debug!(%error, "own changes are learnt with the next reading");
        }
    }

    /// Follows the changes for ever.
    pub(crate) async fn serve_changes(&self) {
        let mut well = true;
        loop {
            // A push only wakes it sooner.
            let pause = tokio::time::sleep(self.options.change_poll);
            tokio::select! {
                () = pause => {}
                () = self.wake.notified() => {}
            }
            let result = self.follow().await;
            match &result {
                Ok(()) if !well => tracing::info!("the license store answers again"),
                Err(error) if well => {
                    tracing::warn!(%error, "the license store cannot be read, known licenses pass for their grace");
                }
                Ok(()) | Err(_) => {}
            }
            well = result.is_ok();
        }
    }

    /// Notes a change that somebody else may have made.
    fn note(&self, change: Change) {
        let mut log = self.log.lock();
        if let Some(fingerprint) = change.added {
            self.learn_fingerprint(fingerprint);
        }
        log.note(change);
        let state = self.states.get(change.license_id);
        let outdated = state.is_some_and(|state| state.outdate(change.number));
        drop(log);
        if outdated {
            self.unlearned.lock().insert(change.license_id);
            self.learn.notify_one();
        }
    }

    /// Notes a change that was made here and is committed. It is in force when this returns.
    pub(crate) fn note_own(&self, changed: &StoredLicense, added: Option<Fingerprint>) {
        let mut log = self.log.lock();
        if let Some(fingerprint) = added {
            self.learn_fingerprint(fingerprint);
        }
        log.note(Change {
            number: changed.version,
            license_id: changed.license.id,
            added,
        });
        if let Some(state) = self.states.get(changed.license.id) {
            state.outdate(changed.version);
            if changed.version >= state.version() {
                state.learn(&changed.license);
            }
        }
    }

    /// Notes licenses that were created here.
    pub(crate) fn note_created(&self, number: ChangeNumber, created: &[(LicenseId, Fingerprint)]) {
        let mut log = self.log.lock();
        for (license_id, fingerprint) in created {
            self.learn_fingerprint(*fingerprint);
            log.note(Change {
                number,
                license_id: *license_id,
                added: Some(*fingerprint),
            });
        }
    }

    fn learn_fingerprint(&self, fingerprint: Fingerprint) {
        self.fingerprints.insert([fingerprint]);
        self.negative.remove(fingerprint);
    }

    /// Learns for ever what calls under way must know of licenses that others changed.
    pub(crate) async fn serve_learning(&self) {
        loop {
            let ids: Vec<LicenseId> = {
                let mut unlearned = self.unlearned.lock();
                std::mem::take(&mut *unlearned).into_iter().collect()
            };
            if ids.is_empty() {
                self.learn.notified().await;
            }
            let mut failed = HashSet::new();
            for id in ids {
                let known = self.states.get(id).is_some();
                if known && !self.learn_one(id).await.unwrap_or(false) {
                    failed.insert(id);
                }
            }
            if !failed.is_empty() {
                self.unlearned.lock().extend(failed);
                tokio::time::sleep(self.options.change_poll / 4).await;
            }
        }
    }

    /// Whether what was read was as new as what is known.
    async fn learn_one(&self, id: LicenseId) -> Result<bool, store::Error> {
        let stored = self.store.license(id).await?;
        let _log = self.log.lock();
        let Some(state) = self.states.get(id) else {
            return Ok(true);
        };
        match stored {
            None => state.learn_gone(),
            Some(stored) if stored.version < state.version() => return Ok(false),
            Some(stored) => state.learn(&stored.license),
        }
        Ok(true)
    }

    /// The store knows fewer changes than this gate: it went back to an older copy, and nothing cached can be trusted.
    async fn start_over(&self, last: ChangeNumber) -> Result<(), store::Error> {
        tracing::warn!("the license store went back in time, everything cached is dropped");
        let fingerprints = self.read_fingerprints().await?;
        let mut log = self.log.lock();
        log.forget();
        self.fingerprints.replace(fingerprints);
        self.cache.clear();
        self.negative.clear();
        let mut unlearned = self.unlearned.lock();
        self.states.for_each(|state| {
            state.forget_version();
            unlearned.insert(state.id());
        });
        drop(unlearned);
        self.set_seen_change(last);
        drop(log);
        self.management.clear();
        self.learn.notify_one();
        Ok(())
    }

    pub(crate) async fn read_fingerprints(&self) -> Result<FingerprintSet, store::Error> {
        const AT_ONCE: usize = 100_000;
        let set = FingerprintSet::with_capacity(0);
        let mut after = None;
        loop {
            let (page, next) = self.store.fingerprints(after, AT_ONCE).await?;
            set.insert(page);
            match next {
                Some(cursor) => after = Some(cursor),
                None => return Ok(set),
            }
        }
    }
}
