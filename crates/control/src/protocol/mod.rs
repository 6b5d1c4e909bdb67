//! The wire protocols that the control listener speaks, each a folder of adapters over the same services.
//!
//! # Adding a protocol
//! One folder beside this file with a type that implements [`Protocol`], and one line in [`SHIPPED`](crate::SHIPPED). A protocol has no
//! storage and no rules of its own: its handlers read a request into types ([`read_json`], the types of [`field`]), ask
//! an operation of `licensing` through [`Services`], and translate names, units, errors and status codes.
//!
//! What holds for all of them is done here, once: bodies are bounded and say which field is wrong, credentials are
//! throttled per address and answered alike whether unknown or wrong, unencrypted requests come from named networks
//! only, and a handler that panics is an answer in the protocol's own words ([`Protocol::refuse`]).

pub(crate) mod apifew;
pub(crate) mod apimw;
pub(crate) mod better_auth;
mod mount;
mod paths;

use axum::response::Response;

pub use crate::http::body::{BODY_LIMIT, Input, InputKind, read_json};
pub use crate::http::client::Client;
pub use crate::http::fault::{Denied, Fault};
pub use crate::http::field;
pub use crate::http::services::Services;
pub use crate::http::throttle::Attempts;
pub(crate) use mount::mount;
pub(crate) use paths::DescribedPath;
pub use paths::{About, HeadCredential, Paths};

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
