//! The call metrics of one worker, counted without sharing and summed up when scraped.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use parking_lot::Mutex;

use crate::agents::{AgentVerdict, AgentVerification, DecisionLabels};
use crate::histogram::Histogram;

/// The labels that calls are counted by. App and route are symbol numbers, named through
/// [`crate::Metrics::name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallLabels {
    /// The symbol of the app.
    pub app: u32,
    /// The symbol of the route.
    pub route: u32,
    /// The status sent; 0: none.
    pub status: u16,
    /// The number of the outcome.
    pub outcome: u8,
}

/// The call metrics of one worker. Its lock is shared with the scraper only.
#[derive(Debug, Default)]
pub struct Shard(Mutex<Counts>);

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) calls: HashMap<CallLabels, u64, BuildHasherDefault<FastHasher>>,
    pub(crate) refused: HashMap<(u32, u8), u64, BuildHasherDefault<FastHasher>>,
    pub(crate) agents: HashMap<DecisionLabels, u64, BuildHasherDefault<FastHasher>>,
    pub(crate) overhead: Histogram,
    pub(crate) upstream: Histogram,
    pub(crate) units_clipped: u64,
    pub(crate) malformed: u64,
}

/// Series that are shown at 0 before anything is counted in them.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    pub(crate) calls: HashSet<CallLabels>,
    pub(crate) refused: HashSet<(u32, u8)>,
}

impl Expected {
    pub(crate) fn add_to(&self, total: &mut Counts) {
        for labels in &self.calls {
            total.calls.entry(*labels).or_default();
        }
        for key in &self.refused {
            total.refused.entry(*key).or_default();
        }
    }
}

impl Shard {
    /// Counts a call that is over, with the gate's own time and the upstream's in microseconds.
    pub fn call(&self, labels: CallLabels, overhead_us: u64, upstream_us: u64) {
        let mut counts = self.0.lock();
        *counts.calls.entry(labels).or_default() += 1;
        counts.overhead.observe_micros(overhead_us);
        counts.upstream.observe_micros(upstream_us);
    }

    /// Counts a refusal, by the symbol of the app (0: none was found) and the number of the
    /// refusal.
    pub fn refused(&self, app: u32, refusal: u8) {
        *self.0.lock().refused.entry((app, refusal)).or_default() += 1;
    }

    /// Counts a decision on an agent, by the symbol of the app.
    pub fn agent(&self, app: u32, verdict: AgentVerdict, verification: AgentVerification) {
        let labels = (app, verdict, verification);
        *self.0.lock().agents.entry(labels).or_default() += 1;
    }

    /// Counts an answer whose units were more than the route declares, or unreadable.
    pub fn units_clipped(&self) {
        self.0.lock().units_clipped += 1;
    }

    /// Counts a request that could not be read.
    pub fn malformed(&self) {
        self.0.lock().malformed += 1;
    }

    pub(crate) fn add_to(&self, total: &mut Counts) {
        let counts = self.0.lock();
        for (labels, count) in &counts.calls {
            *total.calls.entry(*labels).or_default() += count;
        }
        for (key, count) in &counts.refused {
            *total.refused.entry(*key).or_default() += count;
        }
        for (labels, count) in &counts.agents {
            *total.agents.entry(*labels).or_default() += count;
        }
        total.overhead.add(&counts.overhead);
        total.upstream.add(&counts.upstream);
        total.units_clipped += counts.units_clipped;
        total.malformed += counts.malformed;
    }
}

/// A fast hasher for keys that come from our own configuration, so that nobody outside can choose
/// collisions.
#[derive(Default)]
pub(crate) struct FastHasher(u64);

impl Hasher for FastHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }

    fn write_u16(&mut self, value: u16) {
        self.write_u64(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}
