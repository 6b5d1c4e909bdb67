//! The task that ends what has expired.

use std::sync::Arc;
use std::time::Duration;

use model::{Clock, Timestamp};
use store::Store;

use crate::audit::AuditLog;

/// The task that ends request tokens whose time is over, removes old tokens and claims, and writes
/// the audit lines that wait.
pub(crate) struct ExpiryTask {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) audit: Arc<AuditLog>,
}

impl ExpiryTask {
    /// The number of tokens or claims that one statement ends.
    const BATCH_SIZE: usize = 1_000;
    /// The time for which the outcome of a token can be asked for.
    const RESULT_TTL: Duration = Duration::from_secs(30 * 24 * 3_600);

    /// Ends what has expired, once a second, for ever.
    pub(crate) async fn run(&self) {
        const EXPIRY_INTERVAL: Duration = Duration::from_secs(1);
        loop {
            tokio::time::sleep(EXPIRY_INTERVAL).await;
            let now = self.clock.now();
            self.audit.end_minutes(now).await;
            if let Err(error) = self.expire(now).await {
                tracing::debug!(%error, "what has expired cannot be swept");
            }
        }
    }

    async fn expire(&self, now: Timestamp) -> Result<(), store::Error> {
        if let Ok(tokens) = self.store.tokens() {
            while tokens.expire_tokens(now, Self::BATCH_SIZE).await? == Self::BATCH_SIZE {}
            let kept = i64::try_from(Self::RESULT_TTL.as_micros()).unwrap_or(i64::MAX);
            let before = now.plus_micros(-kept);
            tokens.forget_tokens(before, Self::BATCH_SIZE).await?;
        }
        if let Ok(claims) = self.store.claims() {
            claims.sweep_claims(now, Self::BATCH_SIZE).await?;
        }
        Ok(())
    }
}
