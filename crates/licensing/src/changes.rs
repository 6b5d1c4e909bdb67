//! The follower of the store's changes, which keeps the cache true (G5).
//!
//! Every change raises the version of its license's state: entries read before are outdated from
//! then on and are loaded again by the next call. The log recognises a fill that raced with a
//! change: the fill is thrown away if a newer change than what it read came in since it began.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::Ordering;

use model::{CredentialId, Fingerprint, LicenseId, Timestamp};
use store::{Change, ChangeNumber, StoredLicense};

use crate::fingerprints::FingerprintSet;
use crate::fleet::History;
use crate::licensing::Licensing;

/// The recent changes, in the order in which this gate learned of them.
#[derive(Debug)]
pub(crate) struct ChangeLog {
    recent: VecDeque<Noted>,
    /// The number of changes ever recorded. The last of `recent` has this number.
    noted: u64,
    /// The changes that were read from the store. What other gates shared is placed in them.
    pub(crate) history: History,
}

/// A recorded change.
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
    const MAX_CHANGES: usize = 8_192;

    pub(crate) const fn mark(&self) -> Mark {
        Mark(self.noted)
    }

    fn note(&mut self, change: Noted) {
        if self.recent.len() == Self::MAX_CHANGES {
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

    /// Returns whether a credential of this fingerprint came in lately.
    pub(crate) fn is_added(&self, fingerprint: Fingerprint) -> bool {
        let mut recent = self.recent.iter();
        recent.any(|change| change.added == Some(fingerprint))
    }

    /// Returns whether something that was read after `mark` may be older than a change that matters
    /// to it.
    pub(crate) fn is_superseded(&self, mark: Mark, matters: impl Fn(&Noted) -> bool) -> bool {
        let since = usize::try_from(self.noted - mark.0).unwrap_or(usize::MAX);
        since > self.recent.len() || self.recent.iter().rev().take(since).any(matters)
    }
}

/// Returns whether a page of changes, which begins with the last known one, continues from it.
fn is_continued(known: Option<&Change>, changes: &[Change], last: ChangeNumber) -> bool {
    match (known, changes.first()) {
        (Some(known), first) => first == Some(known),
        (None, Some(first)) => first.number == ChangeNumber(1),
        (None, None) => last == ChangeNumber(0),
    }
}

impl Licensing {
    const CHANGES_AT_ONCE: usize = 1_000;
    /// The number of licenses that one statement reads when running calls must learn of them.
    const LICENSES_AT_ONCE: usize = 256;
    /// How often one reading may begin again, on a store that changes under it.
    const BEGINNINGS: u32 = 3;

    /// Reads all changes since the last reading, and records when the reading began once it is up
    /// with the store.
    ///
    /// Each page begins with the last known change. If another change stands in its place, or none,
    /// the store is not the one that was read before, or has removed changes that were not read,
    /// and everything is read again.
    pub(crate) async fn follow(&self) -> Result<(), store::Error> {
        let _turn = self.following.lock().await;
        let mut anew = 0;
        loop {
            let begun = self.clock.since_boot();
            let known = self.log.lock().history.last();
            let reached = known.map_or(0, |change| change.number.0);
            let after = ChangeNumber(reached.saturating_sub(1));
            let (changes, last) = self
                .store
                .changes_since(after, Self::CHANGES_AT_ONCE)
                .await?;
            let is_astray = self.resyncing.load(Ordering::Acquire);
            if is_astray || !is_continued(known.as_ref(), &changes, last) {
                if anew == Self::BEGINNINGS {
                    let why = "the changes of the store have no end that stays";
                    return Err(store::Error::Corrupt(why.to_owned()));
                }
                anew += 1;
                self.start_over(last).await?;
                continue;
            }
            let news = changes.iter().skip(usize::from(known.is_some()));
            news.for_each(|change| self.note(change));
            if changes.len() < Self::CHANGES_AT_ONCE || self.shareable() >= last {
                self.reading.succeeded(begun);
                return Ok(());
            }
        }
    }

    /// Reads the changes that this gate just made by way of the store, so that they are in force
    /// here when the operation returns, and announces them to the other gates. If the store does
    /// not answer, the next poll reads them.
    pub(crate) async fn learn_now(&self) {
        match self.follow().await {
            Ok(()) => self.announce(self.shareable()),
            Err(error) => tracing::debug!(%error, "own changes are learnt with the next reading"),
        }
    }

    /// Follows the changes for ever.
    pub(crate) async fn serve_changes(&self) {
        let mut well = true;
        let mut begun = tokio::time::Instant::now();
        loop {
            // An announcement only ends the pause sooner.
            let pause = tokio::time::sleep(self.options.change_poll);
            // A flood of unknown keys has one reading in each `unknown_key_pause`, whatever it asks
            // for.
            let unknown_key = async {
                self.unknown_key.notified().await;
                tokio::time::sleep_until(begun + self.options.unknown_key_pause).await;
            };
            tokio::select! {
                () = pause => {}
                () = self.wake.notified() => {}
                () = unknown_key => {}
            }
            begun = tokio::time::Instant::now();
            let result = self.follow_watched().await;
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

    /// Runs [`Licensing::follow`], and records a store that fails or is silent for `load_timeout`
    /// for those who wait for the reading.
    async fn follow_watched(&self) -> Result<(), store::Error> {
        let following = self.follow();
        tokio::pin!(following);
        let timeout = self.options.load_timeout;
        loop {
            let (reached, since) = (self.shareable(), self.clock.since_boot());
            let missed = || {
                self.reading.missed(since, self.clock.since_boot(), timeout);
            };
            tokio::select! {
                result = &mut following => {
                    if result.is_err() {
                        missed();
                    }
                    return result;
                }
                () = tokio::time::sleep(timeout) => {
                    if self.shareable() == reached {
                        missed();
                    }
                }
            }
        }
    }

    /// Records a change that this or another gate may have made.
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
            self.pending_cuts.lock().insert(change.license_id);
            self.cuts_wanted.notify_one();
        }
    }

    /// Records a change that this gate made and that is committed. It is in force when this
    /// returns.
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
                state.learn_all(changed);
            }
        }
        drop(log);
        self.announce(changed.version);
    }

    /// Records licenses that this gate created.
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

    /// Reads for ever what running calls must know of licenses that other gates changed.
    pub(crate) async fn serve_learning(&self) {
        loop {
            let ids: Vec<LicenseId> = {
                let mut pending_cuts = self.pending_cuts.lock();
                std::mem::take(&mut *pending_cuts).into_iter().collect()
            };
            if ids.is_empty() {
                self.cuts_wanted.notified().await;
            }
            let known = ids.into_iter().filter(|id| self.states.get(*id).is_some());
            let known: Vec<_> = known.collect();
            let mut failed = HashSet::new();
            for some in known.chunks(Self::LICENSES_AT_ONCE) {
                match self.learn_some(some).await {
                    Ok(older) => failed.extend(older),
                    Err(_) => failed.extend(some),
                }
            }
            if !failed.is_empty() {
                self.pending_cuts.lock().extend(failed);
                tokio::time::sleep(self.options.change_poll / 4).await;
            }
        }
    }

    /// Reads some licenses for their running calls. Returns those of which an older version was
    /// read than is known.
    async fn learn_some(&self, ids: &[LicenseId]) -> Result<Vec<LicenseId>, store::Error> {
        let stored = self.store.licenses_by_ids(ids.to_vec()).await?;
        let stored: HashMap<_, _> = stored
            .into_iter()
            .map(|stored| (stored.license.id, stored))
            .collect();
        let ends = self.token_ends(ids).await?;
        let _log = self.log.lock();
        let mut older = Vec::new();
        for id in ids {
            let Some(state) = self.states.get(*id) else {
                continue;
            };
            match stored.get(id) {
                None => state.learn_gone(),
                Some(stored) if stored.version < state.version() => older.push(*id),
                Some(stored) => {
                    let of_it = |token: CredentialId| ends.get(&token).map(|end| (token, *end));
                    let tokens = state.tokens();
                    tokens.learn(tokens.all().into_iter().filter_map(of_it));
                    state.learn_all(stored);
                }
            }
        }
        Ok(older)
    }

    /// Returns when the access tokens end that running calls of these licenses may have presented.
    async fn token_ends(
        &self,
        ids: &[LicenseId],
    ) -> Result<HashMap<CredentialId, Timestamp>, store::Error> {
        let tokens = ids.iter().filter_map(|id| self.states.get(*id));
        let tokens = tokens.flat_map(|state| {
            let tokens = state.tokens().all();
            tokens.into_iter().map(move |token| (state.id(), token))
        });
        let tokens: Vec<_> = tokens.collect();
        if tokens.is_empty() {
            return Ok(HashMap::new());
        }
        Ok(self.store.token_ends(tokens).await?.into_iter().collect())
    }

    /// Drops and reads everything again: what is known does not match the store any more, so that
    /// nothing cached can be trusted. Until that is done, no call is judged by it.
    async fn start_over(&self, last: ChangeNumber) -> Result<(), store::Error> {
        tracing::warn!(
            "the license store has other changes than those read so far, everything cached is dropped"
        );
        self.resyncing.store(true, Ordering::Release);
        self.drop_everything();
        let renewal = self.fingerprints.renew();
        let fingerprints = self.read_fingerprints().await?;
        let history = self.history_until(last).await?;
        self.drop_everything();
        self.log.lock().history = history;
        renewal.finish(fingerprints);
        self.management.clear();
        self.cuts_wanted.notify_one();
        self.resyncing.store(false, Ordering::Release);
        Ok(())
    }

    /// Drops all entries. Everything must be loaded again, and running calls must learn again what
    /// became of their licenses.
    fn drop_everything(&self) {
        let mut log = self.log.lock();
        log.forget();
        self.cache.clear();
        self.negative.clear();
        let mut pending_cuts = self.pending_cuts.lock();
        self.states.for_each(|state| {
            state.forget_version();
            pending_cuts.insert(state.id());
        });
    }

    /// Reads the history of changes, only the last one if nothing is shared with other gates.
    pub(crate) async fn read_history(&self, last: ChangeNumber) -> Result<(), store::Error> {
        let history = self.history_until(last).await?;
        self.log.lock().history = history;
        Ok(())
    }

    async fn history_until(&self, last: ChangeNumber) -> Result<History, store::Error> {
        let longest = match self.fleet.shared {
            Some(_) => History::CAPACITY,
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

    /// Reads the fingerprints again each time that their number has doubled, for ever: credentials
    /// that live for an hour, such as access tokens, come and go by the million.
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
        const BATCH_SIZE: usize = 100_000;
        let set = FingerprintSet::with_capacity(0);
        let mut after = None;
        loop {
            let (page, next) = self.store.fingerprints(after, BATCH_SIZE).await?;
            set.insert(page);
            match next {
                Some(cursor) => after = Some(cursor),
                None => return Ok(set),
            }
        }
    }
}
