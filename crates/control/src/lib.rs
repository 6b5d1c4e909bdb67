//! The control plane: the native API under `/api/v1`, for the command line on the gate's own host and for management
//! keys from elsewhere, and the wire protocols that clients of other systems speak ([`protocol`]).
//!
//! An operation exists once, in `licensing` or `ledger`; what stands here reads requests, says who may ask, and
//! translates answers. No request can end the listener: a handler that panics is a 500.

#![forbid(unsafe_code)]

mod api;
mod caller;
mod document;
mod extract;
mod idempotency;
mod jwks;
mod problem;
pub mod protocol;
mod router;
mod serve;
mod stamp;
mod state;
mod stream;
mod throttle;
mod verify;
pub mod wire;

pub use caller::Caller;
pub use problem::{Code, Problem, ProblemBody};
pub use router::{Surfaces, router};
pub use serve::{Access, Listener, SOCKET_NAME, bind_private, bind_socket, serve, socket_path};
pub use stamp::{Stamp, StampError, StampRequest};
pub use state::{AppDirectory, ControlLimits, ControlState, GateInfo};
