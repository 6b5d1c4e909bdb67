//! Webhooks over the API: who may do what, what is answered, and what is refused.

use std::sync::Arc;
use std::time::Duration;

use ::webhooks::{
    Client, ClientOptions, Facts, Holder, Licenses, Options, Parts, Seal, SystemResolver,
    TargetRules, Webhooks,
};
use licensing::{Keyring, Sealer};
use model::{AccountName, AppName, Clock, Event, WebhookId};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use store::{SealedKey, Store};
use testkit::{Manner, Receiver};
use zeroize::Zeroizing;

use crate::support::World;

struct KeyringSeal(Sealer);

impl Seal for KeyringSeal {
    fn seal(&self, webhook: WebhookId, secret: &str) -> SealedKey {
        let label = webhook.as_u128().to_be_bytes();
        self.0.seal(&label, secret.as_bytes())
    }

    fn open(&self, webhook: WebhookId, sealed: &SealedKey) -> Option<Zeroizing<Vec<u8>>> {
        self.0.open(&webhook.as_u128().to_be_bytes(), sealed)
    }
}

/// The two sellers of the tests.
struct Sellers;

#[async_trait::async_trait]
impl Licenses for Sellers {
    fn account_of(&self, app: &AppName) -> Option<AccountName> {
        let seller = match app.as_str() {
            "api" => "default",
            "shop" => "acme",
            _ => return None,
        };
        Some(seller.parse().unwrap())
    }

    async fn facts(&self, _: &Event) -> Result<Facts, store::Error> {
        Ok(Facts::default())
    }
}

