//! When API keys were used, written down a moment later: nobody waits for it, and a crash loses the last second of it.

use std::collections::HashMap;
use std::time::Duration;

use model::{LicenseId, Timestamp};
use parking_lot::Mutex;

use crate::licensing::Licensing;

/// The last use of each API key that is not in the store yet. Bounded by the keys that are cached.
#[derive(Default)]
pub(crate) struct Requests(Mutex<HashMap<LicenseId, Timestamp>>);

impl Requests {
    /// Most keys that are remembered at once; the use of more of them in one second is not noted.
    const MAX_KEYS: usize = 1_000_000;

    pub(crate) fn note(&self, id: LicenseId, at: Timestamp) {
        let mut requests = self.0.lock();
        if requests.len() < Self::MAX_KEYS || requests.contains_key(&id) {
            let last = requests.entry(id).or_insert(at);
            *last = at.max(*last);
        }
    }

    pub(crate) fn of(&self, id: LicenseId) -> Option<Timestamp> {
        self.0.lock().get(&id).copied()
    }

    fn all(&self) -> Vec<(LicenseId, Timestamp)> {
        let requests = self.0.lock();
        requests.iter().map(|(id, at)| (*id, *at)).collect()
    }

    /// Forgets what was written down, unless it is newer by now.
    fn written(&self, written: &[(LicenseId, Timestamp)]) {
        let mut requests = self.0.lock();
        for (id, at) in written {
            if requests.get(id).is_some_and(|last| last <= at) {
                requests.remove(id);
            }
        }
    }
}

impl Licensing {
    /// Writes down once a second when API keys were used.
    pub(crate) async fn serve_requests(&self) {
        const WRITE_INTERVAL: Duration = Duration::from_secs(1);
        loop {
            tokio::time::sleep(WRITE_INTERVAL).await;
            self.write_requests().await;
        }
    }

    /// Writes down when API keys were used, as before the end of the process. What cannot be written is kept.
    pub async fn write_requests(&self) {
        const BATCH_SIZE: usize = 10_000;
        for requests in self.hub.requests.all().chunks(BATCH_SIZE) {
            let write = async {
                self.store
                    .api_keys()?
                    .note_requests(requests.to_vec())
                    .await
            };
            match write.await {
                Ok(()) => self.hub.requests.written(requests),
                Err(error) => {
                    tracing::debug!(%error, "the use of api keys cannot be noted");
                    return;
                }
            }
        }
    }
}
