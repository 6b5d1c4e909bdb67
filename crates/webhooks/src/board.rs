//! What is under way to which receiver, and who may get more.
//!
//! A receiver that hangs takes its own slots and no others': it has few, it gets them one by one as
//! it answers, and those who do not answer share half of all slots. One that failed several times
//! in a row is left alone for a while; then it gets one delivery as a probe, in turn one that was
//! never tried and one that was: it may be that only some events fail. What waits meanwhile stays in
//! the store, and loses none of its tries.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use model::{Moment, WebhookId};
use store::{AttemptResult, Busy, Delivery, NextStep};

/// The deliveries of this gate: those in its queue, those under way, and the results that the store
/// does not have yet. All of it is bounded.
#[derive(Debug, Default)]
pub(crate) struct Board {
    receivers: HashMap<WebhookId, Receiver>,
    /// The receivers for whom something is queued, each once, in the order of their turns.
    turns: VecDeque<WebhookId>,
    queued: usize,
    under_way: usize,
    /// How many of these go to receivers that did not answer lately.
    doubted: usize,
    results: Vec<AttemptResult>,
    /// The deliveries whose results are being written down.
    noting: Vec<u64>,
    /// The end of the time in which tries may begin; `None`: another gate delivers.
    open_until: Option<Moment>,
}

/// A delivery that is being tried. It ends by [`Board::finish`] or [`Board::abandon`].
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) delivery: Delivery,
    doubted: bool,
}

#[derive(Debug)]
struct Receiver {
    queue: VecDeque<Delivery>,
    under_way: Vec<u64>,
    /// How many deliveries it may have under way at once.
    slots: usize,
    /// The failures since it took something.
    failures: u32,
    /// The time until which it is left alone; `None`: it is not.
    rests_until: Option<Moment>,
    next_rest: Duration,
    /// Whether what it gets next is one that was tried before. It changes with each failure.
    takes_tried: bool,
    used_at: Moment,
}

/// The deliveries of one receiver that are to be queued.
#[derive(Default)]
struct Kinds {
    untried: VecDeque<Delivery>,
    tried: VecDeque<Delivery>,
    /// Whether the next one is of those that were tried.
    takes_tried: bool,
}

impl Board {
    /// The most deliveries under way.
    pub(crate) const MAX_UNDER_WAY: usize = 64;
    /// The most of them to one receiver.
    pub(crate) const MAX_SLOTS: usize = 8;
    /// The most of them to receivers that did not answer lately.
    const MAX_DOUBTED: usize = Self::MAX_UNDER_WAY / 2;
    /// The most deliveries in the queue, and how many are asked for at once.
    pub(crate) const MAX_QUEUED: usize = 512;
    /// The most of them for one receiver.
    pub(crate) const MAX_QUEUED_EACH: usize = 4 * Self::MAX_SLOTS;
    /// The most results that wait for the store. With more, nothing new is tried.
    const MAX_RESULTS: usize = 1_024;
    /// The most receivers that are remembered.
    const MAX_RECEIVERS: usize = 4_096;
    /// The failures in a row after which a receiver is left alone.
    const FAILURES: u32 = 5;
    /// The first rest, which doubles up to the last.
    const FIRST_REST: Duration = Duration::from_secs(5);
    const LAST_REST: Duration = Duration::from_secs(300);

    /// Lets tries begin until this moment; `None`: no more, and the queue is left to another gate.
    pub(crate) fn open(&mut self, until: Option<Moment>) {
        self.open_until = until;
        if until.is_none() {
            self.turns.clear();
            self.queued = 0;
            for receiver in self.receivers.values_mut() {
                receiver.queue.clear();
            }
        }
    }

    /// Returns whether a try may begin: this gate holds the lease for as long as a try lasts.
    pub(crate) fn is_open(&self, now: Moment) -> bool {
        self.open_until.is_some_and(|until| now < until)
    }

    /// Returns whether more deliveries should be asked for.
    pub(crate) fn has_room(&self) -> bool {
        self.queued < Self::MAX_QUEUED / 2 && self.results.len() < Self::MAX_RESULTS
    }

    /// Returns how many deliveries are under way.
    pub(crate) const fn under_way(&self) -> usize {
        self.under_way
    }

