//! `Idempotency-Key`: a creation that is sent again gets the first answer, so that whoever grants
//! licenses for the events of a payment provider grants one for each event.

use std::time::Duration;

use axum::http::HeaderName;
use axum::response::Response;
use licensing::{Idempotency, IdempotentRequest};
use serde_json::Value;
use store::ClaimKind;

use super::answer::Failure;
use super::context::Asked;
use super::licenses::created;
use crate::http::fault::Fault;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The length of the longest key, in bytes.
const MAX_KEY_BYTES: usize = 255;
/// The time for which an answer is kept.
const LIFETIME: Duration = Duration::from_secs(24 * 3_600);

/// Does what makes something once for each `Idempotency-Key` of a caller, and answers with what was
/// made; without the header, each time.
pub(super) async fn once<F: Future<Output = Result<Value, Failure>>>(
    asked: &Asked,
    body: &[u8],
    make: impl FnOnce() -> F,
) -> Result<Response, Failure> {
    let Some(given) = asked.headers.get(IDEMPOTENCY_KEY) else {
        return Ok(created(make().await?));
    };
    let fits = (1..=MAX_KEY_BYTES).contains(&given.len())
        && given.as_bytes().iter().all(u8::is_ascii_graphic);
    if !fits {
        let detail = format!("send 1 to {MAX_KEY_BYTES} visible ASCII characters");
        return Err(Failure::invalid("Idempotency-Key", detail));
    }
    let owner = asked
        .caller
        .key()
        .map_or_else(|| "operator".to_owned(), |key| key.id.to_string());
    let name = [owner.as_bytes(), b"authforge licenses", given.as_bytes()];
    let licensing = asked.services.licensing();
    let request = IdempotentRequest {
        kind: ClaimKind::IdempotencyKey,
        name: &name,
        content: &[body],
        reference: 0,
        prepared: None,
        lifetime: LIFETIME,
        dead: &asked.services.api().ledger.earlier_starts(),
    };
    let claim = match licensing.once(&request).await? {
        // Whether the first try made licenses is not known, and they must not be made twice.
        Idempotency::Run(claim) if claim.broken_off.is_some() => {
            let detail = "the first request with this key broke off: look whether it made licenses, then use another key";
            return Err(Failure::invalid("Idempotency-Key", detail));
        }
        Idempotency::Run(claim) => claim,
        Idempotency::Replay { answer, .. } => {
            let opened = licensing.open_answer(&name, &answer);
            let answer = opened.and_then(|answer| serde_json::from_slice(&answer).ok());
            let unreadable = || Fault::internal(&"a kept answer cannot be read");
            return Ok(created(answer.ok_or_else(unreadable)?));
        }
        Idempotency::InProgress => return Err(Failure::too_many(Duration::from_secs(1))),
        Idempotency::Conflict => {
            let detail = "it was used for another request: use another one";
            return Err(Failure::invalid("Idempotency-Key", detail));
        }
    };
    match make().await {
        Ok(made) => {
            let bytes = serde_json::to_vec(&made).expect("an answer is plain data");
            let sealed = licensing.seal_answer(&name, &bytes);
            if let Err(error) = licensing.finish_once(claim, sealed).await {
                tracing::warn!(%error, "an answer cannot be kept for its idempotency key");
            }
            Ok(created(made))
        }
        Err(failure) => {
            // What broke off on our side may have made licenses: the key stays taken.
            if !failure.is_ours()
                && let Err(error) = licensing.release_once(claim).await
            {
                tracing::warn!(%error, "an idempotency key stays taken although nothing was done");
            }
            Err(failure)
        }
    }
}
