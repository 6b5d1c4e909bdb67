//! The running ledger: the lanes of this process, its threads, and the questions that it answers.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use journal::{Journal, Lane};
use model::InstanceId;
use store::Store;
use tokio::runtime::Handle;

use crate::context::{Batch, LaneSource, LedgerContext, Source};
use crate::error::Error;
use crate::follow::Ahead;
use crate::options::LedgerOptions;
use crate::recover::{Backlog, CatchUp, RecoveryQueue, catch_up_thread, write_acknowledged};
use crate::roll::Rolling;
use crate::seal::{FILE_ROWS, Sealing};
use crate::stats::{Counts, LedgerStats};
use crate::threads::{Stop, roll_thread, seal_thread};

/// The ledger of this process. Cheap to clone; every clone is the same ledger.
#[derive(Clone)]
pub struct Ledger {
    pub(crate) shared: Arc<Shared>,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger")
            .field("instance", &self.shared.instance)
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

/// The state that the threads and the handles share.
pub(crate) struct Shared {
    pub(crate) options: LedgerOptions,
    pub(crate) context: LedgerContext,
    pub(crate) instance: InstanceId,
    pub(crate) lanes: Vec<LiveLane>,
    /// The recovery of earlier starts, beside the calls.
    pub(crate) catch_up: CatchUp,
    /// The roll-up state of each lane. Only the holder of the lock rolls up.
    rolling: Mutex<Vec<Rolling>>,
    /// The sealing state of each lane. Only the holder of the lock seals.
    sealing: Mutex<Vec<Sealing>>,
    /// The number of readers at work, see [`Reading`].
    pub(crate) readers: AtomicUsize,
    /// The rows of a sealed file that a follower is to be given next.
    pub(crate) ahead: Mutex<Option<Ahead>>,
    pub(crate) stop: Stop,
    journal: Journal,
    pub(crate) runtime: Handle,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// A lane of this process.
pub(crate) struct LiveLane {
    pub(crate) lane: Arc<Lane>,
    pub(crate) source: LaneSource,
    rolled: AtomicU64,
    sealed: AtomicU64,
    /// The number of bytes that were written to the lane when it was sealed last.
    sealed_bytes: AtomicU64,
}

/// A guard of somebody who reads: as long as it lives, no segment is released and no file removed.
pub(crate) struct Reading(Arc<Shared>);

/// The result of a ledger's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Whether everything of this start is stored and sealed, and the instance is finished.
    pub clean: bool,
    /// The number of records of this start that are still to be shipped, by the next one.
    pub pending: u64,
    /// The number of instances of earlier starts that the next start goes on with.
    pub left: usize,
}

impl Ledger {
    /// The time that the end waits for the recovery of earlier starts.
    const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(5);
    /// The time after which the end stops trying a store that is out of reach; a try under way is
    /// finished. PostgreSQL's breaker tries a lost server every 1.25 s at most, so that one that is
    /// back is found.
    const STORE_TIMEOUT: Duration = Duration::from_secs(5);
    /// The pause between two tries of the last roll-up.
    const RETRY_PAUSE: Duration = Duration::from_millis(200);

    /// Starts to ship the records of this process, lanes `0..lanes` of its journal, and nothing of
    /// earlier starts.
    ///
    /// Keep the runtime until [`Ledger::shutdown`] has returned.
    ///
    /// # Errors
    /// Returns an error when the store does not take the instance, or the directory cannot be used.
    pub async fn start(
        options: LedgerOptions,
        journal: Journal,
        instance: InstanceId,
        lanes: usize,
        store: Arc<dyn Store>,
        runtime: Handle,
    ) -> Result<Self, Error> {
        let nothing = Backlog::none(options, store, runtime)?;
        Self::start_with(nothing, journal, instance, lanes).await
    }

