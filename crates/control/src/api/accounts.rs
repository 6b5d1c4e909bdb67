//! `/accounts`: the sellers of apps.

use api_types::{Account, CreateAccount, List, Nothing, Page};
use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use licensing::{AuditedLicensing, Licensing};
use model::AccountName;

use super::licenses::balance;
use super::query::page_limit;
use crate::document::{Needs, Operation, Routes};
use crate::http::caller::{Audited, Caller};
use crate::http::extract::{Json, Name, Query};
use crate::http::problem::Problem;
use crate::http::state::Shared;

/// Adds the requests about accounts.
pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .post(
            "/accounts",
            create,
            Operation::new("createAccount", "Make an account", Needs::Operator)
                .body::<CreateAccount>()
                .answers::<Account>(201)
                .idempotent(),
        )
        .get(
            "/accounts",
            list,
            Operation::new("listAccounts", "List accounts, by name", Needs::AnyKey)
                .query::<Page<AccountName>>()
                .answers::<List<Account>>(200),
        )
        .get(
            "/accounts/{name}",
            show,
            Operation::new("showAccount", "Show an account", Needs::AnyKey)
                .of::<AccountName>()
                .answers::<Account>(200),
        )
        .post(
            "/accounts/{name}/disable",
            disable,
            Operation::new(
                "disableAccount",
                "Switch an account off: its management keys open nothing",
                Needs::Operator,
            )
            .of::<AccountName>()
            .body::<Nothing>()
            .answers::<Account>(200),
        )
        .post(
            "/accounts/{name}/enable",
            enable,
            Operation::new(
                "enableAccount",
                "Switch an account on again",
                Needs::Operator,
            )
            .of::<AccountName>()
            .body::<Nothing>()
            .answers::<Account>(200),
        )
}

/// Makes an account.
async fn create(
    Audited(acting): Audited,
    Json(request): Json<CreateAccount>,
) -> Result<(StatusCode, Answer<Account>), Problem> {
    let account = acting.create_account(request.name).await?;
    let account = view(acting.licensing(), account).await?;
    Ok((StatusCode::CREATED, Answer(account)))
}

/// Lists the accounts that the caller may see, by name: all, or their own.
async fn list(
    State(state): Shared,
    caller: Caller,
    Query(page): Query<Page<AccountName>>,
) -> Result<Answer<List<Account>>, Problem> {
    let limit = page_limit(page.limit)?;
    let accounts = state.licensing.accounts().await?;
    let own = |account: &store::Account| caller.account().is_none_or(|own| *own == account.name);
    let items = accounts.into_iter().filter(own).collect();
    let place = |account: &store::Account| account.name.clone();
    let page = List::page(items, limit, page.cursor.as_ref(), place);
    let mut items = Vec::with_capacity(page.items.len());
    for account in page.items {
        items.push(view(&state.licensing, account).await?);
    }
    Ok(Answer(List {
        items,
        next: page.next,
    }))
}

/// Shows one account.
async fn show(
    State(state): Shared,
    caller: Caller,
    Name(name): Name,
) -> Result<Answer<Account>, Problem> {
    let not_found = || Problem::not_found("account", &name);
    let parsed = name.parse().map_err(|_| not_found())?;
    if caller.account().is_some_and(|own| *own != parsed) {
        return Err(not_found());
    }
    let account = state.licensing.account(&parsed).await?;
    Ok(Answer(view(&state.licensing, account).await?))
}

/// Switches an account off.
async fn disable(
    Audited(acting): Audited,
    Name(name): Name,
    Json(Nothing {}): Json<Nothing>,
) -> Result<Answer<Account>, Problem> {
    switch(&acting, &name, false).await
}

/// Switches an account on again.
async fn enable(
    Audited(acting): Audited,
    Name(name): Name,
    Json(Nothing {}): Json<Nothing>,
) -> Result<Answer<Account>, Problem> {
    switch(&acting, &name, true).await
}

async fn switch(
    acting: &AuditedLicensing,
    name: &str,
    enabled: bool,
) -> Result<Answer<Account>, Problem> {
    let parsed = name
        .parse()
        .map_err(|_| Problem::not_found("account", name))?;
    let account = acting.set_account_enabled(&parsed, enabled).await?;
    Ok(Answer(view(acting.licensing(), account).await?))
}

/// Returns an account as it is answered, with what is left of its credits.
async fn view(licensing: &Licensing, account: store::Account) -> Result<Account, Problem> {
    let left = licensing.account_balance(&account).await?;
    Ok(Account {
        id: account.name.clone(),
        name: account.name,
        created_at: account.created_at,
        disabled_at: account.disabled_at,
        balance: left.map(balance),
    })
}
