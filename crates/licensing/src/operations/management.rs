//! The operations on accounts, and on the keys to the control plane.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use model::{
    AccountName, AppName, AuditEntry, Credential, KeyFormat, LicenseId, ManagementKeyId, Timestamp,
};
use serde_json::Value;
use store::{Account, AuditEntries, Changed, ManagementKey, NewManagementKey};

use super::acting::AuditedLicensing;
use super::management_cache::CachedManagementKey;
use super::time::after;
use super::validate;
use crate::error::Error;
use crate::licensing::Licensing;

/// A request for a management key.
#[derive(Clone, Debug, Default)]
pub struct ManagementKeyRequest {
    /// The account that the key acts for.
    pub account: AccountName,
    /// The only app that the key may act on; `None`: all of the account.
    pub app: Option<AppName>,
    /// The only license that the key may act on, and that tokens of a pair draw on. Tokens of a
    /// pair of an app without a license draw on one that is made for it.
    pub license_id: Option<LicenseId>,
    /// A name for people.
    pub name: Option<String>,
    /// The scopes of the key; empty: everything, and for a key of one license all that reads.
    pub scopes: Vec<String>,
    /// The end of the key; `None`: never.
    pub expires_at: Option<Timestamp>,
    /// Whether the key is half of a pair with a secret.
    pub pair: bool,
    /// The networks from which the key may be used; empty: all.
    pub allow_ips: Vec<IpNet>,
}

/// A new management key, with what is shown this once.
#[derive(Clone, Debug)]
pub struct IssuedManagementKey {
    /// The key without its secrets.
    pub key: ManagementKey,
    /// The text of the key.
    pub credential: Credential,
    /// The secret of a pair.
    pub secret: Option<Credential>,
}

/// The format of bearer keys and of the secrets of pairs.
const KEY_FORMAT: KeyFormat = KeyFormat::Tallygate;
/// The format of the other half of a pair, which is a name and no secret. Its visible beginning is
/// shorter, which tells pairs from bearers.
const NAME_FORMAT: KeyFormat = KeyFormat::Uuid;

impl AuditedLicensing {
    /// Creates an account.
    ///
    /// # Errors
    /// It exists already, or the store fails.
    pub async fn create_account(&self, name: AccountName) -> Result<Account, Error> {
        let account = Account {
            name,
            created_at: self.clock.now(),
            disabled_at: None,
            wallet: None,
        };
        let line = self
            .own_audit_writer()
            .line("account.create", &account.name);
        let entries = AuditEntries::of(vec![line.of(&account.name)]);
        self.store.create_account(account.clone(), entries).await?;
        Ok(account)
    }

    /// Enables or disables an account. The management keys and sessions of a disabled one are
    /// refused by the control plane, on this gate when this returns, on others when the change is
    /// announced to them, at the latest within a second. Its licenses stay as they are, since their
    /// holders owe it nothing. A second time does nothing, and is logged once.
    ///
    /// # Errors
    /// There is no such account, or the store fails.
    pub async fn set_account_enabled(
        &self,
        name: &AccountName,
        enabled: bool,
    ) -> Result<Account, Error> {
        let action = if enabled {
            "account.enable"
        } else {
            "account.disable"
        };
        let audit_writer = self.own_audit_writer();
        let entries =
            AuditEntries::from_result(move |Changed { before, after }: &Changed<Account>| {
                let line = || {
                    let line = audit_writer.line(action, &after.name).of(&after.name);
                    line.between(Some(before), Some(after))
                };
                (before != after).then(line).into_iter().collect()
            });
        let at = (!enabled).then(|| self.clock.now());
        let changed = self.store.set_account_disabled(name, at, entries).await?;
        self.invalidate_management_keys();
        changed.ok_or_else(|| Error::AccountUnknown(name.clone()))
    }

