//! What one proxy thread owns: a lane of the journal, a shard of the metrics, a counter of call ids.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use journal::{DurableNotifier, Journal, Lane};
use licensing::Admission;
use model::{
    CallHead, CallId, CallRecord, CallTail, Clock, LicenseId, Method, Mode, Outcome, Refusal,
    Symbol, Timestamp,
};
use parking_lot::Mutex;
use telemetry::{CallLabels, Metrics, Shard};

use crate::app::Route;
use crate::time::{Moment, TimeSource};

/// Refusals of different kinds that are folded at once; floods of more kinds than this are counted in metrics only.
const MAX_FOLDS: usize = 4_096;

/// What a worker is made of.
#[derive(Clone)]
pub struct WorkerParts {
    /// The journal of the process.
    pub journal: Journal,
    /// Licenses.
    pub admission: Arc<Admission>,
    /// Metrics of the process.
    pub metrics: Arc<Metrics>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

/// One thread's part of the gate. Other threads may use it too, at the cost of sharing.
pub struct Worker {
    pub(crate) lane: Arc<Lane>,
    pub(crate) journal: Journal,
    pub(crate) admission: Arc<Admission>,
    pub(crate) shard: Arc<Shard>,
    pub(crate) time: TimeSource,
    seed: u64,
    counter: AtomicU32,
    folds: Mutex<Folds>,
}

/// Refusals of known licenses: the first of a kind between two ticks is written at once, the others by the tick, as one
/// record.
type Folds = HashMap<FoldKey, Fold>;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct FoldKey {
    license_id: LicenseId,
    app: u32,
    route: u32,
    method: Method,
    mode: Mode,
    refusal: Refusal,
}

#[derive(Clone, Copy)]
struct Fold {
    head: CallHead,
    calls: u32,
}

/// A refusal of a known license, to be recorded.
pub(crate) struct RefusedCall<'a> {
    pub(crate) license_id: LicenseId,
    pub(crate) plan: (u32, Option<&'a str>),
    pub(crate) route: &'a Route,
    pub(crate) method: Method,
    pub(crate) mode: Mode,
    pub(crate) refusal: Refusal,
    pub(crate) call_id: CallId,
    pub(crate) started: Moment,
    pub(crate) started_at: Timestamp,
}

impl Worker {
    /// The worker that owns lane and shard `index`.
    ///
    /// # Panics
    /// If the journal or the metrics have no such lane or shard, or the system has no randomness.
    #[must_use]
    pub fn new(index: usize, parts: &WorkerParts) -> Arc<Self> {
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).expect("the operating system gives random bytes");
        Arc::new(Self {
            lane: parts.journal.lane(index),
            journal: parts.journal.clone(),
            admission: parts.admission.clone(),
            shard: parts.metrics.shard(index),
            time: TimeSource::new(parts.clock.clone()),
            seed: u64::from_le_bytes(seed),
            counter: AtomicU32::new(0),
            folds: Mutex::default(),
        })
    }

