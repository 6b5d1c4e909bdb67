//! The handlers of variables of apps and licenses. What is put replaces all that was there.

use api_types::Scope;
use axum::Json;
use model::{LicenseUpdate, UniqueMap, Variables};

use super::answer::Failure;
use super::context::Asked;

/// Shows the variables of a license.
pub(super) async fn of_license(asked: Asked) -> Result<Json<Variables>, Failure> {
    asked.requires(Scope::ReadLicenses)?;
    let stored = asked.license().await?.stored;
    Ok(Json(stored.license.spec.variables))
}

/// Replaces the variables of a license.
pub(super) async fn put_license(asked: Asked) -> Result<Json<Variables>, Failure> {
    asked.requires(Scope::WriteLicenses)?;
    let stored = asked.license().await?.stored;
    let update = LicenseUpdate {
        variables: Some(read(&asked)?),
        ..LicenseUpdate::default()
    };
    let stored = asked.acting().change(stored.license.id, update).await?;
    Ok(Json(stored.license.spec.variables))
}

/// Shows the variables of an app.
pub(super) async fn of_app(asked: Asked) -> Result<Json<Variables>, Failure> {
    asked.requires(Scope::ReadLicenses)?;
    asked.requires_more_than_one_license()?;
    let app = asked.app().await?;
    Ok(Json(app.settings.variables.clone()))
}

/// Replaces the variables of an app.
pub(super) async fn put_app(asked: Asked) -> Result<Json<Variables>, Failure> {
    asked.requires(Scope::WriteLicenses)?;
    asked.requires_more_than_one_license()?;
    let app = asked.app().await?;
    let variables = read(&asked)?;
    let acting = asked.acting();
    let changed = acting.change_app_settings(&app.app, |settings| {
        settings.variables = variables.clone();
        Ok(())
    });
    Ok(Json(changed.await?.settings.variables.clone()))
}

/// Reads the variables. Without a body there are none, not even an empty object, which would take
/// all away.
fn read(asked: &Asked) -> Result<Variables, Failure> {
    if asked.bytes()?.is_empty() {
        let detail = "the body is empty: send an object of all variables, `{}` for none";
        return Err(Failure::invalid("variables", detail));
    }
    let UniqueMap(object) = asked.content()?;
    Variables::of(&object).map_err(|error| Failure::invalid("variables", error))
}
