//! The handler of `POST /auth/validate`, which costs a credit, binds the device and begins a
//! session, once for each nonce.
//!
//! The answer is made before the work and kept with the claim of the nonce: whoever sends the same
//! body again within a minute gets the same answer, also when the gate died between the work and
//! the answer, or is asked on another gate.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use licensing::{CachedLicense, IdempotencyGuard, SoftwareApp};
use model::{Actor, CallId, DeviceId, Timestamp, Who};
use sha2::{Digest, Sha256};
use store::Binding;

use super::answer::{Code, Refusal, json};
use super::body::Validate;
use super::context::Context;
use super::once::{self, Claim};
use super::payment::Payment;
use super::session::NewSession;
use crate::http::body::parse;
use crate::http::client::Client;
use crate::protocol::authforge::credits::{Parties, Work};

/// The time within which the same request gets the same answer.
const REPEATABLE: Duration = Duration::from_secs(60);

/// A validation whose license may be used.
struct Validation<'a> {
    context: &'a Context,
    client: &'a Client,
    app: &'a SoftwareApp,
    license: &'a CachedLicense,
    device: &'a DeviceId,
    nonce: &'a str,
    ttl: u32,
    /// The SHA-256 of the body.
    content: [u8; 32],
}

/// Validates a license.
pub(super) async fn validate(
    State(context): State<Context>,
    client: Client,
    body: Body,
) -> Result<Response, Refusal> {
    let body = context.read(body).await?;
    let asked: Validate = parse(&body)?;
    let credentials = asked.credentials();
    let (app, license) = context.judge(&client, credentials).await?;
    let parties = Parties::of(&context.services, license.clone()).await?;
    let life = app.terms.session_life(asked.ttl_seconds.map(duration));
    let validation = Validation {
        context: &context,
        client: &client,
        app: &app,
        license: &license,
        device: credentials.device,
        nonce: &asked.nonce,
        ttl: u32::try_from(life.as_secs()).unwrap_or(u32::MAX),
        content: Sha256::digest(&body).into(),
    };
    let work = Work::Validation {
        device: credentials.device.digest(),
    };
    let paid = context.pay(&parties, &app, work, &client).await;
    match paid {
        Err(refusal) if !refusal.is_of_credits() => Err(refusal),
        paid => validation.answer(paid).await,
    }
}

/// Returns the time that a number of seconds stands for; negative ones stand for none.
fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}

