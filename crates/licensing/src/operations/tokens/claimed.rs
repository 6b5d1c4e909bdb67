//! The tokens that calls have won, and their outcomes.

use std::sync::Arc;
use std::time::Duration;

use model::{CallId, RequestToken, RequestTokenId};

use super::RequestTokens;
use crate::meter::{HeldUnits, Reservation};

/// A token that one call has won. If it is dropped unfinished, it is given back: nobody was reached
/// with it.
#[derive(Debug)]
pub struct ClaimedToken {
    tokens: Arc<RequestTokens>,
    token: RequestToken,
    call_id: CallId,
    /// The units of its license's lease that are held for this call, until they are put into a
    /// reservation.
    pub leased: Option<HeldUnits>,
    open: bool,
}

/// The outcome of a claimed token.
#[derive(Clone, Copy)]
enum Outcome {
    Finished { status: u16 },
    Released { leased: Option<(u32, u64)> },
}

impl ClaimedToken {
    pub(super) const fn new(
        tokens: Arc<RequestTokens>,
        token: RequestToken,
        call_id: CallId,
        leased: Option<HeldUnits>,
    ) -> Self {
        Self {
            tokens,
            token,
            call_id,
            leased,
            open: true,
        }
    }

    /// Returns the token, as it was when it was claimed.
    #[must_use]
    pub const fn token(&self) -> &RequestToken {
        &self.token
    }

    /// Makes the use of the token final: the call has a status (0: it reached somebody and has
    /// none). Returns when that is stored. What cannot be stored is tried again for a while, and
    /// the token stays claimed, so that nobody can use it either.
    pub async fn finish(mut self, status: u16) {
        self.open = false;
        let (id, call_id) = (self.token.id, self.call_id);
        let outcome = Outcome::Finished { status };
        self.tokens.store_outcome(id, call_id, outcome).await;
    }

    /// Finishes like [`ClaimedToken::finish`], for those who cannot wait.
    pub fn finish_soon(self, status: u16) {
        let runtime = self.tokens.runtime.clone();
        runtime.spawn(self.finish(status));
    }

    /// Gives the token back, and returns when it can be used again, or the store takes too long to
    /// say so.
    pub async fn give_back(mut self) {
        let release = self.spawn_release();
        let _ = tokio::time::timeout(self.tokens.timeout, release).await;
    }

    /// Gives the token back, with the units that a reservation holds for it: the call reached
    /// nobody.
    pub fn release(mut self, reservation: Option<&mut Reservation>) {
        if let Some(held) = reservation.and_then(Reservation::let_go) {
            self.leased = Some(held);
        }
    }

    fn spawn_release(&mut self) -> tokio::task::JoinHandle<()> {
        self.open = false;
        let (tokens, id, call_id) = (self.tokens.clone(), self.token.id, self.call_id);
        let leased = self.leased.map(|held| (held.epoch, held.units));
        self.tokens.runtime.spawn(async move {
            let outcome = Outcome::Released { leased };
            tokens.store_outcome(id, call_id, outcome).await;
        })
    }
}

impl Drop for ClaimedToken {
    fn drop(&mut self) {
        if self.open {
            drop(self.spawn_release());
        }
    }
}

impl RequestTokens {
    /// The number of tries to write the outcome of a token while the store does not answer.
    const MAX_TRIES: u32 = 5;

    /// Writes the outcome of a token, again and again while the store does not answer.
    async fn store_outcome(&self, id: RequestTokenId, call_id: CallId, outcome: Outcome) {
        let mut pause = Duration::from_millis(100);
        for _ in 0..Self::MAX_TRIES {
            match self.try_store_outcome(id, call_id, outcome).await {
                Ok(_) => return,
                Err(error) => tracing::warn!(%error, "what became of a token cannot be kept yet"),
            }
            tokio::time::sleep(pause).await;
            pause *= 4;
        }
    }

    async fn try_store_outcome(
        &self,
        id: RequestTokenId,
        call_id: CallId,
        outcome: Outcome,
    ) -> Result<bool, store::Error> {
        let tokens = self.store.tokens()?;
        match outcome {
            Outcome::Finished { status } => {
                let at = self.clock.now();
                tokens.finish_token(id, call_id, status, at).await
            }
            Outcome::Released { leased } => tokens.release_token(id, call_id, leased).await,
        }
    }
}
