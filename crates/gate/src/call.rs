//! A call that was admitted, by the step it has come to. Dropping a step leaves the record that is true there.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use journal::{Commit, MarkSlot, Space, Unavailable};
use licensing::{CachedLicense, ClaimedToken, EffectiveLimits, RateView, Reservation};
use model::{
    Blame, CallHead, CallId, CallRecord, CallTail, Ending, License, Mode, Refusal, UnreadableUnits,
};

use crate::app::Route;
use crate::named::Named;
use crate::settle::{Closing, Failure, tail};
use crate::time::Moment;
use crate::worker::Worker;

/// What a call holds from admission to its end.
pub(crate) struct Ticket {
    pub(crate) worker: Arc<Worker>,
    pub(crate) route: Arc<Route>,
    pub(crate) entry: Option<Arc<CachedLicense>>,
    pub(crate) head: CallHead,
    pub(crate) started: Moment,
    pub(crate) reservation: Option<Reservation>,
    /// The token that it was let in with, until its use is final.
    pub(crate) token: Option<ClaimedToken>,
    pub(crate) space: Option<Space>,
    pub(crate) rate: Option<RateView>,
}

/// A call that may be forwarded. It holds units and room in the journal; dropped, it gives everything back.
pub struct Admitted(Option<Box<Ticket>>);

/// A call that may have reached the upstream and has no status yet. Its mark survives kill -9.
///
/// Dropped, it is recorded as [`Failure::Ours`].
pub struct Forwarding {
    ticket: Option<Box<Ticket>>,
    slot: Option<MarkSlot>,
    sent: bool,
    /// What the response said of its units.
    pub(crate) named: Option<Named>,
}

/// A call whose head is in the journal. Dropped, it is closed as `gateway_failed`.
pub struct Committed {
    ticket: Option<Box<Ticket>>,
    sequence: u64,
    sent: bool,
    forwarded: bool,
    unreadable: Option<UnreadableUnits>,
}

/// Ready when the head of a call is durable as its app asks. Await it before the first byte of the status leaves (G1).
#[must_use = "the caller may see the status only when this is ready"]
pub struct HeadCommit(Option<Commit>);

/// Asked while a call is under way: whether its license may not be used any more, or may not for all that is known.
#[derive(Clone)]
pub struct CutCheck {
    entry: Arc<CachedLicense>,
    worker: Arc<Worker>,
}

impl CutCheck {
    /// Whether the call is to be cut.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        let now = self.worker.now();
        self.entry.cut(self.worker.wall(now)).is_some()
            || self.worker.admission.is_beyond_grace(&self.entry, now)
    }
}

impl Ticket {
    /// Gives everything back: nothing was sent.
    fn cancel(mut self) {
        self.release_token();
        if let (Some(entry), Some(reservation)) = (&self.entry, self.reservation.take()) {
            entry.cancel(reservation);
        }
        if let Some(space) = self.space.take() {
            self.worker.lane.release(space);
        }
    }

    /// Gives the token back, with the units that it held.
    fn release_token(&mut self) {
        if let Some(token) = self.token.take() {
            token.release(self.reservation.as_mut());
        }
    }

    /// Decides about the token: its use is final unless nothing was sent with it.
    fn end_token(&mut self, sent: bool) {
        if !sent {
            self.release_token();
        } else if let Some(token) = self.token.take() {
            token.finish_soon(self.head.status);
        }
    }

    /// Settles the reservation by the tail, and counts the call.
    fn settle(&mut self, tail: &CallTail) {
        if let (Some(entry), Some(reservation)) = (&self.entry, self.reservation.take()) {
            // A call that is recorded stays counted in its windows, sent or not: its head says so.
            entry.settle(reservation, tail.spent);
        }
        self.worker.count_call(&self.head, tail);
    }

    fn space(&mut self) -> Space {
        self.space
            .take()
            .expect("room is taken at admission and spent once, at the end")
    }
}

impl Admitted {
    /// The ticket is boxed here, once: the call moves through its steps by pointer.
    pub(crate) fn new(ticket: Ticket) -> Self {
        Self(Some(Box::new(ticket)))
    }

    fn ticket(&self) -> &Ticket {
        self.0.as_ref().expect("the ticket leaves with the value")
    }

    /// The identity of the call.
    #[must_use]
    pub fn call_id(&self) -> CallId {
        self.ticket().head.call_id
    }

