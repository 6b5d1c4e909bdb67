//! The connections of one thread: counted, looked after, told the time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use crate::connection::Connection;
use crate::shared::Shared;
use crate::ticks::{TICK, ticks_in};

/// How often a thread looks for connections that wait too long for a request head or a call, in ticks. Every tick it looks
/// for calls that are to be cut or wait too long.
const SLOW_CARE: u64 = 40;
/// A thread that does not look for so long stood still.
const STANDSTILL: Duration = Duration::from_secs(1);

/// The connections of one thread.
pub(super) struct Connections {
    pub(super) shared: Arc<Shared>,
    all: Mutex<Vec<Weak<Connection>>>,
    active: AtomicUsize,
    none_left: Notify,
}

impl Connections {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            all: Mutex::default(),
            active: AtomicUsize::new(0),
            none_left: Notify::new(),
        }
    }

    pub(super) fn each(&self, action: impl Fn(&Connection)) {
        let all = self.all.lock();
        for connection in all.iter().filter_map(Weak::upgrade) {
            action(&connection);
        }
    }

    /// Takes a connection in, for as long as the returned count lives.
    pub(super) fn count(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        open: Arc<AtomicUsize>,
    ) -> Counted {
        self.active.fetch_add(1, Ordering::AcqRel);
        let mut all = self.all.lock();
        // Forgotten ones are swept out whenever the list would grow.
        if all.len() == all.capacity() {
            all.retain(|connection| connection.strong_count() > 0);
        }
        all.push(Arc::downgrade(connection));
        Counted {
            connections: self.clone(),
            open,
        }
    }

    /// How many there are.
    pub(super) fn active(&self) -> usize {
        self.active.load(Ordering::Acquire)
    }

    /// Has every connection end that has no call, and the others with the call that they have.
    pub(super) fn drain(&self) {
        self.shared.drain();
        self.each(Connection::wake_task);
    }

    /// Waits until there is none.
    pub(super) async fn gone(&self) {
        while self.active() > 0 {
            self.none_left.notified().await;
        }
    }

    /// Looks after them for ever, and tells them the time in ticks.
    pub(super) async fn care(self: Arc<Self>, head_timeout: Duration) {
        let head_ticks = ticks_in(head_timeout);
        let mut before = Instant::now();
        let mut pauses = tokio::time::interval(TICK);
        pauses.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            pauses.tick().await;
            let tick = self.shared.ticks.advance();
            let now = Instant::now();
            if now.duration_since(before) > STANDSTILL {
                self.shared.idle_sockets.close_all();
            }
            before = now;
            self.each(Connection::look);
            if tick.is_multiple_of(SLOW_CARE) {
                self.each(|connection| connection.cut_if_overdue(head_ticks));
                self.shared.idle_sockets.sweep(tick);
            }
        }
    }
}

/// Counts a connection for as long as its task lives, however that ends.
pub(super) struct Counted {
    connections: Arc<Connections>,
    open: Arc<AtomicUsize>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::AcqRel);
        if self.connections.active.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.connections.none_left.notify_one();
        }
    }
}
