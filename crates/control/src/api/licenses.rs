//! `/licenses`: the rights to call an app, with their limits and keys.

use std::time::Duration;

use api_types::{
    AddCredential, Balance, BulkCreate, CreateLicense, Created, Extend, License, LicenseUpdate,
    List, Nothing, RevokeCredential, Rotate, Scope,
};
use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use licensing::{IssueRequest, Issued, KeySource, Licensing};
use model::{AppName, Credential, Digits, KeyFormat, LicenseId, LicenseStatus};
use schemars::JsonSchema;
use serde::Deserialize;
use store::{LicenseFilter, StoredLicense};

use super::query::{page_limit, within_app};
use crate::document::{Needs, Operation, Routes};
use crate::http::caller::{Audited, Caller};
use crate::http::extract::{BULK_BODY_LIMIT, Json, Name, Query};
use crate::http::problem::Problem;
use crate::http::state::Shared;

/// The largest number of licenses of one bulk request.
const BULK: usize = 10_000;

/// The filter and the page of a list of licenses.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListParameters {
    /// The app whose licenses are listed; all if absent.
    app: Option<AppName>,
    /// The user whose licenses are listed; all if absent.
    user: Option<String>,
    /// The status of the licenses that are listed; all if absent.
    status: Option<LicenseStatus>,
    /// The largest number of items on the page, 1 to 1,000.
    limit: Option<usize>,
    /// The value of `next` on the page before.
    cursor: Option<LicenseId>,
}

const READ: Needs = Needs::Scope(Scope::ReadLicenses);
const WRITE: Needs = Needs::Scope(Scope::WriteLicenses);

/// Adds the requests about licenses.
pub(super) fn routes(routes: Routes) -> Routes {
    let routes = routes
        .post(
            "/licenses",
            create,
            Operation::new(
                "createLicense",
                "Make a license; its key is shown this once",
                WRITE,
            )
            .body::<CreateLicense>()
            .answers::<License>(201)
            .idempotent(),
        )
        .get(
            "/licenses",
            list,
            Operation::new("listLicenses", "List licenses, oldest first", READ)
                .query::<ListParameters>()
                .answers::<List<License>>(200)
                .of_one_license(),
        )
        .post(
            "/licenses/bulk",
            bulk,
            Operation::new("createLicenses", "Make many licenses, in order", WRITE)
                .body::<BulkCreate>()
                .answers::<List<Created>>(201)
                .idempotent(),
        );
    on_one_license(routes)
}

/// Adds the requests about one license, which their paths name.
fn on_one_license(routes: Routes) -> Routes {
    let on_one = |id, summary, needs| {
        let operation = Operation::new(id, summary, needs);
        operation.of::<LicenseId>().answers::<License>(200)
    };
    routes
        .get(
            "/licenses/{id}",
            show,
            on_one("showLicense", "Show a license", READ).of_one_license(),
        )
        .patch(
            "/licenses/{id}",
            change,
            on_one(
                "changeLicense",
                "Change a license; absent fields stay",
                WRITE,
            )
            .body::<LicenseUpdate>(),
        )
        .post(
            "/licenses/{id}/revoke",
            revoke,
            on_one("revokeLicense", "Revoke a license for good", WRITE).body::<Nothing>(),
        )
        .post(
            "/licenses/{id}/enable",
            enable,
            on_one("enableLicense", "Switch a disabled license on again", WRITE).body::<Nothing>(),
        )
        .post(
            "/licenses/{id}/disable",
            disable,
            on_one("disableLicense", "Switch a license off for now", WRITE).body::<Nothing>(),
        )
        .post(
            "/licenses/{id}/reset-devices",
            reset_devices,
            on_one(
                "resetDevices",
                "Free all devices that a license is bound to",
                WRITE,
            )
            .body::<Nothing>(),
        )
        .post(
            "/licenses/{id}/extend",
            extend,
            on_one("extendLicense", "Give a license a later end", WRITE).body::<Extend>(),
        )
        .post(
            "/licenses/{id}/rotate",
            rotate,
            on_one(
                "rotateLicense",
                "Make a new key in place of those before",
                WRITE,
            )
            .body::<Rotate>()
            .idempotent(),
        )
        .post(
            "/licenses/{id}/credentials",
            add_credential,
            Operation::new(
                "addCredential",
                "Give a license one more key; it is shown this once",
                WRITE,
            )
            .of::<LicenseId>()
            .body::<AddCredential>()
            .answers::<License>(201)
            .idempotent(),
        )
        .post(
            "/licenses/{id}/credentials/revoke",
            revoke_credential,
            on_one(
                "revokeCredential",
                "End one key of a license for good",
                WRITE,
            )
            .body::<RevokeCredential>(),
        )
}

