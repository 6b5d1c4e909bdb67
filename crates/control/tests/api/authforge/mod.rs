//! Tests of AuthForge's protocol: software and its seller, spoken to as their requests stand in the
//! documentation and in the SDKs.

mod developer;
mod heartbeats;
mod inputs;
mod offline;
mod refusals;
mod repeats;
mod sdk;
mod self_ban;
mod validations;
mod webhooks;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use licensing::{AppTerms, Plans, SoftwareTerms};
use model::Actor;
use serde_json::{Value, json};

use crate::support::{Answer, World};

/// A gate with the software of the app `api`, and a management key of its seller.
pub(super) struct Software {
    pub(super) world: World,
    pub(super) seller: String,
    pub(super) app_id: String,
    secret: String,
    nonces: AtomicU32,
}

impl Software {
    pub(super) async fn start() -> Self {
        Self::of(World::by_hand(control::SHIPPED).await).await
    }

    /// Starts with these terms of the configuration.
    pub(super) async fn with(terms: SoftwareTerms) -> Self {
        let software = Self::start().await;
        software.set(terms).await;
        software
    }

    async fn of(world: World) -> Self {
        let app = "api".parse().unwrap();
        let operator = world.services.licensing().acting(Actor::OPERATOR);
        let issued = operator.renew_app_secret(&app, Duration::from_secs(60));
        let issued = issued.await.unwrap();
        let seller = world.key("{}").await;
        Self {
            world,
            seller,
            app_id: issued.secrets.app_id.to_string(),
            secret: issued.secret.expose().to_owned(),
            nonces: AtomicU32::new(0),
        }
    }

    /// Puts other terms of the configuration in force.
    pub(super) async fn set(&self, software: SoftwareTerms) {
        let terms = |name: &str, account: &str| AppTerms {
            app: name.parse().unwrap(),
            account: account.parse().unwrap(),
            default_plan: None,
            grace: Duration::from_secs(60),
            allowance: 0,
            key_recovery: false,
            software: software.clone(),
            agents: None,
        };
        let apps = vec![terms("api", "default"), terms("shop", "acme")];
        let licensing = self.world.services.licensing();
        licensing.set_plans(Plans::new(vec![], apps)).await.unwrap();
    }

    /// Makes the credits of the seller count, and gives so many.
    pub(super) async fn credit(&self, units: u64) {
        let operator = self.world.services.licensing().acting(Actor::OPERATOR);
        let account = "default".parse().unwrap();
        let by = store::Adjustment::Credit(units);
        operator
            .adjust_account(&account, by, "a test")
            .await
            .unwrap();
    }

    /// Returns how many credits are left.
    pub(super) async fn credits(&self) -> u64 {
        let licensing = self.world.services.licensing();
        let account = "default".parse().unwrap();
        let id = model::LicenseId::of_wallet(&account);
        licensing.balance(id).await.unwrap().unwrap().remaining
    }

    /// Sends a request of the seller.
    pub(super) async fn sell(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.sell_as(&self.seller, method, path, body).await
    }

