//! The cache of secrets of apps.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use model::{AppName, Timestamp};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::time::after;
use crate::software::SharedRead;

/// The secrets that were read from the store, by app, oldest first. A secret never changes, so that
/// only newer ones have to be read.
#[derive(Default)]
pub(crate) struct AppSecretCache(Mutex<HashMap<AppName, KnownSecrets>>);

#[derive(Default)]
struct KnownSecrets {
    secrets: Arc<[AppSecret]>,
    /// The read for secrets that are not among them.
    for_unknown: Arc<SharedRead>,
}

/// A secret of an app as the store keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AppSecret {
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
        let known = self.0.lock();
        known
            .get(app)
            .map(|known| known.secrets.clone())
            .unwrap_or_default()
    }

    /// Returns the read for secrets of this app that are not known here.
    pub(super) fn for_unknown(&self, app: &AppName) -> Arc<SharedRead> {
        let mut cached = self.0.lock();
        cached.entry(app.clone()).or_default().for_unknown.clone()
    }

    /// Puts in all secrets of an app, unless more of them are known.
    pub(super) fn put(&self, app: &AppName, all: &Arc<[AppSecret]>) {
        let mut cached = self.0.lock();
        let known = &mut cached.entry(app.clone()).or_default().secrets;
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
