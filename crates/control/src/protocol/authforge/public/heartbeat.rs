//! The handler of `POST /auth/heartbeat`, which prolongs a session. Each tenth of a license costs a
//! credit; the others write nothing. The same body again within a minute is the same heartbeat.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use licensing::{CachedLicense, SoftwareApp, SoftwareSession};
use model::{CallId, DeviceId, Refusal as GateRefusal};
use sha2::{Digest, Sha256};

use super::answer::{Code, Refusal};
use super::body::Heartbeat;
use super::context::{Context, may_be_used_at};
use super::session::NewSession;
use crate::http::body::parse;
use crate::http::client::Client;
use crate::protocol::authforge::credits::{Parties, Work};
use crate::protocol::authforge::forms::Signed;

/// Prolongs a session.
pub(super) async fn heartbeat(
    State(context): State<Context>,
    client: Client,
    body: Body,
) -> Result<Json<Signed>, Refusal> {
    let body = context.read(body).await?;
    let asked: Heartbeat = parse(&body)?;
    let content = Sha256::digest(&body).into();
    let (app, session) = context
        .session_of(&client, &asked.app_id, &asked.session_token)
        .await?;
    let (now, id) = (context.moment(), session.license_id);
    let taken = context.throttles.heartbeat(&app, id, now);
    taken.map_err(|wait| Refusal::too_many(Code::RateLimited, wait))?;
    context.may_go_on(&app, &session, &asked.hwid)?;
    context.may_be_used(&client, &app, &asked.hwid)?;
    let license = context.license_of(&session).await?;
    context.is_bound(&license, &asked.hwid).await?;
    let beat = context.beats.count(&session, content, now);
    let request_id = CallId::generate();
    if beat.costs
        && let Err(refusal) = context
            .pay_for_heartbeats(&client, &app, license.clone(), request_id)
            .await
    {
        context.beats.refuse(&session, beat);
        return Err(refusal);
    }
    let new = NewSession {
        app: &app,
        license: &license,
        device: &asked.hwid,
        ttl: session.ttl,
        beats: beat.number,
        devices: license.devices().len(),
        nonce: &asked.nonce,
        request_id,
        now: context.services.spender().now(),
    };
    Ok(Json(context.session(&new).await?))
}

impl Context {
    /// Returns the app with this id and the session of it with this token, over or not. What is
    /// none counts as a failed credential.
    pub(super) async fn session_of(
        &self,
        client: &Client,
        app_id: &str,
        token: &str,
    ) -> Result<(Arc<SoftwareApp>, SoftwareSession), Refusal> {
        let app = self.app(client, app_id).await?;
        let found = self.services.licensing().session(token);
        let own = found.filter(|session| session.app == app.app);
        let Some(session) = own else {
            self.services.failed(client);
            return Err(Code::SessionExpired.into());
        };
        Ok((app, session))
    }

    /// Refuses a session that is over, or that is another device's.
    pub(super) fn may_go_on(
        &self,
        app: &SoftwareApp,
        session: &SoftwareSession,
        device: &DeviceId,
    ) -> Result<(), Refusal> {
        if app.is_disabled() {
            return Err(Code::AppDisabled.into());
        }
        if session.is_over(self.services.spender().now()) {
            return Err(Code::SessionExpired.into());
        }
        match session.device == SoftwareSession::device(device) {
            true => Ok(()),
            false => Err(Code::HwidMismatch.into()),
        }
    }

    /// Returns the license of a session, if it may be used now.
    pub(super) async fn license_of(
        &self,
        session: &SoftwareSession,
    ) -> Result<Arc<CachedLicense>, Refusal> {
        let spender = self.services.spender();
        let found = match spender.license(session.license_id).await {
            Ok(found) => found,
            Err(GateRefusal::LicenseUnknown) => return Err(Code::Revoked.into()),
            Err(_) => return Err(Refusal::unavailable()),
        };
        may_be_used_at(&found, spender.now())?;
        Ok(found)
    }

    /// Refuses a device that the license is not bound to any more. What is known here may be a
    /// moment old, and a wrong refusal ends the session: the store is asked before.
    async fn is_bound(&self, license: &CachedLicense, device: &DeviceId) -> Result<(), Refusal> {
        let own = license.license();
        let is_in = |devices: &[model::Device]| devices.iter().any(|bound| bound.id == *device);
        if own.spec.device_limit().is_none() || is_in(license.devices()) {
            return Ok(());
        }
        let stored = self.services.licensing().license(own.id).await?;
        match is_in(&stored.devices) {
            true => Ok(()),
            false => Err(Code::HwidMismatch.into()),
        }
    }

    /// Pays for a heartbeat.
    async fn pay_for_heartbeats(
        &self,
        client: &Client,
        app: &SoftwareApp,
        license: Arc<CachedLicense>,
        request_id: CallId,
    ) -> Result<(), Refusal> {
        let parties = Parties::of(&self.services, license).await?;
        let payment = self.pay(&parties, app, Work::Heartbeats, client).await?;
        payment.record(request_id).await
    }
}
