//! `/apps/{name}/credentials`: the credentials of the software that is sold with an app.

use std::time::Duration;

use api_types::{AppCredentials, ImportAppCredentials, RenewAppSecret, Scope};
use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use licensing::AppSecrets;
use model::{AppName, Credential};

use crate::document::{Needs, Operation, Routes};
use crate::http::caller::{Audited, Caller};
use crate::http::extract::{Json, Name};
use crate::http::problem::Problem;
use crate::http::state::{Api, Shared};

const READ: Needs = Needs::Scope(Scope::ReadKeys);
const WRITE: Needs = Needs::Scope(Scope::WriteKeys);

/// Adds the requests about the credentials of apps.
pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get(
            "/apps/{name}/credentials",
            show,
            Operation::new(
                "showAppCredentials",
                "Show the id and the public key of an app",
                READ,
            )
            .of::<AppName>()
            .answers::<AppCredentials>(200),
        )
        .post(
            "/apps/{name}/credentials",
            renew,
            Operation::new(
                "renewAppSecret",
                "Make a new secret of an app; it is shown this once",
                WRITE,
            )
            .of::<AppName>()
            .body::<RenewAppSecret>()
            .answers::<AppCredentials>(201)
            .idempotent(),
        )
        .post(
            "/apps/{name}/credentials/import",
            import,
            Operation::new(
                "importAppCredentials",
                "Take over the id and the secret of an app that software has already",
                WRITE,
            )
            .of::<AppName>()
            .body::<ImportAppCredentials>()
            .answers::<AppCredentials>(200),
        )
}

/// Shows the public part of an app's credentials.
async fn show(
    State(state): Shared,
    caller: Caller,
    Name(name): Name,
) -> Result<Answer<AppCredentials>, Problem> {
    let app = own(&state, &caller, &name)?;
    let secrets = state.licensing.app_secrets(&app).await?;
    Ok(Answer(view(&state, secrets, None).await?))
}

/// Makes a new secret.
async fn renew(
    State(state): Shared,
    caller: Caller,
    Audited(acting): Audited,
    Name(name): Name,
    Json(request): Json<RenewAppSecret>,
) -> Result<(StatusCode, Answer<AppCredentials>), Problem> {
    let app = own(&state, &caller, &name)?;
    let overlap = match (request.overlap, request.at_once) {
        (Some(_), true) => {
            return Err(Problem::field(
                "at_once",
                "give one of `overlap` and `at_once`",
            ));
        }
        (None, true) => Duration::ZERO,
        (asked, false) => overlap(asked),
    };
    // This comes before the secret is made, so that no secret is lost to a key that cannot be read.
    state.signing.app_public_key(&app).await?;
    let issued = acting.renew_app_secret(&app, overlap).await?;
    let view = view(&state, issued.secrets, Some(issued.secret)).await?;
    Ok((StatusCode::CREATED, Answer(view)))
}

/// Takes over credentials.
async fn import(
    State(state): Shared,
    caller: Caller,
    Audited(acting): Audited,
    Name(name): Name,
    Json(request): Json<ImportAppCredentials>,
) -> Result<Answer<AppCredentials>, Problem> {
    let app = own(&state, &caller, &name)?;
    let secret = Credential::parse(&request.app_secret);
    let secret = secret.map_err(|error| Problem::field("app_secret", error))?;
    let overlap = overlap(request.overlap);
    // This comes first for the reason that it does in `renew`.
    state.signing.app_public_key(&app).await?;
    let imported = acting.import_app_credentials(&app, &request.app_id, &secret, overlap);
    Ok(Answer(view(&state, imported.await?, None).await?))
}

fn overlap(asked: Option<model::Interval>) -> Duration {
    let usual = Duration::from_secs(RenewAppSecret::OVERLAP);
    asked.map_or(usual, model::Interval::duration)
}

/// Returns an app by its name, if the caller may see it.
fn own(state: &Api, caller: &Caller, name: &str) -> Result<AppName, Problem> {
    Ok(own_app(state, caller, name)?.name.clone())
}

/// Returns an app of the configuration by its name, if the caller may see it.
pub(super) fn own_app<'a>(
    state: &'a Api,
    caller: &Caller,
    name: &str,
) -> Result<&'a api_types::App, Problem> {
    let mut apps = state.directory.apps.iter();
    let found = apps.find(|app| app.name.as_str() == name);
    let sees = |app: &&api_types::App| caller.sees_app(&app.account, &app.name);
    found
        .filter(sees)
        .ok_or_else(|| Problem::not_found("app", name))
}

async fn view(
    state: &Api,
    secrets: AppSecrets,
    secret: Option<Credential>,
) -> Result<AppCredentials, Problem> {
    let public_key = state.signing.app_public_key(&secrets.app).await?;
    let software = state.licensing.software_app_named(&secrets.app).await?;
    Ok(AppCredentials {
        imported_app_id: software.settings.imported_id.clone(),
        app_id: secrets.app_id,
        app_secret: secret.map(|secret| secret.expose().to_owned()),
        public_key: STANDARD.encode(public_key),
        created_at: secrets.created_at,
        former_until: secrets.former_until,
        app: secrets.app,
    })
}
