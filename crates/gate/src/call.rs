//! The steps of an admitted call, as types. Dropping a step leaves the record that is true there.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use journal::{Commit, MarkSlot, Space, Unavailable};
use licensing::{CachedLicense, ClaimedToken, EffectiveLimits, RateView, Reservation};
use model::agent::AgentPrice;
use model::{
    Blame, CallHead, CallId, CallRecord, CallTail, Ending, License, Mode, Refusal, UnreadableUnits,
};

use crate::agents::Charge;
use crate::answer_units::AnswerUnits;
use crate::app::Route;
use crate::settle::{Closing, Failure, tail};
use crate::time::Moment;
use crate::worker::Worker;

/// Everything that a call holds from admission to its end.
pub(crate) struct Ticket {
    pub(crate) worker: Arc<Worker>,
    pub(crate) route: Arc<Route>,
    pub(crate) entry: Option<Arc<CachedLicense>>,
    pub(crate) head: CallHead,
    pub(crate) started: Moment,
    pub(crate) reservation: Option<Reservation>,
    /// The token that the call was let in with, until the use of the token is final.
    pub(crate) token: Option<ClaimedToken>,
    /// What is charged, where a price was agreed on.
    pub(crate) charge: Option<Charge>,
    pub(crate) space: Option<Space>,
    pub(crate) rate: Option<RateView>,
}

/// A call that may be forwarded. It holds units and room in the journal, and gives everything back
/// when it is dropped.
pub struct Admitted(Option<Box<Ticket>>);

/// A call that may have reached the upstream and has no status yet. Its mark survives `kill -9`.
///
/// Dropped, it is recorded as [`Failure::Ours`].
pub struct Forwarding {
    ticket: Option<Box<Ticket>>,
    slot: Option<MarkSlot>,
    sent: bool,
    /// The units that the response named.
    units: Option<AnswerUnits>,
}

/// A call whose head is in the journal. Dropped, it is closed as `gateway_failed`.
pub struct Committed {
    ticket: Option<Box<Ticket>>,
    sequence: u64,
    sent: bool,
    forwarded: bool,
    unreadable: Option<UnreadableUnits>,
}

/// A future that is ready when the head of a call is as durable as its app asks. Await it before
/// the first byte of the status leaves (G1).
///
/// # Errors
/// [`Unavailable`] if the journal cannot make the head durable.
#[must_use = "the caller may see the status only when this is ready"]
pub struct HeadCommit(Option<Commit>);

/// A check whether a call that is under way must be cut, since its license was revoked or the grace
/// for a store out of reach is over.
#[derive(Clone)]
pub struct CutCheck {
    entry: Arc<CachedLicense>,
    worker: Arc<Worker>,
}

impl CutCheck {
    /// Returns whether the call must be cut. Costs a reading of the clock and a few loads.
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

    /// Ends the use of the token: it is final unless nothing was sent with it.
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
    /// Boxes the ticket, once: the call moves through its steps by pointer.
    pub(crate) fn new(ticket: Ticket) -> Self {
        Self(Some(Box::new(ticket)))
    }

    fn ticket(&self) -> &Ticket {
        self.0.as_ref().expect("the ticket leaves with the value")
    }

    /// Returns the identity of the call.
    #[must_use]
    pub fn call_id(&self) -> CallId {
        self.ticket().head.call_id
    }

    /// Returns the license that pays; `None` on open routes.
    #[must_use]
    pub fn license(&self) -> Option<&License> {
        self.ticket().entry.as_ref().map(|entry| &**entry.license())
    }

    /// Writes the mark of the call into the journal: from here on the call may reach the upstream.
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
            units: None,
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
    fn ticket(&self) -> &Ticket {
        self.ticket
            .as_ref()
            .expect("the ticket leaves with the value")
    }

    /// Returns the identity of the call.
    #[must_use]
    pub fn call_id(&self) -> CallId {
        self.ticket().head.call_id
    }

