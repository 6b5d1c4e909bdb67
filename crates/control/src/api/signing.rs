//! `/signing-keys` and `/keyring`: the keys that stamps and access tokens are signed with, and that copies of keys are sealed
//! with.

use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use licensing::signing::Rotation;
use model::SigningKeyId;

use super::Shared;
use super::calls::page_limit;
use crate::http::caller::{Audited, Caller};
use crate::http::extract::{Json, Query};
use crate::http::problem::Problem;
use crate::wire::{List, Nothing, Page, RotateSigningKey, Scope, SealKey, SigningKey};

/// Lists the signing keys, oldest first.
pub(crate) async fn list(
    State(state): Shared,
    caller: Caller,
    Query(page): Query<Page<SigningKeyId>>,
) -> Result<Answer<List<SigningKey>>, Problem> {
    caller.require(Scope::ReadKeys)?;
    let limit = page_limit(page.limit)?;
    state.signing.refresh().await?;
    let items = state.signing.keys().into_iter().map(SigningKey::from);
    let cursor = page.cursor.as_ref();
    Ok(Answer(List::page(items.collect(), limit, cursor, |key| {
        key.id
    })))
}

/// Makes a new key that takes over.
pub(crate) async fn rotate(
    State(state): Shared,
    caller: Caller,
    Audited(acting): Audited,
    Json(request): Json<RotateSigningKey>,
) -> Result<(StatusCode, Answer<SigningKey>), Problem> {
    caller.require_operator()?;
    let overlap = request.overlap.map(model::Interval::duration);
    let rotation = Rotation {
        overlap: overlap.unwrap_or(Duration::from_secs(RotateSigningKey::OVERLAP)),
        at_once: request.at_once,
        withdraw: request.withdraw,
    };
    let rotating = state
        .signing
        .rotate(request.signing_use, rotation, acting.actor());
    let key = SigningKey::from(rotating.await?);
    Ok((StatusCode::CREATED, Answer(key)))
}

/// Makes the key that copies of keys are sealed with from now on.
pub(crate) async fn rotate_seal_key(
    caller: Caller,
    Audited(acting): Audited,
    Json(Nothing {}): Json<Nothing>,
) -> Result<(StatusCode, Answer<SealKey>), Problem> {
    caller.require_operator()?;
    let number = acting.rotate_seal_key().await?;
    Ok((StatusCode::CREATED, Answer(SealKey { number })))
}
