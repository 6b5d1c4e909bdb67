//! The context that the handlers share, and the extractor of requests: who asks is found out first,
//! then the content is read.

use std::sync::Arc;

use api_types::Scope;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::{HeaderMap, Uri};
use licensing::{AuditedLicensing, LicenseOfKey, SoftwareApp};
use model::{Actor, LicenseStatus};
use serde::de::DeserializeOwned;
use store::StoredLicense;

use super::answer::Failure;
use super::pace::Paces;
use crate::http::body::{BODY_LIMIT, Input, parse, read_bytes};
use crate::http::caller::{Caller, bearer};
use crate::http::client::Client;
use crate::http::fault::{Denied, Fault};
use crate::http::services::Services;

/// The state of the handlers. Cheap to clone: all clones are one.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) services: Services,
    paces: Arc<Paces>,
}

/// A request whose caller is known.
pub(super) struct Asked {
    pub(super) services: Services,
    pub(super) caller: Caller,
    pub(super) headers: HeaderMap,
    pub(super) uri: Uri,
    client: Client,
    /// The parameters of the path by their names.
    parameters: Vec<(String, String)>,
    /// The body, or why it could not be read.
    body: Result<Bytes, Input>,
}

impl Context {
    pub(super) fn new(services: Services) -> Self {
        Self {
            services,
            paces: Arc::default(),
        }
    }
}

/// Answers a path of nothing, without repeating it.
pub(super) async fn nothing() -> Failure {
    Failure::not_found("nothing is served under this path")
}

impl FromRequest<Context> for Asked {
    type Rejection = Failure;

    async fn from_request(request: Request, context: &Context) -> Result<Self, Failure> {
        let (mut head, body) = request.into_parts();
        let client = Client::of_parts(&head).map_err(|error| Fault::internal(&error))?;
        let presented = bearer(&head.headers)
            .map_err(|problem| Failure::invalid("Authorization", problem.detail))?;
        let services = context.services.clone();
        let caller = services.authenticate(&client, presented).await?;
        if let Some(key) = caller.key() {
            let now = services.api().clock.since_boot();
            let taken = context.paces.take(key.id, now);
            taken.map_err(Failure::too_many)?;
        }
        // A parameter that is no text names nothing that there is.
        let parameters = RawPathParams::from_request_parts(&mut head, context).await;
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let parameters = parameters.map(|all| all.iter().map(owned).collect());
        Ok(Self {
            services,
            caller,
            headers: head.headers,
            uri: head.uri,
            client,
            parameters: parameters.unwrap_or_default(),
            body: read_bytes(body, BODY_LIMIT).await,
        })
    }
}

impl Asked {
    /// Refuses a caller whose key lacks this scope.
    pub(super) fn requires(&self, scope: Scope) -> Result<(), Failure> {
        if self.caller.may(scope) {
            return Ok(());
        }
        Err(Fault::from(Denied::Scope(scope)).into())
    }

    /// Refuses a caller whose key is for one license alone: what is the app's is not theirs.
    pub(super) fn requires_more_than_one_license(&self) -> Result<(), Failure> {
        match self.caller.license() {
            None => Ok(()),
            Some(_) => Err(Failure::forbidden("the key is for one license alone")),
        }
    }

    /// Returns the operations in the name of the caller, which the audit log keeps.
    pub(super) fn acting(&self) -> AuditedLicensing {
        self.services.acting(&self.caller, &self.client)
    }

    /// Returns the caller as the audit log knows them.
    pub(super) fn actor(&self) -> Actor {
        self.caller.actor(&self.client)
    }

    /// Returns a parameter of the path, empty if there is none.
    pub(super) fn parameter(&self, name: &str) -> &str {
        let found = self.parameters.iter().find(|(own, _)| own == name);
        found.map_or("", |(_, value)| value)
    }

    /// Returns the key that the path names, trimmed.
    pub(super) fn key(&self) -> &str {
        self.parameter("key").trim()
    }

    /// Returns the body.
    pub(super) fn bytes(&self) -> Result<Bytes, Failure> {
        Ok(self.body.clone()?)
    }

    /// Reads the body as JSON; an empty one as `{}`.
    pub(super) fn content<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        Ok(parse(&self.bytes()?)?)
    }

    /// Returns the license that the path names, as the store has it now.
    ///
    /// # Errors
    /// 404 for an unknown key and for a license that was deleted, 403 for one of somebody else.
    pub(super) async fn license(&self) -> Result<LicenseOfKey, Failure> {
        let found = self.services.licensing().license_of_key(self.key()).await?;
        let unknown = || Failure::not_found("there is no license with this key");
        let found = found.ok_or_else(unknown)?;
        let license = &found.stored.license;
        if !self.caller.sees(license) {
            return Err(Failure::forbidden("the license is not one of this account"));
        }
        if license.status == LicenseStatus::Revoked {
            return Err(unknown());
        }
        Ok(found)
    }

    /// Returns the app that the path names.
    pub(super) async fn app(&self) -> Result<Arc<SoftwareApp>, Failure> {
        self.app_of(self.parameter("app")).await
    }

    /// Returns the app with an id of the protocol.
    ///
    /// # Errors
    /// 403 for one of somebody else, there or not.
    pub(super) async fn app_of(&self, id: &str) -> Result<Arc<SoftwareApp>, Failure> {
        let found = self.services.licensing().software_app(id.trim()).await?;
        let own = found.filter(|app| self.caller.sees_app(&app.account, &app.app));
        own.ok_or_else(|| Failure::forbidden("the app is not one of this account"))
    }

    /// Returns the app of a license, by whose id software knows it.
    pub(super) async fn app_of_license(
        &self,
        stored: &StoredLicense,
    ) -> Result<Arc<SoftwareApp>, Failure> {
        let licensing = self.services.licensing();
        Ok(licensing.software_app_named(&stored.license.app).await?)
    }
}
