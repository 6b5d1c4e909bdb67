//! The handlers of apps: the switch of their software, and the devices of all their licenses.

use std::sync::Arc;

use api_types::Scope;
use axum::Json;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use licensing::SoftwareApp;
use licensing::signing::AppKey;
use serde_json::{Value, json};

use super::answer::Failure;
use super::body::ChangeApp;
use super::context::Asked;

/// Shows an app.
pub(super) async fn show(asked: Asked) -> Result<Json<Value>, Failure> {
    asked.requires(Scope::ReadLicenses)?;
    asked.requires_more_than_one_license()?;
    let app = asked.app().await?;
    shown(&asked, &app).await
}

/// Switches the software of an app off or on.
pub(super) async fn change(asked: Asked) -> Result<Json<Value>, Failure> {
    asked.requires(Scope::WriteLicenses)?;
    asked.requires_more_than_one_license()?;
    let app = asked.app().await?;
    let change: ChangeApp = asked.content()?;
    let app = asked
        .acting()
        .switch_software(&app.app, change.enabled)
        .await?;
    shown(&asked, &app).await
}

/// Frees the devices of all licenses of an app.
pub(super) async fn reset(asked: Asked) -> Result<Json<Value>, Failure> {
    asked.requires(Scope::WriteLicenses)?;
    asked.requires_more_than_one_license()?;
    let app = asked.app().await?;
    let count = asked.acting().reset_devices_of(&app.app).await?;
    Ok(Json(
        json!({ "appId": app.shown_id(), "licensesReset": count }),
    ))
}

async fn shown(asked: &Asked, app: &Arc<SoftwareApp>) -> Result<Json<Value>, Failure> {
    let keys = asked.services.api().signing.app_keys(&app.app).await?;
    let now = asked.services.now();
    let signer = keys.signer(now).id();
    let key = |key: &AppKey| {
        json!({
            "keyId": key.id(),
            "publicKey": STANDARD.encode(key.public_key()),
            "signs": key.id() == signer,
        })
    };
    Ok(Json(json!({
        "appId": app.shown_id(),
        "name": app.app,
        "enabled": !app.is_disabled(),
        "publicKeys": keys.trusted().map(key).collect::<Vec<_>>(),
    })))
}
