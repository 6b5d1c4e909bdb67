//! apifew's protocol: license checks, users, calls by RPC, tokens, stamps. What it leaves open is decided in `docs/protocols/apifew.md`.

mod answer;
mod apps;
mod check;
mod consumer;
mod provider;
mod rpc;
mod stamps;
mod target;
mod tokens;
mod users;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};

use self::answer::Failure;
use super::{Fault, Protocol, Services};

/// apifew.
#[derive(Debug)]
pub(super) struct Apifew;

impl Protocol for Apifew {
    fn name(&self) -> &'static str {
        "apifew"
    }

    fn operations(&'static self, services: &Services) -> Router {
        Router::new()
            .route("/v1/app/user/license/check", post(check::check))
            .route("/v2/app/user", post(users::show))
            .route("/v2/app/user/create", post(users::create))
            .route("/v2/app/user/update", post(users::update))
            .route("/v1/token", post(tokens::issue))
            .route("/v1/token/consume", post(tokens::consume))
            .route("/v1/token/confirm", post(tokens::confirm))
            .route("/v1/stamp", post(stamps::stamp))
            .with_state(services.clone())
    }

    fn passages(&'static self, services: &Services) -> Router {
        Router::new()
            .route("/v1/request", any(rpc::call))
            .with_state(services.clone())
    }

    fn refuse(&self, fault: &Fault) -> Response {
        Failure::from(fault.clone()).into_response()
    }
}