    /// Returns what the store should leave out when it is asked for more.
    pub(crate) fn busy(&self, now: Moment) -> Busy {
        let mut busy = Busy::default();
        for (id, receiver) in &self.receivers {
            if receiver.rests(now) || receiver.room() == 0 {
                busy.webhooks.push(*id);
            }
            busy.deliveries.extend(&receiver.under_way);
            let queued = receiver.queue.iter().map(|delivery| delivery.number);
            busy.deliveries.extend(queued);
        }
        let unnoted = self.results.iter().map(|result| result.number);
        busy.deliveries
            .extend(unnoted.chain(self.noting.iter().copied()));
        busy
    }

    /// Queues deliveries, as far as their receivers have room. What has none stays in the store.
    pub(crate) fn add(&mut self, deliveries: Vec<Delivery>, now: Moment) {
        self.drop_unused();
        for delivery in self.in_turn(deliveries) {
            let id = delivery.webhook_id;
            let full = self.receivers.len() >= Self::MAX_RECEIVERS;
            if self.queued >= Self::MAX_QUEUED || full && !self.receivers.contains_key(&id) {
                continue;
            }
            let receiver = self
                .receivers
                .entry(id)
                .or_insert_with(|| Receiver::new(now));
            if receiver.room() == 0 || receiver.rests(now) {
                continue;
            }
            if receiver.queue.is_empty() {
                self.turns.push_back(id);
            }
            receiver.queue.push_back(delivery);
            self.queued += 1;
        }
    }

    /// Returns deliveries in the order in which they are queued: of each receiver in turn one that
    /// was never tried and one that was. So licenses whose events always fail hold back no others,
    /// and what failed has its turn however much is new.
    fn in_turn(&self, deliveries: Vec<Delivery>) -> Vec<Delivery> {
        let order: Vec<_> = deliveries.iter().map(|one| one.webhook_id).collect();
        let mut kinds: HashMap<WebhookId, Kinds> = HashMap::new();
        for delivery in deliveries {
            let id = delivery.webhook_id;
            let kinds = kinds.entry(id).or_insert_with(|| Kinds {
                takes_tried: self.receivers.get(&id).is_some_and(|own| own.takes_tried),
                ..Kinds::default()
            });
            kinds.add(delivery);
        }
        let next = |id| kinds.get_mut(&id).and_then(Kinds::next);
        order.into_iter().filter_map(next).collect()
    }

    /// Returns the next delivery that may be tried, of each receiver in turn.
    pub(crate) fn take(&mut self, now: Moment) -> Option<Flight> {
        let has_slots = self.under_way < Self::MAX_UNDER_WAY;
        if !self.is_open(now) || !has_slots || self.results.len() >= Self::MAX_RESULTS {
            return None;
        }
        let may_doubt = self.doubted < Self::MAX_DOUBTED;
        for _ in 0..self.turns.len() {
            let id = self.turns.pop_front()?;
            let receiver = self.receivers.get_mut(&id)?;
            let doubted = receiver.is_doubted();
            let may = receiver.may_start(now) && (may_doubt || !doubted);
            let taken = if may {
                receiver.queue.pop_front()
            } else {
                None
            };
            if !receiver.queue.is_empty() {
                self.turns.push_back(id);
            }
            let Some(delivery) = taken else { continue };
            receiver.under_way.push(delivery.number);
            receiver.used_at = now;
            self.queued -= 1;
            self.under_way += 1;
            self.doubted += usize::from(doubted);
            return Some(Flight { delivery, doubted });
        }
        None
    }

    /// Takes in the result of a try, and what it says of the receiver.
    pub(crate) fn finish(&mut self, flight: Flight, result: AttemptResult, now: Moment) {
        let took = result.next == NextStep::Delivered;
        self.results.push(result);
        let id = flight.delivery.webhook_id;
        self.land(&flight);
        let Some(receiver) = self.receivers.get_mut(&id) else {
            return;
        };
        if took {
            receiver.took();
        } else if receiver.failed(now) {
            self.forget_queue(id);
        }
    }

    /// Ends a try that came to nothing through no fault of the receiver. The delivery is still due.
    pub(crate) fn abandon(&mut self, flight: &Flight) {
        self.land(flight);
    }

    /// Takes the queue of a webhook out, because it was changed or gets nothing any more.
    pub(crate) fn forget_queue(&mut self, id: WebhookId) {
        if let Some(receiver) = self.receivers.get_mut(&id) {
            self.queued -= receiver.queue.len();
            receiver.queue.clear();
            self.turns.retain(|turn| *turn != id);
        }
    }

