//! The gate for those who spend without forwarding: one lane of the journal, shared by all threads of the control plane.

use std::sync::Arc;
use std::time::Duration;

use licensing::{CachedLicense, IssuedToken};
use model::{Address, CallFacts, LicenseId, Method, NormalPath, Refusal, Timestamp};

use crate::admit::Gate;
use crate::refused::Refused;
use crate::spend::{Spend, Spent};
use crate::token::{ConsumeToken, ConsumedToken, IssueToken};
use crate::worker::Worker;

/// Spends for whoever asks, from any thread. One for a process.
pub struct Spender {
    gate: Arc<Gate>,
    worker: Arc<Worker>,
}

impl Spender {
    /// Spends through a worker whose lane no proxy thread has.
    #[must_use]
    pub const fn new(gate: Arc<Gate>, worker: Arc<Worker>) -> Self {
        Self { gate, worker }
    }

    /// Follows the clock, writes folded refusals and wakes who waits for the disk, until the journal is shut down. Spawn it,
    /// once.
    pub async fn run(self: Arc<Self>) {
        let ticking = async {
            let mut seconds = tokio::time::interval(Duration::from_secs(1));
            loop {
                seconds.tick().await;
                self.tick();
            }
        };
        tokio::select! {
            () = self.worker.bell().serve() => {}
            () = ticking => {}
        }
    }

    /// Follows the clock and writes folded refusals now. [`Spender::run`] does it once a second.
    pub fn tick(&self) {
        self.worker.tick();
    }

    /// See [`Gate::spend`].
    ///
    /// # Errors
    /// As [`Gate::spend`].
    pub async fn spend(&self, spend: Spend<'_>) -> Result<Spent, Refused> {
        self.gate.spend(&self.worker, spend).await
    }

    /// See [`Gate::issue_token`].
    ///
    /// # Errors
    /// As [`Gate::issue_token`].
    pub async fn issue_token(&self, wish: IssueToken<'_>) -> Result<IssuedToken, Refused> {
        self.gate.issue_token(&self.worker, wish).await
    }

    /// See [`Gate::consume_token`].
    ///
    /// # Errors
    /// As [`Gate::consume_token`].
    pub async fn consume_token(&self, consume: ConsumeToken<'_>) -> Result<ConsumedToken, Refused> {
        self.gate.consume_token(&self.worker, consume).await
    }

    /// The license that a credential belongs to, whatever the state of either and whichever the app; nothing is spent or
    /// recorded.
    ///
    /// # Errors
    /// [`Refusal::LicenseUnknown`]; [`Refusal::LicenseStoreUnavailable`] where that cannot be told.
    pub async fn look_up(&self, credential: &[u8]) -> Result<Arc<CachedLicense>, Refusal> {
        self.gate
            .look_up(&self.worker, credential, self.worker.now())
            .await
    }

    /// A license by its id, as [`Spender::look_up`] gives it.
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

    /// The ordered check short of rate limits and quota; nothing is spent or recorded.
    ///
    /// # Errors
    /// The first rule that refuses.
    pub fn check(
        &self,
        entry: &CachedLicense,
        address: Option<Address>,
        target: Option<(Method, &NormalPath<'_>)>,
    ) -> Result<(), Refusal> {
        entry.check(&CallFacts {
            now: self.now(),
            address,
            target: target.map(|(method, path)| (method, path.as_str())),
        })
    }

    /// The time by which it judges.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.worker.wall(self.worker.now())
    }

    /// The gate.
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
