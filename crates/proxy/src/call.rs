//! The context of one call: its step in the gate, and what was counted on the way.

use std::net::SocketAddr;
use std::sync::Arc;

use gate::{Admitted, Closing, Committed, Failure, Forwarding, Moment};
use http::HeaderValue;
use model::{Blame, CallId, Ending, Refusal};

use crate::backend::Backend;
use crate::caller::Caller;
use crate::connection::{Connection, Origin};

/// The step of a call in the gate. Dropping it writes the record that is true there, whatever ended
/// the call.
#[derive(Default)]
pub(crate) enum Stage {
    /// The call is not admitted yet, or is closed.
    #[default]
    Outside,
    /// The call is let in, and nothing was sent.
    Admitted(Admitted),
    /// The call may have reached the upstream and has no status yet.
    Forwarding(Forwarding),
    /// The head of the record is in the journal.
    Committed(Committed),
}

/// The context that Pingora carries through the phases of a call.
#[derive(Default)]
pub struct Call {
    pub(crate) stage: Stage,
    pub(crate) backend: Option<Arc<Backend>>,
    pub(crate) connection: Option<Arc<Connection>>,
    pub(crate) call_id: Option<CallId>,
    /// The call's identity as text, made once for the upstream and the caller.
    call_id_text: Option<HeaderValue>,
    /// The caller that the control plane names, of a call by rpc.
    pub(crate) caller: Option<Caller>,
    /// Whether the head asks for a WebSocket.
    pub(crate) asks_for_websocket: bool,
    /// The refusal for which the gate itself ends the call.
    pub(crate) refusal: Option<Refusal>,
    /// The turn of the first attempt, from [`Pool::next_turn`](crate::upstream::Pool::next_turn).
    pub(crate) turn: usize,
    pub(crate) attempts: u8,
    /// The address that the last attempt could not connect to.
    pub(crate) failed: Option<SocketAddr>,
    /// Whether the head could not be made durable, so that not a byte of the status may leave.
    pub(crate) uncommitted: bool,
    /// Whether the last byte of the response has passed the filters.
    pub(crate) response_ended: bool,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
    pub(crate) upstream: UpstreamTime,
}

/// Returns the caller: by rpc the one that the control plane names, otherwise that of the
/// connection.
pub(crate) fn caller_of<'a>(
    connection: Option<&'a Arc<Connection>>,
    by_rpc: Option<&'a Caller>,
) -> Option<&'a Caller> {
    match connection?.origin() {
        Origin::Caller(caller) => Some(caller),
        Origin::Rpc => by_rpc,
    }
}

/// The time that the upstream was busy with a call.
#[derive(Clone, Copy, Default)]
pub(crate) struct UpstreamTime {
    pub(crate) began: Option<Moment>,
    pub(crate) ended: Option<Moment>,
    /// Microseconds of it that were spent waiting for the journal.
    pub(crate) waited_us: u64,
}

impl UpstreamTime {
    /// Returns the time in microseconds, up to `now` if it has not ended.
    pub(crate) fn micros(&self, now: Moment) -> u64 {
        self.began.map_or(0, |began| {
            let whole = self.ended.unwrap_or(now).micros_since(began);
            whole.saturating_sub(self.waited_us)
        })
    }
}

impl Call {
    /// Returns whether the call was made by rpc.
    pub(crate) fn is_rpc(&self) -> bool {
        let connection = self.connection.as_ref();
        connection.is_some_and(|connection| *connection.origin() == Origin::Rpc)
    }

    /// Returns the identity of the call as the value of a header; `None` before it has one.
    pub(crate) fn id_text(&mut self) -> Option<HeaderValue> {
        let call_id = self.call_id?;
        let text = || {
            let mut text = [0; CallId::TEXT_LENGTH];
            HeaderValue::from_str(call_id.encode(&mut text)).expect("a call id is plain ASCII")
        };
        Some(self.call_id_text.get_or_insert_with(text).clone())
    }

    /// Notes that the last byte of the answer is about to leave.
    pub(crate) fn answer_ends(&mut self) {
        if let Stage::Committed(committed) = &mut self.stage {
            committed.answer_ends();
        }
    }

    /// Returns the closing of a call that ends without Pingora's last phase: a cut, a drain, a
    /// panic.
    fn cut_short(&self, at: Moment, forwarded_status: bool) -> Closing {
        Closing {
            ending: Ending {
                error: Some(Blame::Us),
                response_complete: false,
                forwarded_status,
            },
            attempts: self.attempts,
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
            upstream_us: self.upstream.micros(at),
            at,
        }
    }
}

impl Drop for Call {
    /// Closes the call if it is still open: Pingora's last phase is not called when the task of a
    /// connection ends early.
    fn drop(&mut self) {
        match std::mem::take(&mut self.stage) {
            Stage::Outside | Stage::Admitted(_) => {}
            Stage::Forwarding(forwarding) => {
                let closing = self.cut_short(forwarding.now(), false);
                forwarding.abandon(Failure::Ours, &closing);
            }
            Stage::Committed(committed) => {
                let closing = self.cut_short(committed.now(), committed.is_forwarded());
                committed.close(&closing);
            }
        }
    }
}
