//! `Idempotency-Key`: a creation that is sent again gets the first answer, so that whoever grants
//! licenses for the events of a payment provider grants one for each event.

use axum::response::Response;
use licensing::{Idempotency, IdempotentRequest};
use serde_json::Value;
use store::ClaimKind;

use super::answer::Failure;
use super::context::Asked;
use super::licenses::created;
use crate::http::fault::Fault;
use crate::http::idempotency::{
    IDEMPOTENCY_KEY_NAME, IN_PROGRESS, LIFETIME, UNKNOWN, key_of, owner,
};

/// Does what makes something once for each `Idempotency-Key` of a caller, and answers with what was
/// made; without the header, each time.
pub(super) async fn once<F: Future<Output = Result<Value, Failure>>>(
    asked: &Asked,
    body: &[u8],
    make: impl FnOnce() -> F,
) -> Result<Response, Failure> {
    let refused = |detail: &str| Failure::invalid(IDEMPOTENCY_KEY_NAME, detail);
    let given = key_of(&asked.headers).map_err(|detail| refused(&detail))?;
    let Some(given) = given else {
        return Ok(created(make().await?));
    };
    let owner = owner(&asked.caller);
    let name = [owner.as_bytes(), b"authforge licenses", given.as_bytes()];
    let licensing = asked.services.licensing();
    let request = IdempotentRequest {
        kind: ClaimKind::IdempotencyKey,
        name: &name,
        content: &[body],
        reference: 0,
        prepared: None,
        waits_for_disk: true,
        lifetime: LIFETIME,
        dead: &asked.services.api().ledger.earlier_starts(),
    };
    let claim = match licensing.once(&request).await? {
        Idempotency::Run(claim) => claim,
        Idempotency::Replay { answer, .. } => {
            let opened = licensing.open_answer(&name, &answer);
            let answer = opened.and_then(|answer| serde_json::from_slice(&answer).ok());
            let unreadable = || Fault::internal(&"a kept answer cannot be read");
            return Ok(created(answer.ok_or_else(unreadable)?));
        }
        Idempotency::InProgress | Idempotency::Elsewhere(_) => {
            return Err(Failure::in_progress(IN_PROGRESS));
        }
        Idempotency::Conflict => {
            return Err(refused("it was used for another request: use another one"));
        }
    };
    // Licenses must not be made twice.
    if !licensing.did_nothing(&claim, asked.caller.who()).await? {
        let detail = format!("the first request with it broke off: {UNKNOWN}");
        return Err(refused(&detail));
    }
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
