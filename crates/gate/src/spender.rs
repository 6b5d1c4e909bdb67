//! The gate for the control plane, which spends without forwarding: one lane of the journal, shared
//! by all its threads.

use std::sync::Arc;
use std::time::Duration;

use licensing::{CachedLicense, IssuedToken};
use model::{AccountName, CallId, LicenseId, Refusal, Timestamp};

use crate::gate::Gate;
use crate::held::Held;
use crate::note::Note;
use crate::refused::Refused;
use crate::spend::{Spend, Spent};
use crate::token::{ConsumeToken, ConsumedToken, IssueToken};
use crate::worker::Worker;

/// The gate with a worker of its own, for spending from any thread. One per process.
pub struct Spender {
    gate: Arc<Gate>,
    worker: Arc<Worker>,
}

impl Spender {
    /// Returns a spender that uses a worker whose lane no proxy thread has.
    #[must_use]
    pub const fn new(gate: Arc<Gate>, worker: Arc<Worker>) -> Self {
        Self { gate, worker }
    }

    /// Follows the clock, writes folded refusals and wakes the tasks that wait for the disk, until
    /// the journal is shut down. Spawn it, once.
    pub async fn run(self: Arc<Self>) {
        let ticking = async {
            let mut seconds = tokio::time::interval(Duration::from_secs(1));
            loop {
                seconds.tick().await;
                self.tick();
            }
        };
        tokio::select! {
            () = self.worker.durable_notifier().serve() => {}
            () = ticking => {}
        }
    }

    /// Follows the clock and writes folded refusals now. [`Spender::run`] does it once a second.
    pub fn tick(&self) {
        self.worker.tick();
    }

    /// Spends as [`Gate::spend`].
    ///
    /// # Errors
    /// As [`Gate::spend`].
    pub async fn spend(&self, spend: Spend<'_>) -> Result<Spent, Refused> {
        self.gate.spend(&self.worker, spend).await
    }

    /// Takes the units of a use as [`Gate::hold`], to be recorded or given back.
    ///
    /// # Errors
    /// As [`Gate::hold`].
    pub async fn hold<'a>(&'a self, spend: Spend<'a>) -> Result<Held<'a>, Refused> {
        self.gate.hold(&self.worker, spend).await
    }

    /// Records a call that was decided on elsewhere and that no license pays for.
    ///
    /// # Errors
    /// [`Refusal::AppUnknown`]: there is no such app. [`Refusal::JournalUnavailable`]: there is no
    /// room for the record, or it cannot be found out whether it is kept.
    pub async fn note(&self, note: Note<'_>) -> Result<CallId, Refused> {
        self.gate.note(&self.worker, note).await
    }

    /// Issues a token as [`Gate::issue_token`].
    ///
    /// # Errors
    /// As [`Gate::issue_token`].
    pub async fn issue_token(&self, request: IssueToken<'_>) -> Result<IssuedToken, Refused> {
        self.gate.issue_token(&self.worker, request).await
    }

    /// Uses a token as [`Gate::consume_token`].
    ///
    /// # Errors
    /// As [`Gate::consume_token`].
    pub async fn consume_token(&self, consume: ConsumeToken<'_>) -> Result<ConsumedToken, Refused> {
        self.gate.consume_token(&self.worker, consume).await
    }

    /// Returns the license of a credential, whatever the state of either and whichever the app.
    /// Nothing is spent or recorded.
    ///
    /// # Errors
    /// [`Refusal::LicenseUnknown`] (for access tokens [`Refusal::TokenInvalid`]), or
    /// [`Refusal::LicenseStoreUnavailable`] where that cannot be found out.
    pub async fn look_up(&self, credential: &[u8]) -> Result<Arc<CachedLicense>, Refusal> {
        self.gate
            .look_up(&self.worker, credential, self.worker.now())
            .await
    }

    /// Returns the license with this id, as [`Spender::look_up`] does.
    ///
    /// # Errors
    /// As [`Spender::look_up`].
    pub async fn license(&self, id: LicenseId) -> Result<Arc<CachedLicense>, Refusal> {
        let found = self
            .worker
            .admission
            .license_by_id(id, self.worker.now())
            .await?;
        found.ok_or(Refusal::LicenseUnknown)
    }

    /// Returns the wallet of an account, which pays as [`Payer::Other`](crate::Payer::Other) for what costs credits;
    /// `None`: its credits are not counted.
    ///
    /// # Errors
    /// [`Refusal::LicenseStoreUnavailable`] where that cannot be found out.
    pub async fn wallet(
        &self,
        account: &AccountName,
    ) -> Result<Option<Arc<CachedLicense>>, Refusal> {
        let now = self.worker.now();
        self.worker.admission.wallet(account, now).await
    }

    /// Returns the time by which licenses are checked.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.worker.wall(self.worker.now())
    }

    /// Returns the gate.
    #[must_use]
    pub const fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }
}

impl std::fmt::Debug for Spender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spender")
            .field("worker", &self.worker)
            .finish_non_exhaustive()
    }
}
