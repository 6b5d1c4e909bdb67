//! The protocol of better-auth's API key plugin, version 1.7. `docs/protocols/better-auth.md` lists
//! the differences.

mod body;
mod context;
mod extract;
mod handlers;
mod query;
mod record;
mod refusal;

use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use self::context::Context;
use self::refusal::Refused;
use super::{About, HeadCredential, Paths, Protocol};
use crate::http::fault::Fault;
use crate::http::services::Services;

/// The protocol of better-auth's API key plugin.
pub(crate) struct BetterAuth;

impl Protocol for BetterAuth {
    fn name(&self) -> &'static str {
        "better-auth"
    }

    fn operations(&'static self, services: &Services) -> Paths {
        let about = |id, summary| About::new(id, summary).takes(HeadCredential::Bearer);
        Paths::new()
            .post(
                "/api/auth/api-key/create",
                post(handlers::create),
                about("createKey", "Make a key; it is shown this once").body::<body::Create>(),
            )
            .post(
                "/api/auth/api-key/verify",
                post(handlers::verify),
                about("verifyKey", "Use a key, and say whether it is valid").body::<body::Verify>(),
            )
            .get(
                "/api/auth/api-key/get",
                get(handlers::show),
                about("getKey", "Show a key").query(&["id", "configId"]),
            )
            .post(
                "/api/auth/api-key/update",
                post(handlers::update),
                about("updateKey", "Change a key").body::<body::Update>(),
            )
            .post(
                "/api/auth/api-key/delete",
                post(handlers::delete),
                about("deleteKey", "Delete a key").body::<body::Delete>(),
            )
            .get(
                "/api/auth/api-key/list",
                get(handlers::list),
                about("listKeys", "List keys").query(&[
                    "limit",
                    "offset",
                    "sortBy",
                    "sortDirection",
                    "configId",
                    "organizationId",
                ]),
            )
            .post(
                "/api/auth/api-key/delete-all-expired-api-keys",
                post(handlers::delete_expired),
                about("deleteExpiredKeys", "Delete the keys that have ended")
                    .body::<body::Nothing>(),
            )
            .with_state(Context::new(services.clone()))
    }

    fn refuse(&self, fault: &Fault) -> Response {
        Refused::from(fault.clone()).into_response()
    }
}