    /// The license that pays; `None` on open routes.
    #[must_use]
    pub fn license(&self) -> Option<&License> {
        self.ticket().entry.as_ref().map(|entry| &**entry.license())
    }

    /// Leaves the mark: from here on the call may reach the upstream.
    ///
    /// # Errors
    /// [`Refusal::JournalUnavailable`] if too many calls are under way to be marked.
    pub fn mark(mut self) -> Result<Forwarding, Refusal> {
        let ticket = self.0.take().expect("the ticket leaves with the value");
        let Some(slot) = ticket.worker.journal.mark(&ticket.head.encode()) else {
            let app = ticket.head.app;
            ticket
                .worker
                .count_refusal(app, Refusal::JournalUnavailable);
            ticket.cancel();
            return Err(Refusal::JournalUnavailable);
        };
        Ok(Forwarding {
            ticket: Some(ticket),
            slot: Some(slot),
            sent: false,
            named: None,
        })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if let Some(ticket) = self.0.take() {
            ticket.cancel();
        }
    }
}

impl Forwarding {
    pub(crate) fn ticket(&self) -> &Ticket {
        self.ticket
            .as_ref()
            .expect("the ticket leaves with the value")
    }

    /// The identity of the call.
    #[must_use]
    pub fn call_id(&self) -> CallId {
        self.ticket().head.call_id
    }

    /// The moment that is now.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.ticket().worker.now()
    }

    /// The route of the call.
    #[must_use]
    pub fn route(&self) -> &Arc<Route> {
        &self.ticket().route
    }

    /// The license that pays; `None` on open routes.
    #[must_use]
    pub fn license(&self) -> Option<&License> {
        self.ticket().entry.as_ref().map(|entry| &**entry.license())
    }

    /// What to ask while the call is under way, where its app cuts calls of revoked licenses.
    #[must_use]
    pub fn cut_check(&self) -> Option<CutCheck> {
        let ticket = self.ticket();
        let entry = ticket
            .entry
            .clone()
            .filter(|_| ticket.route.cuts_on_revoke)?;
        Some(CutCheck {
            entry,
            worker: ticket.worker.clone(),
        })
    }

    /// Where the license's limits stand, for the headers of the answer.
    #[must_use]
    pub fn rate(&self) -> Option<(&Arc<EffectiveLimits>, RateView)> {
        let ticket = self.ticket();
        Some((ticket.entry.as_ref()?.effective(), ticket.rate?))
    }

    /// Notes that bytes of the request are about to reach the upstream.
    pub const fn sending(&mut self) {
        self.sent = true;
    }

    /// Whether bytes of the request may have reached the upstream.
    #[must_use]
    pub const fn is_sent(&self) -> bool {
        self.sent
    }

    /// Writes the head: the billable fact. `forwarded`: the status is the upstream's own.
    ///
    /// The head is in the journal when this returns, whether or not the commit is awaited.
    pub fn commit(mut self, status: u16, forwarded: bool) -> (Committed, HeadCommit) {
        let unbilled = self.is_unbilled();
        let mut ticket = self
            .ticket
            .take()
            .expect("the ticket leaves with the value");
        ticket.head.status = status;
        let bills = match ticket.head.mode {
            Mode::Rpc => ticket.route.bills_by_rpc(status),
            _ => ticket.route.bills_forwarded(status),
        };
        ticket.head.billable_status = forwarded && bills && !unbilled;
        let broken = !forwarded && status < 500;
        // From here on they are known: a call that a crash cuts short costs what was named, not the most that could be.
        let units = match self.named {
            Some(named) => named.units,
            // The caller broke the call: what it would have used nobody knows, as with one who hangs up.
            None if broken => ticket.head.reserved,
            None => ticket.route.units,
        };
        // A status of the upstream's own is the answer to something.
        let sent = self.sent || forwarded;
        ticket.head.reserved = units.min(ticket.head.reserved);
        // What a crash would leave: recovery settles the call by it as it would have been settled here, and who broke it pays.
        let durable = CallHead {
            keeps_units: sent && (ticket.head.keeps_units || broken),
            ..ticket.head
        };
        let lane = &ticket.worker.lane;
        let space = ticket.space.as_mut().expect("room is taken at admission");
        let opened = lane.open(space, &durable.encode());
        if let Some(slot) = self.slot.take() {
            slot.clear();
        }
        let waits = ticket.route.app.waits_for_disk;
        let commit = waits.then(|| lane.wait_durable(opened.position));
        ticket.end_token(sent);
        let committed = Committed {
            ticket: Some(ticket),
            sequence: opened.sequence,
            sent,
            forwarded,
            unreadable: self.unreadable(),
        };
        (committed, HeadCommit(commit))
    }

    /// Records a call that ended without a status.
    pub fn abandon(mut self, failure: Failure, closing: &Closing) {
        self.write_abandoned(failure, closing);
    }

    fn write_abandoned(&mut self, failure: Failure, closing: &Closing) {
        let Some(mut ticket) = self.ticket.take() else {
            return;
        };
        let error = match failure {
            Failure::CallerLeft => Blame::Caller,
            Failure::Ours => Blame::Us,
        };
        let ending = Ending {
            error: Some(error),
            response_complete: false,
            forwarded_status: false,
        };
        let closing = Closing { ending, ..*closing };
        let tail = CallTail {
            units_unreadable: self.unreadable(),
            ..tail(
                &ticket.head,
                &ticket.route,
                &closing,
                self.sent,
                ticket.started,
            )
        };
        let space = ticket.space();
        let record = CallRecord {
            head: ticket.head,
            tail,
        };
        let _ = ticket.worker.lane.single(space, &record.encode());
        if let Some(slot) = self.slot.take() {
            slot.clear();
        }
        ticket.end_token(self.sent);
        ticket.settle(&tail);
    }
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        if let Some(ticket) = &self.ticket {
            let closing = Closing::unknown(ticket.worker.now());
            self.write_abandoned(Failure::Ours, &closing);
        }
    }
}

