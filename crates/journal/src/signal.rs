//! Signals that wake a background thread, for the price of one load when it is awake.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

/// The sleep of one thread. Whoever has work for the thread first stores the work, sequentially
/// consistent, then wakes it.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    thread: OnceLock<Thread>,
    asleep: AtomicBool,
}

impl Signal {
    /// Makes the calling thread the one that sleeps here.
    pub(crate) fn adopt(&self) {
        let _ = self.thread.set(thread::current());
    }

    /// Sleeps up to `limit` unless `has_work`, which is called after others can see the sleeper.
    /// May return early.
    pub(crate) fn sleep(&self, limit: Duration, has_work: impl FnOnce() -> bool) {
        self.asleep.store(true, Ordering::SeqCst);
        if !has_work() {
            thread::park_timeout(limit);
        }
        self.asleep.store(false, Ordering::SeqCst);
    }

    /// Ends the sleep, if the thread sleeps. Makes a system call only then.
    pub(crate) fn wake(&self) {
        if self.asleep.load(Ordering::SeqCst)
            && self.asleep.swap(false, Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }
}
