//! The protocol of paywalls.net: sites ask what to do with an agent and report what they did, their
//! edges ask who visits (VAI), and agents are registered and renew their tokens.
//!
//! `docs/protocols/paywalls.md` decides what the sources leave open.

mod answer;
mod auth;
mod body;
mod context;
mod logs;
mod metadata;
mod register;
mod target;
mod token;
mod vai;
mod wallet;

use axum::http::Method;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};

use self::answer::Failure;
use super::{About, HeadCredential, Paths, Protocol};
use crate::http::fault::Fault;
use crate::http::services::Services;

/// The protocol of paywalls.net.
pub(crate) struct Paywalls;

impl Protocol for Paywalls {
    fn name(&self) -> &'static str {
        "paywalls"
    }

    fn operations(&'static self, services: &Services) -> Paths {
        let about = |id, summary| About::new(id, summary).takes(HeadCredential::Bearer);
        Paths::new()
            .post(
                "/api/filter/agents/metadata",
                post(metadata::metadata),
                about("listAgentPatterns", "List the agents that are known"),
            )
            .post(
                "/api/filter/access/logs",
                post(logs::log),
                about("logAccess", "Report an access of an agent").body::<body::Log>(),
            )
            .post(
                "/api/filter/agents/auth",
                post(auth::auth),
                about("authorizeAgent", "Say what the site does with an agent")
                    .body::<body::Auth>(),
            )
            .post(
                "/api/agents/register",
                post(register::register),
                about("registerAgent", "Register an agent, which gets a token")
                    .body::<register::Register>(),
            )
            .post(
                "/api/agents/token",
                post(token::token),
                About::new("renewAgentToken", "Renew the token of an agent").body::<token::Renew>(),
            )
            .get(
                "/api/me",
                get(wallet::me),
                about("showKeyHolder", "Show whose key asks"),
            )
            .get(
                "/api/wallet/{account}/receipts",
                get(wallet::receipts),
                about("listReceipts", "List what agents paid, newest first")
                    .query(&["limit", "offset", "type", "domain"]),
            )
            .get(
                "/api/wallet/{account}/receipts/{id}",
                get(wallet::receipt),
                about("showReceipt", "Show what an agent paid for a call"),
            )
            .with_state(services.clone())
    }

    /// Returns the paths that an edge passes on. They say themselves who may keep and read their
    /// answers.
    fn passages(&'static self, services: &Services) -> Paths {
        let about = |id, summary| About::new(id, summary);
        let by_edge = |id, summary| About::new(id, summary).takes(HeadCredential::Bearer);
        Paths::new()
            .serve(
                [Method::GET],
                "/pw/vai.json",
                get(vai::judged).options(vai::judged),
                by_edge(
                    "judgeVisitor",
                    "Judge a visitor of a site, with a signed assertion",
                ),
            )
            .serve(
                [Method::GET],
                "/pw/vai.js",
                get(vai::script).options(vai::script),
                by_edge(
                    "judgeVisitorInScript",
                    "Judge a visitor of a site, as a script",
                ),
            )
            .serve(
                [Method::GET],
                "/pw/jwks.json",
                get(vai::keys).options(vai::keys),
                about("showAssertionKeys", "Show the keys that verify assertions"),
            )
            .serve(
                [Method::GET],
                "/pw/vai/metadata",
                get(vai::metadata).options(vai::metadata),
                about(
                    "showSignalLists",
                    "Show the lists by which an edge makes signals",
                ),
            )
            .hidden("/pw/{*path}", any(vai::unknown))
            .with_state(services.clone())
    }

    fn refuse(&self, fault: &Fault) -> Response {
        Failure::from(fault.clone()).into_response()
    }
}