/// Returns webhooks that may be on this host. Nothing is delivered but tests and challenges.
pub(crate) fn start(
    store: &Arc<dyn Store>,
    keyring: &Keyring,
    clock: &Arc<dyn Clock>,
) -> Arc<Webhooks> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let client = ClientOptions {
        rules: TargetRules {
            allow_private: true,
            allow_plain: true,
        },
        timeout: Duration::from_secs(5),
    };
    let parts = Parts {
        store: store.clone(),
        client: Client::new(Arc::new(SystemResolver), tls, client),
        seal: Arc::new(KeyringSeal(keyring.sealer("webhook secrets"))),
        licenses: Arc::new(Sellers),
        clock: clock.clone(),
        holder: Holder::Alone,
    };
    Webhooks::new(parts, Options::default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_shows_its_secret_once_and_is_seen_by_its_account_and_app_alone() {
    let world = World::start().await;
    let receiver = Receiver::start();
    let body = json!({"url": receiver.url("/hook"), "app": "api"}).to_string();
    let made = world.local("POST", "/webhooks", body).await.json(201);
    assert!(made["secret"].as_str().unwrap().starts_with("whsec_"));
    assert_eq!(
        (&made["account"], &made["state"]),
        (&json!("default"), &json!("active"))
    );
    let path = format!("/webhooks/{}", made["id"].as_str().unwrap());
    let shown = world.local("GET", &path, "").await.json(200);
    assert_eq!(shown.get("secret"), None);
    let list = world.local("GET", "/webhooks", "").await.json(200);
    assert_eq!(list["items"], json!([shown]));

    let account = world.local("POST", "/accounts", r#"{"name":"acme"}"#).await;
    assert_eq!(account.status, 201);
    let other = world.key(r#"{"account":"acme"}"#).await;
    let reader = world
        .key(r#"{"app":"api","scopes":["read:webhooks"]}"#)
        .await;
    let whole = world.key("{}").await;
    let asked = async |key: &str, method, path: &str, body| {
        world.remote(Some(key), method, path, body).await
    };
    assert_eq!(asked(&other, "GET", &path, "").await.code(404), "not_found");
    assert_eq!(
        asked(&other, "DELETE", &path, "").await.code(404),
        "not_found"
    );
    assert_eq!(
        asked(&other, "GET", "/webhooks", "").await.json(200)["items"],
        json!([])
    );
    assert_eq!(
        asked(&reader, "GET", &path, "").await.json(200)["id"],
        made["id"]
    );
    assert_eq!(
        asked(&reader, "DELETE", &path, "").await.code(403),
        "scope_missing"
    );
    let wide = json!({"url": receiver.url("/wide")}).to_string();
    let wide = asked(&whole, "POST", "/webhooks", &wide).await.json(201);
    let wide = format!("/webhooks/{}", wide["id"].as_str().unwrap());
    assert_eq!(
        asked(&reader, "GET", &wide, "").await.code(404),
        "not_found"
    );
    let theirs = json!({"url": receiver.url("/"), "app": "shop"}).to_string();
    assert_eq!(
        asked(&whole, "POST", "/webhooks", &theirs).await.code(404),
        "app_unknown"
    );
    let removed = asked(&whole, "DELETE", &path, "").await;
    assert_eq!(removed.status, 204);
    assert_eq!(asked(&whole, "GET", &path, "").await.code(404), "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_tested_paused_changed_and_its_log_read_and_repeated() {
    let world = World::start().await;
    let receiver = Receiver::start();
    receiver.behave(Manner::Answer(503, "busy".to_owned()));
    let body = json!({"url": receiver.url("/hook"), "events": ["license.revoked"]}).to_string();
    let made = world.local("POST", "/webhooks", body).await.json(201);
    let path = format!("/webhooks/{}", made["id"].as_str().unwrap());
    let on = |what: &str| format!("{path}/{what}");
    let tested = world.local("POST", &on("test"), "{}").await.json(200);
    assert_eq!(
        (&tested["status"], &tested["answer"]),
        (&json!(503), &json!("busy"))
    );
    let log = world
        .local("GET", &on("deliveries?state=failed"), "")
        .await
        .json(200);
    assert_eq!(log["items"][0]["type"], "webhook.test");
    assert_eq!(log["items"][0]["last"]["status"], 503);
    let paused = world.local("POST", &on("pause"), "{}").await.json(200);
    assert_eq!(paused["state"], "paused");
    let resumed = world.local("POST", &on("resume"), "{}").await.json(200);
    assert_eq!(resumed["state"], "active");
    let changed = world
        .local("PATCH", &path, r#"{"events":[]}"#)
        .await
        .json(200);
    assert_eq!(changed["events"], json!([]));
    let rotated = world.local("POST", &on("rotate"), "{}").await.json(200);
    assert_ne!(rotated["secret"], made["secret"]);
    let span = r#"{"from":"2020-01-01T00:00:00Z"}"#;
    let again = world.local("POST", &on("redeliver"), span).await.json(200);
    assert_eq!(again["deliveries"], 0, "tests are not repeated");
    let refused = world.local("POST", &on("redeliver"), "{}").await;
    assert_eq!(refused.code(400), "field_invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_webhook_is_refused_with_its_field() {
    let world = World::start().await;
    for (body, field) in [
        (json!({"url": "nonsense"}), "url"),
        (json!({"url": "https://a@example.com"}), "url"),
        (
            json!({"url": "https://192.0.1.1", "secret": "short"}),
            "secret",
        ),
        (
            json!({"url": "https://192.0.1.1", "secret": "whsec_AAAAAAAA"}),
            "secret",
        ),
        (
            json!({"url": "https://192.0.1.1", "app": "api", "account": "somebody"}),
            "account",
        ),
        (
            json!({"url": "https://192.0.1.1", "events": ["webhook.test"]}),
            "events",
        ),
        (
            json!({"url": "https://192.0.1.1", "form": "authforge", "events": ["quota.low"]}),
            "events",
        ),
    ] {
        let answer = world.local("POST", "/webhooks", body.to_string()).await;
        assert_eq!(answer.json(400)["field"], field, "{body}");
    }
    let list = world.local("GET", "/webhooks", "").await.json(200);
    assert_eq!(list["items"], json!([]), "nothing is half-written");
}
