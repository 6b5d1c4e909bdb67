//! The handlers of `/v2/app/user`: the users of an app and their licenses.

use api_types::Scope;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use licensing::UserRequest;
use model::update::nullable;
use model::{Alias, AppName, Credential, LicenseStatus, Timestamp, User};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use store::{LicenseFilter, StoredLicense, UserChange};

use super::answer::{Failure, Success};
use super::apps;
use super::provider::provider;
use crate::http::body::{BODY_LIMIT, read_json};
use crate::http::caller::Caller;
use crate::http::client::Client;
use crate::http::fault::Fault;
use crate::http::field::{Secret, Text};
use crate::http::services::Services;

/// The largest number of a user's licenses among which the one to show is looked for.
const MAX_LICENSES: usize = 1_000;

/// The body of a request for a user.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "ApifewUser")]
#[serde(deny_unknown_fields, rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) struct Named {
    apifew_key: Option<Secret>,
    app_name: Option<Text<1, 253>>,
    user_login: Text<1, 200>,
}

/// The body of the creation of a user.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "ApifewCreateUser")]
#[serde(deny_unknown_fields, rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) struct Create {
    apifew_key: Option<Secret>,
    app_name: Option<Text<1, 253>>,
    user_login: Text<1, 200>,
    name_first: Option<Text<1, 200>>,
    name_last: Option<Text<1, 200>>,
}

/// The body of a change of a user. A name that is absent stays, `null` removes it.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "ApifewUpdateUser")]
#[serde(deny_unknown_fields, rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) struct Update {
    apifew_key: Option<Secret>,
    app_name: Option<Text<1, 253>>,
    user_login: Text<1, 200>,
    #[serde(default, deserialize_with = "nullable")]
    name_first: Option<Option<Text<1, 200>>>,
    #[serde(default, deserialize_with = "nullable")]
    name_last: Option<Option<Text<1, 200>>>,
}

/// The identity by which an app knows a user.
#[derive(Debug, Serialize)]
pub(super) struct Identity {
    uid: Alias,
}

/// A user with their license. Without a license the fields about it are empty.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    login: String,
    uid: Alias,
    app: AppName,
    #[serde(serialize_with = "exposed")]
    license_key: Option<Credential>,
    pricing_fullname: String,
    license_role: &'static str,
    license_features: Vec<String>,
    license_active: bool,
    license_status: &'static str,
    name_first: String,
    name_last: String,
}

/// Shows a user and their license. A user who does not exist is an answer of status 200 as well.
pub(super) async fn show(
    State(services): State<Services>,
    client: Client,
    headers: HeaderMap,
    body: Body,
) -> Result<Success<Shown>, Failure> {
    let named: Named = read_json(body, BODY_LIMIT).await?;
    let key = named.apifew_key.as_ref();
    let caller = provider(&services, &client, &headers, key, Scope::ReadLicenses).await?;
    let app = apps::own(&services, &caller, named.app_name.as_deref())?;
    let login = &named.user_login;
    let licensing = services.licensing();
    let user = licensing
        .user(&app.name, login)
        .await
        .map_err(Fault::from)?;
    let license = license_of(&services, &caller, &app.name, login).await?;
    // A key for one license sees the user of that license only.
    let user = user.filter(|_| caller.license().is_none() || license.is_some());
    if user.is_none() && license.is_none() {
        return Err(Failure::with_code(StatusCode::OK, "ERROR_USER_NOT_FOUND"));
    }
    let alias = licensing.alias(&app.name, login);
    let mut shown = Shown::without_license(login, &app.name, alias, user);
    if let Some(license) = license {
        shown.add(&services, &license);
        // The key of a license is the right to use the license up, for which the right to read is
        // not enough.
        if caller.may(Scope::WriteLicenses) {
            let acting = services.acting(&caller, &client);
            shown.license_key = acting.show_key(&license).await.map_err(Fault::from)?;
        }
    }
    Ok(Success("INFO_APP_USER", shown))
}

/// Makes a user.
pub(super) async fn create(
    State(services): State<Services>,
    client: Client,
    headers: HeaderMap,
    body: Body,
) -> Result<Success<Identity>, Failure> {
    let create: Create = read_json(body, BODY_LIMIT).await?;
    let key = create.apifew_key.as_ref();
    let caller = provider(&services, &client, &headers, key, Scope::WriteLicenses).await?;
    let app = apps::own(&services, &caller, create.app_name.as_deref())?;
    let acting = services.acting(&caller, &client);
    let made = acting.create_user(UserRequest {
        app: app.name.clone(),
        account: caller.account().cloned(),
        login: create.user_login.into_string(),
        first_name: create.name_first.map(Text::into_string),
        last_name: create.name_last.map(Text::into_string),
    });
    let user = made.await.map_err(failed)?;
    Ok(Success(
        "INFO_APP_USER_CREATED",
        Identity { uid: user.alias },
    ))
}

