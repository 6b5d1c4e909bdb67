//! `/keys`: API keys, with the fields that protocols keep from their clients.

use api_types::{
    ApiKey, ChangeApiKey, CreateApiKey, DeletedApiKeys, Lasting, List, Nothing, Scope,
    VerifiedApiKey, VerifyApiKey,
};
use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use licensing::{ApiKeyOwner, ApiKeyRequest, ApiKeyUpdate, KeyEnd, KeyRefusal};
use model::{ApiKeyRule, AppName, LicenseId, RateLimit, Refill, RefillMode, WindowKind};
use schemars::JsonSchema;
use serde::Deserialize;
use store::{ApiKeyPage, ApiKeySort};

use super::query::{page_limit, within_app};
use crate::document::{Needs, Operation, Routes};
use crate::http::caller::{Audited, Caller};
use crate::http::extract::{Json, Name, Query};
use crate::http::fault::Fault;
use crate::http::problem::{Code, Problem};
use crate::http::state::Shared;
use crate::verify::{KeyKind, Verification};

/// The filter and the page of a list of API keys.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListParameters {
    /// The app whose keys are listed; all if absent.
    app: Option<AppName>,
    /// The largest number of items on the page, 1 to 1,000.
    limit: Option<usize>,
    /// The value of `next` on the page before.
    cursor: Option<LicenseId>,
}

const READ: Needs = Needs::Scope(Scope::ReadLicenses);
const WRITE: Needs = Needs::Scope(Scope::WriteLicenses);

/// Adds the requests about API keys.
pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .post(
            "/keys",
            create,
            Operation::new(
                "createApiKey",
                "Make an API key; it is shown this once",
                WRITE,
            )
            .body::<CreateApiKey>()
            .answers::<ApiKey>(201)
            .idempotent(),
        )
        .get(
            "/keys",
            list,
            Operation::new("listApiKeys", "List API keys, oldest first", READ)
                .query::<ListParameters>()
                .answers::<List<ApiKey>>(200)
                .of_one_license(),
        )
        .post(
            "/keys/verify",
            verify,
            Operation::new(
                "verifyApiKey",
                "Use an API key, and say whether it is valid",
                READ,
            )
            .body::<VerifyApiKey>()
            .answers::<VerifiedApiKey>(200)
            .of_one_license(),
        )
        .post(
            "/keys/delete-expired",
            delete_expired,
            Operation::new(
                "deleteExpiredApiKeys",
                "Delete the API keys that have ended",
                WRITE,
            )
            .body::<Nothing>()
            .answers::<DeletedApiKeys>(200),
        )
        .get(
            "/keys/{id}",
            show,
            Operation::new("showApiKey", "Show an API key", READ)
                .of::<LicenseId>()
                .answers::<ApiKey>(200)
                .of_one_license(),
        )
        .patch(
            "/keys/{id}",
            change,
            Operation::new(
                "changeApiKey",
                "Change an API key, wholly or not at all",
                WRITE,
            )
            .of::<LicenseId>()
            .body::<ChangeApiKey>()
            .answers::<ApiKey>(200),
        )
        .delete(
            "/keys/{id}",
            delete,
            Operation::new("deleteApiKey", "Delete an API key", WRITE).of::<LicenseId>(),
        )
}

/// Makes an API key.
async fn create(
    State(state): Shared,
    caller: Caller,
    Audited(acting): Audited,
    Json(request): Json<CreateApiKey>,
) -> Result<(StatusCode, Answer<ApiKey>), Problem> {
    let api_key_request = api_key_request(&caller, request, state.api_keys.rate_limit)?;
    let issued = acting
        .create_api_key(&state.api_keys, api_key_request)
        .await?;
    let key = ApiKey {
        key: Some(issued.credential.expose().to_owned()),
        ..shown(issued.view)
    };
    Ok((StatusCode::CREATED, Answer(key)))
}

