//! Waiting until a position is on disk: futures, their queue, and the notifier that wakes them on
//! their own thread.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::lane::Lane;
use crate::{Position, Unavailable};

/// The number of wakers that are taken from the queue under one lock.
const BATCH: usize = 32;

/// The waiters of a lane.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    queue: Mutex<Queue>,
    notifier: Mutex<Registered>,
    /// Highest position anybody has waited for.
    wanted: AtomicU64,
    notifiers: AtomicU64,
}

/// The queue of waiters, ordered by position, then by age.
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

/// The notifier that was polled last; its id is 0 if there is none.
#[derive(Debug, Default)]
struct Registered {
    notifier: u64,
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

impl Waiters {
    /// Returns the number of waiters.
    pub(crate) fn len(&self) -> usize {
        self.queue.lock().waiters.len()
    }

    /// Highest position anybody has waited for.
    pub(crate) fn wanted(&self) -> u64 {
        self.wanted.load(Ordering::SeqCst)
    }
}

impl Lane {
    /// Returns a future that is ready when everything below `position` is on disk, in either
    /// [`Sync`](crate::Sync) mode.
    pub fn wait_durable(self: &Arc<Self>, position: Position) -> Commit {
        Commit {
            lane: Arc::clone(self),
            position: position.0,
            ticket: None,
        }
    }

    /// Returns a future that is ready when readers may see everything that is written now: at once
    /// with [`Sync::Process`](crate::Sync::Process).
    pub fn wait_visible(self: &Arc<Self>) -> Commit {
        let hidden = self.visible() < self.written().0;
        self.wait_durable(if hidden { self.written() } else { Position(0) })
    }

    /// Returns a notifier of this lane. Let one local task of the worker's own runtime run
    /// [`DurableNotifier::serve`]: the committer then wakes that task once a sync, and each waiter
    /// is woken from the thread it runs on. Without a notifier the committer wakes every waiter
    /// itself.
    pub fn notifier(self: &Arc<Self>) -> DurableNotifier {
        let id = self.waiting.notifiers.fetch_add(1, Ordering::Relaxed) + 1;
        DurableNotifier {
            lane: Arc::clone(self),
            id,
        }
    }

    /// Wakes the notifier of a lane, or without one its waiters, since something has changed.
    pub(crate) fn notify(&self) {
        let notifier = self.waiting.notifier.lock().waker.clone();
        match notifier {
            Some(waker) => waker.wake(),
            None => drop(self.wake_ready()),
        }
    }

    /// Wakes in order the waiters whose position is on disk, or all of them if the journal is
    /// unavailable. Returns how many.
    fn wake_ready(&self) -> usize {
        let mut woken = 0;
        loop {
            let mut batch = [const { None }; BATCH];
            let mut taken = 0;
            {
                let mut queue = self.waiting.queue.lock();
                let limit = if self.state().unavailable().is_some() {
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
            // This is outside the lock, because a waker may run code that polls again.
            for waiter in batch.into_iter().flatten() {
                waiter.waker.wake();
            }
            woken += taken;
            if taken < BATCH {
                return woken;
            }
        }
    }

    /// Returns the answer to a waiter; `None`: it has to wait.
    fn verdict(&self, position: u64) -> Option<Result<(), Unavailable>> {
        if self.durable().0 >= position {
            return Some(Ok(()));
        }
        self.state().unavailable().map(Err)
    }
}

/// A future that is ready when a position is on disk, or when the journal has given up for now.
/// Dropping it has no consequences.
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
            this.leave_queue();
            return Poll::Ready(verdict);
        }
        {
            let mut queue = this.lane.waiting.queue.lock();
            // The position is checked once more: a thread that publishes takes this lock
            // afterwards, so from here on it sees this waiter.
            if let Some(verdict) = this.lane.verdict(this.position) {
                drop(queue);
                this.leave_queue();
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
        // A committer that gathers wakes by itself in time. It is woken sooner only if no other
        // call is on the way.
        let state = this.lane.state();
        if !state.gathering.load(Ordering::SeqCst) || this.lane.expected() == 0 {
            state.committer.wake();
        }
        Poll::Pending
    }
}

impl Commit {
    fn leave_queue(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.lane.waiting.queue.lock().remove(self.position, ticket);
        }
    }
}

impl Drop for Commit {
    fn drop(&mut self) {
        self.leave_queue();
    }
}

/// The waker of a lane's waiters on the worker's own thread; the committer wakes only the notifier.
/// See [`Lane::notifier`].
#[derive(Debug)]
pub struct DurableNotifier {
    lane: Arc<Lane>,
    id: u64,
}

impl DurableNotifier {
    /// Wakes the waiters that can go on. `Some(n)`: `n` waiters were woken; poll again. `None`: the
    /// journal is shut down, and nobody waits any more.
    pub fn poll_notified(&mut self, context: &mut Context<'_>) -> Poll<Option<usize>> {
        {
            let mut registered = self.lane.waiting.notifier.lock();
            registered.notifier = self.id;
            match &mut registered.waker {
                Some(waker) => waker.clone_from(context.waker()),
                none => *none = Some(context.waker().clone()),
            }
        }
        // This is read before the waiters are woken, so that none of them arrives after the last
        // round.
        let stopped = self.lane.state().stopped();
        match self.lane.wake_ready() {
            0 if stopped => Poll::Ready(None),
            0 => Poll::Pending,
            woken => Poll::Ready(Some(woken)),
        }
    }

    /// Wakes waiters until the journal is shut down. This is the whole body of a worker's local
    /// task.
    pub async fn serve(mut self) {
        while std::future::poll_fn(|context| self.poll_notified(context))
            .await
            .is_some()
        {}
    }
}

impl Drop for DurableNotifier {
    /// Lets the committer wake the waiters again.
    fn drop(&mut self) {
        {
            let mut registered = self.lane.waiting.notifier.lock();
            if registered.notifier != self.id {
                return;
            }
            *registered = Registered::default();
        }
        // A notification may have reached nobody.
        self.lane.wake_ready();
    }
}
