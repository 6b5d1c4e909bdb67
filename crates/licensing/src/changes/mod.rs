//! The follower of the store's changes, which keeps the cache true (G5).

mod cuts;
mod read;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

use model::{Clock, Fingerprint, LicenseId};
use store::{Change, ChangeNumber, Store, StoredLicense};

use crate::cache::{History, LicenseCache};
use crate::fleet::{Announced, FleetOptions};
use crate::operations::ManagementCache;
use crate::options::LicensingOptions;

use cuts::CutLearner;

/// The task that reads the changes of the store into the cache, and announces those of this gate to
/// the other gates.
pub(crate) struct ChangeFollower {
    options: LicensingOptions,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    fleet: Arc<FleetOptions>,
    cache: Arc<LicenseCache>,
    /// The cache of management keys, which is cleared when they or accounts changed on another
    /// gate.
    management: Arc<ManagementCache>,
    cuts: CutLearner,
    /// Told of each change of a license that this gate makes.
    listener: OnceLock<ChangeListener>,
    /// Held while the changes are read, so that they are recorded in their order.
    following: tokio::sync::Mutex<()>,
}

/// Somebody who is told that there was a change, and not which.
pub(crate) type ChangeListener = Box<dyn Fn() + Send + Sync>;

/// Returns whether a page of changes, which begins with the last known one, continues from it.
fn is_continued(known: Option<&Change>, changes: &[Change], last: ChangeNumber) -> bool {
    match (known, changes.first()) {
        (Some(known), first) => first == Some(known),
        (None, Some(first)) => first.number == ChangeNumber(1),
        (None, None) => last == ChangeNumber(0),
    }
}

impl ChangeFollower {
    const CHANGES_AT_ONCE: usize = 1_000;
    /// The number of times that one reading may begin again, on a store that changes under it.
    const MAX_RESYNCS: u32 = 3;

    /// Returns the follower of a cache, which knows nothing of the store yet. See
    /// [`ChangeFollower::start`].
    pub(crate) fn new(
        options: LicensingOptions,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        fleet: Arc<FleetOptions>,
        cache: Arc<LicenseCache>,
        management: Arc<ManagementCache>,
    ) -> Self {
        Self {
            cuts: CutLearner::new(&options, store.clone(), cache.clone()),
            options,
            store,
            clock,
            fleet,
            cache,
            management,
            listener: OnceLock::new(),
            following: tokio::sync::Mutex::default(),
        }
    }

