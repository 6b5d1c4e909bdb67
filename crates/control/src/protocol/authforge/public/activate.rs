//! The handler of `POST /auth/offline/activate`, by which a device has a file made that it needs no
//! connection with. A device that asks again gets the same file.
//!
//! The file is made before the work and kept with a claim of its device: of requests at once, at
//! whichever gates, one has it kept and pays, and whoever finds the work broken off ends it.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use licensing::{ActivatingDevice, CachedLicense, IdempotencyGuard, NewOfflineFile, SoftwareApp};
use model::{Actor, CallId, Credential, Timestamp, Who};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{OfflineActivation, OfflineFile};

use super::answer::{Code, Refusal};
use super::body::{Credentials, Validate};
use super::context::Context;
use super::once::{self, Claim};
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
    parties: &'a Parties,
    credentials: Credentials<'a>,
    /// The number of devices that may have a file made in the life of the license.
    most: u8,
}

/// A file of a device.
#[derive(Serialize, Deserialize)]
struct Made {
    id: CallId,
    issued_at: Timestamp,
    text: String,
}

/// The reason why a file is not kept.
enum Unkept {
    /// Nothing was done.
    Nothing(Refusal),
    /// It is not known whether it was kept.
    Perhaps(Refusal),
}

impl From<Refusal> for Unkept {
    fn from(refusal: Refusal) -> Self {
        Self::Nothing(refusal)
    }
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
    let spec = &license.license().spec;
    if !app.terms.offline_activation {
        return Err(Code::OfflineActivationDisabled.into());
    }
    if spec.expires_at.is_some() {
        return Err(Code::OfflineActivationRequiresPerpetual.into());
    }
    let Some(most) = spec.device_limit() else {
        return Err(Code::OfflineActivationRequiresSeats.into());
    };
    let activation = Activation {
        context: &context,
        client: &client,
        app: &app,
        license: &license,
        parties: &Parties::of(&context.services, license.clone()).await?,
        credentials,
        most,
    };
    activation.answer().await
}