/// Makes a license.
async fn create(
    State(state): Shared,
    caller: Caller,
    Audited(acting): Audited,
    Json(request): Json<CreateLicense>,
) -> Result<(StatusCode, Answer<License>), Problem> {
    let mut issued = acting.issue(issue_request(&caller, request)?).await?;
    let issued = issued
        .pop()
        .ok_or_else(|| Problem::internal(&"nothing was issued"))?;
    let license = with_key(&state.licensing, issued).await?;
    Ok((StatusCode::CREATED, Answer(license)))
}

/// Makes many licenses, in order, all or none; if one cannot be made, the problem names it.
async fn bulk(
    caller: Caller,
    Audited(acting): Audited,
    Json(request): Json<BulkCreate, BULK_BODY_LIMIT>,
) -> Result<(StatusCode, Answer<List<Created>>), Problem> {
    if !(1..=BULK).contains(&request.licenses.len()) {
        return Err(Problem::field(
            "licenses",
            format!("send 1 to {BULK} of them"),
        ));
    }
    let at = |at: usize, problem: Problem| {
        let field = problem
            .field
            .as_ref()
            .map(|field| format!(".{field}"))
            .unwrap_or_default();
        problem.about(&format!("licenses[{at}]{field}"))
    };
    let read = |(index, license)| {
        let parsed = issue_request(&caller, license);
        parsed.map_err(|problem| at(index, problem))
    };
    let requests = request.licenses.into_iter().enumerate().map(read);
    let issued = acting.issue_all(requests.collect::<Result<_, _>>()?).await;
    let issued = issued.map_err(|refused| at(refused.at, refused.error.into()))?;
    let created = issued.iter().map(|issued| Created {
        id: issued.license.license.id,
        key: key_text(issued),
    });
    Ok((StatusCode::CREATED, Answer(List::whole(created.collect()))))
}

/// Lists the licenses that are the caller's to see, oldest first.
async fn list(
    State(state): Shared,
    caller: Caller,
    Query(parameters): Query<ListParameters>,
) -> Result<Answer<List<License>>, Problem> {
    let limit = page_limit(parameters.limit)?;
    let licensing = &state.licensing;
    let page = if let Some(own) = caller.license() {
        let stored = match licensing.license(own).await {
            Err(licensing::Error::LicenseUnknown(_)) => None,
            stored => Some(stored?),
        };
        let asked_for = |license: &model::License| {
            parameters
                .app
                .as_ref()
                .is_none_or(|app| *app == license.app)
                && (parameters.user.is_none() || parameters.user == license.spec.user)
                && parameters
                    .status
                    .is_none_or(|status| status == license.status)
                && parameters.cursor.is_none_or(|after| license.id > after)
        };
        let seen =
            |stored: &StoredLicense| caller.sees(&stored.license) && asked_for(&stored.license);
        List::whole(stored.into_iter().filter(seen).collect())
    } else {
        let filter = LicenseFilter {
            account: caller.account().cloned(),
            app: within_app(&caller, parameters.app)?,
            user: parameters.user,
            status: parameters.status,
            of_agents: None,
        };
        page(licensing, filter, parameters.cursor, limit).await?
    };
    let mut items = Vec::with_capacity(page.items.len());
    for stored in page.items {
        items.push(view(licensing, stored).await?);
    }
    Ok(Answer(List {
        items,
        next: page.next,
    }))
}

