//! `/accounts/{name}/credit`, `/licenses/{id}/credit` and `/debit` of both: changes by hand of what
//! is left.

use api_types::{Adjust, Adjusted, Scope};
use axum::Json as Answer;
use axum::extract::State;
use licensing::{AdjustedBalance, AuditedLicensing};
use model::{AccountName, LicenseId};
use store::Adjustment;

use super::licenses::{balance, own};
use crate::document::{Needs, Operation, Routes};
use crate::http::caller::{Audited, Caller};
use crate::http::extract::{Json, Name};
use crate::http::problem::Problem;
use crate::http::state::Shared;

/// Adds the requests that credit and debit.
pub(super) fn routes(routes: Routes) -> Routes {
    let of_account = |id, summary| {
        let operation = Operation::new(id, summary, Needs::Operator).of::<AccountName>();
        let operation = operation.body::<Adjust>().answers::<Adjusted>(200);
        operation.idempotent()
    };
    let of_license = |id, summary| {
        let needs = Needs::Scope(Scope::WriteLicenses);
        let operation = Operation::new(id, summary, needs).of::<LicenseId>();
        let operation = operation.body::<Adjust>().answers::<Adjusted>(200);
        operation.idempotent()
    };
    routes
        .post(
            "/accounts/{name}/credit",
            credit_account,
            of_account(
                "creditAccount",
                "Add credits to an account, which are counted from the first time on",
            ),
        )
        .post(
            "/accounts/{name}/debit",
            debit_account,
            of_account(
                "debitAccount",
                "Take credits from an account, as far as some are left",
            ),
        )
        .post(
            "/licenses/{id}/credit",
            credit_license,
            of_license("creditLicense", "Add units to what a license has left"),
        )
        .post(
            "/licenses/{id}/debit",
            debit_license,
            of_license(
                "debitLicense",
                "Take units from a license, as far as some are left",
            ),
        )
}

/// Adds credits to an account.
async fn credit_account(
    Audited(acting): Audited,
    Name(name): Name,
    Json(request): Json<Adjust>,
) -> Result<Answer<Adjusted>, Problem> {
    let by = Adjustment::Credit(request.units);
    adjust_account(&acting, &name, by, &request.reason).await
}

/// Takes credits from an account.
async fn debit_account(
    Audited(acting): Audited,
    Name(name): Name,
    Json(request): Json<Adjust>,
) -> Result<Answer<Adjusted>, Problem> {
    let by = Adjustment::Debit(request.units);
    adjust_account(&acting, &name, by, &request.reason).await
}

/// Adds units to a license.
async fn credit_license(
    state: Shared,
    caller: Caller,
    by: Audited,
    id: Name,
    Json(request): Json<Adjust>,
) -> Result<Answer<Adjusted>, Problem> {
    let units = Adjustment::Credit(request.units);
    adjust_license(state, caller, by, id, units, &request.reason).await
}

/// Takes units from a license.
async fn debit_license(
    state: Shared,
    caller: Caller,
    by: Audited,
    id: Name,
    Json(request): Json<Adjust>,
) -> Result<Answer<Adjusted>, Problem> {
    let units = Adjustment::Debit(request.units);
    adjust_license(state, caller, by, id, units, &request.reason).await
}

async fn adjust_account(
    acting: &AuditedLicensing,
    name: &str,
    by: Adjustment,
    reason: &str,
) -> Result<Answer<Adjusted>, Problem> {
    let not_found = |_| Problem::not_found("account", name);
    let account: AccountName = name.parse().map_err(not_found)?;
    Ok(answered(acting.adjust_account(&account, by, reason).await?))
}

async fn adjust_license(
    State(state): Shared,
    caller: Caller,
    Audited(acting): Audited,
    Name(id): Name,
    by: Adjustment,
    reason: &str,
) -> Result<Answer<Adjusted>, Problem> {
    let license = own(&state.licensing, &caller, &id).await?.license;
    Ok(answered(
        acting.adjust_license(license.id, by, reason).await?,
    ))
}

fn answered(adjusted: AdjustedBalance) -> Answer<Adjusted> {
    Answer(Adjusted {
        units: adjusted.units,
        balance: balance(adjusted.balance),
    })
}