/// Lists the API keys that the caller may see, oldest first.
async fn list(
    State(state): Shared,
    caller: Caller,
    Query(parameters): Query<ListParameters>,
) -> Result<Answer<List<ApiKey>>, Problem> {
    let limit = page_limit(parameters.limit)?;
    let owner = ApiKeyOwner {
        app: within_app(&caller, parameters.app)?,
        ..caller.api_key_owner()
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
    let items = views.into_iter().map(shown).collect();
    Ok(Answer(List { items, next }))
}

/// Shows an API key.
async fn show(
    State(state): Shared,
    caller: Caller,
    Name(id): Name,
) -> Result<Answer<ApiKey>, Problem> {
    let view = state
        .licensing
        .api_key(&caller.api_key_owner(), key_id(&id)?)
        .await?;
    Ok(Answer(shown(view)))
}

/// Changes an API key, wholly or not at all.
async fn change(
    State(state): Shared,
    caller: Caller,
    Audited(acting): Audited,
    Name(id): Name,
    Json(request): Json<ChangeApiKey>,
) -> Result<Answer<ApiKey>, Problem> {
    let (id, owner) = (key_id(&id)?, caller.api_key_owner());
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
    Ok(Answer(shown(changed.await?)))
}

/// Deletes an API key.
async fn delete(
    caller: Caller,
    Audited(acting): Audited,
    Name(id): Name,
) -> Result<StatusCode, Problem> {
    let id = key_id(&id)?;
    acting.delete_api_key(&caller.api_key_owner(), id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes the API keys that have ended.
async fn delete_expired(
    caller: Caller,
    Audited(acting): Audited,
    Json(Nothing {}): Json<Nothing>,
) -> Result<Answer<DeletedApiKeys>, Problem> {
    let owner = caller.api_key_owner();
    let deleted = acting.delete_expired_api_keys(&owner).await?;
    Ok(Answer(DeletedApiKeys { deleted }))
}

/// Verifies a key, which uses it.
async fn verify(
    State(state): Shared,
    caller: Caller,
    Json(request): Json<VerifyApiKey>,
) -> Result<Answer<VerifiedApiKey>, Problem> {
    let question = Verification {
        owner: &caller.api_key_owner(),
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
            key: Some(shown(key.view)),
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
        retry_after: retry_after.map(model::retry_after_seconds),
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

/// Parses the id of a key. A text that is no id names no key.
fn key_id(text: &str) -> Result<LicenseId, Problem> {
    text.parse()
        .map_err(|_| Problem::id_unknown("api key", text))
}

/// Returns the operation that a request asks for, within what the caller may see.
fn api_key_request(
    caller: &Caller,
    request: CreateApiKey,
    default: Option<RateLimit>,
) -> Result<ApiKeyRequest, Problem> {
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

/// Returns a value that may be given in one of two ways, and refuses both at once.
fn one<T>(field: &str, short: Option<T>, apart: Option<T>) -> Result<Option<T>, Problem> {
    match (short, apart) {
        (Some(_), Some(_)) => {
            let detail = format!("say it in one way: with `{field}`, or in its parts");
            Err(Problem::field(field, detail))
        }
        (short, apart) => Ok(short.or(apart)),
    }
}

/// Returns a refill that is given in its parts, of which both are needed.
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

/// Returns a rate limit that is given in its parts; a part that is absent is that of `other`.
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

/// Returns an API key as it is answered, without the key itself.
fn shown(view: licensing::ApiKeyView) -> ApiKey {
    ApiKey {
        id: view.id(),
        key: None,
        enabled: view.is_enabled(),
        refill: view.refill(),
        updated_at: view.updated_at(),
        account: view.license.account,
        app: view.license.app,
        user: view.license.spec.user,
        name: view.key.name,
        start: view.start,
        prefix: view.key.prefix,
        expires_at: view.license.spec.expires_at,
        metadata: view.key.metadata,
        permissions: view.key.permissions,
        remaining: view.remaining,
        remaining_text: view.remaining.and_then(model::Digits::beyond),
        last_refill_at: view.last_refill_at,
        rate_limit: view.rate,
        rate_limit_enabled: view.rate_enabled,
        request_count: view.request_count,
        last_request: view.last_request,
        created_at: view.license.created_at,
    }
}
