//! The reverse proxy: Pingora's phases over the gate, and the edge that feeds them.
//!
//! Thin on purpose: this crate instantiates Pingora's generics and is slow to build. What a phase decides, the gate decides.

#![forbid(unsafe_code)]

mod answer;
mod backend;
mod call;
mod caller;
mod connection;
mod edge;
mod failure;
mod headers;
mod hop;
mod outlet;
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
pub use phases::{CallerTimeouts, MeteredProxy};
pub use serve::{ProxyParts, serve};
pub use upstream::{Balance, HealthCheck, Pool, PoolOptions, UpstreamAddress};
