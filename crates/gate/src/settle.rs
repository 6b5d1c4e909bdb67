//! The cost of a call that is over: the units that it used, those that stay spent, and whether it
//! is billed.

use model::record::Settled;
use model::{CallHead, CallTail, Ending, Outcome};

use crate::app::Route;
use crate::time::Moment;

/// The facts about a call that is over, as far as its record says them.
#[derive(Clone, Copy, Debug)]
pub struct Closing {
    /// Whose error ended the call, and how far the response came.
    pub ending: Ending,
    /// The number of connections to the upstream that were tried.
    pub attempts: u8,
    /// The payload bytes of the request.
    pub request_bytes: u64,
    /// The payload bytes of the response.
    pub response_bytes: u64,
    /// The time with the upstream, in microseconds.
    pub upstream_us: u64,
    /// The moment at which the call was over.
    pub at: Moment,
}

/// The reason why a call ended without a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The caller left, or sent what ended the call.
    CallerLeft,
    /// We ended it: a drain, a revocation, an error of ours.
    Ours,
}

/// Returns the tail of a call by its head, its route's rules and how it ended. `sent`: bytes of the
/// request may have reached the upstream; otherwise the call uses no units.
pub(crate) fn tail(
    head: &CallHead,
    route: &Route,
    closing: &Closing,
    sent: bool,
    started: Moment,
) -> CallTail {
    let outcome = closing.ending.outcome();
    // Nobody pays for a status that did not even begin to leave.
    let reached = closing.ending.forwarded_status;
    // The caller asked for work and left, or broke the call, before the upstream's status came.
    // That does not make the work free.
    let left = outcome == Outcome::ClientGone && !reached;
    let bills = reached && route.app.bills(outcome);
    let Settled { billable, spent } = head.settle(outcome, bills, left);
    CallTail {
        outcome,
        billable,
        attempts: closing.attempts,
        units: if sent { head.reserved } else { 0 },
        spent: if sent { spent } else { 0 },
        request_bytes: closing.request_bytes,
        response_bytes: closing.response_bytes,
        duration_us: closing.at.micros_since(started),
        upstream_us: closing.upstream_us,
        ..CallTail::default()
    }
}
