//! Who asks, and for which account.

use api_types::Scope;
use axum::http::HeaderMap;
use model::AccountName;

use super::answer::Failure;
use crate::http::body::Input;
use crate::http::caller::{Caller, bearer};
use crate::http::client::Client;
use crate::http::fault::{Denied, Fault};
use crate::http::services::Services;

/// Returns the caller, by the management key in `Authorization: Bearer`.
pub(super) async fn caller(
    services: &Services,
    client: &Client,
    headers: &HeaderMap,
) -> Result<Caller, Failure> {
    let presented = bearer(headers);
    let presented =
        presented.map_err(|problem| Failure::invalid("Authorization", problem.detail))?;
    Ok(services.authenticate(client, presented).await?)
}

/// Returns the caller, if their management key has this scope.
pub(super) async fn caller_with(
    services: &Services,
    client: &Client,
    headers: &HeaderMap,
    scope: Scope,
) -> Result<Caller, Failure> {
    let caller = caller(services, client, headers).await?;
    match caller.may(scope) {
        true => Ok(caller),
        false => Err(Fault::from(Denied::Scope(scope)).into()),
    }
}

/// Returns the account that a request names, which must be the caller's.
pub(super) fn own_account<'c>(
    caller: &'c Caller,
    named: Option<&str>,
) -> Result<&'c AccountName, Failure> {
    const FIELD: &str = "account_id";
    let named = named.filter(|named| !named.is_empty());
    let named = named.ok_or_else(|| Failure::from(Input::missing(FIELD)))?;
    let own = caller.account().filter(|own| own.as_str() == named);
    own.ok_or_else(|| Failure::forbidden("`account_id` is not the account of this key"))
}