    /// Starts the ledger as [`Ledger::start`] does, and recovers the instances of `backlog` beside
    /// that.
    ///
    /// # Errors
    /// Returns the errors of [`Ledger::start`].
    pub async fn start_with(
        backlog: Backlog,
        journal: Journal,
        instance: InstanceId,
        lanes: usize,
    ) -> Result<Self, Error> {
        let (options, context, runtime, work) = backlog.into_parts();
        let (now, node) = (options.clock.now(), options.node.clone());
        context
            .store
            .all()
            .begin_instance(instance, node, now)
            .await?;
        let live = |index: usize| LiveLane::new(&options.node, instance, journal.lane(index));
        let lanes: Vec<_> = (0..lanes).map(live).collect();
        let shared = Arc::new(Shared {
            rolling: Mutex::new(lanes.iter().map(|_| Rolling::default()).collect()),
            sealing: Mutex::new(lanes.iter().map(|_| Sealing::default()).collect()),
            options,
            context,
            instance,
            lanes,
            catch_up: CatchUp::of(work),
            readers: AtomicUsize::new(0),
            ahead: Mutex::default(),
            stop: Stop::default(),
            journal,
            runtime,
            threads: Mutex::default(),
        });
        let ledger = Self { shared };
        ledger.spawn("ledger-rollup", roll_thread)?;
        ledger.spawn("ledger-seal", seal_thread)?;
        ledger.spawn("ledger-catchup", catch_up_thread)?;
        Ok(ledger)
    }

    /// Spawns a thread. Its name begins with `ledger-`, by which its processor time is counted
    /// apart.
    fn spawn(&self, name: &'static str, body: fn(&Shared)) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || body(&shared))
            .map_err(Error::io(
                "start a thread for",
                &self.shared.options.directory,
            ))?;
        lock(&self.shared.threads).push(thread);
        Ok(())
    }

    /// Returns the earlier starts whose journals are read here beside the calls: [`Ledger::calls`]
    /// has their records, though not all of them are in rollups and sealed files. Takes a lock for
    /// a moment.
    #[must_use]
    pub fn earlier_starts(&self) -> Vec<InstanceId> {
        self.shared.catch_up.instances()
    }

    /// Returns the counts of this process, in records.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts {
            lost: self.shared.context.stats.lost(),
            behind: self.shared.catch_up.behind(),
            ..Counts::default()
        };
        for lane in &self.shared.lanes {
            // In this order, so that what is stored was accepted.
            let stored = lane.rolled.load(Ordering::Acquire);
            let accepted = lane.lane.closed().max(stored);
            counts.stored += stored;
            counts.accepted += accepted;
            counts.pending += accepted - stored;
        }
        counts
    }

    /// Returns the counters since the start.
    #[must_use]
    pub fn stats(&self) -> &LedgerStats {
        &self.shared.context.stats
    }

    /// Waits up to `timeout` until the records of earlier starts are in the rollups and their
    /// leases are returned. Returns whether they are. Does not wait for a store that fails.
    /// Recovery makes no pauses meanwhile.
    ///
    /// # Errors
    /// Returns an error when the runtime is stopping.
    pub async fn caught_up(&self, timeout: Duration) -> Result<bool, Error> {
        let shared = Arc::clone(&self.shared);
        self.run(move || Ok(shared.catch_up.wait(timeout, |progress| progress.is_rolled)))
            .await
    }

    /// Asks the store on a thread that may wait for it.
    pub(crate) async fn ask<T, F>(
        &self,
        question: impl FnOnce(Arc<dyn Store>) -> F + Send + 'static,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, store::Error>>,
    {
        let shared = Arc::clone(&self.shared);
        self.run(move || shared.context.store.ask(question)).await
    }

    /// Rolls up every record that was closed before the call.
    ///
    /// # Errors
    /// Returns an error when the store does not answer or the journal cannot be read;
    /// [`Error::Behind`] when all is rolled up but what the disk has not taken.
    pub async fn ship(&self) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let visible = shared.visible().await;
        self.run(move || shared.roll(Batch::UntilDone)).await?;
        visible
    }

    /// Seals every record that was closed before the call.
    ///
    /// # Errors
    /// Returns an error when the store does not answer, the journal cannot be read, or the file
    /// cannot be written; [`Error::Behind`] when all is sealed but what the disk has not taken.
    pub async fn seal(&self) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let visible = shared.visible().await;
        self.run(move || shared.seal(|_| true, Batch::UntilDone))
            .await?;
        visible
    }

    /// Ends the ledger: a last roll-up and seal. When everything is stored and no call is open, the
    /// instance is settled and finished. Call it when no more calls come in and before the journal
    /// is shut down. Waits up to 5 s for a store that is out of reach.
    ///
    /// # Errors
    /// Returns an error when the last roll-up or seal fails; what is left is shipped by the next
    /// start.
    pub async fn shutdown(&self) -> Result<Ended, Error> {
        let shared = Arc::clone(&self.shared);
        self.run(move || {
            let timeout = Self::CATCH_UP_TIMEOUT;
            Ok(shared.catch_up.wait(timeout, |progress| progress.is_over))
        })
        .await?;
        self.abandon().await?;
        let shared = Arc::clone(&self.shared);
        // Records that are not visible now are left for the next start.
        let _later = shared.visible().await;
        let begun = Instant::now();
        loop {
            let shared = Arc::clone(&self.shared);
            let last = move || {
                shared.roll(Batch::UntilDone)?;
                shared.seal(|_| true, Batch::UntilDone)?;
                shared.finish()
            };
            match self.run(last).await {
                Err(Error::Store(store::Error::Unavailable(_)))
                    if begun.elapsed() < Self::STORE_TIMEOUT =>
                {
                    tokio::time::sleep(Self::RETRY_PAUSE).await;
                }
                ended => return ended,
            }
        }
    }

    /// Ends the threads and nothing else: what is pending stays in the journal, for the next start.
    ///
    /// # Errors
    /// Returns an error when a thread had died.
    pub async fn abandon(&self) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        self.run(move || {
            shared.stop.set();
            let threads = std::mem::take(&mut *lock(&shared.threads));
            let mut joined = threads.into_iter().map(JoinHandle::join);
            joined
                .try_for_each(|thread| thread)
                .map_err(|_| Error::Stopped)
        })
        .await
    }

    /// Runs work that waits for disks and the store, on a thread for that.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.shared
            .runtime
            .spawn_blocking(work)
            .await
            .map_err(|_| Error::Stopped)?
    }
}

