//! `/sessions`: the log-ins of key pairs.

use api_types::{List, Nothing, Scope, Session};
use axum::Json as Answer;
use axum::extract::State;
use licensing::sessions::Holder;
use model::{ManagementKeyId, SessionId};
use schemars::JsonSchema;
use serde::Deserialize;

use super::keys;
use super::query::page_limit;
use super::rights::{Rights, covers};
use crate::document::{Needs, Operation, Routes};
use crate::http::caller::Caller;
use crate::http::client::Client;
use crate::http::extract::{Json, Name, Query};
use crate::http::problem::{Code, Problem};
use crate::http::state::{Api, Shared};

/// The filter and the page of a list of sessions.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListParameters {
    /// The management key whose sessions are listed.
    key: ManagementKeyId,
    /// The largest number of items on the page, 1 to 1,000.
    limit: Option<usize>,
    /// The value of `next` on the page before.
    cursor: Option<SessionId>,
}

const READ: Needs = Needs::Scope(Scope::ReadKeys);
const WRITE: Needs = Needs::Scope(Scope::WriteKeys);

/// Adds the requests about sessions.
pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get(
            "/sessions",
            list,
            Operation::new(
                "listSessions",
                "List the sessions of a management key, oldest first",
                READ,
            )
            .query::<ListParameters>()
            .answers::<List<Session>>(200)
            .of_one_license(),
        )
        .get(
            "/sessions/{id}",
            show,
            Operation::new("showSession", "Show a session", READ)
                .of::<SessionId>()
                .answers::<Session>(200)
                .of_one_license(),
        )
        .post(
            "/sessions/{id}/end",
            end,
            Operation::new("endSession", "End a session with all its tokens", WRITE)
                .of::<SessionId>()
                .answers::<Session>(200)
                .body::<Nothing>(),
        )
}

/// Lists the sessions of a management key, oldest first.
async fn list(
    State(state): Shared,
    caller: Caller,
    Query(parameters): Query<ListParameters>,
) -> Result<Answer<List<Session>>, Problem> {
    let limit = page_limit(parameters.limit)?;
    let key = keys::own(&state, &caller, &parameters.key.to_string()).await?;
    let page = state.sessions.of_key(key.id, parameters.cursor, limit + 1);
    let items = page.await?.into_iter().map(Session::from).collect();
    let cursor = |session: &Session| session.id.to_string();
    Ok(Answer(List::cut(items, limit, cursor)))
}

/// Shows a session.
async fn show(
    State(state): Shared,
    caller: Caller,
    Name(id): Name,
) -> Result<Answer<Session>, Problem> {
    let holder = own(&state, &caller, &id).await?;
    Ok(Answer(holder.session.into()))
}

/// Ends a session with all its tokens.
async fn end(
    State(state): Shared,
    caller: Caller,
    client: Client,
    Name(id): Name,
    Json(Nothing {}): Json<Nothing>,
) -> Result<Answer<Session>, Problem> {
    let holder = own(&state, &caller, &id).await?;
    if !covers(&caller, &Rights::of_key(&holder.key)) {
        let detail = "a session can be ended by a key that has all of the rights of its own";
        return Err(Problem::new(Code::ScopeMissing, detail));
    }
    let ended = state.sessions.end_by(&holder, caller.actor(&client));
    Ok(Answer(ended.await?.into()))
}

/// Returns a session by the text of its id, if the caller may see its key.
async fn own(state: &Api, caller: &Caller, id: &str) -> Result<Holder, Problem> {
    let not_found = || Problem::id_unknown("session", id);
    let parsed: SessionId = id.parse().map_err(|_| not_found())?;
    let holder = match state.sessions.holder(parsed).await {
        Err(licensing::Error::SessionUnknown(_)) => return Err(not_found()),
        holder => holder?,
    };
    let own = keys::sees(caller, &holder.key);
    own.then_some(holder).ok_or_else(not_found)
}
