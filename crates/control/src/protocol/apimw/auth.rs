//! The handlers of `/v1/auth/*`.

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use licensing::sessions::{Holder, SessionError, Tokens};

use super::answer::{Credential, Refusal, success};
use super::body::{Granted, LogIn, Me, Refresh, Revoked};
use super::quota::Quota;
use crate::http::body::{BODY_LIMIT, read_json};
use crate::http::caller::bearer;
use crate::http::client::Client;
use crate::http::fault::Fault;
use crate::http::services::Services;

/// Answers `POST /v1/auth/token`: exchanges a key and its secret for tokens.
pub(super) async fn token(
    State(services): State<Services>,
    client: Client,
    body: Body,
) -> Response {
    let granted = async {
        let request: LogIn = read(body).await?;
        let (key, secret) = (request.api_key.expose(), request.api_secret.expose());
        let tokens = services.sessions().log_in(key, secret, client.address);
        throttled(&services, &client, Credential::Pair, tokens).await
    };
    grant(&services, &client, granted.await).await
}

/// Answers `POST /v1/auth/refresh`: exchanges a refresh token for new ones, once.
pub(super) async fn refresh(
    State(services): State<Services>,
    client: Client,
    body: Body,
) -> Response {
    let granted = async {
        let request: Refresh = read(body).await?;
        let tokens = services
            .sessions()
            .refresh(request.refresh_token.expose(), client.address);
        throttled(&services, &client, Credential::RefreshToken, tokens).await
    };
    grant(&services, &client, granted.await).await
}

/// Answers `POST /v1/auth/revoke`: ends the access token and all tokens of the same log-in. The
/// body is not read.
pub(super) async fn revoke(
    State(services): State<Services>,
    client: Client,
    headers: HeaderMap,
) -> Response {
    let request = AccessRequest {
        client: &client,
        headers: &headers,
        even_if_full: true,
    };
    metered(&services, request, async |holder| {
        let ended = services.sessions().end(holder, client.address).await;
        ended.map_err(SessionError::from)?;
        Ok(success(Revoked { revoked: true }))
    })
    .await
}

/// Answers `GET /v1/auth/me`: shows who holds the access token.
pub(super) async fn me(
    State(services): State<Services>,
    client: Client,
    headers: HeaderMap,
) -> Response {
    let request = AccessRequest {
        client: &client,
        headers: &headers,
        even_if_full: false,
    };
    metered(&services, request, async |holder| {
        let terms = services.sessions().terms(&holder.key).await;
        let terms = terms.map_err(SessionError::from)?;
        Ok(success(Me::new(holder, &terms)))
    })
    .await
}

/// Refuses a method that the path does not take.
pub(super) async fn method(State(services): State<Services>, client: Client) -> Response {
    let refusal = Refusal::of_fault(&Fault::MethodUnknown);
    Quota::of_address(&services, &client).on(refusal.into_response())
}

async fn read<T: serde::de::DeserializeOwned>(body: Body) -> Result<T, Refusal> {
    let read = read_json(body, BODY_LIMIT).await;
    read.map_err(|input| Refusal::of_fault(&Fault::Input(input)))
}

/// Returns what `judged` gives for a credential, if the address may try one. A wrong guess counts
/// against the address; a credential that was valid once does not.
async fn throttled<T>(
    services: &Services,
    client: &Client,
    credential: Credential,
    judged: impl Future<Output = Result<T, SessionError>>,
) -> Result<T, Refusal> {
    let check = async {
        match judged.await {
            Ok(given) => Ok(Some(Ok(given))),
            Err(
                SessionError::Credentials | SessionError::RefreshToken | SessionError::InvalidToken,
            ) => Ok(None),
            Err(SessionError::Failed(error)) => Err(Fault::from(error)),
            Err(known) => Ok(Some(Err(Refusal::of_session(known)))),
        }
    };
    let found = services.credential(client, check).await;
    found.map_err(|fault| Refusal::of_fault_with(&fault, credential))?
}

/// Answers with tokens and the quota of the key, or with a refusal and the quota of the address.
async fn grant(services: &Services, client: &Client, granted: Result<Tokens, Refusal>) -> Response {
    match granted {
        Ok(tokens) => {
            let answer = success(Granted::from(&tokens));
            quota_of(services, client, &tokens.holder).await.on(answer)
        }
        Err(refusal) => Quota::of_address(services, client).on(refusal.into_response()),
    }
}

/// Returns the quota of a key, or that of the address if the store cannot say it now: a success
/// stays one.
async fn quota_of(services: &Services, client: &Client, holder: &Holder) -> Quota {
    let remaining = async {
        let sessions = services.sessions();
        let terms = sessions.terms(&holder.key).await?;
        sessions.allowance(&holder.key, &terms, false).await
    };
    match remaining.await {
        Ok(allowance) => allowance.into(),
        Err(error) => {
            tracing::debug!(%error, "the quota of a key cannot be read");
            Quota::of_address(services, client)
        }
    }
}

/// A request that presents an access token.
struct AccessRequest<'a> {
    client: &'a Client,
    headers: &'a HeaderMap,
    /// Whether the request is served although the windows of the key are full: everybody may give
    /// up their tokens.
    even_if_full: bool,
}

/// Runs an operation for the holder of an access token, if the windows of the key have room for the
/// call.
async fn metered(
    services: &Services,
    request: AccessRequest<'_>,
    operation: impl AsyncFnOnce(&Holder) -> Result<Response, SessionError>,
) -> Response {
    let (sessions, client) = (services.sessions(), request.client);
    let Ok(Some(token)) = bearer(request.headers) else {
        let refusal = Refusal::wrong(Credential::AccessToken);
        return Quota::of_address(services, client).on(refusal.into_response());
    };
    let found = sessions.authenticate(token, client.address);
    let held = throttled(services, client, Credential::AccessToken, found).await;
    let holder = match held {
        Ok(holder) => holder,
        Err(refusal) => return Quota::of_address(services, client).on(refusal.into_response()),
    };
    let taken = async {
        let terms = sessions.terms(&holder.key).await?;
        sessions.allowance(&holder.key, &terms, true).await
    };
    let allowance = match taken.await {
        Ok(allowance) => allowance,
        Err(error) => {
            let refusal = Refusal::of_session(error.into());
            return Quota::of_address(services, client).on(refusal.into_response());
        }
    };
    let quota = Quota::from(allowance);
    if !(allowance.admitted || request.even_if_full) {
        let message = "too many calls for the plan of this key, retry later";
        let refusal = Refusal::too_many(message, allowance.retry_after);
        return quota.on(refusal.into_response());
    }
    let answer = operation(&holder).await;
    quota.on(answer.unwrap_or_else(|error| Refusal::of_session(error).into_response()))
}