impl LiveLane {
    fn new(node: &str, instance: InstanceId, lane: Arc<Lane>) -> Self {
        Self {
            source: LaneSource {
                instance,
                lane: u32::try_from(lane.index()).expect("a journal has at most 1,024 lanes"),
                node: node.to_owned(),
                records: Source::Live(Arc::clone(&lane)),
            },
            lane,
            rolled: AtomicU64::new(0),
            sealed: AtomicU64::new(0),
            sealed_bytes: AtomicU64::new(0),
        }
    }

    pub(crate) fn sealed(&self) -> u64 {
        self.sealed.load(Ordering::SeqCst)
    }

    /// Returns whether the lane is rolled up further than it is sealed.
    pub(crate) fn is_unsealed(&self) -> bool {
        self.sealed() < self.rolled.load(Ordering::SeqCst)
    }

    /// Returns whether a whole file is to be sealed.
    pub(crate) fn fills_a_file(&self) -> bool {
        self.unsealed().0 >= FILE_ROWS
    }

    /// Returns the records that are closed and not sealed, and the bytes of journal since the last
    /// seal.
    pub(crate) fn unsealed(&self) -> (u64, u64) {
        let records = self.lane.closed().saturating_sub(self.sealed());
        let before = self.sealed_bytes.load(Ordering::Relaxed);
        (records, self.lane.written().0.saturating_sub(before))
    }
}

impl Reading {
    pub(crate) fn begin(shared: Arc<Shared>) -> Self {
        shared.readers.fetch_add(1, Ordering::SeqCst);
        Self(shared)
    }

    pub(crate) const fn ledger(&self) -> &Arc<Shared> {
        &self.0
    }
}

impl std::ops::Deref for Reading {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.readers.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A guard that keeps both positions of all lanes where they are, those of earlier starts too.
pub(crate) struct Frozen<'a> {
    pub(crate) backlog: MutexGuard<'a, RecoveryQueue>,
    pub(crate) rolling: MutexGuard<'a, Vec<Rolling>>,
    pub(crate) sealing: MutexGuard<'a, Vec<Sealing>>,
}

impl Shared {
    /// Rolls up every lane; one that fails does not keep the others. Returns whether there may be
    /// more.
    pub(crate) fn roll(&self, batch: Batch) -> Result<bool, Error> {
        self.roll_held(&mut lock(&self.rolling), batch)
    }