    /// Sends a request with this management key.
    pub(super) async fn sell_as(
        &self,
        key: &str,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Answer {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("Host", "gate")
            .header("Authorization", format!("Bearer {key}"))
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        self.world.ask([127, 0, 0, 1], request).await
    }

    /// Makes a license with more of its terms, and returns its key.
    pub(super) async fn license(&self, more: Value) -> String {
        let mut body = json!({ "appId": self.app_id });
        let members = more.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(members);
        let made = self.sell("POST", "/v1/licenses", &body).await.json(201);
        made["licenses"][0]["licenseKey"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Returns a license as it is shown.
    pub(super) async fn shown(&self, key: &str) -> Value {
        let path = format!("/v1/licenses/{key}");
        self.sell("GET", &path, &Value::Null).await.json(200)
    }

    /// Carries out an action on a license.
    pub(super) async fn act(&self, key: &str, action: &Value) -> Answer {
        let path = format!("/v1/licenses/{key}");
        self.sell("PUT", &path, action).await
    }

    /// Returns the body of a validation with a nonce of its own.
    pub(super) fn body(&self, key: &str, device: &str) -> Value {
        let number = self.nonces.fetch_add(1, Ordering::Relaxed);
        json!({
            "appId": self.app_id,
            "appSecret": self.secret,
            "licenseKey": key,
            "hwid": device,
            "nonce": format!("nonce-{number}"),
        })
    }

    /// Sends a request of the software.
    pub(super) async fn auth(&self, path: &str, body: &Value) -> Answer {
        self.auth_from([127, 0, 0, 1], path, body).await
    }

    /// Sends a request of the software from a loopback address of choice.
    pub(super) async fn auth_from(&self, from: [u8; 4], path: &str, body: &Value) -> Answer {
        let request = Request::post(format!("/auth/{path}"))
            .header("Host", "gate")
            .body(Full::new(Bytes::from(body.to_string())))
            .unwrap();
        self.world.ask(from, request).await
    }

    /// Validates a license on a device.
    pub(super) async fn validate(&self, key: &str, device: &str) -> Answer {
        self.auth("validate", &self.body(key, device)).await
    }

    /// Returns the signed part of the answer of a validation that passes.
    pub(super) async fn session(&self, key: &str, device: &str) -> Value {
        self.payload(&self.validate(key, device).await).await
    }

    /// Sends a heartbeat with the token of a session.
    pub(super) async fn beat(&self, session: &Value, device: &str) -> Answer {
        let number = self.nonces.fetch_add(1, Ordering::Relaxed);
        let body = json!({
            "appId": self.app_id,
            "sessionToken": session["sessionToken"],
            "nonce": format!("beat-{number}"),
            "hwid": device,
        });
        self.auth("heartbeat", &body).await
    }

    /// Verifies an answer of success as the SDKs do, and returns its signed part.
    pub(super) async fn payload(&self, answer: &Answer) -> Value {
        let answer = answer.json(200);
        assert_eq!(answer["status"], "success");
        assert!(answer["keyId"].is_string());
        let app = "api".parse().unwrap();
        let key = self.world.signing.app_public_key(&app).await.unwrap();
        let payload = answer["payload"].as_str().unwrap();
        let signature = answer["signature"].as_str().unwrap();
        assert_eq!(signature.len(), 88);
        ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, key)
            .verify(payload.as_bytes(), &STANDARD.decode(signature).unwrap())
            .expect("the signature is over the text of the base64");
        serde_json::from_slice(&STANDARD.decode(payload).unwrap()).unwrap()
    }

    /// Moves the clock.
    pub(super) async fn pass(&self, seconds: u64) {
        self.world.advance(Duration::from_secs(seconds)).await;
    }
}

/// Checks that an answer is a verdict with this status and code, as software takes one.
#[track_caller]
pub(super) fn refused(answer: &Answer, status: u16, code: &str) {
    let body = answer.json(status);
    assert_eq!(
        (body["status"].as_str(), body["error"].as_str()),
        (Some("failed"), Some(code)),
        "{body}"
    );
    assert!(
        answer
            .header("content-type")
            .starts_with("application/json")
    );
}

/// Checks that an answer is a refusal of the Developer API, and returns its message.
#[track_caller]
pub(super) fn denied(answer: &Answer, status: u16, code: &str) -> String {
    let body = answer.json(status);
    assert_eq!(body["error"], code, "{body}");
    body["message"].as_str().unwrap().to_owned()
}

/// Returns what Python's SDK reads in a session token.
pub(super) fn token_body(session: &Value) -> Value {
    let token = session["sessionToken"].as_str().unwrap();
    let (first, _) = token.split_once('.').unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(first).unwrap()).unwrap()
}
