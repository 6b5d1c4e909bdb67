//! The wire protocols of the control listener: a folder of adapters for each, over the same
//! services.
//!
//! # Adding a protocol
//! A protocol is one folder beside this file, with a type that implements [`Protocol`], and one
//! line in [`SHIPPED`](crate::SHIPPED). It has no storage and no rules of its own: its handlers
//! read a request into types ([`read_json`], the types of [`field`]), ask an operation of
//! `licensing` through [`Services`], and translate names, units, errors and status codes.
//!
//! The rules for all protocols are kept here and in `http`: bodies are bounded and errors name the
//! field, credentials are throttled per address and answered alike whether unknown or wrong,
//! unencrypted requests are taken from named networks only, and a handler that panics is an answer
//! in the protocol's own words ([`Protocol::refuse`]).

pub(crate) mod apifew;
pub(crate) mod apimw;
pub(crate) mod authforge;
pub(crate) mod better_auth;
mod mount;
mod paths;
pub(crate) mod paywalls;

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

/// A wire protocol.
pub trait Protocol: Sync {
    /// Returns the name of the protocol, for the log and for its documentation.
    fn name(&self) -> &'static str;

    /// Returns the path of its documentation in the repository.
    fn documentation(&self) -> String {
        format!("docs/protocols/{}.md", self.name())
    }

    /// Returns the paths of the protocol, each with what its document says. A request to one of
    /// them is worked to its end even when its client is gone, so that no operation is left half
    /// done, and caches may keep nothing of the answer.
    fn operations(&'static self, services: &Services) -> Paths;

    /// Returns the paths whose work ends when the client is gone, and whose answers leave as the
    /// handler made them: for calls that are passed on rather than done here. None by default.
    fn passages(&'static self, services: &Services) -> Paths {
        let _ = services;
        Paths::new()
    }

    /// Returns a refusal that is the same for every protocol in the protocol's own words.
    fn refuse(&self, fault: &Fault) -> Response;
}
