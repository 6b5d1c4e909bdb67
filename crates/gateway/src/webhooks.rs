//! The wiring of webhooks: what they need of licensing, of the keyring and of the system.

use std::sync::Arc;

use async_trait::async_trait;
use config::Config;
use licensing::{Keyring, Licensing, Sealer};
use model::{AccountName, AppName, Clock, CredentialId, Event, InstanceId, LicenseId, WebhookId};
use store::{SealedKey, Store};
use telemetry::WebhookCounts;
use webhooks::{
    Client, ClientOptions, Facts, Holder, Licenses, Options, Parts, Schedule, Seal, SystemResolver,
    TargetRules, Webhooks,
};
use zeroize::Zeroizing;

use crate::start_error::StartError;
use crate::{open_store, trust};

/// The seal of secrets, by the keyring of the store.
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

/// The facts about licenses and apps, by the licensing of this gate.
struct LicenseFacts(Arc<Licensing>);

#[async_trait]
impl Licenses for LicenseFacts {
    fn account_of(&self, app: &AppName) -> Option<AccountName> {
        let plans = self.0.plans();
        plans.app(app).map(|terms| terms.account.clone())
    }

    async fn facts(&self, event: &Event) -> Result<Facts, store::Error> {
        let license_key = match event.license_id {
            Some(id) => self.key_of(id, event.credential()).await?,
            None => None,
        };
        let app_id = match self.0.software_app_named(&event.app).await {
            Ok(known) => Some(known.shown_id()),
            Err(licensing::Error::Store(error)) => return Err(error),
            // It is one of every app, or one that the configuration has no more.
            Err(_) => None,
        };
        Ok(Facts {
            license_key,
            app_id,
        })
    }
}

impl LicenseFacts {
    async fn key_of(
        &self,
        id: LicenseId,
        used: Option<CredentialId>,
    ) -> Result<Option<String>, store::Error> {
        let found = match self.0.license(id).await {
            Ok(stored) => self.0.key_for_seller(&stored, used).await,
            Err(error) => Err(error),
        };
        match found {
            Ok(key) => Ok(key),
            Err(licensing::Error::Store(error)) => Err(error),
            // The event is worth more than the key in it.
            Err(error) => {
                tracing::warn!(%error, license = %id, "an event is told without the key of its license");
                Ok(None)
            }
        }
    }
}

/// Returns the webhooks of a gate, as the configuration wants them.
///
/// # Errors
/// The library of TLS offers no version that can be used.
pub(crate) fn webhooks(
    config: &Config,
    store: Arc<dyn Store>,
    keyring: &Keyring,
    licensing: &Arc<Licensing>,
    instance: InstanceId,
    clock: Arc<dyn Clock>,
) -> Result<Arc<Webhooks>, StartError> {
    let control = &config.control;
    let client = ClientOptions {
        rules: TargetRules {
            allow_private: control.allow_private_webhook_targets,
            allow_plain: control.allow_plain_webhook_targets,
        },
        timeout: config.webhooks.timeout.duration(),
    };
    let times = config.webhooks.schedule.iter();
    let schedule = Schedule::new(times.map(|time| time.duration()).collect());
    let options = Options {
        schedule: schedule.expect("the configuration was checked"),
        keep: config.webhooks.keep.duration(),
    };
    let parts = Parts {
        store,
        client: Client::new(
            Arc::new(SystemResolver),
            trust::outside("no webhook with TLS can be called")?,
            client,
        ),
        seal: Arc::new(KeyringSeal(keyring.sealer("webhook secrets"))),
        licenses: Arc::new(LicenseFacts(licensing.clone())),
        clock,
        holder: if open_store::is_alone(config) {
            Holder::Alone
        } else {
            Holder::OneOf(instance)
        },
    };
    let webhooks = Webhooks::new(parts, options);
    let woken = webhooks.clone();
    licensing.on_change(move || woken.wake());
    Ok(webhooks)
}

/// Returns the counts of webhooks for the metrics.
pub(crate) fn counts(webhooks: &Webhooks, clock: &dyn Clock) -> WebhookCounts {
    let counts = webhooks.counts();
    let oldest = counts.oldest();
    WebhookCounts {
        delivered: counts.delivered(),
        failed: counts.failed(),
        disabled: counts.disabled(),
        pending: counts.pending(),
        oldest_seconds: oldest.map_or(0, |oldest| clock.now().since(oldest).as_secs()),
    }
}
