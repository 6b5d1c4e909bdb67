//! The middleware of `Idempotency-Key`: a request that is sent again gets the first answer and is
//! done once. What a protocol of its own needs for the same is here, too.
//!
//! Successful answers are kept for a day, sealed under the key, which the store does not know:
//! whoever sends the key again gets the same answer, with the secrets in it. A refusal did nothing,
//! so its key can be used again. So can that of a request whose gate died before it did anything, by
//! the audit log, in which every change has a line.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use licensing::{Idempotency, IdempotencyGuard, IdempotentRequest};
use serde::{Deserialize, Serialize};
use store::ClaimKind;

use crate::http::body::read_bytes;
use crate::http::caller::Caller;
use crate::http::extract::BULK_BODY_LIMIT;
use crate::http::problem::{Code, Problem};
use crate::http::state::Api;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The name of the header, in messages.
pub(crate) const IDEMPOTENCY_KEY_NAME: &str = "Idempotency-Key";
/// The header that marks an answer as a repeated one.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// The length of the longest key, in bytes.
const MAX_KEY_BYTES: usize = 255;
/// The time for which an answer is kept.
pub(crate) const LIFETIME: Duration = Duration::from_secs(24 * 3_600);
/// The sentence for a request that comes while the same one is carried out.
pub(crate) const IN_PROGRESS: &str = "the same request is being worked on";
/// The sentence for a request whose first try broke off and may have done something.
pub(crate) const UNKNOWN: &str = "look whether the first try made it, then use another key";
/// The length of the longest answer that is kept, in bytes; a bulk of 10,000 licenses is far below
/// it.
const MAX_ANSWER_BYTES: usize = 8 << 20;

/// An answer in the form in which it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    status: u16,
    content_type: String,
    body: String,
}

/// Runs a request with an `Idempotency-Key` once, and answers repetitions with the first answer.
/// Runs a request without one as it is.
pub(crate) async fn guard(
    State(state): State<Arc<Api>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let key = key_of(request.headers());
    let key = key.map_err(|detail| Problem::field(IDEMPOTENCY_KEY_NAME, detail))?;
    let Some(key) = key else {
        return Ok(next.run(request).await);
    };
    let caller = request.extensions().get::<Caller>();
    let caller = caller.cloned().unwrap_or(Caller::Operator);
    let owner = owner(&caller);
    let path = request.uri().path().to_owned();
    let (head, body) = request.into_parts();
    let body = read_bytes(body, BULK_BODY_LIMIT).await?;
    let name: [&[u8]; 3] = [owner.as_bytes(), path.as_bytes(), key.as_bytes()];
    let request = IdempotentRequest {
        kind: ClaimKind::IdempotencyKey,
        name: &name,
        content: &[&body],
        reference: 0,
        prepared: None,
        waits_for_disk: true,
        lifetime: LIFETIME,
        dead: &state.ledger.earlier_starts(),
    };
    match state.licensing.once(&request).await? {
        Idempotency::Run(claim) => {
            let did_nothing = state.licensing.did_nothing(&claim, caller.who()).await?;
            if !did_nothing {
                return Err(Problem::new(Code::IdempotencyUnknown, UNKNOWN));
            }
            let request = Request::from_parts(head, Body::from(body.clone()));
            let response = next.run(request).await;
            keep(&state, claim, &name, response).await
        }
        Idempotency::Replay { answer: sealed, .. } => replay(&state, &name, &sealed),
        Idempotency::InProgress | Idempotency::Elsewhere(_) => {
            let problem = Problem::new(Code::IdempotencyInProgress, IN_PROGRESS);
            Err(problem.retry_after(Duration::from_secs(1)))
        }
        Idempotency::Conflict => Err(Problem::new(
            Code::IdempotencyMismatch,
            "use another key for another request",
        )),
    }
}

/// Returns the one who may have the answer of a request again: it may hold secrets, so that it is
/// the caller who got it first.
pub(crate) fn owner(caller: &Caller) -> String {
    let key = caller.key().map(|key| key.id.to_string());
    key.unwrap_or_else(|| "operator".to_owned())
}

/// Returns the one `Idempotency-Key` of a request; `None` without the header.
///
/// # Errors
/// What would work.
pub(crate) fn key_of(headers: &HeaderMap) -> Result<Option<String>, String> {
    let mut values = headers.get_all(&IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let plain = |text: &&str| {
        (1..=MAX_KEY_BYTES).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    match (value.to_str().ok().filter(plain), values.next()) {
        (Some(key), None) => Ok(Some(key.to_owned())),
        _ => Err(format!(
            "send one, of 1 to {MAX_KEY_BYTES} visible ASCII characters"
        )),
    }
}

/// Keeps an answer of success, and releases the key if nothing was done. After an error of ours the
/// key stays taken.
async fn keep(
    state: &Api,
    claim: IdempotencyGuard,
    name: &[&[u8]],
    response: Response,
) -> Result<Response, Problem> {
    let status = response.status();
    if status.is_server_error() {
        // How far the request got is not known: the key stays taken.
        return Ok(response);
    }
    let licensing = &state.licensing;
    if !status.is_success() {
        if let Err(error) = licensing.release_once(claim).await {
            tracing::warn!(%error, "an idempotency key stays taken although nothing was done");
        }
        return Ok(response);
    }
    let (head, body) = response.into_parts();
    let body = axum::body::to_bytes(body, MAX_ANSWER_BYTES).await;
    let body = body.map_err(|error| Problem::internal(&error))?;
    let content_type = head.headers.get(CONTENT_TYPE);
    let kept = Kept {
        status: status.as_u16(),
        content_type: content_type
            .and_then(|kind| kind.to_str().ok())
            .unwrap_or("application/json")
            .to_owned(),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let kept = serde_json::to_vec(&kept).expect("an answer is plain data");
    let sealed = licensing.seal_answer(name, &kept);
    if let Err(error) = licensing.finish_once(claim, sealed).await {
        tracing::warn!(%error, "an answer cannot be kept for its idempotency key");
    }
    Ok(Response::from_parts(head, Body::from(body)))
}

fn replay(state: &Api, name: &[&[u8]], sealed: &[u8]) -> Result<Response, Problem> {
    let opened = state.licensing.open_answer(name, sealed);
    let kept = opened.and_then(|answer| serde_json::from_slice::<Kept>(&answer).ok());
    let kept = kept.ok_or_else(|| Problem::internal(&"a kept answer cannot be read"))?;
    let status = StatusCode::from_u16(kept.status).map_err(|error| Problem::internal(&error))?;
    let content_type = HeaderValue::from_str(&kept.content_type);
    let content_type = content_type.map_err(|error| Problem::internal(&error))?;
    let headers = [
        (CONTENT_TYPE, content_type),
        (REPLAYED, HeaderValue::from_static("true")),
    ];
    Ok((status, headers, kept.body).into_response())
}
