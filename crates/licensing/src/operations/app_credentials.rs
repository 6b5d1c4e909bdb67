//! The credentials of an app, by which software that is sold with it proves what it is: the app's
//! id, and a secret that can be renewed.
//!
//! A secret opens no management: it ships with software, so that others will see it. Secrets of an
//! app are numbered from 1 and kept as keyed hashes, each written once and never changed. The time
//! for which earlier ones are accepted stands with the one that replaced them.

use std::sync::Arc;
use std::time::Duration;

use model::{AppId, AppName, AppSettings, AuditEntry, Credential, KeyFormat, KeyHash, Timestamp};
use serde_json::{Value, json};
use store::AuditEntries;
use tokio::time::Instant;

use super::acting::AuditedLicensing;
use super::app_secret_cache::{AppSecret, end};
use crate::error::Error;
use crate::keys;
use crate::licensing::Licensing;
use crate::software::{SoftwareApp, app_id};

/// The public facts of the secrets of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppSecrets {
    /// The app.
    pub app: AppName,
    /// The id of the app for the software that is sold with it; the same for ever.
    pub app_id: AppId,
    /// The time at which the secret in use was made; `None`: there is none.
    pub created_at: Option<Timestamp>,
    /// The time at which the last earlier secret stops being accepted; `None`: none is accepted.
    pub former_until: Option<Timestamp>,
}

/// A new secret of an app.
#[derive(Clone, Debug)]
pub struct IssuedAppSecret {
    /// The facts of the new secret and those before.
    pub secrets: AppSecrets,
    /// The secret, to be shown this once.
    pub secret: Credential,
}

/// The number of secrets that an app can ever have.
const MAX_SECRETS: usize = 10_000;

impl AuditedLicensing {
    /// Makes a new secret of an app. Those before it end when `overlap` is over, or sooner if an
    /// earlier renewal said so. If several callers make one at the same time, each gets one of
    /// their own.
    ///
    /// # Errors
    /// The app is unknown, it had too many secrets, or the store fails.
    pub async fn renew_app_secret(
        &self,
        app: &AppName,
        overlap: Duration,
    ) -> Result<IssuedAppSecret, Error> {
        let secret = Credential::generate(KeyFormat::Tallygate);
        self.add_app_secret(app, &secret, overlap, "app-secret.create")
            .await?;
        let secrets = self.app_secrets(app).await?;
        Ok(IssuedAppSecret { secrets, secret })
    }

    /// Takes over the credentials of an app that software has already: the id by which it knows the
    /// app, beside the app's own, and its secret, which is then the one in use. Secrets before it end
    /// when `overlap` is over. The same credentials again change nothing; the app's own id takes an
    /// imported one away.
    ///
    /// # Errors
    /// The app is unknown, the id cannot be one or is another app's, the app had too many secrets,
    /// or the store fails; in the last two cases the id is taken over already.
    pub async fn import_app_credentials(
        &self,
        app: &AppName,
        app_id: &str,
        secret: &Credential,
        overlap: Duration,
    ) -> Result<AppSecrets, Error> {
        let own = self.app_id(app).to_string();
        let imported = Some(app_id.to_owned()).filter(|id| *id != own);
        let change = |settings: &mut AppSettings| {
            settings.imported_id.clone_from(&imported);
            Ok(())
        };
        self.change_app_settings(app, change).await?;
        self.add_app_secret(app, secret, overlap, "app-secret.import")
            .await?;
        self.app_secrets(app).await
    }

    /// Makes a secret the one in use, unless it is.
    async fn add_app_secret(
        &self,
        app: &AppName,
        secret: &Credential,
        overlap: Duration,
        action: &str,
    ) -> Result<(), Error> {
        let account = self.seller(app, None)?;
        let hash = self.hasher.hash(secret.expose().as_bytes());
        loop {
            let known = self.read_app_secrets(app).await?;
            let in_use = known.last().map(|record| KeyHash::from_bytes(record.hash));
            if in_use.is_some_and(|in_use| in_use.matches(&hash)) {
                return Ok(());
            }
            let number = known.len() + 1;
            if number > MAX_SECRETS {
                let reason = format!("had {MAX_SECRETS} secrets, which is the most");
                return Err(Error::invalid("app", reason));
            }
            let record = AppSecret {
                hash: *hash.as_bytes(),
                created_at: self.clock.now(),
                overlap: overlap.as_secs(),
            };
            let line = self.own_audit_writer().line(action, app).of(&account);
            let kept = self.keep_app_secret(app, number, &record, line).await?;
            if kept {
                self.announce_app_secret(app).await;
                return Ok(());
            }
        }
    }

