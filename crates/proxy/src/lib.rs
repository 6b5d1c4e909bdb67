//! The reverse proxy: Pingora's phases over the gate, and the edge that accepts connections for
//! them.
//!
//! It is thin on purpose, since it instantiates Pingora's generics and is slow to build: the gate
//! makes the decisions.

#![forbid(unsafe_code)]

mod agent_answer;
mod answer;
mod backend;
mod call;
mod call_errors;
mod caller;
mod connection;
mod edge;
mod failure;
mod headers;
mod hop;
mod malformed;
mod metered_proxy;
mod output_buffer;
mod phases;
mod problem;
mod refused_head;
mod request_line;
mod response;
mod serve;
mod session;
mod shared;
mod stream;
mod survey;
mod target;
mod ticks;
mod upstream;

pub use backend::{BackendRules, Backends, Underscores};
pub use edge::{Edge, EdgeOptions};
pub use metered_proxy::MeteredProxy;
pub use serve::{ProxyParts, serve};
pub use session::CallerTimeouts;
pub use upstream::{Balance, HealthCheck, Pool, PoolOptions, UpstreamAddress};
