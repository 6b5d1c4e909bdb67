//! The handler of `/.well-known/jwks.json`: the public keys of everything that the gate signs, for
//! everybody.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::get;
use licensing::Signing;

use crate::http::state::Api;
use crate::protocol::{About, Paths};

/// Returns the one path. It takes no credential, and caches may keep the answer: a new key is in it
/// for longer than that before it signs.
pub(crate) fn paths(state: Arc<Api>) -> Paths {
    let about = About::new(
        "showKeys",
        "Show the public keys of everything that is signed",
    );
    Paths::new()
        .get("/.well-known/jwks.json", get(show), about)
        .with_state(state)
}

async fn show(State(state): State<Arc<Api>>) -> impl IntoResponse {
    let set = serde_json::to_vec(&state.signing.jwks()).expect("public keys are plain data");
    let age = format!("public, max-age={}", Signing::CACHED.as_secs());
    let headers = [
        (CONTENT_TYPE, "application/jwk-set+json".to_owned()),
        (CACHE_CONTROL, age),
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*".to_owned()),
    ];
    (headers, set)
}
