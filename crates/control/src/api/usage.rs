//! `/usage`: calls summed up, and what they cost.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::response::{IntoResponse, Response};
use model::usage::UsageQuery;
use model::{AppName, LicenseId};

use super::Shared;
use crate::http::caller::Caller;
use crate::http::extract::Query;
use crate::http::problem::Problem;
use crate::wire::{RECORDS_BEHIND, Scope, UsageParameters};

/// Sums up the calls that are the caller's to see. The answer is a plain array of rows.
pub(crate) async fn usage(
    State(state): Shared,
    caller: Caller,
    Query(parameters): Query<UsageParameters>,
) -> Result<Response, Problem> {
    caller.require(Scope::ReadUsage)?;
    super::span::check(parameters.from, parameters.to)?;
    let query = UsageQuery {
        account: caller.account().cloned(),
        app: within_app(&caller, parameters.app)?,
        license_id: within_license(&caller, parameters.license)?,
        from: parameters.from,
        to: parameters.to,
        by: parameters.by.0,
    };
    let usage = state.ledger.usage(query).await?;
    let mut answer = Answer(usage.rows).into_response();
    if usage.behind > 0 {
        let value = HeaderValue::from(usage.behind);
        answer.headers_mut().insert(RECORDS_BEHIND, value);
    }
    Ok(answer)
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
            Err(Problem::id_unknown("license", &wanted.to_string()))
        }
        (own, wanted) => Ok(own.or(wanted)),
    }
}
