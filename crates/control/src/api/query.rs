//! Checks of the parameters that the queries of several requests have: the length of a page, a span of time, and the app and
//! the license within what the caller may see.

use api_types::{DEFAULT_LIMIT, LARGEST_LIMIT};
use model::{AccountName, AppName, LicenseId, Timestamp};

use crate::http::caller::Caller;
use crate::http::problem::Problem;
use crate::http::state::Api;

/// Returns the number of items of a page: the one that is asked for, of 1 to 1,000, or the default.
pub(super) fn page_limit(limit: Option<usize>) -> Result<usize, Problem> {
    match limit {
        None => Ok(DEFAULT_LIMIT),
        Some(limit) if (1..=LARGEST_LIMIT).contains(&limit) => Ok(limit),
        Some(_) => Err(Problem::field("limit", format!("use 1 to {LARGEST_LIMIT}"))),
    }
}

/// Refuses a span of time that ends before it begins.
pub(super) fn check_span(from: Option<Timestamp>, to: Option<Timestamp>) -> Result<(), Problem> {
    match (from, to) {
        (Some(from), Some(to)) if from > to => {
            let detail = format!(
                "`from`, {from}, is after `to`, {to}, so that nothing lies between: give the earlier time as `from`"
            );
            Err(Problem::field("from", detail))
        }
        _ => Ok(()),
    }
}

/// Returns the app that is asked about, or the only one that the caller may see. Another app than
/// that is not found.
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

/// Returns the account that something is for: the one that is named, or the only one that the caller
/// may see; for the operator that of the app, or else the one that always exists. Another account
/// than the caller's is not found.
pub(super) fn account_of(
    state: &Api,
    caller: &Caller,
    named: Option<AccountName>,
    app: Option<&AppName>,
) -> Result<AccountName, Problem> {
    match (caller.account(), named) {
        (Some(own), Some(named)) if *own != named => {
            Err(Problem::not_found("account", named.as_str()))
        }
        (Some(own), _) => Ok(own.clone()),
        (None, named) => {
            let sold = |app: &AppName| state.directory.apps.iter().find(|sold| sold.name == *app);
            let seller = app.and_then(sold).map(|sold| sold.account.clone());
            match (named, seller) {
                (Some(named), Some(seller)) if named != seller => {
                    let detail = format!(
                        "the app is sold by the account `{seller}`, not by `{named}`: leave the account out"
                    );
                    Err(Problem::field("account", detail))
                }
                (named, seller) => Ok(named.or(seller).unwrap_or_default()),
            }
        }
    }
}

/// Returns the license that is asked about, or the only one that the caller may see. Another
/// license than that is not found. A license of another account is not refused: it has no calls in
/// the caller's.
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
