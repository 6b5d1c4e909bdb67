//! `/agents/tokens`: licenses that an agent alone can use.

use api_types::{AgentToken, CreateAgentToken, List, Nothing, Scope};
use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use licensing::{IssueRequest, Issued};
use model::agent::AgentIdentity;
use model::{AppName, Digits, LicenseId, LicenseSpec, LicenseStatus, Limits};
use schemars::JsonSchema;
use serde::Deserialize;
use store::{LicenseFilter, StoredLicense};

use super::licenses;
use super::query::{account_of, page_limit, within_app};
use crate::document::{Needs, Operation, Routes};
use crate::http::caller::{Audited, Caller};
use crate::http::extract::{Json, Name, Query};
use crate::http::problem::Problem;
use crate::http::state::{Api, Shared};

/// The filter and the page of a list of tokens.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListParameters {
    /// The app that they open; `*`: those that open every app.
    app: Option<AppName>,
    /// The status.
    status: Option<LicenseStatus>,
    /// The largest number of items on the page, 1 to 1,000.
    limit: Option<usize>,
    /// The value of `next` on the page before.
    cursor: Option<LicenseId>,
}

const READ: Needs = Needs::Scope(Scope::ReadLicenses);
const WRITE: Needs = Needs::Scope(Scope::WriteLicenses);

/// Adds the requests about tokens of agents.
pub(super) fn routes(routes: Routes) -> Routes {
    let on_one = |id, summary, needs| {
        let operation = Operation::new(id, summary, needs);
        operation.of::<LicenseId>().answers::<AgentToken>(200)
    };
    routes
        .post(
            "/agents/tokens",
            create,
            Operation::new(
                "createAgentToken",
                "Make a token of an agent; it is shown this once",
                WRITE,
            )
            .body::<CreateAgentToken>()
            .answers::<AgentToken>(201)
            .idempotent(),
        )
        .get(
            "/agents/tokens",
            list,
            Operation::new(
                "listAgentTokens",
                "List tokens of agents, oldest first",
                READ,
            )
            .query::<ListParameters>()
            .answers::<List<AgentToken>>(200),
        )
        .get(
            "/agents/tokens/{id}",
            show,
            on_one("showAgentToken", "Show a token of an agent", READ),
        )
        .post(
            "/agents/tokens/{id}/revoke",
            revoke,
            on_one(
                "revokeAgentToken",
                "End a token of an agent for good",
                WRITE,
            )
            .body::<Nothing>(),
        )
}

/// Makes a token.
async fn create(
    State(state): Shared,
    caller: Caller,
    Audited(acting): Audited,
    Json(request): Json<CreateAgentToken>,
) -> Result<(StatusCode, Answer<AgentToken>), Problem> {
    let named = request.app.filter(|app| !app.is_every());
    let app = within_app(&caller, named)?;
    let account = account_of(&state, &caller, request.account, app.as_ref())?;
    let identity = AgentIdentity {
        operator: request.operator,
        agent: request.agent,
        payer: request.payer,
    };
    let spec = LicenseSpec {
        plan: request.plan,
        label: request.label,
        expires_at: request.expires_at,
        limits: Limits {
            remaining: request.remaining,
            ..Limits::default()
        },
        agent: Some(Box::new(identity)),
        ..LicenseSpec::default()
    };
    let request = IssueRequest {
        account: Some(account),
        spec,
        ..IssueRequest::for_app(app.unwrap_or_else(AppName::every))
    };
    let mut issued = acting.issue(request).await?;
    let issued = issued
        .pop()
        .ok_or_else(|| Problem::internal(&"nothing was issued"))?;
    let Issued {
        license,
        credential,
        ..
    } = issued;
    let mut token = view(&state, license).await?;
    token.token = credential.map(|secret| secret.expose().to_owned());
    Ok((StatusCode::CREATED, Answer(token)))
}

/// Lists the tokens that the caller may see.
async fn list(
    State(state): Shared,
    caller: Caller,
    Query(parameters): Query<ListParameters>,
) -> Result<Answer<List<AgentToken>>, Problem> {
    let limit = page_limit(parameters.limit)?;
    let filter = LicenseFilter {
        account: caller.account().cloned(),
        app: within_app(&caller, parameters.app)?,
        user: None,
        status: parameters.status,
        of_agents: Some(true),
    };
    let page = licenses::page(&state.licensing, filter, parameters.cursor, limit).await?;
    let mut items = Vec::with_capacity(page.items.len());
    for stored in page.items {
        items.push(view(&state, stored).await?);
    }
    Ok(Answer(List {
        items,
        next: page.next,
    }))
}

/// Shows a token.
async fn show(
    State(state): Shared,
    caller: Caller,
    Name(id): Name,
) -> Result<Answer<AgentToken>, Problem> {
    let stored = own(&state, &caller, &id).await?;
    Ok(Answer(view(&state, stored).await?))
}

/// Ends a token for good.
async fn revoke(
    State(state): Shared,
    caller: Caller,
    Audited(acting): Audited,
    Name(id): Name,
    Json(Nothing {}): Json<Nothing>,
) -> Result<Answer<AgentToken>, Problem> {
    let id = own(&state, &caller, &id).await?.license.id;
    let stored = acting.set_status(id, LicenseStatus::Revoked).await?;
    Ok(Answer(view(&state, stored).await?))
}

/// Returns a token by the text of its id, if the caller may see it.
async fn own(state: &Api, caller: &Caller, id: &str) -> Result<StoredLicense, Problem> {
    let stored = licenses::own_named("token", &state.licensing, caller, id).await?;
    let is_token = stored.license.spec.agent.is_some();
    let not_found = || Problem::id_unknown("token", id);
    is_token.then_some(stored).ok_or_else(not_found)
}

/// Returns a token as it is answered, with what is left of its units.
async fn view(state: &Api, stored: StoredLicense) -> Result<AgentToken, Problem> {
    let license = stored.license;
    let remaining = match license.spec.limits.remaining {
        Some(_) => state.licensing.balance(license.id).await?,
        None => None,
    };
    let remaining = remaining.map(|balance| balance.remaining);
    let identity = license.spec.agent;
    let identity = identity.ok_or_else(|| Problem::internal(&"a token is no agent's"))?;
    let last = stored.credentials.last();
    Ok(AgentToken {
        id: license.id,
        token: None,
        prefix: last.map_or_else(String::new, |info| info.prefix.clone()),
        operator: identity.operator,
        agent: identity.agent,
        account: license.account,
        app: license.app,
        payer: identity.payer,
        label: license.spec.label,
        status: license.status,
        created_at: license.created_at,
        expires_at: license.spec.expires_at,
        remaining,
        remaining_text: remaining.and_then(Digits::beyond),
    })
}
