//! The open connections: their number, the limits on it, and the timeouts that are checked every
//! tick.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use gate::Worker;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use super::address_counts::{AddressCounts, AddressPermit};
use super::options::EdgeOptions;
use crate::connection::{BodyRate, Connection};
use crate::shared::Shared;
use crate::ticks::{TICK, ticks_in};

/// The ticks after which a thread looks for connections that wait too long for a request head or a
/// call. Every tick it looks for calls that must be cut or wait too long.
const SLOW_CARE_TICKS: u64 = 40;
/// The longest time between two ticks of a thread that was not suspended.
const MAX_TICK_GAP: Duration = Duration::from_secs(1);

/// The time for which a request body may be waited for at any rate.
const BODY_GRACE: Duration = Duration::from_secs(20);

/// The connections of all threads.
pub(super) struct AllConnections {
    pub(super) threads: Vec<Arc<Connections>>,
    addresses: Arc<AddressCounts>,
    max: usize,
    open: AtomicUsize,
    /// The number of connections that were told to give way and have not ended yet.
    leaving: AtomicUsize,
}

/// The permit for one connection. Dropped, it is free again.
pub(super) struct Permit {
    all_connections: Arc<AllConnections>,
    _address_permit: Option<AddressPermit>,
}

/// The limits of waits for callers, in ticks.
#[derive(Clone, Copy)]
pub(super) struct TickLimits {
    head: u64,
    idle: u64,
    body: BodyRate,
}

impl TickLimits {
    pub(super) fn new(options: &EdgeOptions) -> Self {
        Self {
            head: ticks_in(options.head_timeout),
            idle: ticks_in(options.keepalive_timeout),
            body: BodyRate {
                grace: ticks_in(BODY_GRACE),
                bytes_per_second: options.min_body_rate,
            },
        }
    }
}

impl AllConnections {
    pub(super) fn new(options: &EdgeOptions, workers: impl Iterator<Item = Arc<Worker>>) -> Self {
        let (max, unbounded) = (
            options.max_connections_per_address,
            options.unbounded.clone(),
        );
        let thread = |worker| Arc::new(Connections::new(Arc::new(Shared::new(worker))));
        Self {
            threads: workers.map(thread).collect(),
            addresses: Arc::new(AddressCounts::new(max, unbounded)),
            max: options.max_connections,
            open: AtomicUsize::new(0),
            leaving: AtomicUsize::new(0),
        }
    }

    /// Returns a permit for a connection from this address; `None`: there are too many.
    pub(super) fn permit(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Permit> {
        let address_permit = match address {
            Some(address) => self.addresses.acquire(address)?,
            None => None,
        };
        let open = self.open.fetch_add(1, Ordering::AcqRel);
        let permit = Permit {
            all_connections: self.clone(),
            _address_permit: address_permit,
        };
        let staying = open.saturating_sub(self.leaving.load(Ordering::Acquire));
        (staying < self.max || self.make_room()).then_some(permit)
    }

    /// Ends the connections that have been idle longest, a 64th of all at once, since the search
    /// takes time. Returns whether one of them gave way.
    fn make_room(&self) -> bool {
        let mut idle: Vec<_> = self
            .threads
            .iter()
            .flat_map(|thread| thread.idle())
            .collect();
        let count = idle.len().min((self.max / 64).max(1));
        if count == 0 {
            return false;
        }
        idle.select_nth_unstable_by_key(count - 1, |(since, _)| *since);
        // Counted first, since each takes itself off the count when it ends.
        self.leaving.fetch_add(count, Ordering::AcqRel);
        let told_before = idle[..count]
            .iter()
            .filter(|(_, connection)| !connection.give_way())
            .count();
        self.leaving.fetch_sub(told_before, Ordering::AcqRel);
        told_before < count
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.all_connections.open.fetch_sub(1, Ordering::AcqRel);
    }
}

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

    /// Registers a connection, for as long as the returned guard lives.
    pub(super) fn register(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        permit: Permit,
    ) -> ConnectionGuard {
        self.active.fetch_add(1, Ordering::AcqRel);
        let mut all = self.all.lock();
        // Connections that have ended are removed whenever the list would grow.
        if all.len() == all.capacity() {
            all.retain(|connection| connection.strong_count() > 0);
        }
        all.push(Arc::downgrade(connection));
        ConnectionGuard {
            connections: self.clone(),
            connection: connection.clone(),
            permit,
        }
    }

    /// Returns the connections on which nothing is under way, each with the tick since when.
    fn idle(&self) -> Vec<(u64, Arc<Connection>)> {
        let all = self.all.lock();
        let connections = all.iter().filter_map(Weak::upgrade);
        connections
            .filter_map(|connection| Some((connection.idle_since()?, connection)))
            .collect()
    }

    /// Returns the number of connections.
    pub(super) fn active(&self) -> usize {
        self.active.load(Ordering::Acquire)
    }

    /// Ends every connection that has no call, and the others after the call that they have.
    pub(super) fn drain(&self) {
        self.shared.drain();
        self.each(Connection::wake_task);
    }

    /// Waits until no connection is left.
    pub(super) async fn gone(&self) {
        while self.active() > 0 {
            self.none_left.notified().await;
        }
    }

    /// Advances the ticks of the thread and checks the timeouts of its connections, for ever.
    pub(super) async fn maintain(self: Arc<Self>, limits: TickLimits) {
        let mut before = Instant::now();
        let mut pauses = tokio::time::interval(TICK);
        pauses.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            pauses.tick().await;
            let tick = self.shared.ticks.advance();
            let now = Instant::now();
            if now.duration_since(before) > MAX_TICK_GAP {
                self.shared.idle_sockets.close_all();
            }
            before = now;
            self.each(Connection::check_deadlines);
            if tick.is_multiple_of(SLOW_CARE_TICKS) {
                self.each(|connection| {
                    connection.cut_if_overdue(limits.head);
                    connection.end_if_idle(limits.idle);
                    connection.end_if_it_drips(limits.body);
                });
                self.shared.idle_sockets.sweep(tick);
            }
        }
    }
}

/// A guard that counts a connection for as long as its task lives, however that ends.
pub(super) struct ConnectionGuard {
    connections: Arc<Connections>,
    connection: Arc<Connection>,
    permit: Permit,
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        if self.connection.is_giving_way() {
            self.permit
                .all_connections
                .leaving
                .fetch_sub(1, Ordering::AcqRel);
        }
        if self.connections.active.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.connections.none_left.notify_one();
        }
    }
}
