//! The handlers of `/v1/token`. A token is a permit for one call that the consumer makes itself; it
//! is used up when the provider reports how the call ended.

use std::time::Duration;

use api_types::Scope;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use gate::{ConsumeToken, Holder, IssueToken, Refused};
use licensing::TokenRequest;
use model::{AppName, CallId, Method, PlanName, Refusal, RequestToken, Timestamp, TokenState};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::answer::{Failure, Success};
use super::consumer;
use super::provider::provider;
use super::target::{Status, Target, Units};
use crate::http::body::{BODY_LIMIT, read_json};
use crate::http::client::Client;
use crate::http::fault::Fault;
use crate::http::field::{Secret, Text};
use crate::http::schema::inline_schema;
use crate::http::services::Services;

/// The request for a token.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "ApifewToken")]
#[serde(deny_unknown_fields, rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) struct Issue {
    user_license_key: Secret,
    api_url: Text<1, 8_192>,
    api_method: Text<1, 32>,
    token_ttl: Option<Lifetime>,
}

/// The report of a token's call by the provider.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "ApifewConsume")]
#[serde(deny_unknown_fields, rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) struct Consume {
    apifew_key: Option<Secret>,
    token: Secret,
    request_status_code: Status,
    units: Option<Units>,
    show_pricing: Option<bool>,
}

/// The consumer's view of a token's call. Without a status it is a question.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "ApifewConfirm")]
#[serde(deny_unknown_fields, rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) struct Confirm {
    user_license_key: Secret,
    token: Secret,
    request_status_code: Option<Status>,
}

/// The lifetime of a token in seconds, 1 to 86,400.
#[derive(Clone, Copy, Debug)]
struct Lifetime(Duration);

inline_schema!(Lifetime: {"type": "integer", "minimum": 1, "maximum": TokenRequest::MAX_LIFETIME.as_secs()});

/// A new token.
#[derive(Debug, Serialize)]
pub(super) struct Issued {
    token: String,
    expires_at: Timestamp,
}

/// The answer about a token that is used up.
#[derive(Debug, Serialize)]
pub(super) struct Consumed {
    app_name: AppName,
    token: String,
    consumed: bool,
    /// The plan; absent unless it was asked for, `null` if the license has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pricing: Option<Option<PlanName>>,
}

/// The state of a token.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    token: String,
    app_name: AppName,
    api_method: Method,
    api_path: String,
    state: &'static str,
    consumed: bool,
    request_status_code: Option<u16>,
    confirmed_status_code: Option<u16>,
    expires_at: Timestamp,
    call_id: Option<CallId>,
}

/// Issues a token to the holder of a license. Its units are held until it is used or has expired.
pub(super) async fn issue(
    State(services): State<Services>,
    client: Client,
    body: Body,
) -> Result<Success<Issued>, Failure> {
    let issue: Issue = read_json(body, BODY_LIMIT).await?;
    let target = Target::parse(&issue.api_url, &issue.api_method)?;
    services.may_try(&client)?;
    let issued = services.spender().issue_token(IssueToken {
        holder: Holder::Credential(issue.user_license_key.expose().as_bytes()),
        app: None,
        method: target.method,
        path: &target.path,
        address: client.address,
        lifetime: issue.token_ttl.map(|lifetime| lifetime.0),
    });
    let issued = issued.await.map_err(|refused| {
        consumer::note(&services, &client, refused.refusal);
        Failure::from(refused)
    })?;
    let issued = Issued {
        token: issued.secret.expose().to_owned(),
        expires_at: issued.token.expires_at,
    };
    Ok(Success("INFO_TOKEN_ISSUED", issued))
}

/// Uses a token up, by the provider of its app, and charges by the status.
pub(super) async fn consume(
    State(services): State<Services>,
    client: Client,
    headers: HeaderMap,
    body: Body,
) -> Result<Success<Consumed>, Failure> {
    let consume: Consume = read_json(body, BODY_LIMIT).await?;
    let key = consume.apifew_key.as_ref();
    let caller = provider(&services, &client, &headers, key, Scope::WriteLicenses).await?;
    let consumed = services.spender().consume_token(ConsumeToken {
        secret: consume.token.expose().as_bytes(),
        account: caller.account(),
        app: caller.app(),
        target: None,
        status: consume.request_status_code.get(),
        units: consume.units.map(Units::get),
        idempotency: 0,
    });
    let consumed = consumed.await?;
    let shows = consume.show_pricing.unwrap_or(false);
    let plan = consumed.spent.entry.plan();
    let consumed = Consumed {
        app_name: consumed.token.app,
        token: consume.token.expose().to_owned(),
        consumed: true,
        pricing: shows.then(|| plan.map(|revision| revision.plan.name.clone())),
    };
    Ok(Success("INFO_TOKEN_CONSUMED", consumed))
}

/// Shows the holder the state of their token, and keeps whether they agree with the status that the
/// provider reported.
pub(super) async fn confirm(
    State(services): State<Services>,
    client: Client,
    body: Body,
) -> Result<Success<Shown>, Failure> {
    let confirm: Confirm = read_json(body, BODY_LIMIT).await?;
    let key = &confirm.user_license_key;
    let entry = consumer::license(&services, &client, key).await?;
    let (licensing, id) = (services.licensing(), entry.license().id);
    let secret = confirm.token.expose().as_bytes();
    let token = licensing.token(secret).await?;
    let own = token.filter(|token| token.license_id == id);
    let token = own.ok_or(Refusal::TokenInvalid)?;
    let text = confirm.token.expose().to_owned();
    let Some(status) = confirm.request_status_code else {
        return Ok(Success("INFO_TOKEN_STATE", Shown::of(text, token)));
    };
    let noted = licensing.confirm_token(secret, id, status.get()).await;
    let token = match noted {
        // The token exists, so it was not consumed: there is no call to agree on.
        Err(licensing::Error::TokenUnknown) => {
            let code = "ERROR_TOKEN_NOT_CONSUMED";
            return Err(Failure::with_code(StatusCode::CONFLICT, code));
        }
        noted => noted.map_err(Fault::from)?,
    };
    let code = match token.state {
        TokenState::Disputed => "INFO_TOKEN_DISPUTED",
        _ => "INFO_TOKEN_CONFIRMED",
    };
    Ok(Success(code, Shown::of(text, token)))
}

impl<'de> Deserialize<'de> for Lifetime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = u64::deserialize(deserializer)?;
        let most = TokenRequest::MAX_LIFETIME.as_secs();
        if (1..=most).contains(&seconds) {
            Ok(Self(Duration::from_secs(seconds)))
        } else {
            let detail = format_args!("send 1 to {most} seconds");
            Err(serde::de::Error::custom(detail))
        }
    }
}

// === impl Shown ===

impl Shown {
    fn of(text: String, token: RequestToken) -> Self {
        let used = [
            TokenState::Consumed,
            TokenState::Confirmed,
            TokenState::Disputed,
        ];
        Self {
            token: text,
            consumed: used.contains(&token.state),
            app_name: token.app,
            api_method: token.method,
            api_path: token.path,
            state: token.state.as_str(),
            request_status_code: token.status,
            confirmed_status_code: token.confirmed_status,
            expires_at: token.expires_at,
            call_id: token.call_id,
        }
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::Limited {
            refusal: refused.refusal,
            retry_after: refused.retry_after.map(u64::from),
        }
    }
}
