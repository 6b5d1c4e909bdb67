//! Waiting until a position is on disk: futures, their queue, and the bell that wakes them on their own thread.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::lane::Lane;
use crate::{Position, Unavailable};

/// Wakers taken from the queue under one lock.
const BATCH: usize = 32;

/// Those who wait for a lane.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    queue: Mutex<Queue>,
    bell: Mutex<Registered>,
    /// Highest position anybody has waited for.
    wanted: AtomicU64,
    bells: AtomicU64,
}

/// Ordered by position, then by age.
#[derive(Debug, Default)]
struct Queue {
    waiters: VecDeque<Waiter>,
    tickets: u64,
}

#[derive(Debug)]
struct Waiter {
    position: u64,
    ticket: u64,
    waker: Waker,
}

/// The bell that was polled last, 0 if none.
#[derive(Debug, Default)]
struct Registered {
    bell: u64,
    waker: Option<Waker>,
}

impl Queue {
    fn find(&self, position: u64, ticket: u64) -> Result<usize, usize> {
        self.waiters
            .binary_search_by_key(&(position, ticket), |waiter| {
                (waiter.position, waiter.ticket)
            })
    }

    fn insert(&mut self, position: u64, waker: Waker) -> u64 {
        self.tickets += 1;
        let ticket = self.tickets;
        let place = match self.waiters.back() {
            // The usual case: positions come in order.
            Some(last) if last.position > position => {
                self.find(position, ticket).unwrap_or_else(|place| place)
            }
            _ => self.waiters.len(),
        };
        self.waiters.insert(
            place,
            Waiter {
                position,
                ticket,
                waker,
            },
        );
        ticket
    }

    fn remove(&mut self, position: u64, ticket: u64) {
        // Most were taken out when they were woken: then the first one left is beyond them.
        if self
            .waiters
            .front()
            .is_some_and(|first| (first.position, first.ticket) <= (position, ticket))
            && let Ok(place) = self.find(position, ticket)
        {
            self.waiters.remove(place);
        }
    }
}

impl Waiting {
    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.queue.lock().waiters.len()
    }

    /// Highest position anybody has waited for.
    pub(crate) fn wanted(&self) -> u64 {
        self.wanted.load(Ordering::SeqCst)
    }
}

impl Lane {
    /// A future that is ready when everything below `position` is on disk, in either [`Sync`](crate::Sync) mode.
    pub fn wait_durable(self: &Arc<Self>, position: Position) -> Commit {
        Commit {
            lane: Arc::clone(self),
            position: position.0,
            ticket: None,
        }
    }

    /// A future that is ready when readers may see everything that is written now: at once with
    /// [`Sync::Process`](crate::Sync::Process).
    pub fn wait_visible(self: &Arc<Self>) -> Commit {
        let hidden = self.visible() < self.written().0;
        self.wait_durable(if hidden { self.written() } else { Position(0) })
    }

    /// The bell of this lane. Let one local task of the worker's own runtime run [`DurableNotifier::serve`]: the committer then
    /// rings once per sync, and each waiter is woken from the thread it runs on. Without a bell the committer wakes
    /// every waiter itself.
    pub fn bell(self: &Arc<Self>) -> DurableNotifier {
        let id = self.waiting.bells.fetch_add(1, Ordering::Relaxed) + 1;
        DurableNotifier {
            lane: Arc::clone(self),
            id,
        }
    }

    /// Tells the waiters of a lane, or its bell, that something has changed.
    pub(crate) fn ring(&self) {
        let bell = self.waiting.bell.lock().waker.clone();
        match bell {
            Some(waker) => waker.wake(),
            None => drop(self.wake_ready()),
        }
    }

