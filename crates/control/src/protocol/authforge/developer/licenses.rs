//! The handlers of licenses: each asks the operation and translates its result.

use api_types::Scope;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use licensing::{IssueRequest, KeySource};
use model::{Credential, KeyFormat, LicenseSpec, LicenseStatus, LicenseUpdate};
use serde_json::{Value, json};
use store::StoredLicense;

use super::answer::Failure;
use super::body::{Change, Create, Label};
use super::context::Asked;
use super::idempotent;
use super::record::{LicenseDetail, LicenseRecord};
use crate::http::field::Text;

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
            label: label(create.label)?,
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
    let (id, acting) = (found.stored.license.id, asked.acting());
    let stored = match change.action.as_str() {
        "revoke" => acting.set_status(id, LicenseStatus::Disabled).await?,
        "activate" => acting.set_status(id, LicenseStatus::Active).await?,
        "reset-hwid" => acting.reset_devices(id).await?,
        "extend" => {
            let end = change.expires_at.ok_or_else(|| missing("expiresAt"))?;
            acting.extend(id, end).await?
        }
        "set-label" => {
            let given = change.label.ok_or_else(|| missing("label"))?;
            let update = LicenseUpdate {
                label: Some(label(given)?),
                ..LicenseUpdate::default()
            };
            acting.change(id, update).await?
        }
        "set-slots" => {
            let unlimited = change.unlimited_hwid_slots;
            if change.max_hwid_slots.is_none() && unlimited.is_none() {
                return Err(missing("maxHwidSlots"));
            }
            let update = LicenseUpdate {
                device_slots: change.max_hwid_slots.map(Some),
                unlimited_devices: unlimited,
                ..LicenseUpdate::default()
            };
            acting.change(id, update).await?
        }
        _ => {
            let detail =
                "send `revoke`, `activate`, `extend`, `reset-hwid`, `set-label` or `set-slots`";
            return Err(Failure::invalid("action", detail));
        }
    };
    detail(&asked, &stored, found.key()).await
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

/// Returns a label, none for an empty one.
fn label<const MAX: usize>(given: Option<Text<0, MAX>>) -> Result<Option<String>, Failure> {
    let most = Label::MAX_CHARACTERS;
    match given.map(Text::into_string) {
        Some(text) if text.chars().count() > most => {
            let detail = format!("send at most {most} characters");
            Err(Failure::invalid("label", detail))
        }
        given => Ok(given.filter(|text| !text.is_empty())),
    }
}

fn missing(field: &str) -> Failure {
    crate::http::body::Input::missing(field).into()
}

/// Returns an answer of something that was made.
pub(super) fn created(body: Value) -> Response {
    (StatusCode::CREATED, Json(body)).into_response()
}
