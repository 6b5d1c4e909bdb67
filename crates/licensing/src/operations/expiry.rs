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
    /// The number of statements that remove claims at once: of nonces there is one for each
    /// validation.
    const MAX_BATCHES: usize = 50;
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
            for _ in 0..Self::MAX_BATCHES {
                if claims.sweep_claims(now, Self::BATCH_SIZE).await? < Self::BATCH_SIZE {
                    break;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operations::{RequestTokens, TokenRequest};
    use crate::testing::{Disk, Memory, counted};
    use model::{KeyHasher, Method, TokenState};

    #[tokio::test]
    async fn a_token_that_nobody_used_ends_in_its_time_and_its_units_come_back() {
        let memory = Memory::new(false);
        let disk = Disk::new(&memory.clock).await;
        disk.create("a", &counted(10)).await;
        let license = memory.fill("a", &counted(10), 1).expect("it is filled");
        let (store, clock) = (disk.store.clone(), memory.clock.clone());
        let tokens = RequestTokens::new(
            store.clone(),
            KeyHasher::new(&[7; 32]),
            clock.clone(),
            disk.instance,
            Duration::from_secs(10),
        );
        let request = TokenRequest {
            license: &license,
            method: Method::Get,
            path: "/",
            units: 3,
            lifetime: Duration::from_secs(60),
        };
        let issued = tokens.issue(&request).await.expect("10 are left");
        let task = ExpiryTask {
            audit: AuditLog::new(store.clone(), clock.clone()),
            store: store.clone(),
            clock: clock.clone(),
        };
        let leased = async || {
            let balance = store.balance(license.license().id, clock.now()).await;
            balance.expect("it answers").expect("it is counted").leased
        };
        assert_eq!(leased().await, 3);
        clock.advance(Duration::from_secs(61));
        task.expire(clock.now()).await.expect("the store answers");
        assert_eq!(leased().await, 0);
        let found = tokens.find(issued.secret.expose().as_bytes()).await;
        let found = found.expect("it answers").expect("it is kept");
        assert_eq!(found.state, TokenState::Expired);
    }
}
