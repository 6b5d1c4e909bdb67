//! better-auth's API key plugin, as version 1.7 of it speaks: `docs/protocols/better-auth.md` says where we differ.

mod body;
mod handlers;
mod record;
mod refusal;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use licensing::ApiKeyOwner;
use model::Actor;

use self::refusal::{KeyCode, Refused};
use super::{About, Client, Denied, Fault, HeadCredential, Paths, Protocol, Services};
use crate::caller::{Caller, bearer};
use crate::wire::Scope;

/// The shape of answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyShape {
    /// What version 1.7 sends, and `userId`.
    #[default]
    Current,
    /// What the reference of the protocol shows: a bare list, permissions as text.
    Seed,
}

/// The protocol.
pub(super) struct BetterAuth;

/// What its handlers work with.
#[derive(Clone)]
struct Desk {
    services: Services,
    /// When keys that have ended were deleted last, in microseconds since the UNIX epoch.
    swept_at: Arc<AtomicI64>,
}

impl Protocol for BetterAuth {
    fn name(&self) -> &'static str {
        "better-auth"
    }

    fn operations(&'static self, services: &Services) -> Paths {
        let about = |id, summary| About::new(id, summary).takes(HeadCredential::Bearer);
        Paths::new()
            .post(
                "/api/auth/api-key/create",
                post(handlers::create),
                about("createKey", "Make a key; it is shown this once").body::<body::Create>(),
            )
            .post(
                "/api/auth/api-key/verify",
                post(handlers::verify),
                about("verifyKey", "Use a key, and say whether it is valid").body::<body::Verify>(),
            )
            .get(
                "/api/auth/api-key/get",
                get(handlers::show),
                about("getKey", "Show a key").query(&["id", "configId"]),
            )
            .post(
                "/api/auth/api-key/update",
                post(handlers::update),
                about("updateKey", "Change a key").body::<body::Update>(),
            )
            .post(
                "/api/auth/api-key/delete",
                post(handlers::delete),
                about("deleteKey", "Delete a key").body::<body::Delete>(),
            )
            .get(
                "/api/auth/api-key/list",
                get(handlers::list),
                about("listKeys", "List keys").query(&[
                    "limit",
                    "offset",
                    "sortBy",
                    "sortDirection",
                    "configId",
                    "organizationId",
                ]),
            )
            .post(
                "/api/auth/api-key/delete-all-expired-api-keys",
                post(handlers::delete_expired),
                about("deleteExpiredKeys", "Delete the keys that have ended")
                    .body::<body::Nothing>(),
            )
            .with_state(Desk {
                services: services.clone(),
                swept_at: Arc::default(),
            })
    }

    fn refuse(&self, fault: &Fault) -> Response {
        Refused::from(fault.clone()).into_response()
    }
}

impl Desk {
    /// Who asks, if their management key was made for this.
    async fn caller(
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

    /// Deletes keys that have ended, every ten seconds at most, where the policy is to forget them.
    async fn sweep(&self) {
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

/// The keys that are a caller's.
fn owner(caller: &Caller) -> ApiKeyOwner {
    ApiKeyOwner {
        account: caller.account().cloned(),
        app: caller.app().cloned(),
        license: caller.license(),
    }
}

/// The one configuration that there is.
fn is_default(config_id: Option<&str>) -> bool {
    config_id.is_none_or(|id| id.is_empty() || id == record::CONFIG_ID)
}

/// Refuses a configuration that there is not where the original finds no key in it.
fn in_default(config_id: Option<&str>) -> Result<(), Refused> {
    if is_default(config_id) {
        Ok(())
    } else {
        Err(KeyCode::KeyNotFound.into())
    }
}
