//! The operations on signing keys of apps.

use std::sync::Arc;

use model::{AccountName, Actor, AppName, AuditEntry, SigningKeyId, SigningKeyState, Timestamp};
use serde_json::{Value, json};
use store::AuditEntries;

use super::entry::Entry;
use super::{AppKey, AppKeys, NewAppKey, Retirement};
use crate::error::Error;
use crate::keys::{self, Key, random};
use crate::signing::Signing;

/// The number of keys, with the ends of keys, that an app can ever have.
const MAX_ENTRIES: usize = 1_000;

impl Signing {
    /// Returns the signing keys of an app, whose first is made by the first call. Asks the store
    /// for an app that was not asked for before.
    ///
    /// # Errors
    /// A key was sealed with another secret, or the store fails.
    pub async fn app_keys(&self, app: &AppName) -> Result<Arc<AppKeys>, Error> {
        match self.app_keys.get(app) {
            Some(known) => Ok(known),
            None => self.read_app_keys(app).await,
        }
    }

    /// Returns the public key that an app signs with now.
    ///
    /// # Errors
    /// As [`Signing::app_keys`].
    pub async fn app_public_key(&self, app: &AppName) -> Result<[u8; 32], Error> {
        let keys = self.app_keys(app).await?;
        Ok(keys.signer(self.clock.now()).public_key)
    }

    /// Gives an app of an account a further signing key, on behalf of an actor. It is known here when
    /// this returns, on other gates within a second. A key that is imported again is there once.
    /// Returns the keys and the id of the new one.
    ///
    /// # Errors
    /// A key that was made waits to take over already, the app had too many keys, the key that is
    /// imported was followed by others or retired, or the store fails.
    pub async fn add_app_key(
        &self,
        app: &AppName,
        account: &AccountName,
        new: NewAppKey,
        actor: Actor,
    ) -> Result<(Arc<AppKeys>, SigningKeyId), Error> {
        let lead = i64::try_from(new.lead.as_micros()).unwrap_or(i64::MAX);
        let seed = match &new.seed {
            Some(seed) => seed.key().clone(),
            None => Key::new(random()),
        };
        let action = match new.seed {
            Some(_) => "app-key.import",
            None => "app-key.rotate",
        };
        loop {
            let keys = self.read_app_keys(app).await?;
            let now = self.clock.now();
            let made = AppKey::new(&seed, now.plus_micros(lead));
            if keys.has(made.id)? {
                return Ok((keys, made.id));
            }
            let mut waiting = keys.trusted().filter(|key| key.signs_from > now);
            if let Some(next) = waiting.next().filter(|_| new.seed.is_none()) {
                let until = next.signs_from;
                return Err(Error::RotationUnderWay { until });
            }
            let shown = json!({ "key": made.id, "signs_from": made.signs_from });
            let by = By {
                actor,
                account,
                now,
            };
            let entry = |name: &str| Entry::of_key(name, &seed, made.signs_from, &self.keyring);
            // Another gate may have put its key there: then ours comes after it.
            self.put_app_entry(app, &keys, by.line(action, app, &shown), entry)
                .await?;
        }
    }

    /// Retires a key of an app of an account, on behalf of an actor: it signs no more, and nobody is
    /// told to trust it. A second time does nothing.
    ///
    /// # Errors
    /// The app has no such key, it is the one that signs, the app had too many keys, or the store
    /// fails.
    pub async fn retire_app_key(
        &self,
        app: &AppName,
        account: &AccountName,
        id: SigningKeyId,
        actor: Actor,
    ) -> Result<Arc<AppKeys>, Error> {
        loop {
            let keys = self.read_app_keys(app).await?;
            let now = self.clock.now();
            let Some(key) = keys.iter().find(|key| key.id == id) else {
                let reason = "the app has no such key: `app keys list` shows those that it has";
                return Err(Error::invalid("id", reason));
            };
            match keys.state(key, now) {
                SigningKeyState::Retired => return Ok(keys),
                SigningKeyState::Signing => {
                    let reason = "it signs now: let another key take over before";
                    return Err(Error::invalid("id", reason));
                }
                _ => {}
            }
            let end = Retirement { key: id, at: now };
            let by = By {
                actor,
                account,
                now,
            };
            let line = by.line("app-key.retire", app, &json!({ "key": id }));
            let entry = |name: &str| Entry::of_end(name, end, &self.keyring);
            self.put_app_entry(app, &keys, line, entry).await?;
        }
    }

