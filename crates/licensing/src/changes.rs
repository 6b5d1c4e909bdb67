//! Follows the store's changes, so that what is cached stays true (G5).
//!
//! Every change raises the version of its license's state: entries read before are outdated from then on and are loaded
//! again by the next call. A fill that raced with a change is told by the log: it is thrown away if a change came in
//! since the fill began that is newer than what it read.

use std::collections::{HashSet, VecDeque};

use model::{Fingerprint, LicenseId};
use store::{Change, ChangeNumber, StoredLicense};

use crate::fingerprints::FingerprintSet;
use crate::fleet::History;
use crate::licensing::Licensing;

/// The changes of the recent past, in the order in which this gate learned of them.
#[derive(Debug)]
pub(crate) struct ChangeLog {
    recent: VecDeque<Noted>,
    /// Changes ever noted; the last of `recent` is this one.
    noted: u64,
    /// The changes that were read from the store, by which that is judged which other gates read.
    pub(crate) history: History,
}

/// What was learned of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Noted {
    pub(crate) number: ChangeNumber,
    pub(crate) license_id: LicenseId,
    pub(crate) added: Option<Fingerprint>,
}

impl Default for ChangeLog {
    fn default() -> Self {
        Self {
            recent: VecDeque::new(),
            noted: 0,
            history: History::new(1),
        }
    }
}

/// A point in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark(u64);

impl ChangeLog {
    const LONGEST: usize = 8_192;

    pub(crate) const fn mark(&self) -> Mark {
        Mark(self.noted)
    }

    fn note(&mut self, change: Noted) {
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
        self.history.forget();
    }

    /// Whether a credential of this fingerprint came in lately.
    pub(crate) fn is_added(&self, fingerprint: Fingerprint) -> bool {
        let mut recent = self.recent.iter();
        recent.any(|change| change.added == Some(fingerprint))
    }

    /// Whether something that was read after `mark` may be older than a change that matters to it.
    pub(crate) fn is_superseded(&self, mark: Mark, matters: impl Fn(&Noted) -> bool) -> bool {
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
                self.note(change);
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
    /// returns, and tells the other gates. Where the store does not answer, the next turn reads them.
    pub(crate) async fn learn_now(&self) {
        match self.follow().await {
            Ok(()) => self.announce(self.seen_change()),
            Err(error) => tracing::debug!(%error, "own changes are learnt with the next reading"),
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
    fn note(&self, change: &Change) {
        let mut log = self.log.lock();
        if let Some(fingerprint) = change.added {
            self.learn_fingerprint(fingerprint);
        }
        let is_news = change.added.is_none() && !log.history.knows(change);
        log.history.push(change);
        log.note(Noted {
            number: change.number,
            license_id: change.license_id,
            added: change.added,
        });
        let state = self.states.get(change.license_id);
        let outdated = state.is_some_and(|state| state.outdate(change.number));
        drop(log);
        if is_news {
            let after = self.clock.now().since(change.at);
            self.fleet.observer.in_force(after);
        }
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
        log.history.note(changed.license.id, changed.version);
        log.note(Noted {
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
        drop(log);
        self.announce(changed.version);
    }

    /// Notes licenses that were created here.
    pub(crate) fn note_created(&self, number: ChangeNumber, created: &[(LicenseId, Fingerprint)]) {
        let mut log = self.log.lock();
        for (license_id, fingerprint) in created {
            self.learn_fingerprint(*fingerprint);
            log.note(Noted {
                number,
                license_id: *license_id,
                added: Some(*fingerprint),
            });
        }
        drop(log);
        self.announce(number);
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
        let renewal = self.fingerprints.renew();
        let fingerprints = self.read_fingerprints().await?;
        let history = self.history_until(last).await?;
        let mut log = self.log.lock();
        log.forget();
        log.history = history;
        renewal.finish(fingerprints);
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

    /// Reads the last changes, if there is somebody to share with.
    pub(crate) async fn read_history(&self, last: ChangeNumber) -> Result<(), store::Error> {
        let history = self.history_until(last).await?;
        self.log.lock().history = history;
        Ok(())
    }

    async fn history_until(&self, last: ChangeNumber) -> Result<History, store::Error> {
        let longest = match self.fleet.shared {
            Some(_) => History::LONGEST,
            None => 1,
        };
        let mut history = History::new(longest);
        let mut after = ChangeNumber(last.0.saturating_sub(longest as u64));
        while after < last {
            let (changes, _) = self
                .store
                .changes_since(after, Self::CHANGES_AT_ONCE)
                .await?;
            let upto = changes.iter().take_while(|change| change.number <= last);
            upto.for_each(|change| history.push(change));
            match changes.last() {
                Some(change) => after = change.number,
                None => break,
            }
        }
        Ok(history)
    }

    /// Reads the fingerprints anew for ever, each time that they have doubled: credentials that live for an hour, such as
    /// access tokens, come and go by the million.
    pub(crate) async fn serve_fingerprints(&self) {
        loop {
            tokio::time::sleep(self.options.change_poll).await;
            if self.fingerprints.has_doubled()
                && let Err(error) = self.renew_fingerprints().await
            {
                tracing::debug!(%error, "the fingerprints of keys cannot be read anew now");
            }
        }
    }

    pub(crate) async fn renew_fingerprints(&self) -> Result<(), store::Error> {
        let renewal = self.fingerprints.renew();
        let fingerprints = self.read_fingerprints().await?;
        renewal.finish(fingerprints);
        Ok(())
    }

    async fn read_fingerprints(&self) -> Result<FingerprintSet, store::Error> {
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
