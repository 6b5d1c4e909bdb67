//! `/accounts`: who sells apps.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use licensing::AuditedLicensing;
use model::AccountName;

use super::Shared;
use super::calls::page_limit;
use crate::http::caller::{Audited, Caller};
use crate::http::extract::{Json, Name, Query};
use crate::http::problem::Problem;
use crate::wire::{Account, CreateAccount, List, Nothing, Page};

/// Makes an account.
pub(crate) async fn create(
    caller: Caller,
    Audited(acting): Audited,
    Json(request): Json<CreateAccount>,
) -> Result<(StatusCode, Answer<Account>), Problem> {
    caller.require_operator()?;
    let account = acting.create_account(request.name).await?;
    Ok((StatusCode::CREATED, Answer(account.into())))
}

/// Lists the accounts that are the caller's to see, by name: all, or their own.
pub(crate) async fn list(
    State(state): Shared,
    caller: Caller,
    Query(page): Query<Page<AccountName>>,
) -> Result<Answer<List<Account>>, Problem> {
    let limit = page_limit(page.limit)?;
    let accounts = state.licensing.accounts().await?;
    let own = |account: &store::Account| caller.account().is_none_or(|own| *own == account.name);
    let items = accounts
        .into_iter()
        .filter(own)
        .map(Account::from)
        .collect();
    let place = |account: &Account| account.name.clone();
    Ok(Answer(List::page(
        items,
        limit,
        page.cursor.as_ref(),
        place,
    )))
}

/// Shows one account.
pub(crate) async fn show(
    State(state): Shared,
    caller: Caller,
    Name(name): Name,
) -> Result<Answer<Account>, Problem> {
    let not_found = || Problem::not_found("account", &name);
    let parsed = name.parse().map_err(|_| not_found())?;
    if caller.account().is_some_and(|own| *own != parsed) {
        return Err(not_found());
    }
    Ok(Answer(state.licensing.account(&parsed).await?.into()))
}

/// Switches an account off.
pub(crate) async fn disable(
    caller: Caller,
    Audited(acting): Audited,
    Name(name): Name,
    Json(Nothing {}): Json<Nothing>,
) -> Result<Answer<Account>, Problem> {
    switch(&caller, &acting, &name, false).await
}

/// Switches an account on again.
pub(crate) async fn enable(
    caller: Caller,
    Audited(acting): Audited,
    Name(name): Name,
    Json(Nothing {}): Json<Nothing>,
) -> Result<Answer<Account>, Problem> {
    switch(&caller, &acting, &name, true).await
}

async fn switch(
    caller: &Caller,
    acting: &AuditedLicensing,
    name: &str,
    enabled: bool,
) -> Result<Answer<Account>, Problem> {
    caller.require_operator()?;
    let parsed = name
        .parse()
        .map_err(|_| Problem::not_found("account", name))?;
    let account = acting.set_account_enabled(&parsed, enabled).await?;
    Ok(Answer(account.into()))
}
