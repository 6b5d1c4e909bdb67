//! `/apps/{name}/software`: the switch of the software that is sold with an app.

use api_types::{AppSoftware, ChangeAppSoftware, Scope};
use axum::Json as Answer;
use axum::extract::State;
use licensing::SoftwareApp;
use model::AppName;

use super::app_credentials::own_app;
use crate::document::{Needs, Operation, Routes};
use crate::http::caller::{Audited, Caller};
use crate::http::extract::{Json, Name};
use crate::http::problem::Problem;
use crate::http::state::Shared;

/// Adds the requests about the software of apps.
pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get(
            "/apps/{name}/software",
            show,
            Operation::new(
                "showAppSoftware",
                "Show whether the software of an app is switched off",
                Needs::Scope(Scope::ReadLicenses),
            )
            .of::<AppName>()
            .answers::<AppSoftware>(200),
        )
        .patch(
            "/apps/{name}/software",
            change,
            Operation::new(
                "changeAppSoftware",
                "Switch the software of an app off or on",
                Needs::Scope(Scope::WriteLicenses),
            )
            .of::<AppName>()
            .body::<ChangeAppSoftware>()
            .answers::<AppSoftware>(200),
        )
}

/// Shows the switch.
async fn show(
    State(state): Shared,
    caller: Caller,
    Name(name): Name,
) -> Result<Answer<AppSoftware>, Problem> {
    let app = own_app(&state, &caller, &name)?;
    let software = state.licensing.software_app_named(&app.name).await?;
    Ok(Answer(view(&software)))
}

/// Switches the software off or on.
async fn change(
    State(state): Shared,
    caller: Caller,
    Audited(acting): Audited,
    Name(name): Name,
    Json(request): Json<ChangeAppSoftware>,
) -> Result<Answer<AppSoftware>, Problem> {
    let app = own_app(&state, &caller, &name)?;
    let software = acting.switch_software(&app.name, request.enabled).await?;
    Ok(Answer(view(&software)))
}

fn view(software: &SoftwareApp) -> AppSoftware {
    AppSoftware {
        app: software.app.clone(),
        app_id: software.shown_id(),
        enabled: !software.is_disabled(),
        disabled_at: software.settings.disabled_at,
    }
}