    /// Returns the current moment of the worker's clock.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.ticket().worker.now()
    }

    /// Returns the route of the call.
    #[must_use]
    pub fn route(&self) -> &Arc<Route> {
        &self.ticket().route
    }

    /// Returns the license that pays; `None` on open routes.
    #[must_use]
    pub fn license(&self) -> Option<&License> {
        self.ticket().entry.as_ref().map(|entry| &**entry.license())
    }

    /// Returns the check to repeat while the call is under way; `None` where the route does not cut
    /// calls of revoked licenses, and on open routes.
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

    /// Returns the limits of the license and its tightest rate window, for the headers of the
    /// answer; `None` on open routes and for licenses without windows.
    #[must_use]
    pub fn rate(&self) -> Option<(&Arc<EffectiveLimits>, RateView)> {
        let ticket = self.ticket();
        Some((ticket.entry.as_ref()?.effective(), ticket.rate?))
    }

    /// Returns what an answer with this status of the upstream is charged, where a price was agreed
    /// on and the status is billed.
    #[must_use]
    pub fn charged(&self, status: u16) -> Option<AgentPrice> {
        let ticket = self.ticket();
        let charge = ticket.charge?;
        let bills = ticket.route.bills_forwarded(status) && !ticket.head.test;
        bills.then_some(charge.price)
    }

    /// Notes that bytes of the request are about to reach the upstream.
    pub const fn sending(&mut self) {
        self.sent = true;
    }

    /// Returns whether bytes of the request may have reached the upstream.
    #[must_use]
    pub const fn is_sent(&self) -> bool {
        self.sent
    }

    /// Takes the units that the response names, from the value of the route's `units_header`. More
    /// than the route declares is clipped and counted. A value that cannot be read is counted,
    /// noted in the record, logged, and priced as the route says.
    pub fn read_units(&mut self, value: &[u8]) {
        let ticket = self.ticket();
        let (route, worker) = (&ticket.route, &ticket.worker);
        self.units = Some(AnswerUnits::read(value, route, worker, ticket.head.call_id));
    }

    /// Returns why the units that the answer named could not be read.
    fn unreadable(&self) -> Option<UnreadableUnits> {
        self.units.and_then(|units| units.unreadable)
    }

    /// Writes the head, which says what the call costs at most and whether its status is billed.
    /// `forwarded`: the status is the upstream's own.
    ///
    /// The head is in the journal when this returns, whether or not the commit is awaited.
    pub fn commit(mut self, status: u16, forwarded: bool) -> (Committed, HeadCommit) {
        let mut ticket = self
            .ticket
            .take()
            .expect("the ticket leaves with the value");
        ticket.head.status = status;
        let bills = match ticket.head.mode {
            Mode::Rpc => ticket.route.bills_by_rpc(status),
            _ => ticket.route.bills_forwarded(status),
        };
        let is_unbilled = self
            .units
            .is_some_and(|units| units.is_unbilled(&ticket.route));
        ticket.head.billable_status = forwarded && bills && !is_unbilled;
        let broken = !forwarded && status < 500;
        // The units are known from here on: a call that a crash cuts short costs what was named,
        // not the most that its route may cost.
        let priced = ticket.charge.and_then(|charge| charge.units);
        let units = match (priced, self.units) {
            // A price that was agreed on is the price, whatever the answer names.
            (Some(priced), _) => priced,
            (None, Some(named)) => named.units,
            // The caller broke the call. Nobody knows what it would have used, as when a caller
            // hangs up.
            (None, None) if broken => ticket.head.reserved,
            (None, None) => ticket.route.units,
        };
        // A status of the upstream's own shows that something was sent.
        let sent = self.sent || forwarded;
        ticket.head.reserved = units.min(ticket.head.reserved);
        // Recovery after a crash settles the call by this head as it would have been settled here,
        // and a caller who broke it pays.
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

    /// Records a call that ended without a status, in one frame.
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

    /// Returns the identity of the call.
    #[must_use]
    pub fn call_id(&self) -> CallId {
        self.ticket().head.call_id
    }

    /// Returns the current moment of the worker's clock.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.ticket().worker.now()
    }

    /// Returns whether the status is the upstream's own.
    #[must_use]
    pub const fn is_forwarded(&self) -> bool {
        self.forwarded
    }

    /// Notes that the last byte of the answer is about to leave, and frees the call's slot of the
    /// license's concurrency: its caller may make the next call before this one is closed.
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
    /// Returns the closing of a call that was dropped: only that we ended it is known.
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
    /// Returns whether there is nothing to wait for: the kernel has the head, and the app asks for
    /// no more.
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