impl Committed {
    fn ticket(&self) -> &Ticket {
        self.ticket
            .as_ref()
            .expect("the ticket leaves with the value")
    }

    /// The identity of the call.
    #[must_use]
    pub fn call_id(&self) -> CallId {
        self.ticket().head.call_id
    }

    /// The moment that is now.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.ticket().worker.now()
    }

    /// Whether the status is the upstream's own.
    #[must_use]
    pub const fn is_forwarded(&self) -> bool {
        self.forwarded
    }

    /// Notes that the last byte of the answer is about to leave: the license's place is free for the next call, which its
    /// caller may make before this one is closed.
    pub fn answer_ends(&mut self) {
        if let Some(ticket) = &mut self.ticket
            && let (Some(entry), Some(reservation)) = (&ticket.entry, &mut ticket.reservation)
        {
            entry.release_slot(reservation);
        }
    }

    /// Writes the tail and settles what was reserved. Nobody waits for it.
    pub fn close(mut self, closing: &Closing) {
        self.write_tail(closing);
    }

    fn write_tail(&mut self, closing: &Closing) {
        let Some(mut ticket) = self.ticket.take() else {
            return;
        };
        let tail = CallTail {
            units_unreadable: self.unreadable,
            ..tail(
                &ticket.head,
                &ticket.route,
                closing,
                self.sent,
                ticket.started,
            )
        };
        let space = ticket.space();
        let _ = ticket
            .worker
            .lane
            .close(space, self.sequence, &tail.encode());
        ticket.settle(&tail);
    }
}

impl Drop for Committed {
    fn drop(&mut self) {
        if let Some(ticket) = &self.ticket {
            let closing = Closing {
                ending: Ending {
                    error: Some(Blame::Us),
                    response_complete: false,
                    forwarded_status: self.forwarded,
                },
                ..Closing::unknown(ticket.worker.now())
            };
            self.write_tail(&closing);
        }
    }
}

impl Closing {
    /// A call that was dropped: nothing is known but that we ended it.
    fn unknown(at: Moment) -> Self {
        Self {
            ending: Ending {
                error: Some(Blame::Us),
                response_complete: false,
                forwarded_status: false,
            },
            attempts: 1,
            request_bytes: 0,
            response_bytes: 0,
            upstream_us: 0,
            at,
        }
    }
}

impl HeadCommit {
    /// Whether there is nothing to wait for: the kernel has the head, and the app asks for no more.
    #[must_use]
    pub const fn is_immediate(&self) -> bool {
        self.0.is_none()
    }
}

impl Future for HeadCommit {
    type Output = Result<(), Unavailable>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            None => Poll::Ready(Ok(())),
            Some(commit) => Pin::new(commit).poll(context),
        }
    }
}
