//! `POST /api/agents/token` (RFC 6749, section 6): an agent renews its token. No management key is
//! needed: who has the refresh token has the agent's place.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use model::{Actor, LicenseId};
use schemars::JsonSchema;
use serde::Deserialize;

use super::answer::{Failure, json};
use super::register::Granted;
use crate::http::body::{Input, parse, read_bytes};
use crate::http::client::Client;
use crate::http::fault::{Denied, Fault};
use crate::http::field::Secret;
use crate::http::services::Services;

/// A wish to renew a token, as a form or as JSON. Further members are ignored.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "PaywallsRenew")]
pub(super) struct Renew {
    /// `refresh_token`.
    grant_type: Option<String>,
    /// The refresh token.
    refresh_token: Option<Secret>,
    /// The id of the registration; absent: whichever the token is of.
    client_id: Option<String>,
}

/// The length of the longest body, in bytes.
const BODY_LIMIT: usize = 8 << 10;

/// Answers a renewal.
pub(super) async fn token(
    State(services): State<Services>,
    client: Client,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let text = read_bytes(body, BODY_LIMIT).await?;
    let renew: Renew = match is_form(&headers) {
        true => serde_urlencoded::from_bytes(&text).map_err(|_| {
            Failure::invalid("body", "write `name=value`, joined by `&`, each once")
        })?,
        false => parse(&text)?,
    };
    match renew.grant_type.as_deref() {
        Some("refresh_token") => {}
        Some(_) => {
            let message = "`grant_type`: write `refresh_token`, which is the only one";
            return Err(Failure::new(
                StatusCode::BAD_REQUEST,
                "unsupported_grant_type",
                message,
            ));
        }
        None => return Err(Input::missing("grant_type").into()),
    }
    let refresh = renew
        .refresh_token
        .ok_or_else(|| Input::missing("refresh_token"))?;
    let acting = services.licensing().acting(Actor::unknown(client.address));
    let check = async {
        let of = renew.client_id.as_deref().map(str::parse::<LicenseId>);
        match of.transpose() {
            Ok(of) => acting.renew_agent_token(refresh.expose(), of).await,
            Err(_) => Ok(None),
        }
    };
    let tokens = match services.credential(&client, check).await {
        Ok(tokens) => tokens,
        Err(Fault::Denied(Denied::Wrong)) => return Err(Failure::invalid_grant()),
        Err(fault) => return Err(fault.into()),
    };
    Ok(json(StatusCode::OK, &Granted::of(&tokens)))
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.is_some_and(|kind| kind.starts_with(b"application/x-www-form-urlencoded"))
}
