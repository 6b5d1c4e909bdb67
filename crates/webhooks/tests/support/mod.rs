//! Gates that deliver from a real SQLite store to receivers on this host.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use licensing::{Keyring, KeyringSecret, Sealer};
use model::{
    AccountName, Actor, AppName, Clock, Event, EventId, EventType, InstanceId, LicenseId, Webhook,
    WebhookForm, WebhookId,
};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use store::{Delivery, DeliveryFilter, SealedKey, SqliteOptions, SqliteStore, Store};
use tempfile::TempDir;
use testkit::Receiver;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use webhooks::{
    AuditedWebhooks, Client, ClientOptions, Facts, Holder, IssuedWebhook, Licenses, Options, Parts,
    Seal, SystemResolver, TargetRules, WebhookRequest, Webhooks,
};
use zeroize::Zeroizing;

/// A store of gates, removed with the value.
pub(crate) struct World {
    pub(crate) store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    sealer: Sealer,
    /// Whether whoever asks for facts about a license waits.
    pub(crate) holds_facts: watch::Sender<bool>,
    pub(crate) directory: TempDir,
}

/// A gate of a world, which delivers until it is stopped.
pub(crate) struct Gate {
    pub(crate) webhooks: Arc<Webhooks>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

pub(crate) struct KeyringSeal(Sealer);

impl Seal for KeyringSeal {
    fn seal(&self, webhook: WebhookId, secret: &str) -> SealedKey {
        self.0
            .seal(&webhook.as_u128().to_be_bytes(), secret.as_bytes())
    }

    fn open(&self, webhook: WebhookId, sealed: &SealedKey) -> Option<Zeroizing<Vec<u8>>> {
        self.0.open(&webhook.as_u128().to_be_bytes(), sealed)
    }
}

/// One seller with one app, whose licenses have the key of their id.
struct OneApp {
    held: watch::Receiver<bool>,
}

#[async_trait]
impl Licenses for OneApp {
    fn account_of(&self, named: &AppName) -> Option<AccountName> {
        (*named == app()).then(AccountName::default)
    }

    async fn facts(&self, event: &Event) -> Result<Facts, store::Error> {
        let released = self.held.clone().wait_for(|held| !held).await.is_ok();
        assert!(released, "the world outlives its gates");
        Ok(Facts {
            license_key: event.license_id.map(|id| format!("KEY-OF-{id}")),
            app_id: Some(format!("id-of-{}", event.app)),
        })
    }
}

pub(crate) fn app() -> AppName {
    "game".parse().expect("a name")
}

pub(crate) fn license(number: u128) -> LicenseId {
    LicenseId::from_u128(number)
}

impl World {
    pub(crate) async fn new(clock: Arc<dyn Clock>) -> Self {
        let directory = tempfile::tempdir().expect("a folder");
        let options = SqliteOptions {
            clock: clock.clone(),
            ..SqliteOptions::new(directory.path())
        };
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(options).expect("it opens"));
        let keyring = Keyring::load(&*store, KeyringSecret::None).await;
        Self {
            store,
            clock,
            sealer: keyring.expect("a keyring").sealer("webhook secrets"),
            holds_facts: watch::Sender::new(false),
            directory,
        }
    }

    pub(crate) fn gate(&self) -> Gate {
        self.gate_with(Options::default(), Duration::from_secs(5))
    }

    pub(crate) fn gate_with(&self, options: Options, timeout: Duration) -> Gate {
        let rules = TargetRules {
            allow_private: true,
            allow_plain: true,
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has versions")
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let client = ClientOptions { rules, timeout };
        let parts = Parts {
            store: self.store.clone(),
            client: Client::new(Arc::new(SystemResolver), tls, client),
            seal: Arc::new(KeyringSeal(self.sealer.clone())),
            licenses: Arc::new(OneApp {
                held: self.holds_facts.subscribe(),
            }),
            clock: self.clock.clone(),
            holder: Holder::OneOf(InstanceId::generate()),
        };
        let webhooks = Webhooks::new(parts, options);
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(webhooks.clone().run(stopped));
        Gate {
            webhooks,
            stop,
            task,
        }
    }

    /// Puts an event about a license into the outbox. `number` stands in its data.
    pub(crate) async fn happens(&self, license_id: LicenseId, kind: EventType, number: u64) {
        self.happen(vec![self.event(license_id, kind, number)])
            .await;
    }

    /// Returns how many events the store holds, delivered or not.
    pub(crate) fn events(&self) -> i64 {
        let file = self.directory.path().join("licenses.db");
        let database = rusqlite::Connection::open(file).expect("it is there");
        let count = database.query_row("SELECT count(*) FROM events", [], |row| row.get(0));
        count.expect("the schema has events")
    }

    pub(crate) async fn happen(&self, events: Vec<Event>) {
        let kept = self.store.webhooks().expect("it keeps webhooks");
        kept.add_events(events).await.expect("the store answers");
    }

    pub(crate) fn event(&self, license_id: LicenseId, kind: EventType, number: u64) -> Event {
        let data = json!({"number": number, "status": "active"});
        Event {
            id: EventId::generate(),
            kind,
            at: self.clock.now(),
            account: AccountName::default(),
            app: app(),
            license_id: Some(license_id),
            data: data.as_object().expect("an object").clone(),
        }
    }
}

impl Gate {
    pub(crate) fn acting(&self) -> AuditedWebhooks {
        self.webhooks.acting(Actor::OPERATOR)
    }

    pub(crate) async fn register(&self, receiver: &Receiver) -> IssuedWebhook {
        self.register_as(&receiver.url("/hook"), WebhookForm::Native)
            .await
    }

    pub(crate) async fn register_as(&self, url: &str, form: WebhookForm) -> IssuedWebhook {
        let request = WebhookRequest {
            url: url.to_owned(),
            form,
            ..WebhookRequest::default()
        };
        self.acting().create(request).await.expect("it is allowed")
    }

    pub(crate) async fn state(&self, id: WebhookId) -> Webhook {
        self.webhooks.webhook(id).await.expect("it is there")
    }

    pub(crate) async fn log(&self, id: WebhookId) -> Vec<Delivery> {
        let all = DeliveryFilter::default();
        let log = self.webhooks.deliveries(id, all, None, 1_000).await;
        log.expect("the store answers")
    }

    /// Stops delivering, as a gate does that drains.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        self.task.await.expect("it does not panic");
    }

    /// Ends as a gate does that is killed.
    pub(crate) fn kill(self) {
        self.task.abort();
    }
}
