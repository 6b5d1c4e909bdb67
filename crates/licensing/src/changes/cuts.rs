//! The task that lets running calls learn what became of licenses that other gates changed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use model::{CredentialId, LicenseId, Timestamp};
use store::Store;

use crate::cache::LicenseCache;
use crate::options::LicensingOptions;

/// The task that reads the status of licenses with pending cuts, so that their running calls are
/// cut.
pub(super) struct CutLearner {
    store: Arc<dyn Store>,
    cache: Arc<LicenseCache>,
    /// The pause before licenses are read again that could not be read.
    retry_pause: Duration,
}

impl CutLearner {
    /// The number of licenses that one statement reads.
    const LICENSES_AT_ONCE: usize = 256;

    pub(super) fn new(
        options: &LicensingOptions,
        store: Arc<dyn Store>,
        cache: Arc<LicenseCache>,
    ) -> Self {
        Self {
            store,
            cache,
            retry_pause: options.change_poll / 4,
        }
    }

    /// Reads for ever what running calls must know of licenses that other gates changed.
    pub(super) async fn run(&self) {
        let pending = self.cache.pending_cuts();
        loop {
            let ids = pending.take();
            if ids.is_empty() {
                pending.woken().await;
            }
            let known = ids.into_iter().filter(|id| self.cache.state(*id).is_some());
            let known: Vec<_> = known.collect();
            let mut failed = HashSet::new();
            for some in known.chunks(Self::LICENSES_AT_ONCE) {
                match self.learn(some).await {
                    Ok(older) => failed.extend(older),
                    Err(_) => failed.extend(some),
                }
            }
            if !failed.is_empty() {
                pending.extend(failed);
                tokio::time::sleep(self.retry_pause).await;
            }
        }
    }

    /// Reads some licenses for their running calls. Returns those of which an older version was
    /// read than is known.
    async fn learn(&self, ids: &[LicenseId]) -> Result<Vec<LicenseId>, store::Error> {
        let stored = self.store.licenses_by_ids(ids.to_vec()).await?;
        let stored: HashMap<_, _> = stored
            .into_iter()
            .map(|stored| (stored.license.id, stored))
            .collect();
        let ends = self.token_ends(ids).await?;
        let _log = self.cache.log();
        let mut older = Vec::new();
        for id in ids {
            let Some(state) = self.cache.state(*id) else {
                continue;
            };
            match stored.get(id) {
                None => state.learn_gone(),
                Some(stored) if stored.version < state.version() => older.push(*id),
                Some(stored) => {
                    let of_it = |token: CredentialId| ends.get(&token).map(|end| (token, *end));
                    let tokens = state.tokens();
                    tokens.learn(tokens.all().into_iter().filter_map(of_it));
                    state.learn_all(stored);
                }
            }
        }
        Ok(older)
    }

    /// Returns when the access tokens end that running calls of these licenses may have presented.
    async fn token_ends(
        &self,
        ids: &[LicenseId],
    ) -> Result<HashMap<CredentialId, Timestamp>, store::Error> {
        let tokens = ids.iter().filter_map(|id| self.cache.state(*id));
        let tokens = tokens.flat_map(|state| {
            let tokens = state.tokens().all();
            tokens.into_iter().map(move |token| (state.id(), token))
        });
        let tokens: Vec<_> = tokens.collect();
        if tokens.is_empty() {
            return Ok(HashMap::new());
        }
        Ok(self.store.token_ends(tokens).await?.into_iter().collect())
    }
}
