//! APIMW: a key and its secret for an access token, a refresh token for the next, and who holds it.
//!
//! What the sources leave open is decided in `docs/protocols/apimw.md`.

mod answer;
mod auth;
mod quota;
mod wire;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use self::answer::Refusal;
use self::quota::Quota;
use super::{Fault, Protocol, Services};

/// The protocol.
pub(crate) struct Apimw;

impl Protocol for Apimw {
    fn name(&self) -> &'static str {
        "apimw"
    }

    fn operations(&'static self, services: &Services) -> Router {
        Router::new()
            .route("/v1/auth/token", post(auth::token).fallback(auth::method))
            .route(
                "/v1/auth/refresh",
                post(auth::refresh).fallback(auth::method),
            )
            .route("/v1/auth/revoke", post(auth::revoke).fallback(auth::method))
            .route("/v1/auth/me", get(auth::me).fallback(auth::method))
            .with_state(services.clone())
    }

    /// Nothing is counted of what does not come to an operation, and nothing is left of it.
    fn refuse(&self, fault: &Fault) -> Response {
        Quota::default().on(Refusal::of_fault(fault).into_response())
    }
}