    /// Creates a management key.
    ///
    /// # Errors
    /// A field has a value that is not allowed; the account, app or license is unknown or of
    /// another account; the store fails.
    pub async fn create_management_key(
        &self,
        mut request: ManagementKeyRequest,
    ) -> Result<IssuedManagementKey, Error> {
        validate::text("name", request.name.as_deref())?;
        validate::scopes(&request.scopes)?;
        validate::end("or none at all", request.expires_at, self.clock.now())?;
        self.account(&request.account).await?;
        if let Some(app) = &request.app {
            self.seller(app, Some(&request.account))?;
        }
        if let Some(id) = request.license_id {
            let license = self.license(id).await?.license;
            // Tokens that draw on a wallet would be keys to it.
            if license.account != request.account || license.is_wallet() {
                return Err(Error::LicenseUnknown(id));
            }
            if request.app.as_ref().is_some_and(|app| *app != license.app) {
                let reason = format!("license {id} is one of app `{}`", license.app);
                return Err(Error::invalid("license", reason));
            }
            request.scopes = validate::reading(&request.scopes)?;
            request.app = Some(license.app).filter(|app| !app.is_every());
        }
        validate::entries("allow_ips", request.allow_ips.len())?;
        self.may_have_addresses(&request).await?;
        let made = request.app.as_ref().map(|_| LicenseId::generate());
        let draws_on = request.license_id.or(made).filter(|_| request.pair);
        let (issued, new) = self.mint_management_key(request, draws_on);
        let line = self.own_audit_writer().line("key.create", issued.key.id);
        let entries = of_new_key(line, &issued.key);
        self.store.create_management_key(new, entries).await?;
        self.invalidate_management_keys();
        Ok(issued)
    }

    /// Creates a key with the rights of another, which ends when `overlap` is over.
    ///
    /// # Errors
    /// There is no such key, it has ended, or the store fails.
    pub async fn rotate_management_key(
        &self,
        id: ManagementKeyId,
        overlap: Duration,
    ) -> Result<IssuedManagementKey, Error> {
        let now = self.clock.now();
        let keys = self.store.management_keys(None).await?;
        let old = keys.into_iter().find(|key| key.id == id);
        let old = old.ok_or(Error::ManagementKeyUnknown(id))?;
        if has_ended(&old, now) {
            return Err(Error::ManagementKeyEnded(id));
        }
        let scopes = match old.license_id {
            // One of before may name more than a key for one license has: what it has is all that
            // it passes on.
            Some(_) => old.held().iter().map(ToString::to_string).collect(),
            None => old.scopes.clone(),
        };
        if old.license_id.is_some() && scopes.is_empty() {
            let reason =
                "a key for one license only reads, and this one reads nothing: make a new one";
            return Err(Error::invalid("scopes", reason));
        }
        let end = after(now, overlap);
        let draws_on = old.draws_on;
        let request = ManagementKeyRequest {
            pair: is_pair(&old),
            account: old.account,
            app: old.app,
            license_id: old.license_id,
            name: old.name,
            scopes,
            expires_at: old.expires_at,
            allow_ips: old.allow_ips,
        };
        let (issued, new) = self.mint_management_key(request, draws_on);
        let entries = of_new_key(self.own_audit_writer().line("key.rotate", id), &issued.key);
        let replacing = self.store.replace_management_key(id, end, new, entries);
        let replaced = replacing.await?;
        self.invalidate_management_keys();
        self.changes.learn_now().await;
        if replaced {
            Ok(issued)
        } else {
            Err(Error::ManagementKeyEnded(id))
        }
    }

    /// Ends a management key at once. A second time does nothing, and is logged once.
    ///
    /// # Errors
    /// There is no such key, or the store fails.
    pub async fn revoke_management_key(&self, id: ManagementKeyId) -> Result<ManagementKey, Error> {
        let audit_writer = self.own_audit_writer();
        let entries =
            AuditEntries::from_result(move |Changed { before, after }: &Changed<ManagementKey>| {
                let line = || {
                    let line = audit_writer.line("key.revoke", after.id).of(&after.account);
                    line.between(Some(before), Some(after))
                };
                (before != after).then(line).into_iter().collect()
            });
        let now = self.clock.now();
        let ended = self.store.end_management_key(id, now, entries).await?;
        self.invalidate_management_keys();
        self.changes.learn_now().await;
        ended.ok_or(Error::ManagementKeyUnknown(id))
    }
}

impl Licensing {
    /// Returns all accounts by name.
    ///
    /// # Errors
    /// The store fails.
    pub async fn accounts(&self) -> Result<Vec<Account>, Error> {
        Ok(self.store.accounts().await?)
    }

    /// Returns an account.
    ///
    /// # Errors
    /// There is no such account, or the store fails.
    pub async fn account(&self, name: &AccountName) -> Result<Account, Error> {
        let found = self.store.account(name).await?;
        found.ok_or_else(|| Error::AccountUnknown(name.clone()))
    }

