//! The directories of agents that were fetched, and which are to be fetched.
//!
//! There is no I/O here: a worker asks [`Directories::next`] what to fetch, fetches it within the
//! bounds of [`fetch`], and tells [`Directories::finished`] what came of it.

mod entry;
pub mod fetch;

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use model::Timestamp;

use crate::directory_url::DirectoryUrl;
use crate::web_bot_auth::{KeySource, Keys, Thumbprint};
use entry::{Entry, Phase};
pub use fetch::{FetchFailure, Fetched};

/// The directories of agents, at most [`Directories::MAX`] of them. Shared by all threads; a look-up
/// holds a lock for less than a microsecond.
///
/// - A directory that is not here is wanted from the first look-up on, and unknown until it came.
/// - What came holds for as long as it says, within bounds; then it is wanted again, and holds on
///   meanwhile. A fetch that fails changes nothing of what came before.
/// - A directory without a key that somebody signs with is wanted again, at most once a minute; what
///   comes then replaces what was there, so that keys that were removed are gone.
/// - After a failure a directory is not wanted for half a minute, then for twice as long, up to five
///   minutes.
/// - Each is fetched by one worker at a time, and at most [`Directories::MAX_FETCHES`] at once.
/// - When there is no room, the directory goes that was asked for the longest time ago, first of
///   those that never came.
#[derive(Debug)]
pub struct Directories {
    max: usize,
    inner: Mutex<Inner>,
}

/// A fetch that a worker has to do, and to finish.
#[derive(Debug)]
#[must_use = "what comes of a fetch is told by `Directories::finished`"]
pub struct Fetch {
    url: DirectoryUrl,
    begun: Timestamp,
}

#[derive(Debug, Default)]
struct Inner {
    entries: HashMap<DirectoryUrl, Entry>,
    /// The directories that are wanted, in the order in which they came to be.
    due: VecDeque<DirectoryUrl>,
    /// The number of look-ups so far, by which the one of longest ago is told.
    looked: u64,
}

impl Default for Directories {
    fn default() -> Self {
        Self::with_room_for(Self::MAX)
    }
}

impl Directories {
    /// The largest number of directories.
    pub const MAX: usize = 1_000;
    /// The largest number of fetches at once.
    pub const MAX_FETCHES: usize = 8;

    /// Makes a set for so many directories, at least one.
    #[must_use]
    pub fn with_room_for(max: usize) -> Self {
        Self {
            max: max.max(1),
            inner: Mutex::default(),
        }
    }

    /// Returns the next directory to fetch; `None`: there is none, or enough are being fetched.
    pub fn next(&self, now: Timestamp) -> Option<Fetch> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let fetching = inner
            .entries
            .values()
            .filter(|entry| entry.is_fetching(now));
        if fetching.count() >= Self::MAX_FETCHES {
            return None;
        }
        let url = inner.due.pop_front()?;
        if let Some(entry) = inner.entries.get_mut(&url) {
            entry.phase = Phase::Fetching(now);
        }
        Some(Fetch { url, begun: now })
    }

    /// Takes what came of a fetch. That of a fetch that was given up, since it took too long, is
    /// taken as well, unless another was begun.
    pub fn finished(&self, fetch: Fetch, came: Result<Fetched, FetchFailure>, now: Timestamp) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = inner.entries.get_mut(&fetch.url) else {
            return;
        };
        if entry.phase == Phase::Fetching(fetch.begun) {
            entry.finish(came, now);
        }
    }
}

impl KeySource for Directories {
    fn keys(&self, directory: &DirectoryUrl, wanted: &Thumbprint, now: Timestamp) -> Keys {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.look_up(directory, wanted, now, self.max)
    }
}

impl Fetch {
    /// Returns the directory that is to be fetched.
    #[must_use]
    pub const fn directory(&self) -> &DirectoryUrl {
        &self.url
    }
}

impl Inner {
    fn look_up(
        &mut self,
        url: &DirectoryUrl,
        wanted: &Thumbprint,
        now: Timestamp,
        max: usize,
    ) -> Keys {
        self.looked += 1;
        if !self.entries.contains_key(url) {
            if self.entries.len() >= max && !self.make_room(now) {
                return Keys::Unknown;
            }
            self.entries.insert(url.clone(), Entry::default());
        }
        let entry = self.entries.entry(url.clone()).or_default();
        entry.looked = self.looked;
        if entry.is_due(wanted, now) {
            entry.phase = Phase::Due;
            self.due.push_back(url.clone());
        }
        entry.keys()
    }

    /// Drops a directory that is not being fetched. Returns whether there was one.
    fn make_room(&mut self, now: Timestamp) -> bool {
        let idle = self
            .entries
            .iter()
            .filter(|(_, entry)| !entry.is_fetching(now));
        let oldest = idle.min_by_key(|(_, entry)| (entry.has_come(), entry.looked));
        let Some(url) = oldest.map(|(url, _)| url.clone()) else {
            return false;
        };
        self.entries.remove(&url);
        self.due.retain(|due| *due != url);
        true
    }
}
