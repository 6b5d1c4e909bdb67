//! The handlers, one file per kind of thing.

pub(crate) mod accounts;
pub(crate) mod api_keys;
pub(crate) mod app_credentials;
pub(crate) mod audit;
pub(crate) mod calls;
pub(crate) mod directory;
pub(crate) mod keys;
pub(crate) mod ledger;
pub(crate) mod licenses;
mod rights;
pub(crate) mod sessions;
pub(crate) mod signing;
mod span;
pub(crate) mod tokens;
pub(crate) mod usage;
pub(crate) mod users;

use std::sync::Arc;

use axum::extract::State;

use crate::http::state::Api;

/// What every handler works with.
pub(crate) type Shared = State<Arc<Api>>;
