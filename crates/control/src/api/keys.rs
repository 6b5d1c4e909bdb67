//! `/management-keys`: the keys to this API. Nobody makes a key that can do more than their own.

use std::time::Duration;

use api_types::{
    ChangeManagementKey, CreateManagementKey, List, ManagementKey, Nothing, Page, Rotate, Scope,
};
use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use licensing::{IssuedManagementKey, ManagementKeyRequest};
use model::{AccountName, ManagementKeyId};

use super::query::page_limit;
use super::rights::{Rights, covers, inherited};
use crate::document::{Needs, Operation, Routes};
use crate::http::caller::{Audited, Caller};
use crate::http::extract::{Json, Name, Query};
use crate::http::problem::{Code, Problem};
use crate::http::state::{Api, Shared};

const READ: Needs = Needs::Scope(Scope::ReadKeys);
const WRITE: Needs = Needs::Scope(Scope::WriteKeys);

/// Adds the requests about management keys.
pub(super) fn routes(routes: Routes) -> Routes {
    let on_one = |id, summary, needs| {
        let operation = Operation::new(id, summary, needs);
        operation
            .of::<ManagementKeyId>()
            .answers::<ManagementKey>(200)
    };
    routes
        .post(
            "/management-keys",
            create,
            Operation::new(
                "createManagementKey",
                "Make a management key; it is shown this once",
                WRITE,
            )
            .body::<CreateManagementKey>()
            .answers::<ManagementKey>(201)
            .idempotent(),
        )
        .get(
            "/management-keys",
            list,
            Operation::new(
                "listManagementKeys",
                "List management keys, oldest first",
                READ,
            )
            .query::<Page<ManagementKeyId>>()
            .answers::<List<ManagementKey>>(200)
            .of_one_license(),
        )
        .get(
            "/management-keys/{id}",
            show,
            on_one("showManagementKey", "Show a management key", READ).of_one_license(),
        )
        .patch(
            "/management-keys/{id}",
            change,
            on_one(
                "changeManagementKey",
                "Say from where a key may be used",
                WRITE,
            )
            .body::<ChangeManagementKey>(),
        )
        .post(
            "/management-keys/{id}/revoke",
            revoke,
            on_one("revokeManagementKey", "End a management key", WRITE).body::<Nothing>(),
        )
        .post(
            "/management-keys/{id}/rotate",
            rotate,
            on_one(
                "rotateManagementKey",
                "Make a new key with the rights of another, which ends",
                WRITE,
            )
            .body::<Rotate>()
            .idempotent(),
        )
}

/// Makes a management key.
async fn create(
    State(state): Shared,
    caller: Caller,
    Audited(acting): Audited,
    Json(request): Json<CreateManagementKey>,
) -> Result<(StatusCode, Answer<ManagementKey>), Problem> {
    let account = account(&state, &caller, &request).await?;
    let own = caller.key();
    let scopes = request
        .scopes
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>();
    let license_id = request.license.or_else(|| own?.license_id);
    let key_request = ManagementKeyRequest {
        account,
        app: request.app.or_else(|| own?.app.clone()),
        license_id,
        name: request.name,
        scopes: match own {
            Some(own) if scopes.is_empty() => inherited(own, license_id.is_some())?,
            _ => scopes,
        },
        expires_at: request.expires_at.or_else(|| own?.expires_at),
        pair: request.pair,
        allow_ips: match own {
            Some(own) if request.allow_ips.is_empty() => own.allow_ips.clone(),
            _ => request.allow_ips,
        },
    };
    if !covers(&caller, &Rights::of_request(&key_request)) {
        let detail = "a key can be made with no more rights than the key that asks; a pair with an app or a license, whose tokens open the gate, takes `write:licenses`";
        return Err(Problem::new(Code::ScopeMissing, detail));
    }
    let issued = acting.create_management_key(key_request).await?;
    Ok((StatusCode::CREATED, Answer(with_secrets(issued))))
}

/// Lists the management keys that the caller may see, oldest first.
async fn list(
    State(state): Shared,
    caller: Caller,
    Query(page): Query<Page<ManagementKeyId>>,
) -> Result<Answer<List<ManagementKey>>, Problem> {
    let limit = page_limit(page.limit)?;
    let keys = state
        .licensing
        .management_keys(caller.account().cloned())
        .await?;
    let items = keys
        .into_iter()
        .filter(|key| sees(&caller, key))
        .map(view)
        .collect();
    let cursor = page.cursor.as_ref();
    Ok(Answer(List::page(items, limit, cursor, |key| key.id)))
}

/// Shows a management key.
async fn show(
    State(state): Shared,
    caller: Caller,
    Name(id): Name,
) -> Result<Answer<ManagementKey>, Problem> {
    Ok(Answer(view(own(&state, &caller, &id).await?)))
}

