//! The public part of AuthForge's protocol, `/auth/…`, which software calls that is sold with an
//! app.

mod activate;
mod answer;
mod body;
mod context;
mod heartbeat;
mod once;
mod payment;
mod self_ban;
mod session;
mod throttles;
mod validate;

use axum::response::{IntoResponse, Response};
use axum::routing::post;

use self::answer::{Code, Refusal};
use self::context::Context;
use crate::http::fault::Fault;
use crate::http::services::Services;
use crate::protocol::{About, Paths, Protocol};

/// The public part of AuthForge's protocol.
pub(crate) struct Public;

impl Protocol for Public {
    fn name(&self) -> &'static str {
        "authforge-public"
    }

    fn documentation(&self) -> String {
        "docs/protocols/authforge.md".to_owned()
    }

    fn operations(&'static self, services: &Services) -> Paths {
        Paths::new()
            .post(
                "/auth/validate",
                post(validate::validate),
                About::new(
                    "validateLicense",
                    "Validate a license, which begins a session",
                )
                .body::<body::Validate>(),
            )
            .post(
                "/auth/heartbeat",
                post(heartbeat::heartbeat),
                About::new("prolongSession", "Prolong a session").body::<body::Heartbeat>(),
            )
            .post(
                "/auth/selfban",
                post(self_ban::self_ban),
                About::new("banSelf", "Block the device, its address or its license")
                    .body::<body::SelfBan>(),
            )
            .post(
                "/auth/offline/activate",
                post(activate::activate),
                About::new(
                    "activateOffline",
                    "Make a file by which the device needs no connection",
                )
                .body::<body::Validate>(),
            )
            .with_state(Context::new(services.clone()))
    }

    fn refuse(&self, fault: &Fault) -> Response {
        Refusal::of_fault(fault, Code::InvalidApp).into_response()
    }
}
