//! The handler of `POST /auth/selfban`, by which software that finds itself tampered with blocks
//! its device, its address, and with a session its license.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use ipnet::IpNet;
use licensing::{SelfBan, SoftwareApp};
use model::{Actor, LicenseId, Who};
use serde_json::{Value, json};

use super::answer::{Code, Refusal};
use super::body::{self, Credentials};
use super::context::Context;
use crate::http::body::{Input, parse};
use crate::http::client::Client;

/// Blocks whoever asks.
pub(super) async fn self_ban(
    State(context): State<Context>,
    client: Client,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    let sent = context.read(body).await?;
    let asked: body::SelfBan = parse(&sent)?;
    let has_session = asked.session_token.is_some();
    let revokes = asked.revoke_license.unwrap_or(has_session);
    let (app, license) = match &asked.session_token {
        Some(token) => context.banned_session(&client, &asked, token).await?,
        None if revokes => return Err(Code::RevokeRequiresSession.into()),
        None => context.banned_license(&client, &asked).await?,
    };
    let actor = Actor {
        who: Who::License(license),
        address: client.address,
    };
    let by_address = asked.blacklist_ip.unwrap_or(true);
    let address = client.address.filter(|_| by_address);
    let ban = SelfBan {
        app: &app.app,
        license,
        revokes,
        device: asked.blacklist_hwid.unwrap_or(true).then_some(&asked.hwid),
        network: address.map(|address| IpNet::from(address.ip())),
    };
    let acting = context.services.licensing().acting(actor);
    acting.self_ban(ban).await?;
    Ok(Json(json!({ "status": "success" })))
}

impl Context {
    /// Returns the app and the license of a session that is not over.
    async fn banned_session(
        &self,
        client: &Client,
        asked: &body::SelfBan,
        token: &str,
    ) -> Result<(Arc<SoftwareApp>, LicenseId), Refusal> {
        let (app, session) = self.session_of(client, &asked.app_id, token).await?;
        let key = session.license_id.to_string();
        self.throttle(client, &app, &key)?;
        self.may_go_on(&app, &session, &asked.hwid)?;
        Ok((app, session.license_id))
    }

    /// Returns the app and the license of credentials.
    async fn banned_license(
        &self,
        client: &Client,
        asked: &body::SelfBan,
    ) -> Result<(Arc<SoftwareApp>, LicenseId), Refusal> {
        let missing = |field: &str| Refusal::from(Input::missing(field));
        let secret = asked.app_secret.as_deref();
        let key = asked.license_key.as_deref();
        let credentials = Credentials {
            app_id: &asked.app_id,
            secret: secret.ok_or_else(|| missing("appSecret"))?,
            key: key.ok_or_else(|| missing("licenseKey"))?.trim(),
            device: &asked.hwid,
        };
        let (app, license) = self.judge(client, credentials).await?;
        Ok((app, license.license().id))
    }
}
