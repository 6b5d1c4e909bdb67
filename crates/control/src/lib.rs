//! The control plane: the native API under `/api/v1`, for the command line on the gate's own host and for management
//! keys from elsewhere.
//!
//! An operation exists once, in `licensing` or `ledger`; what stands here reads requests, says who may ask, and
//! translates answers. No request can end the listener: a handler that panics is a 500.

#![forbid(unsafe_code)]

mod api;
mod caller;
mod extract;
mod problem;
mod router;
mod serve;
mod state;
mod stream;
mod throttle;
pub mod wire;

pub use problem::{Code, Problem, ProblemBody};
pub use router::router;
pub use serve::{Access, Listener, SOCKET_NAME, bind_socket, serve, socket_path};
pub use state::{AppDirectory, ControlLimits, ControlState, GateInfo};