    /// Wakes, in order, whoever's position is on disk; everybody when the journal is in trouble.
    fn wake_ready(&self) -> usize {
        let mut woken = 0;
        loop {
            let mut batch = [const { None }; BATCH];
            let mut taken = 0;
            {
                let mut queue = self.waiting.queue.lock();
                let limit = if self.hub().trouble().is_some() {
                    u64::MAX
                } else {
                    self.durable().0
                };
                while taken < BATCH
                    && queue
                        .waiters
                        .front()
                        .is_some_and(|waiter| waiter.position <= limit)
                {
                    batch[taken] = queue.waiters.pop_front();
                    taken += 1;
                }
            }
            // Outside the lock: a waker may run code that polls again.
            for waiter in batch.into_iter().flatten() {
                waiter.waker.wake();
            }
            woken += taken;
            if taken < BATCH {
                return woken;
            }
        }
    }

    /// The answer to a waiter, if there is one.
    fn verdict(&self, position: u64) -> Option<Result<(), Unavailable>> {
        if self.durable().0 >= position {
            return Some(Ok(()));
        }
        self.hub().trouble().map(Err)
    }
}

/// Ready when a position is on disk, or when the journal has given up for now. Dropping it is free of consequences.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Commit {
    lane: Arc<Lane>,
    position: u64,
    ticket: Option<u64>,
}

impl Future for Commit {
    type Output = Result<(), Unavailable>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Some(verdict) = this.lane.verdict(this.position) {
            this.forget();
            return Poll::Ready(verdict);
        }
        {
            let mut queue = this.lane.waiting.queue.lock();
            // Once more: who publishes takes this lock afterwards, so from here on we are seen.
            if let Some(verdict) = this.lane.verdict(this.position) {
                drop(queue);
                this.forget();
                return Poll::Ready(verdict);
            }
            match this
                .ticket
                .and_then(|ticket| queue.find(this.position, ticket).ok())
            {
                Some(place) => queue.waiters[place].waker.clone_from(context.waker()),
                None => this.ticket = Some(queue.insert(this.position, context.waker().clone())),
            }
        }
        this.lane
            .waiting
            .wanted
            .fetch_max(this.position, Ordering::SeqCst);
        // While it gathers it wakes by itself in time; sooner only if nobody else is on the way.
        let hub = this.lane.hub();
        if !hub.gathering.load(Ordering::SeqCst) || this.lane.expected() == 0 {
            hub.committer.wake();
        }
        Poll::Pending
    }
}

impl Commit {
    fn forget(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.lane.waiting.queue.lock().remove(self.position, ticket);
        }
    }
}

impl Drop for Commit {
    fn drop(&mut self) {
        self.forget();
    }
}

/// Wakes a lane's waiters from the worker's own thread; the committer only rings it. See [`Lane::bell`].
#[derive(Debug)]
pub struct DurableNotifier {
    lane: Arc<Lane>,
    id: u64,
}

impl DurableNotifier {
    /// `Some(n)`: rung, `n` waiters were woken; poll again. `None`: the journal is shut down, nobody waits any more.
    pub fn poll_ring(&mut self, context: &mut Context<'_>) -> Poll<Option<usize>> {
        {
            let mut registered = self.lane.waiting.bell.lock();
            registered.bell = self.id;
            match &mut registered.waker {
                Some(waker) => waker.clone_from(context.waker()),
                none => *none = Some(context.waker().clone()),
            }
        }
        // Read before the waiters are woken, so that none of them comes after the last round.
        let stopped = self.lane.hub().stopped();
        match self.lane.wake_ready() {
            0 if stopped => Poll::Ready(None),
            0 => Poll::Pending,
            woken => Poll::Ready(Some(woken)),
        }
    }

    /// Answers rings until the journal is shut down: the whole body of a worker's local task.
    pub async fn serve(mut self) {
        while std::future::poll_fn(|context| self.poll_ring(context))
            .await
            .is_some()
        {}
    }
}

impl Drop for DurableNotifier {
    /// The committer wakes the waiters again.
    fn drop(&mut self) {
        {
            let mut registered = self.lane.waiting.bell.lock();
            if registered.bell != self.id {
                return;
            }
            *registered = Registered::default();
        }
        // A ring may have come to nobody.
        self.lane.wake_ready();
    }
}
