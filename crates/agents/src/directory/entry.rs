//! One directory and its state.

use std::sync::Arc;
use std::time::Duration;

use model::Timestamp;

use super::backoff::Backoff;
use super::fetch::{FetchFailure, Fetched};
use crate::web_bot_auth::{KeySet, Keys, Thumbprint};

/// A directory.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) phase: Phase,
    /// The number of the last look-up.
    pub(super) looked: u64,
    came: Option<Came>,
    backoff: Backoff,
}

/// What a directory is waiting for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing.
    #[default]
    Idle,
    /// A worker that fetches it.
    Due,
    /// The end of a fetch that began at this time.
    Fetching(Timestamp),
}

#[derive(Debug)]
struct Came {
    keys: Arc<KeySet>,
    at: Timestamp,
    fresh_until: Timestamp,
}

/// The time after which a fetch is given up: its worker is gone.
const GIVEN_UP: Duration = Duration::from_secs(60);
/// The time within which a directory is not fetched again for a key that it lacks.
const REFETCH: Duration = Duration::from_secs(60);
/// The time for which a directory holds that does not say for how long, and the bounds for one that
/// does.
const FRESH: Duration = Duration::from_secs(3_600);
const MIN_FRESH: Duration = Duration::from_secs(60);
const MAX_FRESH: Duration = Duration::from_secs(86_400);

impl Entry {
    /// Returns whether a worker fetches it.
    pub(super) fn is_fetching(&self, now: Timestamp) -> bool {
        matches!(self.phase, Phase::Fetching(begun) if now.since(begun) < GIVEN_UP)
    }

    /// Returns whether it was ever fetched.
    pub(super) const fn has_come(&self) -> bool {
        self.came.is_some()
    }

    /// Returns whether it is to be fetched now for somebody who looks for a key, and nobody does so
    /// already.
    pub(super) fn is_due(&self, wanted: &Thumbprint, now: Timestamp) -> bool {
        let is_waiting = self.phase == Phase::Due || self.is_fetching(now);
        let is_wanted = self.came.as_ref().is_none_or(|came| {
            let lacks = !came.keys.has(wanted) && now.since(came.at) >= REFETCH;
            came.fresh_until <= now || lacks
        });
        !is_waiting && self.backoff.is_over(now) && is_wanted
    }

    /// Returns its keys.
    pub(super) fn keys(&self) -> Keys {
        match &self.came {
            Some(came) => Keys::Known(Arc::clone(&came.keys)),
            None if self.backoff.has_failed() => Keys::Failed,
            None => Keys::Unknown,
        }
    }

    /// Takes what came of a fetch.
    pub(super) fn finish(&mut self, came: Result<Fetched, FetchFailure>, now: Timestamp) {
        self.phase = Phase::Idle;
        match came {
            Ok(fetched) => {
                let holds = fetched.max_age.unwrap_or(FRESH).clamp(MIN_FRESH, MAX_FRESH);
                self.came = Some(Came {
                    keys: Arc::new(fetched.keys),
                    at: now,
                    fresh_until: plus(now, holds),
                });
                self.backoff = Backoff::default();
            }
            Err(_) => self.backoff.fail(now),
        }
    }
}

const fn plus(time: Timestamp, by: Duration) -> Timestamp {
    time.plus_micros(by.as_micros() as i64)
}