/// Returns one page. The store hands out no more at once than the largest page, so that the license
/// after it is asked for alone.
pub(super) async fn page(
    licensing: &Licensing,
    filter: LicenseFilter,
    after: Option<LicenseId>,
    limit: usize,
) -> Result<List<StoredLicense>, Problem> {
    let items = licensing.licenses(filter.clone(), after, limit).await?;
    let last = items.last().map(|stored| stored.license.id);
    let more = match last {
        Some(last) if items.len() == limit => {
            !licensing.licenses(filter, Some(last), 1).await?.is_empty()
        }
        _ => false,
    };
    let next = last.filter(|_| more).map(|last| last.to_string());
    Ok(List { items, next })
}

/// Shows one license.
async fn show(
    State(state): Shared,
    caller: Caller,
    Name(id): Name,
) -> Result<Answer<License>, Problem> {
    let stored = own(&state.licensing, &caller, &id).await?;
    Ok(Answer(view(&state.licensing, stored).await?))
}

/// Changes fields of a license: all that are named, or none.
async fn change(
    State(state): Shared,
    caller: Caller,
    Audited(acting): Audited,
    Name(id): Name,
    Json(request): Json<LicenseUpdate>,
) -> Result<Answer<License>, Problem> {
    let licensing = &state.licensing;
    let stored = own(licensing, &caller, &id).await?;
    let stored = acting.change(stored.license.id, request).await?;
    Ok(Answer(view(licensing, stored).await?))
}

/// Takes a license back for good.
async fn revoke(
    state: Shared,
    caller: Caller,
    by: Audited,
    id: Name,
    body: Json<Nothing>,
) -> Result<Answer<License>, Problem> {
    set_status(state, caller, by, id, body, LicenseStatus::Revoked).await
}

/// Switches a disabled license on again.
async fn enable(
    state: Shared,
    caller: Caller,
    by: Audited,
    id: Name,
    body: Json<Nothing>,
) -> Result<Answer<License>, Problem> {
    set_status(state, caller, by, id, body, LicenseStatus::Active).await
}

/// Switches a license off for now.
async fn disable(
    state: Shared,
    caller: Caller,
    by: Audited,
    id: Name,
    body: Json<Nothing>,
) -> Result<Answer<License>, Problem> {
    set_status(state, caller, by, id, body, LicenseStatus::Disabled).await
}

async fn set_status(
    State(state): Shared,
    caller: Caller,
    Audited(acting): Audited,
    Name(id): Name,
    Json(Nothing {}): Json<Nothing>,
    status: LicenseStatus,
) -> Result<Answer<License>, Problem> {
    let id = own(&state.licensing, &caller, &id).await?.license.id;
    let stored = acting.set_status(id, status).await?;
    Ok(Answer(view(&state.licensing, stored).await?))
}

/// Frees all devices that a license is bound to.
async fn reset_devices(
    State(state): Shared,
    caller: Caller,
    Audited(acting): Audited,
    Name(id): Name,
    Json(Nothing {}): Json<Nothing>,
) -> Result<Answer<License>, Problem> {
    let id = own(&state.licensing, &caller, &id).await?.license.id;
    let stored = acting.reset_devices(id).await?;
    Ok(Answer(view(&state.licensing, stored).await?))
}