/// Changes the names of a user.
pub(super) async fn update(
    State(services): State<Services>,
    client: Client,
    headers: HeaderMap,
    body: Body,
) -> Result<Success<Identity>, Failure> {
    let update: Update = read_json(body, BODY_LIMIT).await?;
    let key = update.apifew_key.as_ref();
    let caller = provider(&services, &client, &headers, key, Scope::WriteLicenses).await?;
    let app = apps::own(&services, &caller, update.app_name.as_deref())?;
    let name = |name: Option<Option<Text<1, 200>>>| name.map(|name| name.map(Text::into_string));
    let change = UserChange {
        first_name: name(update.name_first),
        last_name: name(update.name_last),
    };
    let changed = services
        .acting(&caller, &client)
        .change_user(&app.name, &update.user_login, change)
        .await
        .map_err(failed)?;
    let not_found = || Failure::with_code(StatusCode::NOT_FOUND, "ERROR_USER_NOT_FOUND");
    let user = changed.ok_or_else(not_found)?;
    Ok(Success(
        "INFO_APP_USER_UPDATED",
        Identity { uid: user.alias },
    ))
}

/// Returns the license of a user to show: the newest that may be used, else the newest.
async fn license_of(
    services: &Services,
    caller: &Caller,
    app: &AppName,
    login: &str,
) -> Result<Option<StoredLicense>, Failure> {
    let filter = LicenseFilter {
        app: Some(app.clone()),
        user: Some(login.to_owned()),
        of_agents: Some(false),
        ..LicenseFilter::default()
    };
    let licenses = services
        .licensing()
        .licenses(filter, None, MAX_LICENSES)
        .await;
    let mut licenses = licenses.map_err(Fault::from)?;
    licenses.retain(|stored| caller.sees(&stored.license));
    let now = services.now();
    let usable = |stored: &StoredLicense| status(stored, now) == "subscribed";
    let at = licenses.iter().rposition(usable);
    let at = at.or(licenses.len().checked_sub(1));
    Ok(at.map(|at| licenses.swap_remove(at)))
}

/// Returns the word for the state of a license.
fn status(stored: &StoredLicense, now: Timestamp) -> &'static str {
    let license = &stored.license;
    match license.status {
        LicenseStatus::Disabled => "disabled",
        LicenseStatus::Revoked => "revoked",
        LicenseStatus::Active if license.spec.expires_at.is_some_and(|end| end <= now) => "expired",
        LicenseStatus::Active => "subscribed",
    }
}

/// Returns the failure for an error of an operation on users.
fn failed(error: licensing::Error) -> Failure {
    use licensing::Error;
    match error {
        Error::Exists(_) => Failure::with_code(StatusCode::CONFLICT, "ERROR_USER_EXISTS"),
        Error::Invalid { field, reason } => {
            let field = match field {
                "login" => "USER_LOGIN",
                "first_name" => "NAME_FIRST",
                "last_name" => "NAME_LAST",
                other => other,
            };
            Failure::invalid(field, reason)
        }
        error => Fault::from(error).into(),
    }
}

/// Writes a key with its secret; the empty text stands for none.
fn exposed<S: Serializer>(key: &Option<Credential>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(key.as_ref().map_or("", Credential::expose))
}

// === impl Shown ===

impl Shown {
    fn without_license(login: &str, app: &AppName, alias: Alias, user: Option<User>) -> Self {
        let alias = user.as_ref().map_or(alias, |user| user.alias);
        let (first, last) = user.map_or((None, None), |user| (user.first_name, user.last_name));
        Self {
            login: login.to_owned(),
            uid: alias,
            app: app.clone(),
            license_key: None,
            pricing_fullname: String::new(),
            license_role: "",
            license_features: Vec::new(),
            license_active: false,
            license_status: "none",
            name_first: first.unwrap_or_default(),
            name_last: last.unwrap_or_default(),
        }
    }

    fn add(&mut self, services: &Services, stored: &StoredLicense) {
        let license = &stored.license;
        let directory = services.directory();
        let app = directory.apps.iter().find(|app| app.name == license.app);
        let plan = license.spec.plan.as_ref();
        let plan = plan.or_else(|| app.and_then(|app| app.plan.as_ref()));
        let plan = plan.and_then(|name| directory.plans.iter().find(|plan| plan.name == *name));
        if let Some(plan) = plan {
            self.pricing_fullname = format!("{} rev.{}", plan.name, short(plan.revision));
            self.license_features.clone_from(&plan.features);
        }
        for own in license.spec.variables.features() {
            if !self.license_features.iter().any(|known| known == own) {
                self.license_features.push(own.to_owned());
            }
        }
        // Tallygate distinguishes users by plan and permissions, not by role. This is apifew's word
        // for the ordinary one.
        self.license_role = "normal_user";
        self.license_status = status(stored, services.now());
        self.license_active = self.license_status == "subscribed";
    }
}

/// Returns the first 8 digits of a revision, which distinguish the revisions of one plan.
fn short(revision: model::PlanRevisionId) -> String {
    format!("{:08x}", revision.as_u128() >> 96)
}
