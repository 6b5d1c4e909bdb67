//! APIMW: a key and its secret for an access token, a refresh token for the next, and who holds it.
//!
//! What the sources leave open is decided in `docs/protocols/apimw.md`.

mod answer;
mod auth;
mod quota;
mod wire;

use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use self::answer::Refusal;
use self::quota::Quota;
use super::{About, HeadCredential, Paths, Protocol};
use crate::http::fault::Fault;
use crate::http::services::Services;

/// The protocol.
pub(crate) struct Apimw;

impl Protocol for Apimw {
    fn name(&self) -> &'static str {
        "apimw"
    }

    fn operations(&'static self, services: &Services) -> Paths {
        let about = About::new;
        Paths::new()
            .post(
                "/v1/auth/token",
                post(auth::token).fallback(auth::method),
                about("logIn", "Exchange a key and its secret for tokens").body::<wire::LogIn>(),
            )
            .post(
                "/v1/auth/refresh",
                post(auth::refresh).fallback(auth::method),
                about("refreshTokens", "Exchange a refresh token for new tokens")
                    .body::<wire::Refresh>(),
            )
            .post(
                "/v1/auth/revoke",
                post(auth::revoke).fallback(auth::method),
                about(
                    "revokeTokens",
                    "End the access token that asks, and its family",
                )
                .takes(HeadCredential::Bearer),
            )
            .get(
                "/v1/auth/me",
                get(auth::me).fallback(auth::method),
                about("showHolder", "Show who holds the access token")
                    .takes(HeadCredential::Bearer),
            )
            .with_state(services.clone())
    }

    /// Nothing is counted of what does not come to an operation, and nothing is left of it.
    fn refuse(&self, fault: &Fault) -> Response {
        Quota::default().on(Refusal::of_fault(fault).into_response())
    }
}