    fn roll_held(&self, rolling: &mut [Rolling], batch: Batch) -> Result<bool, Error> {
        let mut result = Ok(false);
        let before = self.rolled();
        for (lane, rolling) in self.lanes.iter().zip(rolling) {
            let done = rolling.roll(&self.context, &lane.source, batch);
            lane.rolled.store(rolling.rolled, Ordering::Release);
            if done.is_err() {
                self.context.stats.failures.fetch_add(1, Ordering::Relaxed);
                self.context.observer.failed();
            }
            result = result.and_then(|more| Ok(done? || more));
        }
        let rolled = self.rolled();
        // On a full disk the file is older than the position, which is not wrong.
        if rolled != before
            && let Err(error) = write_acknowledged(self.journal.directory(), &rolled)
        {
            tracing::debug!(%error, "what the store acknowledged is not written down");
        }
        self.release();
        result
    }

    /// Returns the positions that the store acknowledged, by lane.
    pub(crate) fn rolled(&self) -> Vec<u64> {
        let lanes = self.lanes.iter();
        lanes
            .map(|lane| lane.rolled.load(Ordering::Acquire))
            .collect()
    }

    /// Seals the lanes that are due.
    pub(crate) fn seal(&self, due: impl Fn(&LiveLane) -> bool, batch: Batch) -> Result<(), Error> {
        self.seal_held(&mut lock(&self.sealing), due, batch)
    }

    pub(crate) fn seal_held(
        &self,
        sealing: &mut [Sealing],
        due: impl Fn(&LiveLane) -> bool,
        batch: Batch,
    ) -> Result<(), Error> {
        let mut result = Ok(());
        for (lane, sealing) in self.lanes.iter().zip(sealing) {
            if !due(lane) {
                continue;
            }
            let written = lane.lane.written().0;
            let done = sealing.seal(&self.context, &lane.source, batch);
            lane.sealed.store(sealing.sealed, Ordering::SeqCst);
            if done.is_ok() && !lane.fills_a_file() {
                lane.sealed_bytes.store(written, Ordering::Relaxed);
            }
            if done.is_err() {
                self.context.stats.failures.fetch_add(1, Ordering::Relaxed);
                self.context.observer.failed();
            }
            result = result.and(done);
        }
        self.release();
        result
    }

    /// Lets the journal recycle the segments that are both rolled up and sealed, unless somebody is
    /// reading.
    fn release(&self) {
        for lane in &self.lanes {
            let through = lane.rolled.load(Ordering::SeqCst).min(lane.sealed());
            if self.readers.load(Ordering::SeqCst) == 0 {
                lane.lane.release_through(through);
            }
        }
    }

    /// Rolls up everything, then keeps both positions where they are. Returns how the roll-up went,
    /// too.
    pub(crate) fn freeze(&self) -> (Frozen<'_>, Result<(), Error>) {
        let mut frozen = Frozen {
            // All locks are taken in this order everywhere.
            backlog: lock(&self.catch_up.work),
            rolling: lock(&self.rolling),
            sealing: lock(&self.sealing),
        };
        let shipped = self.roll_held(&mut frozen.rolling, Batch::UntilDone);
        (frozen, shipped.map(drop))
    }

    /// Settles and finishes the instance, if no record of it is pending.
    fn finish(&self) -> Result<Ended, Error> {
        let behind = |lane: &LiveLane| {
            let stored = lane.rolled.load(Ordering::SeqCst).min(lane.sealed());
            lane.lane.closed().saturating_sub(stored)
        };
        let pending = self.lanes.iter().map(behind).sum();
        let open: u64 = self.lanes.iter().map(|lane| lane.lane.open_count()).sum();
        let clean = pending == 0 && open == 0 && self.journal.stats().marks == 0;
        let left = self.catch_up.instances().len();
        if clean {
            let (instance, now) = (self.instance, self.context.clock.now());
            self.context.store.ask(|store| async move {
                store.settle_instance(instance).await?;
                store.finish_instance(instance, now).await
            })?;
        }
        Ok(Ended {
            clean,
            pending,
            left,
        })
    }
}
