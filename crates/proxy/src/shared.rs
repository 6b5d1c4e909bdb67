//! The state that the connections of one thread share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gate::Worker;

use crate::ticks::Ticks;
use crate::upstream::IdleSockets;

/// The state that the connections of one thread share.
pub(crate) struct Shared {
    pub(crate) worker: Arc<Worker>,
    pub(crate) ticks: Ticks,
    /// The connections to upstreams that are open and unused.
    pub(crate) idle_sockets: IdleSockets,
    draining: AtomicBool,
}

impl Shared {
    pub(crate) fn new(worker: Arc<Worker>) -> Self {
        Self {
            worker,
            ticks: Ticks::default(),
            idle_sockets: IdleSockets::default(),
            draining: AtomicBool::new(false),
        }
    }

    /// Begins the drain: no connection gets another call.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}
