//! The wire protocols that the control listener speaks, each a folder of adapters over the same services.
//!
//! # Adding a protocol
//! One folder beside this file with a type that implements [`Protocol`], and one line in [`SHIPPED`]. A protocol has no
//! storage and no rules of its own: its handlers read a request into types ([`read_json`], the types of [`field`]), ask
//! an operation of `licensing` through [`Services`], and translate names, units, errors and status codes.
//!
//! What holds for all of them is done here, once: bodies are bounded and say which field is wrong, credentials are
//! throttled per address and answered alike whether unknown or wrong, unencrypted requests come from named networks
//! only, and a handler that panics is an answer in the protocol's own words ([`Protocol::refuse`]).

mod apifew;
mod apimw;
pub mod better_auth;
mod body;
mod client;
mod fault;
pub mod field;
mod mount;
mod paths;
mod services;
pub(crate) mod words;

use axum::response::Response;

pub use crate::throttle::Attempts;
pub use body::{BODY_LIMIT, Input, InputKind, read_json};
pub use client::Client;
pub(crate) use client::may_come_plain;
pub use fault::{Denied, Fault};
pub(crate) use mount::mount;
pub use paths::{About, HeadCredential, Paths};
pub(crate) use paths::{DescribedPath, inline_schema};
pub use services::Services;

/// The protocols that every gate speaks.
pub static SHIPPED: &[&dyn Protocol] = &[&apifew::Apifew, &apimw::Apimw, &better_auth::BetterAuth];

/// One wire protocol.
pub trait Protocol: Sync {
    /// Its name, for the log.
    fn name(&self) -> &'static str;

    /// Its paths, each with what its document says. A request to one of them is worked to its end even when its client has gone away meanwhile, so that
    /// no operation is left half done, and caches are told to keep nothing of the answer.
    fn operations(&'static self, services: &Services) -> Paths;

    /// Those of its paths whose work ends when the client goes away, and whose answers leave as the handler made them:
    /// for what is passed on rather than done here.
    fn passages(&'static self, services: &Services) -> Paths {
        let _ = services;
        Paths::new()
    }

    /// Says in the protocol's own words what the frame refused.
    fn refuse(&self, fault: &Fault) -> Response;
}
