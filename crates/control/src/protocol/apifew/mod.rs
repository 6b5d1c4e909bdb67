//! The protocol of apifew: license checks, users, calls by RPC, tokens and stamps.
//! `docs/protocols/apifew.md` decides what apifew leaves open.

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

use axum::http::Method;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};

use self::answer::Failure;
use super::{About, HeadCredential, Paths, Protocol};
use crate::http::fault::Fault;
use crate::http::services::Services;

/// The methods by which a call by RPC may be sent. They make no difference.
const ANY: [Method; 7] = [
    Method::GET,
    Method::PUT,
    Method::POST,
    Method::DELETE,
    Method::OPTIONS,
    Method::HEAD,
    Method::PATCH,
];

/// The protocol of apifew.
#[derive(Debug)]
pub(crate) struct Apifew;

impl Protocol for Apifew {
    fn name(&self) -> &'static str {
        "apifew"
    }

    fn operations(&'static self, services: &Services) -> Paths {
        let about = About::new;
        let provider = |id, summary| About::new(id, summary).takes(HeadCredential::ApifewKey);
        Paths::new()
            .post(
                "/v1/app/user/license/check",
                post(check::check),
                provider("checkLicense", "Say whether a license may be used")
                    .body::<check::Check>(),
            )
            .post(
                "/v2/app/user",
                post(users::show),
                provider("showAppUser", "Show a user and the license they hold")
                    .body::<users::Named>(),
            )
            .post(
                "/v2/app/user/create",
                post(users::create),
                provider("createAppUser", "Make a user").body::<users::Create>(),
            )
            .post(
                "/v2/app/user/update",
                post(users::update),
                provider("updateAppUser", "Change the names of a user").body::<users::Update>(),
            )
            .post(
                "/v1/token",
                post(tokens::issue),
                about("issueRequestToken", "Make a permit for one call").body::<tokens::Issue>(),
            )
            .post(
                "/v1/token/consume",
                post(tokens::consume),
                provider(
                    "consumeRequestToken",
                    "Report the call that a token was for",
                )
                .body::<tokens::Consume>(),
            )
            .post(
                "/v1/token/confirm",
                post(tokens::confirm),
                about(
                    "confirmRequestToken",
                    "Show what became of a token, agree or disagree",
                )
                .body::<tokens::Confirm>(),
            )
            .post(
                "/v1/stamp",
                post(stamps::stamp),
                provider(
                    "stampRequest",
                    "Report a call that was served without the gate",
                )
                .body::<stamps::Report>(),
            )
            .with_state(services.clone())
    }

    fn passages(&'static self, services: &Services) -> Paths {
        let about = About::new("callByRpc", "Make a call that is packed into the body");
        Paths::new()
            .serve(
                ANY,
                "/v1/request",
                any(rpc::call),
                about.body::<rpc::Envelope>(),
            )
            .with_state(services.clone())
    }

    fn refuse(&self, fault: &Fault) -> Response {
        Failure::from(fault.clone()).into_response()
    }
}