/// Gives a license another end.
async fn extend(
    State(state): Shared,
    caller: Caller,
    Audited(acting): Audited,
    Name(id): Name,
    Json(request): Json<Extend>,
) -> Result<Answer<License>, Problem> {
    let stored = own(&state.licensing, &caller, &id).await?;
    let end = match (request.expires_at, request.by) {
        (Some(end), None) => end,
        (None, Some(by)) => {
            let present = stored.license.spec.expires_at.ok_or_else(|| {
                Problem::field(
                    "by",
                    "the license has no end, give it one with `expires_at`",
                )
            })?;
            present.max(state.clock.now()).plus_micros(by.micros())
        }
        _ => {
            return Err(Problem::field(
                "expires_at",
                "give one of `expires_at` and `by`",
            ));
        }
    };
    let stored = acting.extend(stored.license.id, Some(end)).await?;
    Ok(Answer(view(&state.licensing, stored).await?))
}

/// Gives a license a new key, in the shape of the last one.
async fn rotate(
    State(state): Shared,
    caller: Caller,
    Audited(acting): Audited,
    Name(id): Name,
    Json(request): Json<Rotate>,
) -> Result<Answer<License>, Problem> {
    let stored = own(&state.licensing, &caller, &id).await?;
    let format = format_of(&stored);
    let overlap = request
        .overlap
        .map_or(Duration::ZERO, model::Interval::duration);
    let id = stored.license.id;
    let issued = acting.rotate(id, overlap, format).await?;
    Ok(Answer(with_key(&state.licensing, issued).await?))
}

/// Returns the format of the last key of a license.
fn format_of(stored: &StoredLicense) -> KeyFormat {
    let last = stored.credentials.last();
    let format = last.and_then(|last| KeyFormat::parse(&last.kind));
    format.unwrap_or_default()
}

/// Gives a license one more key, in the shape of the last one; those before stay.
async fn add_credential(
    State(state): Shared,
    caller: Caller,
    Audited(acting): Audited,
    Name(id): Name,
    Json(request): Json<AddCredential>,
) -> Result<(StatusCode, Answer<License>), Problem> {
    let stored = own(&state.licensing, &caller, &id).await?;
    let id = stored.license.id;
    let source = match (request.key_format.as_deref(), request.key.as_deref()) {
        (None, None) => KeySource::Generate(format_of(&stored)),
        (format, key) => key_source(format, key)?,
    };
    let issued = acting.add_credential(id, &source, None).await?;
    let license = with_key(&state.licensing, issued).await?;
    Ok((StatusCode::CREATED, Answer(license)))
}

/// Ends one key of a license; the others stay.
async fn revoke_credential(
    State(state): Shared,
    caller: Caller,
    Audited(acting): Audited,
    Name(id): Name,
    Json(request): Json<RevokeCredential>,
) -> Result<Answer<License>, Problem> {
    let id = own(&state.licensing, &caller, &id).await?.license.id;
    let stored = acting.revoke_credential(id, request.credential).await?;
    Ok(Answer(view(&state.licensing, stored).await?))
}

/// Returns a license by the text of its id, if the caller may see it.
pub(super) async fn own(
    licensing: &Licensing,
    caller: &Caller,
    id: &str,
) -> Result<StoredLicense, Problem> {
    own_named("license", licensing, caller, id).await
}

/// Returns a license by the text of its id, if the caller may see it. `what`: the word for it, where
/// it is not there.
pub(super) async fn own_named(
    what: &str,
    licensing: &Licensing,
    caller: &Caller,
    id: &str,
) -> Result<StoredLicense, Problem> {
    let not_found = || Problem::id_unknown(what, id);
    let parsed: LicenseId = id.parse().map_err(|_| not_found())?;
    let stored = match licensing.license(parsed).await {
        Err(licensing::Error::LicenseUnknown(_)) => return Err(not_found()),
        stored => stored?,
    };
    if caller.sees(&stored.license) {
        Ok(stored)
    } else {
        Err(not_found())
    }
}

/// Returns a license as it is answered, with what is left of its units.
async fn view(licensing: &Licensing, stored: StoredLicense) -> Result<License, Problem> {
    let held = match stored.license.spec.limits.remaining {
        Some(_) => licensing.balance(stored.license.id).await?,
        None => None,
    };
    Ok(answered(stored, held.map(balance)))
}

