//! `/v1/auth/*`.

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use licensing::sessions::{Holder, SessionError, Tokens};

use super::answer::{Credential, Refusal, success};
use super::quota::Quota;
use super::wire::{Granted, LogIn, Me, Refresh, Revoked};
use crate::http::body::{BODY_LIMIT, read_json};
use crate::http::caller::bearer;
use crate::http::client::Client;
use crate::http::fault::Fault;
use crate::http::services::Services;

/// `POST /v1/auth/token`: a key and its secret for tokens.
pub(super) async fn token(
    State(services): State<Services>,
    client: Client,
    body: Body,
) -> Response {
    let granted = async {
        let request: LogIn = read(body).await?;
        let (key, secret) = (request.api_key.expose(), request.api_secret.expose());
        let asked = services.sessions().log_in(key, secret, client.address);
        presented(&services, &client, Credential::Pair, asked).await
    };
    grant(&services, &client, granted.await).await
}

/// `POST /v1/auth/refresh`: a refresh token for new ones, once.
pub(super) async fn refresh(
    State(services): State<Services>,
    client: Client,
    body: Body,
) -> Response {
    let granted = async {
        let request: Refresh = read(body).await?;
        let asked = services
            .sessions()
            .refresh(request.refresh_token.expose(), client.address);
        presented(&services, &client, Credential::RefreshToken, asked).await
    };
    grant(&services, &client, granted.await).await
}

/// `POST /v1/auth/revoke`: the end of the access token, and of all that came of the same log-in. The body is not read.
pub(super) async fn revoke(
    State(services): State<Services>,
    client: Client,
    headers: HeaderMap,
) -> Response {
    let asked = Asked {
        client: &client,
        headers: &headers,
        always: true,
    };
    counted(&services, asked, async |holder| {
        let ended = services.sessions().end(holder, client.address).await;
        ended.map_err(SessionError::from)?;
        Ok(success(Revoked { revoked: true }))
    })
    .await
}

/// `GET /v1/auth/me`: who holds the access token.
pub(super) async fn me(
    State(services): State<Services>,
    client: Client,
    headers: HeaderMap,
) -> Response {
    let asked = Asked {
        client: &client,
        headers: &headers,
        always: false,
    };
    counted(&services, asked, async |holder| {
        let terms = services.sessions().terms(&holder.key).await;
        let terms = terms.map_err(SessionError::from)?;
        Ok(success(Me::new(holder, &terms)))
    })
    .await
}

/// Another method than the path takes.
pub(super) async fn method(State(services): State<Services>, client: Client) -> Response {
    let refusal = Refusal::of_fault(&Fault::MethodUnknown);
    Quota::of_address(&services, &client).on(refusal.into_response())
}

async fn read<T: serde::de::DeserializeOwned>(body: Body) -> Result<T, Refusal> {
    let read = read_json(body, BODY_LIMIT).await;
    read.map_err(|input| Refusal::of_fault(&Fault::Input(input)))
}

/// What a credential gives, if the address may try. A guess that is wrong is a failure of the address; a credential that
/// was good once is none.
async fn presented<T>(
    services: &Services,
    client: &Client,
    credential: Credential,
    asked: impl Future<Output = Result<T, SessionError>>,
) -> Result<T, Refusal> {
    let check = async {
        match asked.await {
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

/// Answers with tokens, and with what is left to the key; a refusal with what is left to the address.
async fn grant(services: &Services, client: &Client, granted: Result<Tokens, Refusal>) -> Response {
    match granted {
        Ok(tokens) => {
            let answer = success(Granted::from(&tokens));
            left(services, client, &tokens.holder).await.on(answer)
        }
        Err(refusal) => Quota::of_address(services, client).on(refusal.into_response()),
    }
}

/// What is left to a key. Where the store cannot say it just now, an answer that is good stays good.
async fn left(services: &Services, client: &Client, holder: &Holder) -> Quota {
    let remaining = async {
        let sessions = services.sessions();
        let terms = sessions.terms(&holder.key).await?;
        sessions.allowance(&holder.key, &terms, false).await
    };
    match remaining.await {
        Ok(allowance) => allowance.into(),
        Err(error) => {
            tracing::debug!(%error, "what is left to a key cannot be told");
            Quota::of_address(services, client)
        }
    }
}

/// A request that presents an access token.
struct Asked<'a> {
    client: &'a Client,
    headers: &'a HeaderMap,
    /// Whether it is served although the windows of the key are full: nobody is kept from giving up what they have.
    always: bool,
}

/// An operation for whoever holds an access token, if the windows of the key have room for the call.
async fn counted(
    services: &Services,
    asked: Asked<'_>,
    operation: impl AsyncFnOnce(&Holder) -> Result<Response, SessionError>,
) -> Response {
    let (sessions, client) = (services.sessions(), asked.client);
    let Ok(Some(token)) = bearer(asked.headers) else {
        let refusal = Refusal::wrong(Credential::AccessToken);
        return Quota::of_address(services, client).on(refusal.into_response());
    };
    let found = sessions.authenticate(token, client.address);
    let held = presented(services, client, Credential::AccessToken, found).await;
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
    if !(allowance.admitted || asked.always) {
        let message = "too many calls for the plan of this key, retry later";
        let refusal = Refusal::too_many(message, allowance.retry_after.as_secs());
        return quota.on(refusal.into_response());
    }
    let answer = operation(&holder).await;
    quota.on(answer.unwrap_or_else(|error| Refusal::of_session(error).into_response()))
}
