//! The cache of secrets of apps.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use model::{AppName, Timestamp};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::time::after;

/// The secrets that were read from the store, by app, oldest first. A secret never changes, so that
/// only newer ones have to be read.
#[derive(Default)]
pub(crate) struct AppSecretCache(Mutex<HashMap<AppName, Arc<[AppSecret]>>>);

/// A secret of an app as the store keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct AppSecret {
    /// The keyed hash of the secret.
    pub(super) hash: [u8; 32],
    /// The time at which the secret was made.
    pub(super) created_at: Timestamp,
    /// The number of seconds for which earlier secrets are accepted from then on.
    pub(super) overlap: u64,
}

impl AppSecretCache {
    /// Returns the secrets of an app that were read so far.
    pub(super) fn get(&self, app: &AppName) -> Arc<[AppSecret]> {
        self.0.lock().get(app).cloned().unwrap_or_default()
    }

    /// Puts in all secrets of an app, unless more of them are known.
    pub(super) fn put(&self, app: &AppName, all: &Arc<[AppSecret]>) {
        let mut cached = self.0.lock();
        let known = cached.entry(app.clone()).or_default();
        // A slower reader never puts back an older list.
        if known.len() < all.len() {
            *known = all.clone();
        }
    }
}

/// Returns when a secret ends, by the overlaps of those after it; `None`: it is the one in use.
pub(super) fn end(secrets: &[AppSecret], at: usize) -> Option<Timestamp> {
    let ends = secrets[at + 1..]
        .iter()
        .map(|later| after(later.created_at, Duration::from_secs(later.overlap)));
    ends.min()
}
