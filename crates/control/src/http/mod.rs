//! The ground floor of the control plane: everything between a connection and a handler, for the
//! native API and the wire protocols alike. No file here knows a path, an operation or a protocol.

pub(crate) mod body;
pub(crate) mod caller;
pub(crate) mod client;
pub(crate) mod extract;
pub(crate) mod fault;
pub mod field;
pub(crate) mod headers;
pub(crate) mod idempotency;
pub(crate) mod problem;
pub(crate) mod schema;
pub(crate) mod serve;
pub(crate) mod services;
pub(crate) mod state;
pub(crate) mod stream;
pub(crate) mod throttle;
pub(crate) mod words;