impl Validation<'_> {
    /// Does the work for which credits are held, once for the nonce, or says why none are: what was
    /// done before costs nothing, even if nothing is left to pay with.
    async fn answer(&self, paid: Result<Payment<'_>, Refusal>) -> Result<Response, Refusal> {
        let call_id = CallId::generate();
        let text = self.text(call_id).await?;
        let licensing = self.context.services.licensing();
        let work = once::Work {
            name: &self.name(),
            content: &self.content,
            call_id,
            prepared: &licensing.seal_answer(&self.seal_name(), &text),
            waits_for_disk: match &paid {
                Ok(payment) => payment.waits_for_disk(),
                Err(_) => true,
            },
        };
        match self.context.claim(&work).await? {
            Claim::Done { answer, claimed_at } => self.repeat(&answer, claimed_at),
            Claim::Left { answer, claimed_at } => self.stand_in(paid, &answer, claimed_at).await,
            Claim::Run(guard) if guard.broken_off.is_none() => self.work(paid, guard, text).await,
            Claim::Run(guard) => self.end(paid, guard).await,
        }
    }

    /// Returns the answer that is given when the work is done.
    async fn text(&self, call_id: CallId) -> Result<Vec<u8>, Refusal> {
        let (license, now) = (self.license, self.context.services.spender().now());
        let new = NewSession {
            app: self.app,
            license,
            device: self.device,
            ttl: self.ttl,
            beats: self.context.beats.of(license.license().id),
            devices: self.devices(),
            nonce: self.nonce,
            request_id: call_id,
            now,
        };
        let signed = self.context.session(&new).await?;
        Ok(serde_json::to_vec(&signed).expect("an answer is plain data"))
    }

    /// Returns the number of devices of the license once this one is bound.
    fn devices(&self) -> usize {
        let bound = self.license.devices();
        let is_known = bound.iter().any(|own| own.id == *self.device);
        match self.license.license().spec.device_limit() {
            Some(limit) if !is_known && bound.len() < limit.into() => bound.len() + 1,
            // It frees all others, or finds no slot.
            Some(_) if !is_known => 1,
            _ => bound.len(),
        }
    }

    /// Returns the answer of the same request before, if it is not too old.
    fn repeat(&self, sealed: &[u8], claimed_at: Timestamp) -> Result<Response, Refusal> {
        let services = &self.context.services;
        if services.now().since(claimed_at) >= REPEATABLE {
            return Err(Code::ReplayDetected.into());
        }
        Ok(json(StatusCode::OK, self.open(sealed)?))
    }

    fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, Refusal> {
        let licensing = self.context.services.licensing();
        let opened = licensing.open_answer(&self.seal_name(), sealed);
        opened.ok_or_else(Refusal::unavailable)
    }

    /// Answers in place of a gate that died, or hangs, before it ended the work. Credits must be
    /// there, and are left: that gate's record, if it wrote one, is the one that costs.
    async fn stand_in(
        &self,
        paid: Result<Payment<'_>, Refusal>,
        sealed: &[u8],
        claimed_at: Timestamp,
    ) -> Result<Response, Refusal> {
        let answer = self.repeat(sealed, claimed_at)?;
        drop(paid?);
        self.bind().await?;
        Ok(answer)
    }

    /// Ends work that was broken off, unless all but its end was done.
    async fn end(
        &self,
        paid: Result<Payment<'_>, Refusal>,
        guard: IdempotencyGuard,
    ) -> Result<Response, Refusal> {
        let services = &self.context.services;
        let (licensing, license) = (services.licensing(), self.license.license().id);
        let sealed = guard.prepared.clone().unwrap_or_default();
        if let Some(since) = guard.broken_off {
            let call_id = CallId::from_u128(guard.reference);
            let recorded = services.recorded_call(license, call_id, since).await;
            let recorded =
                recorded.map_err(|fault| Refusal::of_fault(&fault, Code::SystemError))?;
            if recorded.is_some() {
                let answer = self.repeat(&sealed, since);
                licensing.finish_prepared(guard);
                return answer;
            }
        }
        let text = self.open(&sealed)?;
        self.work(paid, guard, text).await
    }

    /// Binds the device, records the validation, and answers with a text.
    async fn work(
        &self,
        paid: Result<Payment<'_>, Refusal>,
        guard: IdempotencyGuard,
        text: Vec<u8>,
    ) -> Result<Response, Refusal> {
        let paid = match paid {
            Ok(payment) => self.bind().await.map(|()| payment),
            refused => refused,
        };
        let payment = match paid {
            Ok(payment) => payment,
            Err(refusal) => {
                self.context.release(guard).await;
                return Err(refusal);
            }
        };
        // A journal that failed may have kept the record: then the next try finds it.
        payment.record(CallId::from_u128(guard.reference)).await?;
        self.context.services.licensing().finish_prepared(guard);
        Ok(json(StatusCode::OK, text))
    }

    /// Binds the device, where the license counts devices and does not know it.
    async fn bind(&self) -> Result<(), Refusal> {
        let license = self.license.license();
        let known = self
            .license
            .devices()
            .iter()
            .any(|own| own.id == *self.device);
        if known || license.spec.device_limit().is_none() {
            return Ok(());
        }
        let actor = Actor {
            who: Who::License(license.id),
            address: self.client.address,
        };
        let acting = self.context.services.licensing().acting(actor);
        let rebinds = self.app.terms.rebinds_once;
        let bound = acting.bind_device(license.id, self.device.clone(), rebinds);
        match bound.await?.0 {
            Binding::Full => Err(Code::HwidMismatch.into()),
            Binding::Bound | Binding::BoundAfterReset | Binding::There => Ok(()),
        }
    }

    /// Returns the name of the claim: a nonce within its app.
    fn name(&self) -> [&[u8]; 3] {
        let app = self.app.app.as_str().as_bytes();
        [b"authforge validate", app, self.nonce.as_bytes()]
    }

    /// Returns the name that the answer is sealed under, which only who sends the same body knows.
    fn seal_name(&self) -> [&[u8]; 4] {
        let [protocol, app, nonce] = self.name();
        [protocol, app, nonce, &self.content]
    }
}
