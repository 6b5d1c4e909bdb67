//! The control plane: the native API under `/api/v1`, for the command line on the gate's own host
//! and for management keys from elsewhere, and the wire protocols of clients of other systems
//! ([`protocol`]).
//!
//! An operation exists once, in `licensing` or `ledger`; this crate reads requests, decides who may ask, and translates
//! answers. No request can end the listener: a handler that panics is a 500.
//!
//! Its modules stand in three floors, of which each uses only those below:
//!
//! 1. `http`: connections, callers, extractors, limits, problems, idempotency, and the state that handlers share.
//! 2. `api`, with the table of its requests in `document`, and [`protocol`].
//! 3. `router`: all of it on one listener or two.

#![forbid(unsafe_code)]

mod api;
mod document;
mod http;
mod jwks;
pub mod protocol;
mod router;
mod stamp;
mod verify;

pub use http::caller::Caller;
pub use http::problem::{Code, Problem};
pub use http::serve::{Access, Listener, bind_private, bind_socket, serve};
pub use http::state::{AppDirectory, ControlLimits, ControlState, GateInfo, KeyShape};
pub use router::{SHIPPED, Surfaces, router};
pub use stamp::{Stamp, StampError, StampRequest};
