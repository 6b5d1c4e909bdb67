//! Waking a background thread, for the price of one load when it is awake.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

/// The sleep of one thread. Whoever has work for it first stores the work, sequentially consistent, then wakes.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    thread: OnceLock<Thread>,
    asleep: AtomicBool,
}

impl Signal {
    /// Names the calling thread as the one that sleeps here.
    pub(crate) fn adopt(&self) {
        let _ = self.thread.set(thread::current());
    }

    /// Sleeps up to `limit` unless `has_work`, which is asked after others can see the sleeper; may return early.
    pub(crate) fn sleep(&self, limit: Duration, has_work: impl FnOnce() -> bool) {
        self.asleep.store(true, Ordering::SeqCst);
        if !has_work() {
            thread::park_timeout(limit);
        }
        self.asleep.store(false, Ordering::SeqCst);
    }

    /// Ends the sleep, if there is one. A system call only then.
    pub(crate) fn wake(&self) {
        if self.asleep.load(Ordering::SeqCst)
            && self.asleep.swap(false, Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }
}