    /// Forgets what was learnt of a receiver, so that it is tried at once.
    pub(crate) fn trust(&mut self, id: WebhookId) {
        if let Some(receiver) = self.receivers.get_mut(&id) {
            receiver.failures = 0;
            receiver.rests_until = None;
            receiver.next_rest = Self::FIRST_REST;
        }
    }

    /// Returns the results that the store does not have yet, to be written down. Until
    /// [`Board::noted`] says how that ended, their deliveries count as under way.
    pub(crate) fn results(&mut self) -> Vec<AttemptResult> {
        let results = std::mem::take(&mut self.results);
        self.noting = results.iter().map(|result| result.number).collect();
        results
    }

    /// Ends the writing of results; `failed`: those that the store did not take.
    pub(crate) fn noted(&mut self, failed: Vec<AttemptResult>) {
        self.noting.clear();
        self.results.extend(failed);
    }

    fn land(&mut self, flight: &Flight) {
        self.under_way -= 1;
        self.doubted -= usize::from(flight.doubted);
        if let Some(receiver) = self.receivers.get_mut(&flight.delivery.webhook_id) {
            let number = flight.delivery.number;
            receiver.under_way.retain(|other| *other != number);
        }
    }

    /// Forgets the receivers that were used longest ago, once there are too many.
    fn drop_unused(&mut self) {
        if self.receivers.len() < Self::MAX_RECEIVERS {
            return;
        }
        let idle = self
            .receivers
            .iter()
            .filter(|(_, receiver)| receiver.is_idle());
        let mut idle: Vec<_> = idle.map(|(id, receiver)| (receiver.used_at, *id)).collect();
        idle.sort_unstable();
        for (_, id) in idle.into_iter().take(Self::MAX_RECEIVERS / 4) {
            self.receivers.remove(&id);
        }
    }
}

// === impl Kinds ===

impl Kinds {
    fn add(&mut self, delivery: Delivery) {
        match delivery.last {
            Some(_) => self.tried.push_back(delivery),
            None => self.untried.push_back(delivery),
        }
    }

    fn next(&mut self) -> Option<Delivery> {
        let (first, second) = match self.takes_tried {
            true => (&mut self.tried, &mut self.untried),
            false => (&mut self.untried, &mut self.tried),
        };
        let next = first.pop_front().or_else(|| second.pop_front());
        self.takes_tried = !self.takes_tried;
        next
    }
}

// === impl Receiver ===

impl Receiver {
    const fn new(now: Moment) -> Self {
        Self {
            queue: VecDeque::new(),
            under_way: Vec::new(),
            slots: 1,
            failures: 0,
            rests_until: None,
            next_rest: Board::FIRST_REST,
            takes_tried: false,
            used_at: now,
        }
    }

    const fn is_doubted(&self) -> bool {
        self.failures > 0 || self.slots == 1
    }

    fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.under_way.is_empty()
    }

    fn rests(&self, now: Moment) -> bool {
        self.rests_until.is_some_and(|until| now < until)
    }

    /// Returns how many more deliveries it may have in the queue. One that failed is probed.
    fn room(&self) -> usize {
        let most = if self.failures > 0 { 1 } else { 4 * self.slots };
        most.saturating_sub(self.queue.len() + self.under_way.len())
    }

    fn may_start(&self, now: Moment) -> bool {
        self.under_way.len() < self.slots && !self.rests(now)
    }

    fn took(&mut self) {
        self.failures = 0;
        self.rests_until = None;
        self.next_rest = Board::FIRST_REST;
        self.slots = (self.slots * 2).min(Board::MAX_SLOTS);
    }

    /// Notes a failure. Returns whether the receiver is left alone from now on.
    fn failed(&mut self, now: Moment) -> bool {
        self.slots = 1;
        self.takes_tried = !self.takes_tried;
        self.failures = self.failures.saturating_add(1);
        // What was under way when the rest began says nothing new.
        if self.failures < Board::FAILURES || self.rests(now) {
            return false;
        }
        self.rests_until = Some(now.plus(self.next_rest));
        self.next_rest = (self.next_rest * 2).min(Board::LAST_REST);
        true
    }
}

#[cfg(test)]
mod tests;
