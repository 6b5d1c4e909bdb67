//! What all threads and apps share to decide on agents.

use std::sync::Arc;
use std::time::Duration;

use agents::directory::{Fetch, FetchFailure, Fetched};
use agents::web_bot_auth::{Request, UnverifiedReason};
use agents::{CurrentRecognizer, Directories, Judgement, Recognizer, Verifier};
use arc_swap::Guard;
use model::agent::AgentPolicy;
use model::{AccountName, Timestamp};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// A source of the policies of accounts, out of memory.
pub trait Policies: Send + Sync + 'static {
    /// Returns the policy of an account; `None`: it is not known now.
    fn policy(&self, account: &AccountName) -> Option<Arc<AgentPolicy>>;
}

/// What all threads and apps share to decide on agents: which there are, the keys of those who sign,
/// the signatures that were used, and the policies. It does no I/O: whoever fetches directories asks
/// [`Agents::next_fetch`].
pub struct Agents {
    recognizer: Arc<CurrentRecognizer>,
    verifier: Verifier,
    directories: Directories,
    policies: Box<dyn Policies>,
    /// Wakes whoever fetches directories.
    wanted: Notify,
    /// Wakes those who wait for a directory.
    arrived: Notify,
}

impl Agents {
    /// The time for which a call waits for a directory that was never fetched.
    pub const FIRST_SIGHT: Duration = Duration::from_secs(1);

    /// Returns what decides on the agents that are known at any time, by these policies.
    #[must_use]
    pub fn new(recognizer: Arc<CurrentRecognizer>, policies: impl Policies) -> Self {
        let agents = Self {
            recognizer,
            verifier: Verifier::default(),
            directories: Directories::default(),
            policies: Box::new(policies),
            wanted: Notify::new(),
            arrived: Notify::new(),
        };
        agents.trust_list();
        agents
    }

    /// Takes sets of keys of the agents that are known now. Whoever replaces the list says so here.
    pub fn trust_list(&self) {
        self.directories.trust(self.recognizer.load().known());
    }

    /// Returns the recognizer of the agents that are known now.
    pub fn recognizer(&self) -> Guard<Arc<Recognizer>> {
        self.recognizer.load()
    }

    /// Returns the policy of an account; `None`: it is not known now.
    pub fn policy(&self, account: &AccountName) -> Option<Arc<AgentPolicy>> {
        self.policies.policy(account)
    }

    /// Judges the signatures of a request. Waits up to [`Agents::FIRST_SIGHT`] for a directory that
    /// was never fetched; what is unknown then is unverified. A signature that holds is used up.
    pub async fn judge(&self, request: &Request<'_>, now: Timestamp) -> Judgement {
        let until = Instant::now() + Self::FIRST_SIGHT;
        loop {
            // Before the question, so that what comes between it and the wait is heard.
            let mut arrived = std::pin::pin!(self.arrived.notified());
            arrived.as_mut().enable();
            let judgement = self.verifier.judge(request, &self.directories, now);
            self.wanted.notify_one();
            let is_unknown = judgement == Judgement::Unverified(UnverifiedReason::DirectoryUnknown);
            if !is_unknown || timeout_at(until, arrived).await.is_err() {
                return judgement;
            }
        }
    }

    /// Waits until a directory may be wanted.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Returns the next directory to fetch; `None`: there is none, or enough are being fetched.
    pub fn next_fetch(&self, now: Timestamp) -> Option<Fetch> {
        self.directories.next(now)
    }

    /// Takes what came of a fetch.
    pub fn fetched(&self, fetch: Fetch, came: Result<Fetched, FetchFailure>, now: Timestamp) {
        self.directories.finished(fetch, came, now);
        self.arrived.notify_waiters();
        // Others may have waited for a free place.
        self.wanted.notify_one();
    }
}

impl std::fmt::Debug for Agents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agents").finish_non_exhaustive()
    }
}