async fn with_key(licensing: &Licensing, issued: Issued) -> Result<License, Problem> {
    let key = key_text(&issued);
    let mut license = view(licensing, issued.license).await?;
    license.key = Some(key);
    Ok(license)
}

fn key_text(issued: &Issued) -> String {
    issued
        .credential
        .as_ref()
        .map_or_else(String::new, |key| key.expose().to_owned())
}

/// Returns the operation that a request asks for, within what the caller may see.
fn issue_request(caller: &Caller, request: CreateLicense) -> Result<IssueRequest, Problem> {
    if caller.app().is_some_and(|own| *own != request.app) {
        return Err(licensing::Error::AppUnknown(request.app).into());
    }
    let key = key_source(request.key_format.as_deref(), request.key.as_deref())?;
    Ok(IssueRequest {
        account: caller.account().cloned(),
        spec: request.spec,
        key,
        ..IssueRequest::for_app(request.app)
    })
}

/// Reads the word of a format that keys can be asked for in.
pub(super) fn key_format(word: &str) -> Result<KeyFormat, Problem> {
    let format = KeyFormat::parse(word).filter(|format| *format != KeyFormat::Imported);
    format.ok_or_else(|| {
        let detail = "use `tallygate`, `uuid`, `apifew` or `authforge`";
        Problem::field("key_format", detail)
    })
}

/// Returns where the key comes from. A key that exists must have the format that is named beside
/// it, if one is.
fn key_source(format: Option<&str>, key: Option<&str>) -> Result<KeySource, Problem> {
    let format = format.map(key_format).transpose()?;
    let Some(key) = key else {
        return Ok(KeySource::Generate(format.unwrap_or_default()));
    };
    let key = Credential::parse(key).map_err(|error| Problem::field("key", error))?;
    if format.is_some_and(|format| KeyFormat::of(key.expose()) != Some(format)) {
        return Err(Problem::field(
            "key",
            "the key does not have the shape of `key_format`",
        ));
    }
    Ok(KeySource::Import(key))
}

/// Returns a license as its store holds it and its balance, without its key.
fn answered(stored: StoredLicense, balance: Option<Balance>) -> License {
    let license = stored.license;
    let mut spec = license.spec;
    spec.limits.remaining = balance.map(|balance| balance.remaining);
    License {
        id: license.id,
        key: None,
        account: license.account,
        app: license.app,
        spec,
        status: license.status,
        created_at: license.created_at,
        remaining_text: balance.and_then(|balance| balance.remaining_text),
        credentials: stored.credentials,
        devices: stored.devices,
        balance,
    }
}

/// Returns a balance as it is answered.
pub(super) fn balance(balance: licensing::BalanceView) -> Balance {
    Balance {
        granted: balance.granted,
        granted_text: Digits::beyond(balance.granted),
        remaining: balance.remaining,
        remaining_text: Digits::beyond(balance.remaining),
        taken: balance.taken,
        taken_text: Digits::beyond(balance.taken),
        next_refill_at: balance.next_refill_at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_exists_has_the_format_that_is_named_beside_it() {
        let uuid = "6f1c1d7e-0f2b-4c39-9a51-3d9f5a7b1c2d";
        assert!(matches!(
            key_source(None, Some(uuid)),
            Ok(KeySource::Import(_))
        ));
        assert!(matches!(
            key_source(Some("uuid"), Some(uuid)),
            Ok(KeySource::Import(_))
        ));
        assert!(key_source(Some("apifew"), Some(uuid)).is_err());
        assert!(key_source(Some("imported"), None).is_err());
        assert!(key_source(None, Some("short")).is_err());
        let generated = key_source(Some("authforge"), None);
        assert!(matches!(
            generated,
            Ok(KeySource::Generate(KeyFormat::Authforge))
        ));
    }
}
