//! The handlers of offline files: a seller has one made for devices, and sees which were made.

use std::collections::HashSet;

use api_types::Scope;
use axum::Json;
use axum::response::Response;
use model::{CallId, DeviceId, LicenseStatus, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use store::{OfflineFile, StoredLicense};

use super::answer::Failure;
use super::body::Mint;
use super::context::Asked;
use super::licenses::created;
use super::list::{page_size, read_query};
use crate::http::fault::Fault;
use crate::protocol::authforge::credits::{NotPaid, Parties, Work};
use crate::protocol::authforge::forms::{
    LicenseDocument, file_id, iso, license_file, read_request_file,
};
use licensing::{NewOfflineFile, SoftwareApp};

/// The largest number of devices that one file is for.
const MAX_DEVICES: usize = 100;

/// Makes a file for devices.
pub(super) async fn mint(asked: Asked) -> Result<Response, Failure> {
    asked.requires(Scope::WriteLicenses)?;
    let found = asked.license().await?;
    let stored = &found.stored;
    let mint: Mint = asked.content()?;
    let app = asked.app_of_license(stored).await?;
    let now = asked.services.now();
    let devices = devices(&mint, &app, found.key())?;
    let expires_at = end(&mint, stored, now)?;
    let entry = asked.services.spender().license(stored.license.id).await;
    let entry = entry.map_err(|_| Fault::Unavailable)?;
    let parties = Parties::of(&asked.services, entry).await;
    let parties = parties.map_err(unpaid)?;
    let held = parties.hold(&asked.services, &app, Work::File, None).await;
    let mut held = held.map_err(unpaid)?;
    let id = CallId::generate();
    held.set_call_id(id);
    let keys = asked.services.api().signing.app_keys(&app.app).await?;
    let spec = &stored.license.spec;
    let document = LicenseDocument {
        app_id: &app.shown_id(),
        license_key: found.key(),
        id: id.as_u128(),
        issued_at: now,
        expires_at,
        devices: &devices,
        label: spec.label.as_deref(),
        license_expires_at: spec.expires_at,
        license_variables: &spec.variables,
        app_variables: &app.settings.variables,
    };
    let text = license_file(&document, keys.signer(now));
    let new = NewOfflineFile {
        id: id.as_u128(),
        license: &stored.license,
        devices: devices.clone(),
        issued_at: now,
        expires_at,
        text: &text,
    };
    asked.acting().keep_offline_file(new).await?;
    let spent = held.record().await;
    spent.map_err(|_| Fault::Unavailable)?;
    Ok(created(json!({
        "file": text,
        "fileName": format!("{}.authforge", found.key()),
        "jti": file_id(id.as_u128()),
        "issuedAt": iso(now),
        "expiresAt": expires_at.map(iso),
        "hwids": devices,
    })))
}

/// The query of `GET …/offline-files`.
#[derive(Debug, Deserialize)]
struct Query {
    limit: Option<String>,
    cursor: Option<String>,
}

/// Lists the files that were made for a license, by the seller or by its software.
pub(super) async fn list(asked: Asked) -> Result<Json<Value>, Failure> {
    asked.requires(Scope::ReadLicenses)?;
    let stored = asked.license().await?.stored;
    let query: Query = read_query(&asked)?;
    let limit = page_size(query.limit.as_deref())?;
    let given = query.cursor.as_deref().filter(|text| !text.is_empty());
    let after = given.map(str::parse::<CallId>).transpose();
    let detail = "send the `cursor` of the page before, as it was";
    let after = after.map_err(|_| Failure::invalid("cursor", detail))?;
    let licensing = asked.services.licensing();
    let (id, after) = (stored.license.id, after.map(CallId::as_u128));
    let mut files = licensing.offline_files(id, after, limit + 1).await?;
    let more = files.len() > limit;
    files.truncate(limit);
    let next = files.last().filter(|_| more);
    Ok(Json(json!({
        "cursor": next.map(|file| file_id(file.id)),
        "offlineFiles": files.iter().map(shown).collect::<Vec<_>>(),
    })))
}

fn shown(file: &OfflineFile) -> Value {
    json!({
        "jti": file_id(file.id),
        "issuedAt": iso(file.issued_at),
        "expiresAt": file.expires_at.map(iso),
        "hwids": file.devices,
        "activatedBy": file.activated_by,
    })
}

/// Returns the devices that a file is for; none: any.
fn devices(mint: &Mint, app: &SoftwareApp, key: &str) -> Result<Vec<DeviceId>, Failure> {
    match (&mint.request, mint.hwids.as_slice(), mint.any_machine) {
        (Some(text), [], false) => {
            let request = read_request_file(text);
            let request = request.map_err(|error| Failure::invalid("request", error))?;
            if request.app_id != app.shown_id() && request.app_id != app.id.to_string() {
                let detail = "the activation request is for another app";
                return Err(Failure::invalid("request", detail));
            }
            let bare = |key: &str| key.trim().replace('-', "").to_ascii_uppercase();
            let names_another = |other: &String| bare(other) != bare(key);
            if request.license_key.as_ref().is_some_and(names_another) {
                let detail = "the activation request is for another license";
                return Err(Failure::invalid("request", detail));
            }
            Ok(vec![request.device])
        }
        (None, [], true) => Ok(Vec::new()),
        (None, hwids, false) if !hwids.is_empty() => {
            if hwids.len() > MAX_DEVICES {
                let detail = format!("send at most {MAX_DEVICES}");
                return Err(Failure::invalid("hwids", detail));
            }
            let mut seen = HashSet::new();
            let first = hwids.iter().filter(|device| seen.insert(*device));
            Ok(first.cloned().collect())
        }
        _ => {
            let detail = "send one of `request`, `hwids` (not empty) and `anyMachine`";
            Err(Failure::invalid("hwids", detail))
        }
    }
}

/// Returns the end of a file: the one that is asked for, at most that of its license.
fn end(mint: &Mint, stored: &StoredLicense, now: Timestamp) -> Result<Option<Timestamp>, Failure> {
    let license = &stored.license;
    if license.status != LicenseStatus::Active {
        let detail = "the license is revoked: activate it before";
        return Err(Failure::invalid("licenseKey", detail));
    }
    let of_license = license.spec.expires_at;
    if of_license.is_some_and(|end| end <= now) {
        let detail = "the license has ended: extend it before";
        return Err(Failure::invalid("licenseKey", detail));
    }
    if mint.expires_at.is_some_and(|end| end <= now) {
        let detail = "it is over already: send a time to come, or none";
        return Err(Failure::invalid("expiresAt", detail));
    }
    let ends = [mint.expires_at, of_license];
    Ok(ends.into_iter().flatten().min())
}

fn unpaid(reason: NotPaid) -> Failure {
    match reason {
        NotPaid::NoCredits => Failure::no_credits(),
        NotPaid::Address | NotPaid::Standing(_) => {
            Failure::invalid("licenseKey", "the license may not be used now")
        }
        NotPaid::Unavailable => Fault::Unavailable.into(),
    }
}
