//! The handler of `POST /auth/offline/activate`, by which a device has a file made that it needs no
//! connection with. A device that asks again gets the same file.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use licensing::{CachedLicense, NewOfflineFile, SoftwareApp};
use model::{Actor, CallId, Credential, Who};
use serde_json::json;
use store::{Binding, OfflineActivation, OfflineFile};

use super::answer::{Code, Refusal};
use super::body::{Credentials, Validate};
use super::context::Context;
use crate::http::body::parse;
use crate::http::client::Client;
use crate::protocol::authforge::credits::{Parties, Work};
use crate::protocol::authforge::forms::{LicenseDocument, file_id, license_file};

/// An activation whose license may be used.
struct Activation<'a> {
    context: &'a Context,
    client: &'a Client,
    app: &'a SoftwareApp,
    license: &'a CachedLicense,
    credentials: Credentials<'a>,
}

/// Makes the file of a device, or returns the one that it had made.
pub(super) async fn activate(
    State(context): State<Context>,
    client: Client,
    body: Body,
) -> Result<Response, Refusal> {
    let body = context.read(body).await?;
    let asked: Validate = parse(&body)?;
    let credentials = asked.credentials();
    let (app, license) = context.judge(&client, credentials).await?;
    let activation = Activation {
        context: &context,
        client: &client,
        app: &app,
        license: &license,
        credentials,
    };
    let spec = &license.license().spec;
    if !app.terms.offline_activation {
        return Err(Code::OfflineActivationDisabled.into());
    }
    if spec.expires_at.is_some() {
        return Err(Code::OfflineActivationRequiresPerpetual.into());
    }
    let Some(slots) = spec.device_limit() else {
        return Err(Code::OfflineActivationRequiresSeats.into());
    };
    let licensing = context.services.licensing();
    let device = credentials.device;
    let parties = Parties::of(&context.services, license.clone()).await?;
    match licensing
        .offline_file_of(license.license().id, device)
        .await?
    {
        Some(file) => activation.repeat(&file, &parties).await,
        None => activation.make(slots, &parties).await,
    }
}

impl Activation<'_> {
    /// Makes the file of a new device: binds the device, keeps the file, records the cost.
    async fn make(&self, slots: u8, parties: &Parties) -> Result<Response, Refusal> {
        let (context, app) = (self.context, self.app);
        let taken = context
            .throttles
            .credits(app, Work::Activation.credits(), context.moment());
        taken.map_err(|wait| Refusal::too_many(Code::AppBurnCapReached, wait))?;
        let made = self.made(slots, parties).await;
        if !matches!(&made, Ok((_, true))) {
            context.throttles.give_back(app, Work::Activation.credits());
        }
        made.map(|(answer, _)| answer)
    }

    /// Returns the answer, and whether it cost credits.
    async fn made(&self, slots: u8, parties: &Parties) -> Result<(Response, bool), Refusal> {
        let services = &self.context.services;
        let held = parties.hold(services, self.app, Work::Activation, self.client.address);
        let mut held = held.await?;
        let license = self.license.license();
        let actor = Actor {
            who: Who::License(license.id),
            address: self.client.address,
        };
        let acting = services.licensing().acting(actor);
        let device = self.credentials.device;
        let (binding, stored) = acting
            .bind_device(license.id, device.clone(), self.app.terms.rebinds_once)
            .await?;
        if binding == Binding::Full {
            return Err(Code::HwidMismatch.into());
        }
        let id = CallId::generate();
        let now = services.spender().now();
        let text = self.file(id, now).await?;
        let new = NewOfflineFile {
            id: id.as_u128(),
            license: &stored,
            activated_by: Some((device.clone(), slots.into())),
            devices: vec![device.clone()],
            issued_at: now,
            expires_at: None,
            text: &text,
        };
        match acting.keep_offline_file(new).await? {
            OfflineActivation::Kept => {}
            OfflineActivation::There(file) => {
                return Ok((self.repeat(&file, parties).await?, false));
            }
            OfflineActivation::Full => return Err(Code::OfflineActivationLimitReached.into()),
        }
        held.set_call_id(id);
        held.record().await.map_err(|_| Refusal::unavailable())?;
        Ok((self.answer(&text, id.as_u128(), false), true))
    }

    /// Returns the file that the device had made. It costs nothing, unless the gate died before it
    /// noted the cost.
    async fn repeat(&self, file: &OfflineFile, parties: &Parties) -> Result<Response, Refusal> {
        /// The age beyond which the cost is noted for sure.
        const SETTLED_US: i64 = 600_000_000;
        let services = &self.context.services;
        if services.now() < file.issued_at.plus_micros(SETTLED_US) {
            let id = CallId::from_u128(file.id);
            let recorded = services.recorded_call(file.license_id, id, file.issued_at);
            let recorded = recorded.await;
            let recorded =
                recorded.map_err(|fault| Refusal::of_fault(&fault, Code::SystemError))?;
            if recorded.is_none() {
                let held = parties.hold(services, self.app, Work::Activation, self.client.address);
                let mut held = held.await?;
                held.set_call_id(id);
                held.record().await.map_err(|_| Refusal::unavailable())?;
            }
        }
        let text = services.licensing().offline_file_text(file);
        let text = text.ok_or_else(Refusal::unavailable)?;
        Ok(self.answer(&text, file.id, true))
    }

    /// Returns the text of the file.
    async fn file(&self, id: CallId, now: model::Timestamp) -> Result<String, Refusal> {
        let keys = self.context.services.api().signing.app_keys(&self.app.app);
        let keys = keys.await?;
        let spec = &self.license.license().spec;
        let document = LicenseDocument {
            app_id: &self.app.shown_id(),
            license_key: &self.key(),
            id: id.as_u128(),
            issued_at: now,
            expires_at: None,
            devices: std::slice::from_ref(self.credentials.device),
            label: spec.label.as_deref(),
            license_expires_at: None,
            license_variables: &spec.variables,
            app_variables: &self.app.settings.variables,
        };
        Ok(license_file(&document, keys.signer(now)))
    }

    /// Returns the license key with its dashes.
    fn key(&self) -> String {
        let text = self.credentials.key;
        let dashed = Credential::with_dashes(text);
        dashed.map_or_else(|| text.to_owned(), |key| key.expose().to_owned())
    }

    fn answer(&self, file: &str, id: u128, replay: bool) -> Response {
        let body = json!({
            "status": "success",
            "file": file,
            "fileName": format!("{}.authforge", self.key()),
            "jti": file_id(id),
            "replay": replay,
        });
        let status = if replay {
            StatusCode::OK
        } else {
            StatusCode::CREATED
        };
        (status, Json(body)).into_response()
    }
}