    /// Returns the management key that a bearer presents; `None`: it is none, has ended, or is half
    /// of a pair.
    ///
    /// # Errors
    /// The store fails.
    pub async fn authenticate(&self, presented: &str) -> Result<Option<ManagementKey>, Error> {
        let known = self.known_management_key(presented).await?;
        let bearer = known.filter(|known| known.secret.is_none());
        Ok(bearer.map(|known| known.key.clone()))
    }

    /// Returns the management key of a pair, if the secret is its own. The comparison takes the
    /// same time for any secret.
    ///
    /// # Errors
    /// The store fails.
    pub async fn authenticate_pair(
        &self,
        key: &str,
        secret: &str,
    ) -> Result<Option<ManagementKey>, Error> {
        // The store is asked whatever the key looks like, so that an unknown key takes as long as a
        // wrong secret.
        let presented = self.hasher.hash(secret.as_bytes());
        let hash = self.hasher.hash(key.as_bytes());
        let found = self.store.management_key_by_hash(hash).await?;
        let now = self.clock.now();
        let owner = found.filter(|(key, own)| {
            let matches = own.is_some_and(|own| own.matches(&presented));
            matches && !has_ended(key, now)
        });
        Ok(owner.map(|(key, _)| key))
    }

    /// Returns the management key of this text, if it may be used now.
    async fn known_management_key(
        &self,
        text: &str,
    ) -> Result<Option<Arc<CachedManagementKey>>, Error> {
        // The format and its checksum spare the store what is no key.
        if !matches!(KeyFormat::of(text), Some(KEY_FORMAT | NAME_FORMAT)) {
            return Ok(None);
        }
        let now = self.clock.now();
        let hash = self.hasher.hash(text.as_bytes());
        let found = match self.management.get(&hash, now) {
            Some(found) => found,
            None => {
                let generation = self.management.generation();
                let stored = self.store.management_key_by_hash(hash).await?;
                let found =
                    stored.map(|(key, secret)| Arc::new(CachedManagementKey { key, secret }));
                self.management.put(generation, hash, found.clone(), now);
                found
            }
        };
        Ok(found.filter(|known| !has_ended(&known.key, now)))
    }

    /// Returns the management keys of an account (`None`: of all), oldest first.
    ///
    /// # Errors
    /// The store fails.
    pub async fn management_keys(
        &self,
        account: Option<AccountName>,
    ) -> Result<Vec<ManagementKey>, Error> {
        Ok(self.store.management_keys(account).await?)
    }

    fn mint_management_key(
        &self,
        request: ManagementKeyRequest,
        draws_on: Option<LicenseId>,
    ) -> (IssuedManagementKey, NewManagementKey) {
        let credential = Credential::generate(if request.pair {
            NAME_FORMAT
        } else {
            KEY_FORMAT
        });
        let secret = request.pair.then(|| Credential::generate(KEY_FORMAT));
        let key = ManagementKey {
            id: ManagementKeyId::generate(),
            account: request.account,
            app: request.app,
            license_id: request.license_id,
            draws_on,
            name: request.name,
            scopes: request.scopes,
            allow_ips: request.allow_ips,
            prefix: credential.visible_prefix().to_owned(),
            created_at: self.clock.now(),
            expires_at: request.expires_at,
            revoked_at: None,
        };
        let hash = |text: &Credential| self.hasher.hash(text.expose().as_bytes());
        let new = NewManagementKey {
            key: key.clone(),
            hash: hash(&credential),
            secret: secret.as_ref().map(hash),
        };
        let issued = IssuedManagementKey {
            key,
            credential,
            secret,
        };
        (issued, new)
    }

    /// Empties the cache of management keys after a change made here, and announces it to the other
    /// gates.
    pub(super) fn invalidate_management_keys(&self) {
        self.management.clear();
        self.changes.announce_keys();
    }
}

fn of_new_key(line: AuditEntry, key: &ManagementKey) -> AuditEntries<()> {
    AuditEntries::of(vec![
        line.of(&key.account).between(None::<&Value>, Some(key)),
    ])
}

fn is_pair(key: &ManagementKey) -> bool {
    key.prefix.len() == NAME_FORMAT.visible()
}

pub(crate) fn has_ended(key: &ManagementKey, now: Timestamp) -> bool {
    !key.is_live(now)
}