    /// The moment that is now.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.time.now()
    }

    /// What the wall clock showed at a moment.
    #[must_use]
    pub fn wall(&self, moment: Moment) -> Timestamp {
        self.time.wall(moment)
    }

    /// A new call id.
    pub(crate) fn next_id(&self, at: Timestamp) -> CallId {
        let counter = self.counter.fetch_add(1, Ordering::Relaxed);
        CallId::from_parts((at.micros() / 1_000) as u64, self.seed, counter)
    }

    /// The bell of this worker's lane: serve it in the runtime of the thread that waits for commits.
    #[must_use]
    pub fn bell(&self) -> DurableNotifier {
        self.lane.notifier()
    }

    /// To be called once a second: follows the wall clock and writes folded refusals.
    pub fn tick(&self) {
        self.time.refresh();
        self.flush();
    }

    /// Counts a request that could not be read.
    pub fn malformed(&self) {
        self.shard.malformed();
    }

    /// Counts a head that no call came of; the identity of its refusal.
    pub fn refuse_head(&self, refusal: Refusal) -> CallId {
        self.malformed();
        self.count_refusal(Symbol::NONE, refusal);
        self.next_id(self.wall(self.now()))
    }

    /// Counts a refusal that no license is known for.
    pub(crate) fn count_refusal(&self, app: u32, refusal: Refusal) {
        self.shard.refused(app, refusal as u8);
    }

    /// Counts a refusal of a known license and records it; floods are folded.
    pub(crate) fn record_refusal(&self, call: &RefusedCall<'_>) {
        self.count_refusal(call.route.app.symbol, call.refusal);
        let key = FoldKey {
            license_id: call.license_id,
            app: call.route.app.symbol,
            route: call.route.symbol,
            method: call.method,
            mode: call.mode,
            refusal: call.refusal,
        };
        let mut folds = self.folds.lock();
        if let Some(fold) = folds.get_mut(&key) {
            fold.calls = fold.calls.saturating_add(1);
            return;
        }
        if folds.len() >= MAX_FOLDS {
            return;
        }
        if self.define(call).is_err() {
            return;
        }
        let head = call.head();
        let took = self.now().micros_since(call.started);
        let written = self.write_refusal(&head, call.refusal, 1, took);
        let calls = u32::from(!written);
        folds.insert(key, Fold { head, calls });
    }

    /// Has the lane know what the records of a refusal name.
    fn define(&self, call: &RefusedCall<'_>) -> Result<(), journal::Unavailable> {
        let (route, app) = (call.route, &call.route.app);
        self.lane.define(app.symbol, app.symbol_text.as_bytes())?;
        self.lane
            .define(route.symbol, route.symbol_text.as_bytes())?;
        match call.plan {
            (symbol, Some(text)) => self.lane.define(symbol, text.as_bytes()),
            (_, None) => Ok(()),
        }
    }

    /// Writes what was folded. What the journal has no room for waits for the next time.
    fn flush(&self) {
        let mut room = true;
        self.folds.lock().retain(|key, fold| {
            if fold.calls > 0 && room {
                let head = CallHead {
                    call_id: self.next_id(fold.head.started_at),
                    ..fold.head
                };
                room = self.write_refusal(&head, key.refusal, fold.calls, 0);
                return !room;
            }
            fold.calls > 0
        });
    }

    /// Whether there was room for it. A refusal is never billed and nobody waits for its record.
    fn write_refusal(
        &self,
        head: &CallHead,
        refusal: Refusal,
        calls: u32,
        duration_us: u64,
    ) -> bool {
        let tail = CallTail {
            outcome: Outcome::Refused,
            refusal: Some(refusal),
            calls,
            duration_us,
            ..CallTail::default()
        };
        let Ok(space) = self.lane.reserve(CallRecord::LENGTH as u32, 1) else {
            return false;
        };
        let record = CallRecord { head: *head, tail };
        let _ = self.lane.single(space, &record.encode());
        true
    }

    /// Counts a call that is over.
    pub(crate) fn count_call(&self, head: &CallHead, tail: &CallTail) {
        let labels = CallLabels {
            app: head.app,
            route: head.route,
            status: head.status,
            outcome: tail.outcome as u8,
        };
        let overhead = tail.duration_us.saturating_sub(tail.upstream_us);
        self.shard.call(labels, overhead, tail.upstream_us);
    }
}

impl Drop for Worker {
    /// Refusals that wait for a tick are written, so that a gate that ends in good order has them all.
    fn drop(&mut self) {
        self.flush();
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("lane", &self.lane.index())
            .finish_non_exhaustive()
    }
}

impl RefusedCall<'_> {
    fn head(&self) -> CallHead {
        let app = &self.route.app;
        CallHead {
            call_id: self.call_id,
            license_id: Some(self.license_id),
            app: app.symbol,
            route: self.route.symbol,
            plan: self.plan.0,
            method: self.method,
            mode: self.mode,
            status: self.refusal.status(),
            started_at: self.started_at,
            test: app.test,
            ..CallHead::default()
        }
    }
}
