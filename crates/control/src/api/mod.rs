//! The requests of the native API, one file per kind of thing: each adds its rows to the table of [`Routes`] and holds the
//! handlers of them.
//!
//! Whether a key may ask at all is said by the row and judged before the handler runs. A handler says what is the caller's to
//! see, and refuses what depends on more than the scope.

mod accounts;
mod api_keys;
mod app_credentials;
mod audit;
mod calls;
mod directory;
mod keys;
mod ledger;
mod licenses;
mod query;
mod rights;
mod sessions;
mod signing;
mod tokens;
mod usage;
mod users;

use crate::document::Routes;

/// Functions that each add the requests about one kind of thing.
pub(crate) const ROUTES: &[fn(Routes) -> Routes] = &[
    licenses::routes,
    api_keys::routes,
    tokens::routes,
    sessions::routes,
    users::routes,
    keys::routes,
    signing::routes,
    app_credentials::routes,
    usage::routes,
    calls::routes,
    audit::routes,
    ledger::routes,
    accounts::routes,
    directory::routes,
];
