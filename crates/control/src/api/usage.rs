//! `/usage`: sums of calls, with what they cost.

use api_types::{RECORDS_BEHIND, Scope, UsageParameters};
use axum::Json as Answer;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::response::{IntoResponse, Response};
use model::usage::{UsageQuery, UsageRow};

use super::query::{check_span, within_app, within_license};
use crate::document::{Needs, Operation, Routes};
use crate::http::caller::Caller;
use crate::http::extract::Query;
use crate::http::problem::Problem;
use crate::http::state::Shared;

/// Adds the requests about usage.
pub(super) fn routes(routes: Routes) -> Routes {
    routes.get(
        "/usage",
        usage,
        Operation::new("showUsage", "Sum up calls", Needs::Scope(Scope::ReadUsage))
            .query::<UsageParameters>()
            .answers::<Vec<UsageRow>>(200)
            .of_one_license(),
    )
}

/// Sums up the calls that the caller may see. The answer is a plain array of rows.
async fn usage(
    State(state): Shared,
    caller: Caller,
    Query(parameters): Query<UsageParameters>,
) -> Result<Response, Problem> {
    check_span(parameters.from, parameters.to)?;
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