    /// Reads the keys of the known apps that are new since the last time. An app whose keys cannot
    /// be read keeps those that are known, and keeps no other app from being read.
    pub(in super::super) async fn refresh_app_keys(&self) {
        for app in self.app_keys.apps() {
            if let Err(error) = self.read_app_keys(&app).await {
                tracing::debug!(%error, %app, "the signing keys of an app cannot be read");
            }
        }
    }

    /// Reads the keys of an app that are new since the last time, and makes the first.
    ///
    /// # Errors
    /// As [`Signing::app_keys`].
    pub async fn read_app_keys(&self, app: &AppName) -> Result<Arc<AppKeys>, Error> {
        let known = self.app_keys.get(app).unwrap_or_default();
        let count = known.entries();
        let name = |number| Entry::name(app, number);
        let read = |name: &str, bytes: &[u8]| Entry::decode(name, bytes, &self.keyring);
        let mut new = keys::since(&*self.store, count, MAX_ENTRIES, name, read).await?;
        if count == 0 && new.is_empty() {
            let name = name(1);
            let sealed = self.keyring.seal(name.as_bytes(), &Key::new(random()));
            let entries = AuditEntries::none();
            let there = self.store.put_if_absent(&name, sealed, entries).await?;
            new.push(read(&name, &there)?);
        }
        if new.is_empty() {
            return Ok(known);
        }
        let mut all = AppKeys::clone(&known);
        new.into_iter().for_each(|entry| all.add(entry));
        let all = Arc::new(all);
        self.app_keys.put(app, &all);
        Ok(all)
    }

    /// Puts an entry after those of an app that are known, unless another was put there meanwhile.
    async fn put_app_entry(
        &self,
        app: &AppName,
        known: &AppKeys,
        line: AuditEntry,
        entry: impl FnOnce(&str) -> Vec<u8>,
    ) -> Result<(), Error> {
        let number = known.entries() + 1;
        if number > MAX_ENTRIES {
            let reason = format!("had {MAX_ENTRIES} keys and ends of keys, which is the most");
            return Err(Error::invalid("app", reason));
        }
        let name = Entry::name(app, number);
        let bytes = entry(&name);
        let entries = AuditEntries::of(vec![line]);
        self.store.put_if_absent(&name, bytes, entries).await?;
        Ok(())
    }
}

impl AppKeys {
    /// Returns whether a key is the newest of these.
    ///
    /// # Errors
    /// It is an older one, or it is retired.
    fn has(&self, id: SigningKeyId) -> Result<bool, Error> {
        let at = self.iter().position(|key| key.id == id);
        let reason = match at {
            None => return Ok(false),
            Some(_) if self.retired_at(id).is_some() => "this key was retired: it signs no more",
            Some(at) if at + 1 == self.keys.len() => return Ok(true),
            Some(_) => "this key was followed by others: an old key does not sign again",
        };
        Err(Error::invalid("private_key", reason))
    }
}

/// The one who changes keys, and when.
struct By<'a> {
    actor: Actor,
    account: &'a AccountName,
    now: Timestamp,
}

impl By<'_> {
    fn line(&self, action: &str, app: &AppName, shown: &Value) -> AuditEntry {
        let line = AuditEntry::new(&self.actor, self.now, action, app);
        line.of(self.account).between(None::<&Value>, Some(shown))
    }
}