impl Activation<'_> {
    async fn answer(&self) -> Result<Response, Refusal> {
        let licensing = self.context.services.licensing();
        let call_id = CallId::generate();
        let made = serde_json::to_vec(&self.file(call_id).await?).expect("plain data");
        let (license, device) = (self.license.license().id, self.credentials.device);
        let license_id = license.as_u128().to_be_bytes();
        let name: [&[u8]; 3] = [
            b"authforge activate",
            &license_id,
            device.as_str().as_bytes(),
        ];
        let work = once::Work {
            name: &name,
            content: &[],
            call_id,
            prepared: &licensing.seal_answer(&name, &made),
            waits_for_disk: true,
        };
        let open = |sealed: &[u8]| {
            let opened = licensing.open_answer(&name, sealed);
            let made = opened.and_then(|text| serde_json::from_slice::<Made>(&text).ok());
            made.ok_or_else(Refusal::unavailable)
        };
        let guard = match self.context.claim(&work).await? {
            Claim::Done { answer, .. } => {
                let made = open(&answer)?;
                return Ok(self.shown(&made.text, made.id.as_u128(), true));
            }
            // Whoever has the file kept pays for it, so that both gates may try.
            Claim::Left { answer, .. } => {
                return match licensing.offline_file_of(license, device).await? {
                    Some(file) => self.kept(&file),
                    None => self.make(&open(&answer)?, None).await,
                };
            }
            Claim::Run(guard) => guard,
        };
        match licensing.offline_file_of(license, device).await? {
            Some(file) => self.repeat(&file, guard).await,
            None => {
                let made = open(guard.prepared.as_deref().unwrap_or_default())?;
                self.make(&made, Some(guard)).await
            }
        }
    }

    /// Keeps the file of a new device, binds the device, and records the cost. `None` in place of a
    /// claim: another gate has it.
    async fn make(
        &self,
        made: &Made,
        guard: Option<IdempotencyGuard>,
    ) -> Result<Response, Refusal> {
        let work = Work::Activation;
        let paid = async {
            let payment = self.context.pay(self.parties, self.app, work, self.client);
            let payment = payment.await?;
            self.keep(made).await?;
            Ok(payment)
        };
        let payment = match paid.await {
            Ok(payment) => payment,
            Err(Unkept::Nothing(refusal)) => {
                if let Some(guard) = guard {
                    self.context.release(guard).await;
                }
                return Err(refusal);
            }
            Err(Unkept::Perhaps(refusal)) => return Err(refusal),
        };
        payment.record(made.id).await?;
        if let Some(guard) = guard {
            self.context.services.licensing().finish_prepared(guard);
        }
        Ok(self.shown(&made.text, made.id.as_u128(), false))
    }

    /// Keeps the file and binds the device: both or neither.
    async fn keep(&self, made: &Made) -> Result<(), Unkept> {
        let license = self.license.license();
        let new = NewOfflineFile {
            id: made.id.as_u128(),
            license,
            devices: vec![self.credentials.device.clone()],
            issued_at: made.issued_at,
            expires_at: None,
            text: &made.text,
        };
        let device = ActivatingDevice {
            id: self.credentials.device.clone(),
            most: self.most.into(),
            frees_others_once: self.app.terms.rebinds_once,
        };
        let actor = Actor {
            who: Who::License(license.id),
            address: self.client.address,
        };
        let acting = self.context.services.licensing().acting(actor);
        let activated = acting.activate_offline(new, device).await;
        // A store that did not answer may have kept it.
        let activated = activated.map_err(|error| Unkept::Perhaps(error.into()))?;
        match activated {
            OfflineActivation::Kept(..) => Ok(()),
            OfflineActivation::Full => {
                Err(Unkept::Nothing(Code::OfflineActivationLimitReached.into()))
            }
            OfflineActivation::NoSlot => Err(Unkept::Nothing(Code::HwidMismatch.into())),
            // By whoever took the claim over, since this one was thought dead: they pay.
            OfflineActivation::There(_) => Err(Unkept::Perhaps(Refusal::unavailable())),
        }
    }

    /// Returns the file that the device had made. It costs nothing, unless the cost of it was not
    /// noted: by whoever broke off between the two.
    async fn repeat(
        &self,
        file: &OfflineFile,
        guard: IdempotencyGuard,
    ) -> Result<Response, Refusal> {
        let services = &self.context.services;
        let licensing = services.licensing();
        let begun = guard.broken_off.filter(|_| guard.reference == file.id);
        match begun {
            Some(since) => {
                let id = CallId::from_u128(file.id);
                let recorded = services.recorded_call(file.license_id, id, since).await;
                let recorded =
                    recorded.map_err(|fault| Refusal::of_fault(&fault, Code::SystemError))?;
                if recorded.is_none() {
                    let (work, client) = (Work::Activation, self.client);
                    let payment = self.context.pay(self.parties, self.app, work, client);
                    payment.await?.record(id).await?;
                }
                licensing.finish_prepared(guard);
            }
            None => self.context.release(guard).await,
        }
        self.kept(file)
    }

    /// Returns the answer that shows a file of before.
    fn kept(&self, file: &OfflineFile) -> Result<Response, Refusal> {
        let text = self.context.services.licensing().offline_file_text(file);
        let text = text.ok_or_else(Refusal::unavailable)?;
        Ok(self.shown(&text, file.id, true))
    }

    /// Returns the file.
    async fn file(&self, id: CallId) -> Result<Made, Refusal> {
        let now = self.context.services.spender().now();
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
        Ok(Made {
            id,
            issued_at: now,
            text: license_file(&document, keys.signer(now)),
        })
    }

    /// Returns the license key in capital letters with its dashes.
    fn key(&self) -> String {
        let text = self.credentials.key;
        let meant = Credential::meant_by(text);
        meant.map_or_else(|| text.to_owned(), |key| key.expose().to_owned())
    }

    /// Returns the answer that shows a file.
    fn shown(&self, file: &str, id: u128, replay: bool) -> Response {
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
