//! `/keys`: API keys, with the fields that protocols keep from their clients.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use licensing::{ApiKeyOwner, ApiKeyRequest, ApiKeyUpdate, KeyEnd, KeyRefusal};
use model::{ApiKeyRule, AppName, LicenseId, RateLimit, Refill, RefillMode, WindowKind};
use schemars::JsonSchema;
use serde::Deserialize;
use store::{ApiKeyPage, ApiKeySort};

use super::Shared;
use super::calls::page_limit;
use crate::http::caller::{Audited, Caller};
use crate::http::extract::{Json, Name, Query};
use crate::http::fault::Fault;
use crate::http::problem::{Code, Problem};
use crate::verify::{KeyKind, Verification};
use crate::wire::{
    ApiKey, ChangeApiKey, CreateApiKey, DeletedApiKeys, Lasting, List, Nothing, Scope,
    VerifiedApiKey, VerifyApiKey,
};

/// Which API keys are listed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListParameters {
    /// Only of this app.
    app: Option<AppName>,
    /// Items of a page at most; 1 to 1,000.
    limit: Option<usize>,
    /// What `next` of the page before said.
    cursor: Option<LicenseId>,
}

/// Makes an API key.
pub(crate) async fn create(
    State(state): Shared,
    caller: Caller,
    Audited(acting): Audited,
    Json(request): Json<CreateApiKey>,
) -> Result<(StatusCode, Answer<ApiKey>), Problem> {
    caller.require(Scope::WriteLicenses)?;
    let wish = wish(&caller, request, state.api_keys.rate_limit)?;
    let issued = acting.create_api_key(&state.api_keys, wish).await?;
    let key = ApiKey {
        key: Some(issued.credential.expose().to_owned()),
        ..issued.view.into()
    };
    Ok((StatusCode::CREATED, Answer(key)))
}

/// Lists the API keys that are the caller's to see, oldest first.
pub(crate) async fn list(
    State(state): Shared,
    caller: Caller,
    Query(parameters): Query<ListParameters>,
) -> Result<Answer<List<ApiKey>>, Problem> {
    caller.require(Scope::ReadLicenses)?;
    let limit = page_limit(parameters.limit)?;
    let owner = ApiKeyOwner {
        app: super::usage::within_app(&caller, parameters.app)?,
        ..owner(&caller)
    };
    let page = ApiKeyPage {
        sort: ApiKeySort::Id,
        descending: false,
        offset: 0,
        limit,
    };
    let listed = state.licensing.api_keys(&owner, parameters.cursor, page);
    let (views, total) = listed.await?;
    let more = total > views.len() as u64;
    let next = views
        .last()
        .filter(|_| more)
        .map(|view| view.id().to_string());
    let items = views.into_iter().map(ApiKey::from).collect();
    Ok(Answer(List { items, next }))
}

/// Shows an API key.
pub(crate) async fn show(
    State(state): Shared,
    caller: Caller,
    Name(id): Name,
) -> Result<Answer<ApiKey>, Problem> {
    caller.require(Scope::ReadLicenses)?;
    let view = state
        .licensing
        .api_key(&owner(&caller), key_id(&id)?)
        .await?;
    Ok(Answer(view.into()))
}

