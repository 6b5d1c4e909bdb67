//! The connections of one thread: counted, looked after, told the time.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use gate::Worker;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use super::EdgeOptions;
use super::addresses::{Addresses, OfAddress};
use crate::connection::{BodyRate, Connection};
use crate::shared::Shared;
use crate::ticks::{TICK, ticks_in};

/// How often a thread looks for connections that wait too long for a request head or a call, in ticks. Every tick it looks
/// for calls that are to be cut or wait too long.
const SLOW_CARE: u64 = 40;
/// A thread that does not look for so long stood still.
const STANDSTILL: Duration = Duration::from_secs(1);

/// So long a request body may be waited for, whatever its rate.
const BODY_GRACE: Duration = Duration::from_secs(20);

/// The connections of all threads.
pub(super) struct Crowd {
    pub(super) threads: Vec<Arc<Connections>>,
    addresses: Arc<Addresses>,
    most: usize,
    open: AtomicUsize,
    /// Of these, those that were told to give way and have not ended yet.
    leaving: AtomicUsize,
}

/// Room for one connection. Dropped, it is free again.
pub(super) struct Place {
    crowd: Arc<Crowd>,
    _of_address: Option<OfAddress>,
}

/// How long is waited for callers, in ticks.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    head: u64,
    idle: u64,
    body: BodyRate,
}

impl Patience {
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

impl Crowd {
    pub(super) fn new(options: &EdgeOptions, workers: impl Iterator<Item = Arc<Worker>>) -> Self {
        let (most, unbounded) = (
            options.max_connections_per_address,
            options.unbounded.clone(),
        );
        let thread = |worker| Arc::new(Connections::new(Arc::new(Shared::new(worker))));
        Self {
            threads: workers.map(thread).collect(),
            addresses: Arc::new(Addresses::new(most, unbounded)),
            most: options.max_connections,
            open: AtomicUsize::new(0),
            leaving: AtomicUsize::new(0),
        }
    }

    /// Room for a connection from this address; `None`: there is none.
    pub(super) fn place(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Place> {
        let of_address = match address {
            Some(address) => self.addresses.take(address)?,
            None => None,
        };
        let open = self.open.fetch_add(1, Ordering::AcqRel);
        let place = Place {
            crowd: self.clone(),
            _of_address: of_address,
        };
        let staying = open.saturating_sub(self.leaving.load(Ordering::Acquire));
        (staying < self.most || self.make_room()).then_some(place)
    }

    /// Has those give way that have been idle longest. Some at once: looking for them takes time.
    fn make_room(&self) -> bool {
        let mut idle: Vec<_> = self
            .threads
            .iter()
            .flat_map(|thread| thread.idle())
            .collect();
        let count = idle.len().min((self.most / 64).max(1));
        if count == 0 {
            return false;
        }
        idle.select_nth_unstable_by_key(count - 1, |(since, _)| *since);
        // Counted before they are told: each takes itself off the count when it ends.
        self.leaving.fetch_add(count, Ordering::AcqRel);
        let deaf = idle[..count]
            .iter()
            .filter(|(_, connection)| !connection.give_way())
            .count();
        self.leaving.fetch_sub(deaf, Ordering::AcqRel);
        deaf < count
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.open.fetch_sub(1, Ordering::AcqRel);
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

    /// Takes a connection in, for as long as the returned count lives.
    pub(super) fn count(self: &Arc<Self>, connection: &Arc<Connection>, place: Place) -> Counted {
        self.active.fetch_add(1, Ordering::AcqRel);
        let mut all = self.all.lock();
        // Forgotten ones are swept out whenever the list would grow.
        if all.len() == all.capacity() {
            all.retain(|connection| connection.strong_count() > 0);
        }
        all.push(Arc::downgrade(connection));
        Counted {
            connections: self.clone(),
            connection: connection.clone(),
            place,
        }
    }

    /// Those on which nothing is under way, and since when.
    fn idle(&self) -> Vec<(u64, Arc<Connection>)> {
        let all = self.all.lock();
        let connections = all.iter().filter_map(Weak::upgrade);
        connections
            .filter_map(|connection| Some((connection.idle_since()?, connection)))
            .collect()
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
    pub(super) async fn care(self: Arc<Self>, patience: Patience) {
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
                self.each(|connection| {
                    connection.cut_if_overdue(patience.head);
                    connection.end_if_idle(patience.idle);
                    connection.end_if_it_drips(patience.body);
                });
                self.shared.idle_sockets.sweep(tick);
            }
        }
    }
}

/// Counts a connection for as long as its task lives, however that ends.
pub(super) struct Counted {
    connections: Arc<Connections>,
    connection: Arc<Connection>,
    place: Place,
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.connection.was_told_to_give_way() {
            self.place.crowd.leaving.fetch_sub(1, Ordering::AcqRel);
        }
        if self.connections.active.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.connections.none_left.notify_one();
        }
    }
}