    /// Reads the fingerprints of all credentials and the history of changes.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) async fn start(&self) -> Result<(), store::Error> {
        // The number is read first: what is added later comes with the changes after it.
        let (_, last) = self.store.changes_since(ChangeNumber(0), 1).await?;
        self.renew_fingerprints().await?;
        let history = self.history_until(last).await?;
        self.cache.set_history(history);
        Ok(())
    }

    /// Runs the background work for ever: follows the changes and the announcements of other gates,
    /// lets running calls learn what became of their licenses, and renews the fingerprints.
    pub(crate) async fn run(&self) {
        tokio::join!(
            self.run_readings(),
            self.run_renewals(),
            self.cuts.run(),
            self.run_announcements(),
        );
    }

    /// Reads all changes since the last reading, and records when the reading began once it is up
    /// with the store.
    ///
    /// Each page begins with the last known change. If another change stands in its place, or none,
    /// the store is not the one that was read before, or has removed changes that were not read,
    /// and everything is read again.
    ///
    /// # Errors
    /// The store fails, or changes under the reading more than three times.
    pub(crate) async fn follow(&self) -> Result<(), store::Error> {
        let _turn = self.following.lock().await;
        let mut resyncs = 0;
        loop {
            let begun = self.clock.since_boot();
            let known = self.cache.log().history.last();
            let reached = known.map_or(0, |change| change.number.0);
            let after = ChangeNumber(reached.saturating_sub(1));
            let (changes, last) = self
                .store
                .changes_since(after, Self::CHANGES_AT_ONCE)
                .await?;
            if self.cache.is_resyncing() || !is_continued(known.as_ref(), &changes, last) {
                if resyncs == Self::MAX_RESYNCS {
                    let why = "the changes of the store have no end that stays";
                    return Err(store::Error::Corrupt(why.to_owned()));
                }
                resyncs += 1;
                self.resync(last).await?;
                continue;
            }
            let news = changes.iter().skip(usize::from(known.is_some()));
            news.for_each(|change| self.take_in(change));
            if changes.len() < Self::CHANGES_AT_ONCE || self.cache.reached() >= last {
                self.cache.reading().succeeded(begun);
                return Ok(());
            }
        }
    }

    /// Reads the changes that this gate just made by way of the store, so that they are in force
    /// here when the operation returns, and announces them to the other gates. If the store does
    /// not answer, the next poll reads them.
    pub(crate) async fn learn_now(&self) {
        match self.follow().await {
            Ok(()) => self.announce(self.cache.reached()),
            Err(error) => tracing::debug!(%error, "own changes are learnt with the next reading"),
        }
    }

    /// Takes in a change that this gate made and that is committed, and announces it to the other
    /// gates. It is in force here when this returns.
    pub(crate) fn note_own(&self, changed: &StoredLicense, added: Option<Fingerprint>) {
        self.cache.apply_own(changed, added);
        self.announce(changed.version);
        self.tell_listener();
    }

    /// Takes in licenses that this gate created, and announces them to the other gates.
    pub(crate) fn note_created(&self, number: ChangeNumber, created: &[(LicenseId, Fingerprint)]) {
        self.cache.apply_created(number, created);
        self.announce(number);
        self.tell_listener();
    }

    /// Has `listener` told of each change of a license that this gate makes, once it is in force
    /// here. Only the first one is kept. It must not wait.
    pub(crate) fn listen(&self, listener: ChangeListener) {
        let _ = self.listener.set(listener);
    }

    fn tell_listener(&self) {
        if let Some(listener) = self.listener.get() {
            listener();
        }
    }

    /// Tells the other gates that management keys or accounts changed.
    pub(crate) fn announce_keys(&self) {
        if let Some(service) = self.fleet.service() {
            service.announce_keys();
        }
    }

    /// Announces a change that this gate made to the other gates.
    fn announce(&self, number: ChangeNumber) {
        if let Some(service) = self.fleet.service() {
            service.announce(number);
            // The change is read back, so that what the store says from now on can be placed and
            // shared.
            self.cache.reading().request();
        }
    }

    /// Takes in a change that this or another gate may have made.
    fn take_in(&self, change: &Change) {
        if self.cache.apply(change) {
            let after = self.clock.now().since(change.at);
            self.fleet.observer.in_force(after);
        }
    }

    /// Follows the changes for ever.
    async fn run_readings(&self) {
        let mut well = true;
        let mut begun = tokio::time::Instant::now();
        let reading = self.cache.reading();
        loop {
            // An announcement only ends the pause sooner.
            let pause = tokio::time::sleep(self.options.change_poll);
            // A flood of unknown keys has one reading in each `unknown_key_pause`, whatever it asks
            // for.
            let unknown_key = async {
                reading.requested_for_unknown_key().await;
                tokio::time::sleep_until(begun + self.options.unknown_key_pause).await;
            };
            tokio::select! {
                () = pause => {}
                () = reading.requested() => {}
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

    /// Runs [`ChangeFollower::follow`], and records a store that fails or is silent for
    /// `load_timeout` for those who wait for the reading.
    async fn follow_watched(&self) -> Result<(), store::Error> {
        let following = self.follow();
        tokio::pin!(following);
        let timeout = self.options.load_timeout;
        loop {
            let (reached, since) = (self.cache.reached(), self.clock.since_boot());
            let missed = || {
                let reading = self.cache.reading();
                reading.missed(since, self.clock.since_boot(), timeout);
            };
            tokio::select! {
                result = &mut following => {
                    if result.is_err() {
                        missed();
                    }
                    return result;
                }
                () = tokio::time::sleep(timeout) => {
                    if self.cache.reached() == reached {
                        missed();
                    }
                }
            }
        }
    }

    /// Follows the announcements of other gates for ever: each makes this gate read the changes at
    /// once.
    async fn run_announcements(&self) {
        let Some(service) = self.fleet.service() else {
            return std::future::pending().await;
        };
        loop {
            let Announced { number, keys } = service.announced().await;
            if keys || number.is_none() {
                self.management.clear();
            }
            if number.is_none_or(|number| number > self.cache.reached()) {
                self.cache.reading().request();
            }
        }
    }

    /// Drops and reads everything again: what is known does not match the store any more, so that
    /// nothing cached can be trusted. Until that is done, no call is judged by it.
    async fn resync(&self, last: ChangeNumber) -> Result<(), store::Error> {
        tracing::warn!(
            "the license store has other changes than those read so far, everything cached is dropped"
        );
        let renewal = self.cache.begin_resync();
        let fingerprints = read::fingerprints(&*self.store).await?;
        let history = self.history_until(last).await?;
        self.cache.finish_resync(renewal, fingerprints, history);
        self.management.clear();
        self.cache.end_resync();
        Ok(())
    }

    /// Reads the history of changes, only the last one if nothing is shared with other gates.
    async fn history_until(&self, last: ChangeNumber) -> Result<History, store::Error> {
        let longest = match self.fleet.shared {
            Some(_) => History::CAPACITY,
            None => 1,
        };
        read::history(&*self.store, last, longest).await
    }

    /// Reads the fingerprints again each time that their number has doubled, for ever: credentials
    /// that live for an hour, such as access tokens, come and go by the million.
    async fn run_renewals(&self) {
        loop {
            tokio::time::sleep(self.options.change_poll).await;
            if self.cache.fingerprints().has_doubled()
                && let Err(error) = self.renew_fingerprints().await
            {
                tracing::debug!(%error, "the fingerprints of keys cannot be read anew now");
            }
        }
    }

    async fn renew_fingerprints(&self) -> Result<(), store::Error> {
        let renewal = self.cache.fingerprints().renew();
        let fingerprints = read::fingerprints(&*self.store).await?;
        renewal.finish(fingerprints);
        Ok(())
    }
}
