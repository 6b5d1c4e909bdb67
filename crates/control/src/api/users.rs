//! `/users`: the people and programs that an app's licenses are for.

use api_types::{ChangeUser, CreateUser, List, Scope, User};
use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use licensing::{Licensing, UserRequest};
use model::{AppName, UserId};
use schemars::JsonSchema;
use serde::Deserialize;
use store::UserChange;

use super::query::{page_limit, within_app};
use crate::document::{Needs, Operation, Routes};
use crate::http::caller::{Audited, Caller};
use crate::http::extract::{Json, Name, Query};
use crate::http::problem::Problem;
use crate::http::state::Shared;

/// The filter and the page of a list of users.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListParameters {
    /// The app whose users are listed; required unless the key is for one app.
    app: Option<AppName>,
    /// The login of the one user to list.
    login: Option<String>,
    /// The largest number of items on the page, 1 to 1,000.
    limit: Option<usize>,
    /// The value of `next` on the page before.
    cursor: Option<UserId>,
}

const READ: Needs = Needs::Scope(Scope::ReadLicenses);
const WRITE: Needs = Needs::Scope(Scope::WriteLicenses);

/// Adds the requests about users.
pub(super) fn routes(routes: Routes) -> Routes {
    let on_one = |id, summary, needs| {
        let operation = Operation::new(id, summary, needs);
        operation.of::<UserId>().answers::<User>(200)
    };
    routes
        .post(
            "/users",
            create,
            Operation::new("createUser", "Make a user of an app", WRITE)
                .body::<CreateUser>()
                .answers::<User>(201)
                .idempotent(),
        )
        .get(
            "/users",
            list,
            Operation::new("listUsers", "List the users of an app, oldest first", READ)
                .query::<ListParameters>()
                .answers::<List<User>>(200),
        )
        .get("/users/{id}", show, on_one("showUser", "Show a user", READ))
        .patch(
            "/users/{id}",
            change,
            on_one("changeUser", "Change a user; absent fields stay", WRITE).body::<ChangeUser>(),
        )
        .delete(
            "/users/{id}",
            delete,
            Operation::new(
                "forgetUser",
                "Forget a user; licenses stay in force and name them no more",
                WRITE,
            )
            .of::<UserId>(),
        )
}

/// Makes a user.
async fn create(
    caller: Caller,
    Audited(acting): Audited,
    Json(request): Json<CreateUser>,
) -> Result<(StatusCode, Answer<User>), Problem> {
    let app = within_app(&caller, Some(request.app))?;
    let app = app.ok_or_else(|| Problem::field("app", "is needed"))?;
    let user_request = UserRequest {
        app,
        account: caller.account().cloned(),
        login: request.login,
        first_name: request.first_name,
        last_name: request.last_name,
    };
    let user = acting.create_user(user_request).await?;
    Ok((StatusCode::CREATED, Answer(user.into())))
}

/// Lists the users of an app, oldest first.
async fn list(
    State(state): Shared,
    caller: Caller,
    Query(parameters): Query<ListParameters>,
) -> Result<Answer<List<User>>, Problem> {
    let limit = page_limit(parameters.limit)?;
    let app = within_app(&caller, parameters.app)?;
    let app = app.ok_or_else(|| Problem::field("app", "say of which app"))?;
    let users = match parameters.login {
        Some(login) => Vec::from_iter(state.licensing.user(&app, &login).await?),
        None => {
            let page = state.licensing.users(&app, parameters.cursor, limit + 1);
            page.await?
        }
    };
    let own = users
        .into_iter()
        .filter(|user| caller.sees_app(&user.account, &user.app));
    let items = own.map(User::from).collect();
    Ok(Answer(List::cut(items, limit, |user| user.id.to_string())))
}

/// Shows a user.
async fn show(
    State(state): Shared,
    caller: Caller,
    Name(id): Name,
) -> Result<Answer<User>, Problem> {
    Ok(Answer(own(&state.licensing, &caller, &id).await?.into()))
}

/// Changes a user.
async fn change(
    State(state): Shared,
    caller: Caller,
    Audited(acting): Audited,
    Name(id): Name,
    Json(request): Json<ChangeUser>,
) -> Result<Answer<User>, Problem> {
    let user = own(&state.licensing, &caller, &id).await?;
    let change = UserChange {
        first_name: request.first_name,
        last_name: request.last_name,
    };
    let changed = acting.change_user(&user.app, &user.login, change).await?;
    let changed = changed.ok_or_else(|| Problem::id_unknown("user", &id))?;
    Ok(Answer(changed.into()))
}

/// Deletes a user.
async fn delete(
    State(state): Shared,
    caller: Caller,
    Audited(acting): Audited,
    Name(id): Name,
) -> Result<StatusCode, Problem> {
    let user = own(&state.licensing, &caller, &id).await?;
    acting.delete_user(&user.app, &user.login).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Returns a user by the text of its id, if the caller may see it.
async fn own(licensing: &Licensing, caller: &Caller, id: &str) -> Result<model::User, Problem> {
    let not_found = || Problem::id_unknown("user", id);
    let parsed: UserId = id.parse().map_err(|_| not_found())?;
    let user = match licensing.user_by_id(parsed).await {
        Err(licensing::Error::UserUnknown(_)) => return Err(not_found()),
        user => user?,
    };
    let own = caller.sees_app(&user.account, &user.app);
    own.then_some(user).ok_or_else(not_found)
}
