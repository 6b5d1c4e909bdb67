//! The protocol of APIMW: a key and its secret are exchanged for an access token and a refresh
//! token, a refresh token for the next pair, and `me` shows who holds a token.
//!
//! `docs/protocols/apimw.md` decides what the sources leave open.

mod answer;
mod auth;
mod body;
mod quota;

use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use self::answer::Refusal;
use self::quota::Quota;
use super::{About, HeadCredential, Paths, Protocol};
use crate::http::fault::Fault;
use crate::http::services::Services;

/// The protocol of APIMW.
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
                about("logIn", "Exchange a key and its secret for tokens").body::<body::LogIn>(),
            )
            .post(
                "/v1/auth/refresh",
                post(auth::refresh).fallback(auth::method),
                about("refreshTokens", "Exchange a refresh token for new tokens")
                    .body::<body::Refresh>(),
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

    /// Refuses with quota headers of 0, for a request that reaches no operation is not counted.
    fn refuse(&self, fault: &Fault) -> Response {
        Quota::default().on(Refusal::of_fault(fault).into_response())
    }
}
