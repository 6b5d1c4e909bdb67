//! What webhooks need of others: secrets are sealed, and licenses are looked up.

use async_trait::async_trait;
use model::{AccountName, AppName, Event, WebhookId};
use store::SealedKey;
use zeroize::Zeroizing;

use crate::body::Facts;

/// A seal for the secrets that lie in the store, so that who reads it cannot sign.
pub trait Seal: Send + Sync + 'static {
    /// Seals the secret of a webhook.
    fn seal(&self, webhook: WebhookId, secret: &str) -> SealedKey;

    /// Returns the secret that was sealed for this webhook; `None`: it was sealed for another, or by
    /// nobody.
    fn open(&self, webhook: WebhookId, sealed: &SealedKey) -> Option<Zeroizing<Vec<u8>>>;
}

/// A source of facts about licenses and apps.
#[async_trait]
pub trait Licenses: Send + Sync + 'static {
    /// Returns the account that sells an app; `None`: there is no such app.
    fn account_of(&self, app: &AppName) -> Option<AccountName>;

    /// Returns what AuthForge's form tells of the license and the app of an event beside it.
    ///
    /// # Errors
    /// The store fails.
    async fn facts(&self, event: &Event) -> Result<Facts, store::Error>;
}
