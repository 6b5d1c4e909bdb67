//! `/signing-keys` and `/keyring`: the keys that sign stamps and access tokens, and the key that
//! seals copies of keys.

use std::time::Duration;

use api_types::{List, Nothing, Page, RotateSigningKey, Scope, SealKey, SigningKey};
use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use licensing::signing::Rotation;
use model::SigningKeyId;

use super::query::page_limit;
use crate::document::{Needs, Operation, Routes};
use crate::http::caller::Audited;
use crate::http::extract::{Json, Query};
use crate::http::problem::Problem;
use crate::http::state::Shared;

/// Adds the requests about signing keys and the keyring.
pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get(
            "/signing-keys",
            list,
            Operation::new(
                "listSigningKeys",
                "List the keys that stamps and access tokens are signed with, oldest first",
                Needs::Scope(Scope::ReadKeys),
            )
            .query::<Page<SigningKeyId>>()
            .answers::<List<SigningKey>>(200),
        )
        .post(
            "/signing-keys/rotate",
            rotate,
            Operation::new(
                "rotateSigningKey",
                "Make a new signing key that takes over",
                Needs::Operator,
            )
            .body::<RotateSigningKey>()
            .answers::<SigningKey>(201)
            .idempotent(),
        )
        .post(
            "/keyring/rotate",
            rotate_seal_key,
            Operation::new(
                "rotateSealKey",
                "Make the key that copies of keys are sealed with from now on",
                Needs::Operator,
            )
            .body::<Nothing>()
            .answers::<SealKey>(201)
            .idempotent(),
        )
}

/// Lists the signing keys, oldest first.
async fn list(
    State(state): Shared,
    Query(page): Query<Page<SigningKeyId>>,
) -> Result<Answer<List<SigningKey>>, Problem> {
    let limit = page_limit(page.limit)?;
    state.signing.refresh().await?;
    let items = state.signing.keys().into_iter().map(view);
    let cursor = page.cursor.as_ref();
    Ok(Answer(List::page(items.collect(), limit, cursor, |key| {
        key.id
    })))
}

/// Makes a new signing key, which takes over.
async fn rotate(
    State(state): Shared,
    Audited(acting): Audited,
    Json(request): Json<RotateSigningKey>,
) -> Result<(StatusCode, Answer<SigningKey>), Problem> {
    let overlap = request.overlap.map(model::Interval::duration);
    let rotation = Rotation {
        overlap: overlap.unwrap_or(Duration::from_secs(RotateSigningKey::OVERLAP)),
        at_once: request.at_once,
        withdraw: request.withdraw,
    };
    let rotating = state
        .signing
        .rotate(request.signing_use, rotation, acting.actor());
    let key = view(rotating.await?);
    Ok((StatusCode::CREATED, Answer(key)))
}

/// Makes the key that seals copies of keys from now on.
async fn rotate_seal_key(
    Audited(acting): Audited,
    Json(Nothing {}): Json<Nothing>,
) -> Result<(StatusCode, Answer<SealKey>), Problem> {
    let number = acting.rotate_seal_key().await?;
    Ok((StatusCode::CREATED, Answer(SealKey { number })))
}

/// Returns a signing key as it is answered.
fn view(key: licensing::signing::SigningKey) -> SigningKey {
    SigningKey {
        id: key.id,
        signing_use: key.signing_use,
        algorithm: key.signing_use.algorithm().as_str().to_owned(),
        state: key.state,
        created_at: key.created_at,
        signs_from: key.signs_from,
        ends_at: key.ends_at,
    }
}
