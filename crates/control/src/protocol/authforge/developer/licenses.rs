//! The handlers of licenses: each asks the operation and translates its result.

use api_types::Scope;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use licensing::{IssueRequest, KeySource};
use model::{Credential, KeyFormat, LicenseId, LicenseSpec, LicenseStatus, LicenseUpdate};
use serde_json::{Value, json};
use store::StoredLicense;

use super::answer::Failure;
use super::body::{Change, Create, Label};
use super::context::Asked;
use super::idempotent;
use super::record::{LicenseDetail, LicenseRecord};

/// Makes licenses, all or none.
pub(super) async fn create(asked: Asked) -> Result<Response, Failure> {
    asked.requires(Scope::WriteLicenses)?;
    asked.requires_more_than_one_license()?;
    let body = asked.bytes()?;
    idempotent::once(&asked, &body, || made(&asked, &body)).await
}

async fn made(asked: &Asked, body: &[u8]) -> Result<Value, Failure> {
    const MAX_QUANTITY: u32 = 100;
    let create: Create = crate::http::body::parse(body)?;
    let app = asked.app_of(&create.app_id).await?;
    if !(1..=MAX_QUANTITY).contains(&create.quantity) {
        let detail = format!("send 1 to {MAX_QUANTITY}");
        return Err(Failure::invalid("quantity", detail));
    }
    let request = IssueRequest {
        account: Some(app.account.clone()),
        spec: LicenseSpec {
            label: create.label.and_then(Label::into_text),
            expires_at: create.expires_at,
            device_slots: Some(create.max_hwid_slots),
            unlimited_devices: create.unlimited_hwid_slots,
            ..LicenseSpec::default()
        },
        key: KeySource::Generate(KeyFormat::Authforge),
        quantity: create.quantity,
        keeps_copy: true,
        ..IssueRequest::for_app(app.app.clone())
    };
    let issued = asked.acting().issue(request).await?;
    let record = |issued: &licensing::Issued| {
        let key = issued.credential.as_ref().map_or("", Credential::expose);
        LicenseRecord::of(&issued.license, &app, key)
    };
    let licenses: Vec<_> = issued.iter().map(record).collect();
    Ok(json!({ "licenses": licenses }))
}

/// Shows a license.
pub(super) async fn show(asked: Asked) -> Result<Json<LicenseDetail>, Failure> {
    asked.requires(Scope::ReadLicenses)?;
    let found = asked.license().await?;
    detail(&asked, &found.stored, found.key()).await
}

/// Carries out an action on a license.
pub(super) async fn change(asked: Asked) -> Result<Json<LicenseDetail>, Failure> {
    asked.requires(Scope::WriteLicenses)?;
    let found = asked.license().await?;
    let change: Change = asked.content()?;
    let stored = carry_out(&asked, found.stored.license.id, change).await?;
    detail(&asked, &stored, found.key()).await
}

async fn carry_out(asked: &Asked, id: LicenseId, change: Change) -> Result<StoredLicense, Failure> {
    takes_its_own_fields(&change)?;
    let acting = asked.acting();
    let update = match change.action.as_str() {
        "revoke" => return Ok(acting.set_status(id, LicenseStatus::Disabled).await?),
        "activate" => return Ok(acting.set_status(id, LicenseStatus::Active).await?),
        "reset-hwid" => return Ok(acting.reset_devices(id).await?),
        "extend" => {
            let end = change.expires_at.ok_or_else(|| missing("expiresAt"))?;
            return Ok(acting.extend(id, end).await?);
        }
        "set-label" => {
            let given = change.label.ok_or_else(|| missing("label"))?;
            LicenseUpdate {
                label: Some(given.and_then(Label::into_text)),
                ..LicenseUpdate::default()
            }
        }
        // The last of those that have fields: `set-slots`.
        _ => {
            let unlimited = change.unlimited_hwid_slots;
            if change.max_hwid_slots.is_none() && unlimited.is_none() {
                return Err(missing("maxHwidSlots"));
            }
            LicenseUpdate {
                device_slots: change.max_hwid_slots.map(Some),
                unlimited_devices: unlimited,
                ..LicenseUpdate::default()
            }
        }
    };
    Ok(acting.change(id, update).await?)
}

/// Refuses an action that there is not, and fields that are another action's: whoever sends them
/// means something that would not be done.
fn takes_its_own_fields(change: &Change) -> Result<(), Failure> {
    let own: &[&str] = match change.action.as_str() {
        "revoke" | "activate" | "reset-hwid" => &[],
        "extend" => &["expiresAt"],
        "set-label" => &["label"],
        "set-slots" => &["maxHwidSlots", "unlimitedHwidSlots"],
        _ => {
            let detail =
                "send `revoke`, `activate`, `extend`, `reset-hwid`, `set-label` or `set-slots`";
            return Err(Failure::invalid("action", detail));
        }
    };
    let given = [
        ("expiresAt", change.expires_at.is_some()),
        ("label", change.label.is_some()),
        ("maxHwidSlots", change.max_hwid_slots.is_some()),
        ("unlimitedHwidSlots", change.unlimited_hwid_slots.is_some()),
    ];
    let other = given
        .iter()
        .find(|(name, is_given)| *is_given && !own.contains(name));
    match other {
        None => Ok(()),
        Some((name, _)) => {
            let detail = format!("`{}` does not take it: leave it out", change.action);
            Err(Failure::invalid(name, detail))
        }
    }
}

/// Ends a license for ever.
pub(super) async fn delete(asked: Asked) -> Result<Json<Value>, Failure> {
    asked.requires(Scope::WriteLicenses)?;
    let found = asked.license().await?;
    let id = found.stored.license.id;
    asked
        .acting()
        .set_status(id, LicenseStatus::Revoked)
        .await?;
    Ok(Json(json!({ "licenseKey": found.key(), "deleted": true })))
}

async fn detail(
    asked: &Asked,
    stored: &StoredLicense,
    key: &str,
) -> Result<Json<LicenseDetail>, Failure> {
    let app = asked.app_of_license(stored).await?;
    Ok(Json(LicenseDetail::of(stored, &app, key)))
}

fn missing(field: &str) -> Failure {
    crate::http::body::Input::missing(field).into()
}

/// Returns an answer of something that was made.
pub(super) fn created(body: Value) -> Response {
    (StatusCode::CREATED, Json(body)).into_response()
}
