//! The control plane: the native API under `/api/v1`, for the command line on the gate's own host and for management
//! keys from elsewhere, and the wire protocols that clients of other systems speak ([`protocol`]).
//!
//! An operation exists once, in `licensing` or `ledger`; what stands here reads requests, says who may ask, and
//! translates answers. No request can end the listener: a handler that panics is a 500.

#![forbid(unsafe_code)]

mod api;
mod document;
mod http;
mod jwks;
pub mod protocol;
mod router;
mod stamp;
mod verify;
pub mod wire;

pub use http::caller::Caller;
pub use http::problem::{Code, Problem, ProblemBody};
pub use http::serve::{
    Access, Listener, SOCKET_NAME, bind_private, bind_socket, serve, socket_path,
};
pub use http::state::{AppDirectory, ControlLimits, ControlState, GateInfo, KeyShape};
pub use router::{SHIPPED, Surfaces, router};
pub use stamp::{Stamp, StampError, StampRequest};
