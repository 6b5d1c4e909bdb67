//! `/usage`: calls summed up, and what they cost.

use axum::Json as Answer;
use axum::extract::State;
use model::usage::{UsageQuery, UsageRow};
use model::{AppName, LicenseId};

use super::Shared;
use crate::caller::Caller;
use crate::extract::Query;
use crate::problem::Problem;
use crate::wire::{Scope, UsageParameters};

/// Sums up the calls that are the caller's to see. The answer is a plain array of rows.
pub(crate) async fn usage(
    State(state): Shared,
    caller: Caller,
    Query(parameters): Query<UsageParameters>,
) -> Result<Answer<Vec<UsageRow>>, Problem> {
    caller.require(Scope::ReadUsage)?;
    let query = UsageQuery {
        account: caller.account().cloned(),
        app: within_app(&caller, parameters.app)?,
        license_id: within_license(&caller, parameters.license)?,
        from: parameters.from,
        to: parameters.to,
        by: parameters.by.0,
    };
    Ok(Answer(state.ledger.usage(query).await?))
}

/// The app that is asked about, within what is the caller's to see.
pub(super) fn within_app(
    caller: &Caller,
    wanted: Option<AppName>,
) -> Result<Option<AppName>, Problem> {
    match (caller.app(), wanted) {
        (Some(own), Some(wanted)) if *own != wanted => {
            Err(Problem::not_found("app", wanted.as_str()))
        }
        (Some(own), _) => Ok(Some(own.clone())),
        (None, wanted) => Ok(wanted),
    }
}

/// The license that is asked about, within what is the caller's to see. One of another account has no calls in theirs.
pub(super) fn within_license(
    caller: &Caller,
    wanted: Option<LicenseId>,
) -> Result<Option<LicenseId>, Problem> {
    match (caller.license(), wanted) {
        (Some(own), Some(wanted)) if own != wanted => {
            Err(Problem::not_found("license", &wanted.to_string()))
        }
        (own, wanted) => Ok(own.or(wanted)),
    }
}
