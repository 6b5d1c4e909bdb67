//! The context that the handlers share, and the steps that several of them begin with.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use licensing::{CachedLicense, Heartbeats, SoftwareApp};
use model::{DeviceId, LicenseSpec, Moment, Refusal as GateRefusal, Timestamp};

use super::answer::{Code, Refusal};
use super::body::Credentials;
use super::throttles::Throttles;
use crate::http::body::read_bytes;
use crate::http::client::Client;
use crate::http::services::Services;

/// The state of the handlers. Cheap to clone: all clones are one.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) services: Services,
    pub(super) throttles: Throttles,
    pub(super) beats: Arc<Heartbeats>,
}

/// The length of the longest body, in bytes: no request of this protocol is longer.
const BODY_LIMIT: usize = 16 << 10;

impl Context {
    pub(super) fn new(services: Services) -> Self {
        Self {
            services,
            throttles: Throttles::default(),
            beats: Arc::default(),
        }
    }

    /// Reads a body as it was sent.
    pub(super) async fn read(&self, body: Body) -> Result<Bytes, Refusal> {
        Ok(read_bytes(body, BODY_LIMIT).await?)
    }

    /// Returns the moment of the state's clock.
    pub(super) fn moment(&self) -> Moment {
        self.services.api().clock.since_boot()
    }

    /// Returns the app with an id. One that is none counts as a failed credential.
    pub(super) async fn app(&self, client: &Client, id: &str) -> Result<Arc<SoftwareApp>, Refusal> {
        let services = &self.services;
        let found = services.licensing().software_app(id);
        let found = services.credential(client, found).await;
        found.map_err(|fault| Refusal::of_fault(&fault, Code::InvalidApp))
    }

    /// Judges a validation up to its license, in the order of the protocol: throttles; app, secret,
    /// and whether it is switched off; the lists; the license with its status and its end.
    pub(super) async fn judge(
        &self,
        client: &Client,
        credentials: Credentials<'_>,
    ) -> Result<(Arc<SoftwareApp>, Arc<CachedLicense>), Refusal> {
        let services = &self.services;
        let app = self.app(client, credentials.app_id).await?;
        self.throttle(client, &app, credentials.key)?;
        let licensing = services.licensing();
        let proven = licensing.app_of_secret(credentials.app_id, credentials.secret);
        let proven = services.credential(client, proven).await;
        let app = proven.map_err(|fault| Refusal::of_fault(&fault, Code::InvalidApp))?;
        self.may_be_used(client, &app, credentials.device)?;
        let license = self.license(client, &app, credentials.key).await?;
        Ok((app, license))
    }

    /// Takes a request of a license and its address.
    pub(super) fn throttle(
        &self,
        client: &Client,
        app: &SoftwareApp,
        key: &str,
    ) -> Result<(), Refusal> {
        let now = self.moment();
        let taken = self.throttles.address(app, client.address, now);
        let taken = taken.and_then(|()| self.throttles.license(app, key, now));
        taken.map_err(|wait| Refusal::too_many(Code::RateLimited, wait))
    }

    /// Refuses software that is switched off, and devices and addresses by the lists.
    pub(super) fn may_be_used(
        &self,
        client: &Client,
        app: &SoftwareApp,
        device: &DeviceId,
    ) -> Result<(), Refusal> {
        if app.is_disabled() {
            return Err(Code::AppDisabled.into());
        }
        match app.settings.security.admits(client.address, device) {
            true => Ok(()),
            false => Err(Code::Blocked.into()),
        }
    }

    /// Returns the license of the app that has a key, if it may be used now. A key that is none
    /// counts as a failed credential.
    async fn license(
        &self,
        client: &Client,
        app: &SoftwareApp,
        key: &str,
    ) -> Result<Arc<CachedLicense>, Refusal> {
        let spender = self.services.spender();
        let is_of_app = |found: &Arc<CachedLicense>| {
            let license = found.license();
            license.opens(&app.account, &app.app) && found.api_key().is_none()
        };
        let found = match spender.look_up(key.as_bytes()).await {
            Ok(found) => Some(found).filter(is_of_app),
            Err(GateRefusal::LicenseUnknown | GateRefusal::TokenInvalid) => None,
            Err(_) => return Err(Refusal::unavailable()),
        };
        let Some(found) = found.filter(|found| !found.credential().is_token) else {
            self.services.failed(client);
            return Err(Code::InvalidKey.into());
        };
        may_be_used_at(&found, spender.now())?;
        Ok(found)
    }
}

/// Refuses a license that may not be used at a time.
pub(super) fn may_be_used_at(license: &CachedLicense, now: Timestamp) -> Result<(), Refusal> {
    license.standing(now).map_err(|refusal| {
        let ends = license.license().spec.expires_at;
        match refusal {
            // Its key has ended, such as by a rotation; the license lives on.
            GateRefusal::LicenseExpired if ends.is_none_or(|end| end > now) => Code::Revoked.into(),
            refusal => Refusal::of_standing(refusal),
        }
    })?;
    match end_of(&license.license().spec) {
        Some(end) if end <= now.seconds() => Err(Code::Expired.into()),
        _ => Ok(()),
    }
}

/// Returns the end of a license for its software, in seconds since the UNIX epoch, as those of
/// sessions are, so that a session never begins after its own end; `None`: never.
pub(super) fn end_of(spec: &LicenseSpec) -> Option<i64> {
    spec.expires_at.map(Timestamp::seconds)
}