/// Changes the networks from which a management key may be used.
async fn change(
    State(state): Shared,
    caller: Caller,
    Audited(acting): Audited,
    Name(id): Name,
    Json(request): Json<ChangeManagementKey>,
) -> Result<Answer<ManagementKey>, Problem> {
    let key = own(&state, &caller, &id).await?;
    let present = Rights::of_key(&key);
    let then = Rights::of_key(&key).from(request.allow_ips.as_ref().unwrap_or(&key.allow_ips));
    if !covers(&caller, &present) || !covers(&caller, &then) {
        let detail = "a key can be changed by one that has all of its rights, before the change and after it";
        return Err(Problem::new(Code::ScopeMissing, detail));
    }
    let changed = match request.allow_ips {
        Some(addresses) => {
            acting
                .set_management_key_addresses(key.id, addresses)
                .await?
        }
        None => key,
    };
    Ok(Answer(view(changed)))
}

/// Ends a management key now.
async fn revoke(
    State(state): Shared,
    caller: Caller,
    Audited(acting): Audited,
    Name(id): Name,
    Json(Nothing {}): Json<Nothing>,
) -> Result<Answer<ManagementKey>, Problem> {
    let key = own(&state, &caller, &id).await?;
    if !covers(&caller, &Rights::of_key(&key)) {
        let detail = "a key can be revoked by one that has all of its rights";
        return Err(Problem::new(Code::ScopeMissing, detail));
    }
    let ended = acting.revoke_management_key(key.id).await?;
    Ok(Answer(view(ended)))
}

/// Makes a new key with the rights of another, which ends.
async fn rotate(
    State(state): Shared,
    caller: Caller,
    Audited(acting): Audited,
    Name(id): Name,
    Json(request): Json<Rotate>,
) -> Result<Answer<ManagementKey>, Problem> {
    let key = own(&state, &caller, &id).await?;
    if !covers(&caller, &Rights::of_key(&key)) {
        let detail = "a key can be rotated by one that has all of its rights";
        return Err(Problem::new(Code::ScopeMissing, detail));
    }
    let overlap = request
        .overlap
        .map_or(Duration::ZERO, model::Interval::duration);
    let issued = acting.rotate_management_key(key.id, overlap).await?;
    Ok(Answer(with_secrets(issued)))
}

/// Returns whether the caller may see a key.
pub(super) fn sees(caller: &Caller, key: &store::ManagementKey) -> bool {
    let Some(own) = caller.key() else {
        return true;
    };
    own.account == key.account
        && match own.license_id {
            Some(_) => own.license_id == key.license_id,
            None => own.app.is_none() || own.app == key.app,
        }
}

/// Returns a management key by the text of its id, if the caller may see it.
pub(super) async fn own(
    state: &Api,
    caller: &Caller,
    id: &str,
) -> Result<store::ManagementKey, Problem> {
    let not_found = || Problem::id_unknown("management key", id);
    let id: ManagementKeyId = id.parse().map_err(|_| not_found())?;
    let keys = state
        .licensing
        .management_keys(caller.account().cloned())
        .await?;
    let found = keys.into_iter().find(|key| key.id == id);
    found.filter(|key| sees(caller, key)).ok_or_else(not_found)
}

/// Returns the account that a new key acts for.
async fn account(
    state: &Api,
    caller: &Caller,
    request: &CreateManagementKey,
) -> Result<AccountName, Problem> {
    if let Some(own) = caller.account() {
        return match &request.account {
            Some(named) if named != own => Err(Problem::not_found("account", named.as_str())),
            _ => Ok(own.clone()),
        };
    }
    if let Some(named) = &request.account {
        return Ok(named.clone());
    }
    if let Some(app) = &request.app {
        let seller = state.directory.apps.iter().find(|other| other.name == *app);
        let seller = seller.ok_or_else(|| licensing::Error::AppUnknown(app.clone()))?;
        return Ok(seller.account.clone());
    }
    match request.license {
        Some(id) => Ok(state.licensing.license(id).await?.license.account),
        None => Ok(AccountName::default()),
    }
}

fn with_secrets(issued: IssuedManagementKey) -> ManagementKey {
    ManagementKey {
        key: Some(issued.credential.expose().to_owned()),
        secret: issued.secret.map(|secret| secret.expose().to_owned()),
        ..view(issued.key)
    }
}

/// Returns a management key as it is answered, without the key itself.
fn view(key: store::ManagementKey) -> ManagementKey {
    // What a key for one license names from before is more than it has.
    let scopes = match key.license_id {
        Some(_) => key.held().iter().map(ToString::to_string).collect(),
        None => key.scopes,
    };
    ManagementKey {
        id: key.id,
        key: None,
        secret: None,
        account: key.account,
        app: key.app,
        license_id: key.license_id,
        draws_on: key.draws_on,
        name: key.name,
        scopes,
        allow_ips: key.allow_ips,
        prefix: key.prefix,
        created_at: key.created_at,
        expires_at: key.expires_at,
        revoked_at: key.revoked_at,
    }
}
