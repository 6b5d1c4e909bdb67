//! `/apps/{name}/signing-keys`: the keys that sign answers to the software that is sold with an app.

use std::time::Duration;

use api_types::{AppSigningKey, ImportAppKey, List, Page, RetireAppKey, RotateAppKey, Scope};
use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use licensing::signing::{AppKey, AppKeySeed, AppKeys, NewAppKey};
use model::{AppName, SigningKeyId, Timestamp};

use super::app_credentials::own_app;
use super::query::page_limit;
use crate::document::{Needs, Operation, Routes};
use crate::http::caller::{Audited, Caller};
use crate::http::extract::{Json, Name, Query};
use crate::http::problem::Problem;
use crate::http::state::{Api, Shared};

const READ: Needs = Needs::Scope(Scope::ReadKeys);
const WRITE: Needs = Needs::Scope(Scope::WriteKeys);

/// Adds the requests about the signing keys of apps.
pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get(
            "/apps/{name}/signing-keys",
            list,
            Operation::new(
                "listAppKeys",
                "List the signing keys of an app, oldest first",
                READ,
            )
            .of::<AppName>()
            .query::<Page<SigningKeyId>>()
            .answers::<List<AppSigningKey>>(200),
        )
        .post(
            "/apps/{name}/signing-keys/import",
            import,
            Operation::new(
                "importAppKey",
                "Take over a signing key whose public half software trusts already",
                WRITE,
            )
            .of::<AppName>()
            .body::<ImportAppKey>()
            .answers::<AppSigningKey>(200),
        )
        .post(
            "/apps/{name}/signing-keys/rotate",
            rotate,
            Operation::new(
                "rotateAppKey",
                "Make a new signing key of an app, which takes over",
                WRITE,
            )
            .of::<AppName>()
            .body::<RotateAppKey>()
            .answers::<AppSigningKey>(201)
            .idempotent(),
        )
        .post(
            "/apps/{name}/signing-keys/retire",
            retire,
            Operation::new(
                "retireAppKey",
                "Retire a signing key of an app that does not sign now",
                WRITE,
            )
            .of::<AppName>()
            .body::<RetireAppKey>()
            .answers::<AppSigningKey>(200),
        )
}

/// Lists the keys, oldest first.
async fn list(
    State(state): Shared,
    caller: Caller,
    Name(name): Name,
    Query(page): Query<Page<SigningKeyId>>,
) -> Result<Answer<List<AppSigningKey>>, Problem> {
    let limit = page_limit(page.limit)?;
    let app = own_app(&state, &caller, &name)?;
    let keys = state.signing.read_app_keys(&app.name).await?;
    // In the order in which they came, which that of their ids is not.
    let all: Vec<_> = keys.iter().map(AppKey::id).collect();
    let after = page
        .cursor
        .and_then(|id| all.iter().position(|own| *own == id));
    let rest = &all[after.map_or(0, |at| at + 1)..];
    let items = &rest[..limit.min(rest.len())];
    let next = items.last().filter(|_| items.len() < rest.len());
    Ok(Answer(List {
        items: items.iter().map(|id| view(&state, &keys, *id)).collect(),
        next: next.map(SigningKeyId::to_string),
    }))
}

/// Takes over a key.
async fn import(
    State(state): Shared,
    caller: Caller,
    Audited(acting): Audited,
    Name(name): Name,
    Json(request): Json<ImportAppKey>,
) -> Result<Answer<AppSigningKey>, Problem> {
    let app = own_app(&state, &caller, &name)?;
    let seed = AppKeySeed::parse(&request.private_key);
    let seed = seed.map_err(|error| Problem::field("private_key", error))?;
    let new = NewAppKey {
        seed: Some(seed),
        lead: request
            .lead
            .map_or(Duration::ZERO, model::Interval::duration),
    };
    add(&state, app, new, &acting).await.map(Answer)
}

/// Makes a new key, which takes over.
async fn rotate(
    State(state): Shared,
    caller: Caller,
    Audited(acting): Audited,
    Name(name): Name,
    Json(request): Json<RotateAppKey>,
) -> Result<(StatusCode, Answer<AppSigningKey>), Problem> {
    let app = own_app(&state, &caller, &name)?;
    let lead = match (request.lead, request.at_once) {
        (Some(lead), false) => lead.duration(),
        (None, true) => Duration::ZERO,
        _ => return Err(Problem::field("lead", "give one of `lead` and `at_once`")),
    };
    let new = NewAppKey { seed: None, lead };
    let made = add(&state, app, new, &acting).await?;
    Ok((StatusCode::CREATED, Answer(made)))
}

async fn add(
    state: &Api,
    app: &api_types::App,
    new: NewAppKey,
    acting: &licensing::AuditedLicensing,
) -> Result<AppSigningKey, Problem> {
    let signing = &state.signing;
    let added = signing.add_app_key(&app.name, &app.account, new, acting.actor());
    let (keys, id) = added.await?;
    Ok(view(state, &keys, id))
}

/// Retires a key.
async fn retire(
    State(state): Shared,
    caller: Caller,
    Audited(acting): Audited,
    Name(name): Name,
    Json(request): Json<RetireAppKey>,
) -> Result<Answer<AppSigningKey>, Problem> {
    let app = own_app(&state, &caller, &name)?;
    let signing = &state.signing;
    let retired = signing.retire_app_key(&app.name, &app.account, request.id, acting.actor());
    let keys = retired.await?;
    Ok(Answer(view(&state, &keys, request.id)))
}

/// Returns a key as it is answered.
fn view(state: &Api, keys: &AppKeys, id: SigningKeyId) -> AppSigningKey {
    let key = keys.iter().find(|key| key.id() == id);
    let key = key.expect("the key is one of these");
    AppSigningKey {
        id,
        public_key: STANDARD.encode(key.public_key()),
        state: keys.state(key, state.clock.now()),
        signs_from: Some(key.signs_from()).filter(|from| *from > Timestamp::default()),
        retired_at: keys.retired_at(id),
    }
}
