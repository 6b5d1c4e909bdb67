//! Operations that show, change and delete API keys.

use model::{ApiKeyRule, LicenseId, LicenseStatus, Limits, RateLimit, Timestamp};
use store::{ApiKeyChange, ApiKeyPage, AuditEntries, Changed, LicenseChange, StoredApiKey};

use super::super::acting::AuditedLicensing;
use super::super::validate;
use super::view::shown_key;
use super::{ApiKeyOwner, ApiKeyPolicy, ApiKeyUpdate, ApiKeyView};
use crate::error::Error;
use crate::licensing::Licensing;

impl Licensing {
    /// Returns an API key.
    ///
    /// # Errors
    /// The owner has no such key, or the store fails.
    pub async fn api_key(&self, owner: &ApiKeyOwner, id: LicenseId) -> Result<ApiKeyView, Error> {
        let stored = self.own_api_key(owner, id).await?;
        self.api_key_view(stored).await
    }

    /// Returns up to `page.limit` (1 to 1,000) API keys of an owner, those after `after` if that is
    /// given, and the number of all of them.
    ///
    /// # Errors
    /// The store fails.
    pub async fn api_keys(
        &self,
        owner: &ApiKeyOwner,
        after: Option<LicenseId>,
        page: ApiKeyPage,
    ) -> Result<(Vec<ApiKeyView>, u64), Error> {
        if let Some(own) = owner.license {
            let own = self.own_api_key(owner, own).await.ok();
            let shown = own.into_iter().skip(usize::from(page.offset > 0));
            let shown: Vec<_> = shown
                .filter(|stored| after.is_none_or(|after| stored.key.license_id > after))
                .collect();
            let total = shown.len() as u64;
            return Ok((self.api_key_views(shown).await?, total));
        }
        let page = ApiKeyPage {
            limit: page.limit.clamp(1, 1_000),
            ..page
        };
        let (stored, total) = self
            .api_key_store()?
            .api_keys(owner.filter(after), page)
            .await?;
        Ok((self.api_key_views(stored).await?, total))
    }
}

impl AuditedLicensing {
    /// Changes an API key, wholly or not at all. The units that are left are set only if
    /// `remaining` is given; the number of uses never is.
    ///
    /// # Errors
    /// The owner has no such key, the update changes nothing or to something impossible, or the
    /// store fails.
    pub async fn update_api_key(
        &self,
        policy: &ApiKeyPolicy,
        owner: &ApiKeyOwner,
        id: LicenseId,
        update: ApiKeyUpdate,
    ) -> Result<ApiKeyView, Error> {
        let stored = self.own_api_key(owner, id).await?;
        let now = self.clock.now();
        let change = changes(policy, &stored, update, now)?;
        let audit_writer = self.own_audit_writer();
        let entries =
            AuditEntries::from_result(move |Changed { before, after }: &Changed<StoredApiKey>| {
                let line = audit_writer.line("api-key.change", id);
                let line = line.of(&after.license.license.account);
                vec![line.between(Some(&shown_key(before)), Some(&shown_key(after)))]
            });
        let changing = self.api_key_store()?.change_api_key(id, change, entries);
        let changed = changing.await?;
        let changed = changed.ok_or(Error::ApiKeyUnknown(id))?;
        self.changes.note_own(&changed.license, None);
        self.api_key_view(changed).await
    }

    /// Deletes an API key: it opens nothing any more and is shown to nobody. Its record is kept
    /// with its license.
    ///
    /// # Errors
    /// The owner has no such key, or the store fails.
    pub async fn delete_api_key(&self, owner: &ApiKeyOwner, id: LicenseId) -> Result<(), Error> {
        self.own_api_key(owner, id).await?;
        let revoked = LicenseStatus::Revoked;
        self.set_status_as(id, revoked, "api-key.delete").await?;
        Ok(())
    }

    /// Deletes the API keys of an owner that have ended. Returns their number.
    ///
    /// # Errors
    /// The store fails. Keys that were deleted before that stay deleted.
    pub async fn delete_expired_api_keys(&self, owner: &ApiKeyOwner) -> Result<u64, Error> {
        const BATCH_SIZE: usize = 1_000;
        let mut deleted = 0;
        loop {
            let now = self.clock.now();
            let filter = owner.filter(None);
            let mut ended = self
                .api_key_store()?
                .expired_api_keys(filter, now, BATCH_SIZE)
                .await?;
            let last = ended.len() < BATCH_SIZE;
            ended.retain(|id| owner.license.is_none_or(|own| own == *id));
            for id in ended {
                let revoked = LicenseStatus::Revoked;
                self.set_status_as(id, revoked, "api-key.delete-expired")
                    .await?;
                deleted += 1;
            }
            if last || owner.license.is_some() {
                return Ok(deleted);
            }
        }
    }
}

/// Returns the change of the store that an update asks for.
fn changes(
    policy: &ApiKeyPolicy,
    stored: &StoredApiKey,
    update: ApiKeyUpdate,
    now: Timestamp,
) -> Result<ApiKeyChange, Error> {
    if update.is_empty() {
        return Err(ApiKeyRule::NothingToChange.into());
    }
    if let Some(name) = &update.name {
        policy.name(name.as_deref())?;
    }
    if matches!(update.metadata, Some(Some(_))) && !policy.metadata {
        return Err(ApiKeyRule::MetadataDisabled.into());
    }
    let mut license = Vec::new();
    if let Some(enabled) = update.enabled {
        license.push(LicenseChange::Status(if enabled {
            LicenseStatus::Active
        } else {
            LicenseStatus::Disabled
        }));
    }
    if let Some(end) = update.end {
        license.push(LicenseChange::ExpiresAt(policy.end(end, now)?));
    }
    let (limits, parked) = limits(policy, stored, &update);
    validate::limits(&limits, &stored.license.license.spec.limits)?;
    if limits != stored.license.license.spec.limits || update.remaining.is_some() {
        let counted = stored.license.license.spec.limits.remaining.is_some();
        license.push(LicenseChange::Limits {
            balance: update.remaining.is_some() || counted != limits.remaining.is_some(),
            limits,
        });
    }
    Ok(ApiKeyChange {
        name: update.name,
        metadata: update.metadata,
        permissions: update.permissions,
        parked_rate: Some(parked),
        license,
        updated_at: now,
    })
}

/// Returns the limits after an update, and the rate limit that is kept while it does not hold.
fn limits(
    policy: &ApiKeyPolicy,
    stored: &StoredApiKey,
    update: &ApiKeyUpdate,
) -> (Limits, Option<RateLimit>) {
    let before = &stored.license.license.spec.limits;
    let held = before.rate_limits.first().copied();
    let rate = update.rate.map(|limit| policy.windowed(limit));
    let rate = rate.or(held).or(stored.key.parked_rate);
    let enabled = update.rate_enabled.unwrap_or(held.is_some());
    let limits = Limits {
        remaining: update.remaining.unwrap_or(before.remaining),
        refill: update.refill.unwrap_or(before.refill),
        rate_limits: rate.filter(|_| enabled).into_iter().collect(),
        concurrency: before.concurrency,
    };
    (limits, rate.filter(|_| !enabled))
}

impl ApiKeyUpdate {
    /// Returns whether the update changes nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.name.is_none()
            && self.enabled.is_none()
            && self.end.is_none()
            && self.metadata.is_none()
            && self.permissions.is_none()
            && self.remaining.is_none()
            && self.refill.is_none()
            && self.rate.is_none()
            && self.rate_enabled.is_none()
    }
}
