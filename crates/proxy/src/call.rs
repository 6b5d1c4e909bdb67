//! The context of one call: which step of the gate it has come to, and what was counted on the way.

use std::sync::Arc;

use gate::{Admitted, Committed, Forwarding, Moment};
use model::{CallId, Refusal};

use crate::backend::Backend;
use crate::edge::Connection;

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
    // First, so that it is dropped first: its record is written before anything else is let go.
    pub(crate) stage: Stage,
    pub(crate) backend: Option<Arc<Backend>>,
    pub(crate) connection: Option<Arc<Connection>>,
    pub(crate) call_id: Option<CallId>,
    /// Why the gate itself ends the call, where it does.
    pub(crate) refusal: Option<Refusal>,
    /// Whose turn it was at the first attempt.
    pub(crate) turn: usize,
    pub(crate) attempts: u8,
    /// The head could not be made durable: not a byte of the status may leave.
    pub(crate) uncommitted: bool,
    /// The last byte of the response went through the filters.
    pub(crate) response_ended: bool,
    pub(crate) request_bytes: u64,
    pub(crate) units: Option<u64>,
    pub(crate) upstream: UpstreamTime,
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
