//! The creation of API keys.

use model::{
    AccountName, ApiKey, ApiKeyRule, AppName, Credential, License, LicenseId, LicenseSpec,
    LicenseStatus, Limits, Timestamp,
};
use serde_json::Value;
use store::{AuditEntries, ChangeNumber, NewApiKey, NewLicense, StoredApiKey, StoredLicense};

use super::super::acting::AuditedLicensing;
use super::super::issue::{KeySource, Minted};
use super::super::validate;
use super::view::shown_key;
use super::{ApiKeyPolicy, ApiKeyRequest, IssuedApiKey};
use crate::error::Error;
use crate::licensing::Licensing;

impl AuditedLicensing {
    /// Creates an API key.
    ///
    /// # Errors
    /// A field has a value that is not allowed, the app is unknown, the account sells none, or the
    /// store fails.
    pub async fn create_api_key(
        &self,
        policy: &ApiKeyPolicy,
        request: ApiKeyRequest,
    ) -> Result<IssuedApiKey, Error> {
        let now = self.clock.now();
        if request.metadata.is_some() && !policy.metadata {
            return Err(ApiKeyRule::MetadataDisabled.into());
        }
        let expires_at = policy.end(request.end, now)?;
        policy.name(request.name.as_deref())?;
        validate::text("user", request.user.as_deref())?;
        let (account, app) = self.api_key_scope(request.account.as_ref(), request.app.as_ref())?;
        let rate = request.rate.or(policy.rate_limit);
        let rate = rate.map(|limit| policy.windowed(limit));
        let limits = Limits {
            remaining: request.remaining,
            refill: request.refill,
            rate_limits: rate.filter(|_| request.rate_enabled).into_iter().collect(),
            concurrency: None,
        };
        validate::limits(&limits, &Limits::default())?;
        let license = License {
            id: LicenseId::generate(),
            account,
            app,
            status: LicenseStatus::Active,
            created_at: now,
            spec: LicenseSpec {
                user: request.user,
                label: request.name.clone(),
                expires_at,
                limits,
                ..LicenseSpec::default()
            },
        };
        let prefix = request.prefix.or_else(|| policy.prefix.clone());
        let key = ApiKey {
            license_id: license.id,
            name: request.name,
            prefix,
            metadata: request.metadata,
            permissions: request.permissions,
            parked_rate: rate.filter(|_| !request.rate_enabled),
            updated_at: now,
            last_request: None,
        };
        self.keep_api_key(policy, key, license, now).await
    }

    async fn keep_api_key(
        &self,
        policy: &ApiKeyPolicy,
        key: ApiKey,
        license: License,
        now: Timestamp,
    ) -> Result<IssuedApiKey, Error> {
        let (minted, credential) = self.mint_api_key(&key, policy.key_length, now);
        let fingerprint = minted.fingerprint();
        let info = minted.new.info.clone();
        let mut stored = StoredApiKey {
            key: key.clone(),
            license: StoredLicense {
                license: license.clone(),
                credentials: vec![info],
                devices: Vec::new(),
                version: ChangeNumber::default(),
            },
        };
        let line = self.own_audit_writer().line("api-key.create", license.id);
        let line = line.of(&license.account);
        let entries = AuditEntries::of(vec![
            line.between(None::<&Value>, Some(&shown_key(&stored))),
        ]);
        let id = license.id;
        let new = NewApiKey {
            key,
            license: NewLicense {
                license,
                credentials: vec![minted.new],
                devices: Vec::new(),
            },
        };
        let creating = self.api_key_store()?.create_api_key(new, entries);
        let version = creating.await?;
        self.changes.note_created(version, &[(id, fingerprint)]);
        stored.license.version = version;
        let mut views = self.api_key_views(vec![stored]).await?;
        let view = views.pop().expect("one key has one view");
        Ok(IssuedApiKey { view, credential })
    }
}

impl Licensing {
    /// Returns a new credential of the form that API keys have.
    pub(in super::super) fn mint_api_key(
        &self,
        key: &ApiKey,
        length: usize,
        now: Timestamp,
    ) -> (Minted, Credential) {
        let prefix = key.prefix.as_ref().map_or("", |prefix| prefix.as_str());
        let credential = Credential::generate_letters(prefix, length);
        let mut minted = self.mint(&KeySource::Import(credential.clone()), now);
        ApiKey::KIND.clone_into(&mut minted.new.info.kind);
        minted.new.info.prefix = credential.expose()[..ApiKey::START].to_owned();
        (minted, credential)
    }

    /// Returns the account and the app of a new key. A key of every app needs an account that has
    /// one.
    pub(in super::super) fn api_key_scope(
        &self,
        account: Option<&AccountName>,
        app: Option<&AppName>,
    ) -> Result<(AccountName, AppName), Error> {
        if let Some(app) = app {
            return Ok((self.seller(app, account)?, app.clone()));
        }
        let account = account.cloned().unwrap_or_default();
        let plans = self.plans.load();
        if plans.apps().any(|terms| terms.account == account) {
            Ok((account, AppName::every()))
        } else {
            Err(Error::AccountWithoutApps(account))
        }
    }
}
