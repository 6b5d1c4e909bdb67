//! The operations on API keys with somebody's name to them.

use model::LicenseId;
use serde_json::{Value, json};

use super::acting::{Acting, shown};
use super::api_keys::{
    ApiKeyOwner, ApiKeyPolicy, ApiKeyRequest, ApiKeyUpdate, ApiKeyView, IssuedApiKey,
};
use crate::error::Error;

impl Acting {
    /// As [`Licensing::create_api_key`](crate::Licensing::create_api_key).
    ///
    /// # Errors
    /// As that.
    pub async fn create_api_key(
        &self,
        policy: &ApiKeyPolicy,
        request: ApiKeyRequest,
    ) -> Result<IssuedApiKey, Error> {
        let issued = self.licensing().create_api_key(policy, request).await?;
        let license = &issued.view.license;
        let entry = self
            .entry("api-key.create", license.id)
            .of(&license.account)
            .between(None::<&Value>, Some(&shown_key(&issued.view)));
        self.licensing().audit(vec![entry]).await;
        Ok(issued)
    }

    /// As [`Licensing::update_api_key`](crate::Licensing::update_api_key).
    ///
    /// # Errors
    /// As that.
    pub async fn update_api_key(
        &self,
        policy: &ApiKeyPolicy,
        owner: &ApiKeyOwner,
        id: LicenseId,
        update: ApiKeyUpdate,
    ) -> Result<ApiKeyView, Error> {
        let before = self.licensing().api_key(owner, id).await?;
        let updating = self.licensing().update_api_key(policy, owner, id, update);
        let after = updating.await?;
        let entry = self
            .entry("api-key.change", id)
            .of(&after.license.account)
            .between(Some(&shown_key(&before)), Some(&shown_key(&after)));
        self.licensing().audit(vec![entry]).await;
        Ok(after)
    }

    /// As [`Licensing::delete_api_key`](crate::Licensing::delete_api_key).
    ///
    /// # Errors
    /// As that.
    pub async fn delete_api_key(&self, owner: &ApiKeyOwner, id: LicenseId) -> Result<(), Error> {
        let before = self.licensing().api_key(owner, id).await?;
        self.licensing().delete_api_key(owner, id).await?;
        let entry = self
            .entry("api-key.delete", id)
            .of(&before.license.account)
            .between(Some(&shown_key(&before)), None::<&Value>);
        self.licensing().audit(vec![entry]).await;
        Ok(())
    }

    /// As [`Licensing::delete_expired_api_keys`](crate::Licensing::delete_expired_api_keys); one line says how many.
    ///
    /// # Errors
    /// As that.
    pub async fn delete_expired_api_keys(&self, owner: &ApiKeyOwner) -> Result<u64, Error> {
        let deleted = self.licensing().delete_expired_api_keys(owner).await?;
        if deleted > 0 {
            let entry = self.entry("api-key.delete-expired", "");
            let entry = match &owner.account {
                Some(account) => entry.of(account),
                None => entry,
            };
            let state = json!({ "deleted": deleted });
            let entry = entry.between(None::<&Value>, Some(&state));
            self.licensing().audit(vec![entry]).await;
        }
        Ok(deleted)
    }
}

/// An API key as the log shows it: its license, and what it has beyond that. What its owner keeps with it is theirs alone.
fn shown_key(view: &ApiKeyView) -> Value {
    let mut value = shown(&view.license);
    if let Value::Object(fields) = &mut value {
        let key = &view.key;
        let metadata = key.metadata.as_ref().map(|_| "not shown");
        for (name, said) in [
            ("name", json!(key.name)),
            ("prefix", json!(key.prefix)),
            ("metadata", json!(metadata)),
            ("resource_permissions", json!(key.permissions)),
            ("rate", json!(view.rate)),
            ("rate_enabled", json!(view.rate_enabled)),
        ] {
            fields.insert(name.to_owned(), said);
        }
    }
    value
}
