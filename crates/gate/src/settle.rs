//! What a call that is over costs: which units it used, which stay spent, whether it is billed.

use model::record::Settled;
use model::{CallHead, CallTail, Ending, Outcome};

use crate::app::Route;
use crate::time::Moment;

/// What is known of a call when it is over.
#[derive(Clone, Copy, Debug)]
pub struct Closing {
    /// Who erred, and how far the response came.
    pub ending: Ending,
    /// Connections to the upstream that were tried.
    pub attempts: u8,
    /// Payload bytes of the request.
    pub request_bytes: u64,
    /// Payload bytes of the response.
    pub response_bytes: u64,
    /// Time with the upstream, in microseconds.
    pub upstream_us: u64,
    /// When it was over.
    pub at: Moment,
}

/// A call that ended without a status of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The caller left, or sent what ended the call.
    CallerLeft,
    /// We ended it: a drain, a revocation, an error of ours.
    Ours,
}

/// The tail of a call by its head, its route's rules and how it ended.
pub(crate) fn tail(
    head: &CallHead,
    route: &Route,
    closing: &Closing,
    sent: bool,
    started: Moment,
) -> CallTail {
    let outcome = closing.ending.outcome();
    // A status that did not even begin to leave was nobody's to pay for.
    let reached = closing.ending.forwarded_status;
    // Work was asked for, and the asker left or broke the call before the upstream's status: neither buys it for free.
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
