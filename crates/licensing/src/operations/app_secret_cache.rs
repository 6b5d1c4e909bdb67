//! The cache of secrets of apps.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use model::{AppName, Moment, Timestamp};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::time::after;

/// The secrets that were read from the store, by app, oldest first. A secret never changes, so that
/// only newer ones have to be read.
#[derive(Default)]
pub(crate) struct AppSecretCache(Mutex<HashMap<AppName, KnownSecrets>>);

#[derive(Default)]
struct KnownSecrets {
    secrets: Arc<[AppSecret]>,
    /// The moment from which on the store may be asked for a secret that is not among them.
    ask_from: Moment,
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

    /// Returns whether the store may be asked for a secret of this app that is not known: not for
    /// each guess.
    pub(super) fn may_read(&self, app: &AppName, now: Moment) -> bool {
        const PAUSE: Duration = Duration::from_secs(1);
        let mut cached = self.0.lock();
        let known = cached.entry(app.clone()).or_default();
        let may = known.ask_from <= now;
        if may {
            known.ask_from = now.plus(PAUSE);
        }
        may
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
