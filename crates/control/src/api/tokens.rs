//! `/tokens`: the request tokens of licenses.

use api_types::{List, Nothing, Scope, Token};
use axum::Json as Answer;
use axum::extract::State;
use licensing::Licensing;
use model::{LicenseId, RequestToken, RequestTokenId};
use schemars::JsonSchema;
use serde::Deserialize;

use super::licenses;
use super::query::page_limit;
use crate::document::{Needs, Operation, Routes};
use crate::http::caller::{Audited, Caller};
use crate::http::extract::{Json, Name, Query};
use crate::http::problem::Problem;
use crate::http::state::Shared;

/// The filter and the page of a list of tokens.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListParameters {
    /// The license that pays.
    license: LicenseId,
    /// The largest number of items on the page, 1 to 1,000.
    limit: Option<usize>,
    /// The value of `next` on the page before.
    cursor: Option<RequestTokenId>,
}

const READ: Needs = Needs::Scope(Scope::ReadLicenses);
const WRITE: Needs = Needs::Scope(Scope::WriteLicenses);

/// Adds the requests about request tokens.
pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get(
            "/tokens",
            list,
            Operation::new(
                "listTokens",
                "List the request tokens of a license, oldest first",
                READ,
            )
            .query::<ListParameters>()
            .answers::<List<Token>>(200)
            .of_one_license(),
        )
        .get(
            "/tokens/{id}",
            show,
            Operation::new("showToken", "Show a request token", READ)
                .of::<RequestTokenId>()
                .answers::<Token>(200)
                .of_one_license(),
        )
        .post(
            "/tokens/{id}/end",
            end,
            Operation::new(
                "endToken",
                "End a request token that nobody used, and free its units",
                WRITE,
            )
            .of::<RequestTokenId>()
            .answers::<Token>(200)
            .body::<Nothing>(),
        )
}

/// Lists the tokens of a license, oldest first.
async fn list(
    State(state): Shared,
    caller: Caller,
    Query(parameters): Query<ListParameters>,
) -> Result<Answer<List<Token>>, Problem> {
    let limit = page_limit(parameters.limit)?;
    let id = parameters.license.to_string();
    let id = licenses::own(&state.licensing, &caller, &id)
        .await?
        .license
        .id;
    let page = state.licensing.tokens_of(id, parameters.cursor, limit + 1);
    let items = page.await?.into_iter().map(Token::from).collect();
    Ok(Answer(List::cut(items, limit, |token| {
        token.id.to_string()
    })))
}

/// Shows a token.
async fn show(
    State(state): Shared,
    caller: Caller,
    Name(id): Name,
) -> Result<Answer<Token>, Problem> {
    Ok(Answer(own(&state.licensing, &caller, &id).await?.into()))
}

/// Ends a token that was not used.
async fn end(
    State(state): Shared,
    caller: Caller,
    Audited(acting): Audited,
    Name(id): Name,
    Json(Nothing {}): Json<Nothing>,
) -> Result<Answer<Token>, Problem> {
    let token = own(&state.licensing, &caller, &id).await?;
    Ok(Answer(acting.end_token(token.id).await?.into()))
}

/// Returns a token by the text of its id, if the caller may see it.
async fn own(licensing: &Licensing, caller: &Caller, id: &str) -> Result<RequestToken, Problem> {
    let not_found = || Problem::id_unknown("token", id);
    let parsed: RequestTokenId = id.parse().map_err(|_| not_found())?;
    let token = match licensing.token_by_id(parsed).await {
        Err(licensing::Error::TokenUnknown) => return Err(not_found()),
        token => token?,
    };
    let own = caller.sees_app(&token.account, &token.app)
        && caller.license().is_none_or(|own| own == token.license_id);
    own.then_some(token).ok_or_else(not_found)
}