/// Changes an API key, wholly or not at all.
pub(crate) async fn change(
    State(state): Shared,
    caller: Caller,
    Audited(acting): Audited,
    Name(id): Name,
    Json(request): Json<ChangeApiKey>,
) -> Result<Answer<ApiKey>, Problem> {
    caller.require(Scope::WriteLicenses)?;
    let (id, owner) = (key_id(&id)?, owner(&caller));
    let refill = refill(request.refill_amount, request.refill_interval)?;
    let present = match (request.rate_limit_max, request.rate_limit_window) {
        (Some(_), None) | (None, Some(_)) => state.licensing.api_key(&owner, id).await?.rate,
        _ => None,
    };
    let rate = rate(request.rate_limit_max, request.rate_limit_window, present)?;
    let update = ApiKeyUpdate {
        name: request.name,
        enabled: request.enabled,
        end: match (request.expires_at, request.expires_in) {
            (None, None) => None,
            (Some(end), None) => Some(end.map_or(KeyEnd::Never, KeyEnd::At)),
            (None, Some(lasting)) => Some(KeyEnd::In(lasting.0.duration())),
            (Some(_), Some(_)) => return Err(one_end()),
        },
        metadata: request.metadata,
        permissions: request.permissions,
        remaining: request.remaining,
        refill: one("refill", request.refill, refill.map(Some))?,
        rate: one("rate_limit", request.rate_limit, rate)?,
        rate_enabled: request.rate_limit_enabled,
    };
    let changed = acting.update_api_key(&state.api_keys, &owner, id, update);
    Ok(Answer(changed.await?.into()))
}

