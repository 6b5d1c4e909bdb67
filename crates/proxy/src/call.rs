//! The context of one call: which step of the gate it has come to, and what was counted on the way.

use std::net::SocketAddr;
use std::sync::Arc;

use gate::{Admitted, Closing, Committed, Failure, Forwarding, Moment};
use http::HeaderValue;
use model::{Blame, CallId, Ending, Refusal};

use crate::backend::Backend;
use crate::caller::Caller;
use crate::connection::{Connection, Origin};

/// The step that a call has come to. Dropping it writes the record that is true there, whatever ended the call.
#[derive(Default)]
pub(crate) enum Stage {
    /// Not admitted, or closed.
    #[default]
    Outside,
    /// Let in, nothing sent.
    Admitted(Admitted),
    /// May have reached the upstream; no status yet.
    Forwarding(Forwarding),
    /// The head is in the journal.
    Committed(Committed),
}

/// The context that Pingora carries through the phases of a call.
#[derive(Default)]
pub struct Call {
    pub(crate) stage: Stage,
    pub(crate) backend: Option<Arc<Backend>>,
    pub(crate) connection: Option<Arc<Connection>>,
    pub(crate) call_id: Option<CallId>,
    /// The same as text, made once for the upstream and the caller.
    call_id_text: Option<HeaderValue>,
    /// Who made the call, where the connection does not tell: it came by rpc.
    pub(crate) caller: Option<Caller>,
    /// The head asks for a WebSocket.
    pub(crate) asks_for_websocket: bool,
    /// Why the gate itself ends the call, where it does.
    pub(crate) refusal: Option<Refusal>,
    /// Whose turn it was at the first attempt.
    pub(crate) turn: usize,
    pub(crate) attempts: u8,
    /// The address that the last attempt could not connect to.
    pub(crate) failed: Option<SocketAddr>,
    /// The head could not be made durable: not a byte of the status may leave.
    pub(crate) uncommitted: bool,
    /// The last byte of the response went through the filters.
    pub(crate) response_ended: bool,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
    pub(crate) upstream: UpstreamTime,
}

/// Who made a call.
pub(crate) fn caller_of<'a>(
    connection: Option<&'a Arc<Connection>>,
    by_rpc: Option<&'a Caller>,
) -> Option<&'a Caller> {
    match connection?.origin() {
        Origin::Caller(caller) => Some(caller),
        Origin::Rpc => by_rpc,
    }
}

/// When the upstream was busy with the call.
#[derive(Clone, Copy, Default)]
pub(crate) struct UpstreamTime {
    pub(crate) began: Option<Moment>,
    pub(crate) ended: Option<Moment>,
    /// Time within it that was spent waiting for the journal.
    pub(crate) waited_us: u64,
}

impl UpstreamTime {
    pub(crate) fn micros(&self, now: Moment) -> u64 {
        self.began.map_or(0, |began| {
            let whole = self.ended.unwrap_or(now).micros_since(began);
            whole.saturating_sub(self.waited_us)
        })
    }
}

impl Call {
    /// Whether it came by rpc.
    pub(crate) fn is_rpc(&self) -> bool {
        let connection = self.connection.as_ref();
        connection.is_some_and(|connection| *connection.origin() == Origin::Rpc)
    }

    /// The identity of the call as the value of a header; `None` before it has one.
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

    /// What is known of a call that we end without Pingora's last phase: a cut, a drain, a panic.
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
    /// The backstop: Pingora's last phase is not called when the task of a connection ends early.
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
