//! The recovery of lost claims: claims of tokens whose answer was lost. The call is refused, so
//! what its claim may have won is given back, or the holder's next try would find the token used.

use std::sync::Arc;
use std::time::Duration;

use model::{CallId, KeyHash, TokenState};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::RequestTokens;

/// The permits to look after claims that were not answered, at most 1,024 at a time.
pub(super) struct LostClaimPermits(Arc<Semaphore>);

/// The time for which a store that is away is waited for: the usual life of a token.
const STORE_TIMEOUT: Duration = Duration::from_secs(300);
/// The pause between two checks, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// The number of checks that must find no claim: it may be on its way when the first check is made.
const MIN_ANSWERS: u32 = 3;

impl RequestTokens {
    /// Checks in the background whether a claim that was not answered was done all the same, and
    /// gives the token back then.
    pub(super) fn recover_lost_claim(self: &Arc<Self>, hash: KeyHash, call_id: CallId) {
        let Some(permit) = self.lost_claim_permits.take() else {
            tracing::warn!("too many claims without an answer: tokens may stay claimed");
            return;
        };
        let tokens = self.clone();
        self.runtime.spawn(async move {
            let _permit = permit;
            let deadline = Instant::now() + STORE_TIMEOUT;
            let (mut pause, mut checks) = (FIRST_PAUSE, 0);
            while checks < MIN_ANSWERS && Instant::now() < deadline {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(MAX_PAUSE);
                match tokens.give_back_claim(hash, call_id).await {
                    Ok(true) => return,
                    Ok(false) => checks += 1,
                    Err(error) => tracing::debug!(%error, "a claim cannot be looked after yet"),
                }
            }
        });
    }

    /// Returns whether a call has a token, and gives it back then.
    async fn give_back_claim(
        self: &Arc<Self>,
        hash: KeyHash,
        call_id: CallId,
    ) -> Result<bool, store::Error> {
        let token = self.store.tokens()?.token(hash, self.clock.now()).await?;
        let is_claimed = token.is_some_and(|token| {
            token.state == TokenState::Claimed && token.call_id == Some(call_id)
        });
        if !is_claimed {
            return Ok(false);
        }
        // The claim returns again what it won, units included; dropped, it is given back.
        drop(self.try_claim(hash, call_id).await?);
        Ok(true)
    }
}

impl LostClaimPermits {
    /// The number of claims that are looked after at once. Further ones stay as they are.
    const MAX_LOST_CLAIMS: usize = 1_024;

    /// Returns a permit to look after one claim; `None`: all are taken.
    fn take(&self) -> Option<OwnedSemaphorePermit> {
        self.0.clone().try_acquire_owned().ok()
    }
}

impl Default for LostClaimPermits {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(Self::MAX_LOST_CLAIMS)))
    }
}