/// Deletes an API key.
pub(crate) async fn delete(
    caller: Caller,
    Audited(acting): Audited,
    Name(id): Name,
) -> Result<StatusCode, Problem> {
    caller.require(Scope::WriteLicenses)?;
    let id = key_id(&id)?;
    acting.delete_api_key(&owner(&caller), id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes the API keys that have ended.
pub(crate) async fn delete_expired(
    caller: Caller,
    Audited(acting): Audited,
    Json(Nothing {}): Json<Nothing>,
) -> Result<Answer<DeletedApiKeys>, Problem> {
    caller.require(Scope::WriteLicenses)?;
    let owner = owner(&caller);
    let deleted = acting.delete_expired_api_keys(&owner).await?;
    Ok(Answer(DeletedApiKeys { deleted }))
}

/// Verifies a key, which uses it.
pub(crate) async fn verify(
    State(state): Shared,
    caller: Caller,
    Json(request): Json<VerifyApiKey>,
) -> Result<Answer<VerifiedApiKey>, Problem> {
    caller.require(Scope::ReadLicenses)?;
    let question = Verification {
        owner: &owner(&caller),
        key: &request.key,
        asked: request.permissions.as_ref(),
        only_api_keys: false,
    };
    let verified = state.verify_key(&question).await;
    Ok(Answer(match verified.map_err(problem)? {
        Ok(key) => VerifiedApiKey {
            valid: true,
            refusal: None,
            retry_after: None,
            kind: Some(match key.kind {
                KeyKind::ApiKey => "api_key".to_owned(),
                KeyKind::License => "license".to_owned(),
            }),
            key: Some(key.view.into()),
        },
        Err(refusal) => refused(refusal),
    }))
}

fn refused(refusal: KeyRefusal) -> VerifiedApiKey {
    let (word, retry_after) = match refusal {
        KeyRefusal::Unknown => ("unknown", None),
        KeyRefusal::Disabled => ("disabled", None),
        KeyRefusal::Expired => ("expired", None),
        KeyRefusal::NotPermitted => ("not_permitted", None),
        KeyRefusal::Exhausted { retry_after } => ("exhausted", retry_after),
        KeyRefusal::RateLimited { retry_after } => ("rate_limited", Some(retry_after)),
    };
    VerifiedApiKey {
        valid: false,
        refusal: Some(word.to_owned()),
        retry_after: retry_after.map(|wait| wait.as_secs().max(1)),
        kind: None,
        key: None,
    }
}

fn problem(fault: Fault) -> Problem {
    match fault {
        Fault::Unavailable => Problem::new(Code::StoreUnavailable, fault.to_string())
            .retry_after(std::time::Duration::from_secs(1)),
        fault => Problem::internal(&fault),
    }
}

/// The keys that are a caller's.
fn owner(caller: &Caller) -> ApiKeyOwner {
    ApiKeyOwner {
        account: caller.account().cloned(),
        app: caller.app().cloned(),
        license: caller.license(),
    }
}

/// The id of a key; what cannot be one names none.
fn key_id(text: &str) -> Result<LicenseId, Problem> {
    text.parse()
        .map_err(|_| Problem::id_unknown("api key", text))
}

/// The wish of a request, within what the caller may do.
fn wish(
    caller: &Caller,
    request: CreateApiKey,
    default: Option<RateLimit>,
) -> Result<ApiKeyRequest, Problem> {
    caller.require_more_than_one_license()?;
    let account = match (caller.account(), request.account) {
        (Some(own), Some(named)) if *own != named => {
            return Err(Problem::not_found("account", named.as_str()));
        }
        (Some(own), _) => Some(own.clone()),
        (None, named) => named,
    };
    let app = match (caller.app(), request.app) {
        (Some(own), Some(named)) if *own != named => {
            return Err(licensing::Error::AppUnknown(named).into());
        }
        (Some(own), _) => Some(own.clone()),
        (None, named) => named.filter(|app| !app.is_every()),
    };
    let end = match (request.expires_at, request.expires_in) {
        (None, None) => KeyEnd::Never,
        (Some(at), None) => KeyEnd::At(at),
        (None, Some(lasting)) => KeyEnd::In(lasting.0.duration()),
        (Some(_), Some(_)) => return Err(one_end()),
    };
    let refill = refill(request.refill_amount, request.refill_interval)?;
    let rate = rate(request.rate_limit_max, request.rate_limit_window, default)?;
    Ok(ApiKeyRequest {
        user: request.user,
        name: request.name,
        prefix: request.prefix,
        metadata: request.metadata,
        permissions: request.permissions,
        end,
        remaining: request.remaining,
        refill: one("refill", request.refill, refill)?,
        rate: one("rate_limit", request.rate_limit, rate)?,
        rate_enabled: request.rate_limit_enabled.unwrap_or(true),
        ..ApiKeyRequest::new(account, app)
    })
}

fn one_end() -> Problem {
    Problem::field("expires_at", "give one of `expires_at` and `expires_in`")
}

/// One of two ways to say a thing.
fn one<T>(field: &str, short: Option<T>, apart: Option<T>) -> Result<Option<T>, Problem> {
    match (short, apart) {
        (Some(_), Some(_)) => {
            let detail = format!("say it in one way: with `{field}`, or in its parts");
            Err(Problem::field(field, detail))
        }
        (short, apart) => Ok(short.or(apart)),
    }
}

/// A refill in its parts, of which both are needed.
fn refill(
    amount: Option<u64>,
    interval: Option<Lasting<1_000>>,
) -> Result<Option<Refill>, Problem> {
    match (amount, interval) {
        (None, None) => Ok(None),
        (Some(0), _) => Err(Problem::field("refill_amount", "must be at least 1")),
        (Some(amount), Some(Lasting(every))) => Ok(Some(Refill {
            amount,
            every,
            mode: RefillMode::Set,
        })),
        (Some(_), None) => Err(licensing::Error::from(ApiKeyRule::RefillInterval).into()),
        (None, Some(_)) => Err(licensing::Error::from(ApiKeyRule::RefillAmount).into()),
    }
}

/// A rate limit in its parts; the one that is not named is that of `other`.
fn rate(
    calls: Option<u32>,
    window: Option<Lasting<1_000>>,
    other: Option<RateLimit>,
) -> Result<Option<RateLimit>, Problem> {
    if calls == Some(0) {
        return Err(Problem::field("rate_limit_max", "must be at least 1"));
    }
    if calls.is_none() && window.is_none() {
        return Ok(None);
    }
    let needed = |field: &str| Problem::field(field, "is needed: there is none to go by");
    let calls = calls.or_else(|| other.map(|other| other.calls));
    let window = window.map(|lasting| lasting.0);
    let window = window.or_else(|| other.map(|other| other.window));
    Ok(Some(RateLimit {
        calls: calls.ok_or_else(|| needed("rate_limit_max"))?,
        window: window.ok_or_else(|| needed("rate_limit_window"))?,
        kind: WindowKind::Fixed,
    }))
}
