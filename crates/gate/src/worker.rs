//! Workers: the part of the gate that each thread has for itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use journal::{DurableNotifier, Journal, Lane, Space, Unavailable};
use licensing::Admission;
use model::{
    CallHead, CallId, CallRecord, CallTail, Clock, LicenseId, Method, Mode, Outcome, Refusal,
    Symbol, Timestamp,
};
use parking_lot::Mutex;
use telemetry::{CallLabels, Metrics, Shard};

use crate::app::Route;
use crate::catalogue::PlanSymbol;
use crate::routed::Routed;
use crate::time::{Moment, TimeSource};

/// The number of kinds of refusals that are folded at once. Floods of more kinds are counted in
/// metrics only.
const MAX_FOLDS: usize = 4_096;

/// The parts that workers are made of.
#[derive(Clone)]
pub struct WorkerParts {
    /// The journal of the process.
    pub journal: Journal,
    /// The licenses, as far as admission needs them.
    pub admission: Arc<Admission>,
    /// The metrics of the process.
    pub metrics: Arc<Metrics>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

/// The part of the gate that one thread has for itself: a lane of the journal, a shard of the
/// metrics, a counter of call ids. Other threads may use it too, at the cost of sharing.
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

/// Refusals of known licenses and of agents. The first of a kind between two ticks is written at once, the others
/// by the tick, as one record.
type Folds = HashMap<FoldKey, Fold>;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct FoldKey {
    license_id: Option<LicenseId>,
    app: u32,
    route: u32,
    method: Method,
    mode: Mode,
    refusal: Refusal,
}

#[derive(Clone, Copy)]
struct Fold {
    head: CallHead,
    /// The refusals that are not written yet.
    calls: u32,
}

impl Worker {
    /// Returns the worker that owns lane and shard `index`.
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

    /// Returns the current moment. Costs a reading of the clock.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.time.now()
    }

    /// Returns the wall-clock time at a moment. Costs a load.
    #[must_use]
    pub fn wall(&self, moment: Moment) -> Timestamp {
        self.time.wall(moment)
    }

    /// Returns a new call id.
    pub(crate) fn next_id(&self, at: Timestamp) -> CallId {
        let counter = self.counter.fetch_add(1, Ordering::Relaxed);
        CallId::from_parts((at.micros() / 1_000) as u64, self.seed, counter)
    }

    /// Returns the notifier of this worker's lane. Serve it in the runtime of the thread that waits
    /// for commits.
    #[must_use]
    pub fn durable_notifier(&self) -> DurableNotifier {
        self.lane.notifier()
    }

    /// Follows the wall clock and writes folded refusals. Call it once a second.
    pub fn tick(&self) {
        self.time.refresh();
        self.flush();
    }

    /// Counts a request that could not be read.
    pub fn malformed(&self) {
        self.shard.malformed();
    }

    /// Counts a request head that became no call. Returns the identity of its refusal.
    pub fn refuse_head(&self, refusal: Refusal) -> CallId {
        self.malformed();
        self.count_refusal(Symbol::NONE, refusal);
        self.next_id(self.wall(self.now()))
    }

    /// Counts a refusal in the metrics.
    pub(crate) fn count_refusal(&self, app: u32, refusal: Refusal) {
        self.shard.refused(app, refusal as u8);
    }

    /// Defines in the lane what the records of a call name, and reserves room for `frames` frames
    /// with `payload_bytes` together.
    ///
    /// # Errors
    /// The reason why the call must be refused. No room is reserved then.
    pub(crate) fn room_for(
        &self,
        route: &Route,
        plan: Option<&PlanSymbol>,
        payload_bytes: u32,
        frames: u32,
    ) -> Result<Space, Unavailable> {
        self.define(route, plan)?;
        self.lane.reserve(payload_bytes, frames)
    }

    fn define(&self, route: &Route, plan: Option<&PlanSymbol>) -> Result<(), Unavailable> {
        if let Some(plan) = plan {
            self.lane.define(plan.number(), plan.text().as_bytes())?;
        }
        let app = &route.app;
        self.lane.define(app.symbol, app.symbol_text.as_bytes())?;
        self.lane.define(route.symbol, route.symbol_text.as_bytes())
    }

    /// Counts a refusal of a known license, or of an agent, and records it. Floods are folded.
    pub(crate) fn record_refusal(
        &self,
        routed: &Routed,
        license_id: Option<LicenseId>,
        plan: Option<&PlanSymbol>,
        refusal: Refusal,
    ) {
        let route = &routed.route;
        self.count_refusal(route.app.symbol, refusal);
        let key = FoldKey {
            license_id,
            app: route.app.symbol,
            route: route.symbol,
            method: routed.method,
            mode: routed.mode,
            refusal,
        };
        let mut folds = self.folds.lock();
        if let Some(fold) = folds.get_mut(&key) {
            fold.calls = fold.calls.saturating_add(1);
            return;
        }
        if folds.len() >= MAX_FOLDS {
            return;
        }
        if self.define(route, plan).is_err() {
            return;
        }
        let head = CallHead {
            license_id,
            plan: PlanSymbol::number_of(plan),
            status: refusal.status(),
            ..routed.identity_head()
        };
        let duration_us = self.now().micros_since(routed.started);
        let written = self.write_refusal(&head, refusal, 1, duration_us);
        let calls = u32::from(!written);
        folds.insert(key, Fold { head, calls });
    }

    /// Writes the folded refusals. Those that the journal has no room for wait for the next tick.
    fn flush(&self) {
        let mut has_room = true;
        self.folds.lock().retain(|key, fold| {
            if fold.calls > 0 && has_room {
                let head = CallHead {
                    call_id: self.next_id(fold.head.started_at),
                    ..fold.head
                };
                has_room = self.write_refusal(&head, key.refusal, fold.calls, 0);
                return !has_room;
            }
            fold.calls > 0
        });
    }

    /// Writes the record of `calls` refusals of one kind. Returns whether there was room for it. A
    /// refusal is never billed, and nobody waits for its record.
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
    /// Writes the refusals that wait for a tick, so that a gate that is stopped in order has them
    /// all.
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
