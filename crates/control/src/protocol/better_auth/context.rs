//! The context that the handlers share: the services, the caller, and the deletion of keys that
//! have ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use api_types::Scope;
use axum::http::HeaderMap;
use licensing::ApiKeyOwner;
use model::Actor;

use super::record::CONFIG_ID;
use super::refusal::{KeyCode, Refused};
use crate::http::caller::{Caller, bearer};
use crate::http::client::Client;
use crate::http::fault::{Denied, Fault};
use crate::http::services::Services;
use crate::http::state::KeyShape;

/// The state of the protocol's handlers. Cheap to clone: all clones are one.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) services: Services,
    /// The time at which keys that have ended were deleted last, in microseconds since the UNIX
    /// epoch.
    swept_at: Arc<AtomicI64>,
}

impl Context {
    pub(super) fn new(services: Services) -> Self {
        Self {
            services,
            swept_at: Arc::default(),
        }
    }

    /// Returns the shape in which keys are answered.
    pub(super) fn shape(&self) -> KeyShape {
        self.services.api().better_auth
    }

    /// Returns the caller, if their management key has this scope.
    pub(super) async fn caller(
        &self,
        client: &Client,
        headers: &HeaderMap,
        scope: Scope,
    ) -> Result<Caller, Refused> {
        let presented =
            bearer(headers).map_err(|problem| Refused::invalid("headers", problem.detail))?;
        let caller = self.services.authenticate_owner(client, presented).await?;
        if caller.may(scope) {
            Ok(caller)
        } else {
            Err(Fault::from(Denied::Scope(scope)).into())
        }
    }

    /// Deletes keys that have ended, at most every ten seconds, if the policy is to delete them.
    pub(super) async fn sweep(&self) {
        const SWEEP_INTERVAL_US: i64 = 10_000_000;
        let api = self.services.api();
        if !api.api_keys.forgets {
            return;
        }
        let (now, last) = (
            self.services.now().micros(),
            self.swept_at.load(Ordering::Relaxed),
        );
        let turn = now.saturating_sub(last) >= SWEEP_INTERVAL_US
            && self
                .swept_at
                .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if turn {
            let everybody = ApiKeyOwner::default();
            let acting = self.services.licensing().acting(Actor::GATE);
            if let Err(error) = acting.delete_expired_api_keys(&everybody).await {
                tracing::warn!(%error, "expired api keys cannot be deleted");
            }
        }
    }
}

/// Returns whether a request means the one configuration that there is.
pub(super) fn is_default(config_id: Option<&str>) -> bool {
    config_id.is_none_or(|id| id.is_empty() || id == CONFIG_ID)
}

/// Refuses other configurations with [`KeyCode::KeyNotFound`]: the original finds no key in them.
pub(super) fn in_default(config_id: Option<&str>) -> Result<(), Refused> {
    if is_default(config_id) {
        Ok(())
    } else {
        Err(KeyCode::KeyNotFound.into())
    }
}