    /// Stores a secret. Returns whether this record and no other is the one of that number now.
    async fn keep_app_secret(
        &self,
        app: &AppName,
        number: usize,
        record: &AppSecret,
        line: AuditEntry,
    ) -> Result<bool, Error> {
        let new = json!({ "number": number, "overlap_seconds": record.overlap });
        let entries = AuditEntries::of(vec![line.between(None::<&Value>, Some(&new))]);
        let bytes = serde_json::to_vec(record).expect("a record is plain data");
        let name = name(app, number);
        let there = self.store.put_if_absent(&name, bytes.clone(), entries);
        Ok(there.await? == bytes)
    }
}

impl Licensing {
    /// Returns the public facts of the secrets of an app.
    ///
    /// # Errors
    /// The app is unknown, or the store fails.
    pub async fn app_secrets(&self, app: &AppName) -> Result<AppSecrets, Error> {
        self.seller(app, None)?;
        let records = self.read_app_secrets(app).await?;
        let now = self.clock.now();
        let formers = 0..records.len().saturating_sub(1);
        let until = formers.filter_map(|at| end(&records, at)).max();
        Ok(AppSecrets {
            app: app.clone(),
            app_id: self.app_id(app),
            created_at: records.last().map(|record| record.created_at),
            former_until: until.filter(|until| *until > now),
        })
    }

    /// Returns the app whose id and secret these are: the secret in use or one that is still
    /// accepted; `None`: there is none. The id is its own, or an imported one. Another gate may have
    /// made a secret that is not known here: the store is asked for it, by one read for all who wait.
    ///
    /// # Errors
    /// The store fails.
    pub async fn app_of_secret(
        &self,
        id: &str,
        secret: &str,
    ) -> Result<Option<Arc<SoftwareApp>>, Error> {
        let came = Instant::now();
        let Some(app) = self.software_app(id).await? else {
            return Ok(None);
        };
        let presented = self.hasher.hash(secret.as_bytes());
        let now = self.clock.now();
        let holds = |records: &[AppSecret]| {
            (0..records.len()).any(|at| {
                let taken = end(records, at).is_none_or(|end| end > now);
                taken && KeyHash::from_bytes(records[at].hash).matches(&presented)
            })
        };
        let known = self.app_secrets.get(&app.app);
        if holds(&known) {
            return Ok(Some(app));
        }
        let read = self.app_secrets.for_unknown(&app.app);
        read.since(came, self.read_app_secrets(&app.app)).await?;
        let known = self.app_secrets.get(&app.app);
        Ok(holds(&known).then_some(app))
    }

    /// Returns the id of an app for the software that is sold with it.
    pub(crate) fn app_id(&self, app: &AppName) -> AppId {
        app_id(&self.hasher, app)
    }

    /// Returns every secret that the app ever had, oldest first, as the store has them now.
    pub(crate) async fn read_app_secrets(&self, app: &AppName) -> Result<Arc<[AppSecret]>, Error> {
        let known = self.app_secrets.get(app);
        let name = |number| name(app, number);
        let read = |_: &str, bytes: &[u8]| {
            serde_json::from_slice(bytes).map_err(|_| Error::KeyringMalformed)
        };
        let new: Vec<AppSecret> =
            keys::since(&*self.store, known.len(), MAX_SECRETS, name, read).await?;
        if new.is_empty() {
            return Ok(known);
        }
        let all: Arc<[AppSecret]> = known.iter().cloned().chain(new).collect();
        self.app_secrets.put(app, &all);
        Ok(all)
    }
}

/// Returns the name under which a secret is kept.
fn name(app: &AppName, number: usize) -> String {
    format!("app-secret/{app}/{number}")
}
