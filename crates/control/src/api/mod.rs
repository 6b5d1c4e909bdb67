//! The requests of the native API, one file per kind of thing. Each file adds its rows to the table
//! of [`Routes`] and holds their handlers.
//!
//! The row says whether a key may ask at all, which is checked before the handler runs. The handler
//! decides what the caller may see, and refuses what depends on more than the scope.

mod accounts;
mod agent_tokens;
mod agents;
mod api_keys;
mod app_credentials;
mod app_keys;
mod app_software;
mod audit;
mod calls;
mod credits;
mod directory;
mod import;
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
mod webhooks;

use crate::document::Routes;

/// Functions that each add the requests about one kind of thing.
pub(crate) const ROUTES: &[fn(Routes) -> Routes] = &[
    licenses::routes,
    import::routes,
    api_keys::routes,
    tokens::routes,
    sessions::routes,
    users::routes,
    webhooks::routes,
    agents::routes,
    agent_tokens::routes,
    keys::routes,
    signing::routes,
    app_credentials::routes,
    app_keys::routes,
    app_software::routes,
    usage::routes,
    calls::routes,
    audit::routes,
    ledger::routes,
    accounts::routes,
    credits::routes,
    directory::routes,
];
