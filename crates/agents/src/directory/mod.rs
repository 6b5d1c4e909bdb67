//! The directories of agents that were fetched, and which are to be fetched.
//!
//! There is no I/O here: a worker asks [`Directories::next`] what to fetch, fetches it within the
//! bounds of [`fetch`], and tells [`Directories::finished`] what came of it.

mod backoff;
mod entry;
pub mod fetch;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use model::Timestamp;

use crate::directory_url::{DirectoryKind, DirectoryUrl};
use crate::known::KnownAgents;
use crate::web_bot_auth::{KeySource, Keys, Thumbprint};
use backoff::Backoff;
use entry::{Entry, Phase};
pub use fetch::{FetchFailure, Fetched};

/// The directories of agents, at most [`Directories::MAX`] of them. Shared by all threads; a look-up
/// holds a lock for less than a microsecond.
///
/// - A directory that is not here is wanted from the first look-up on, and unknown until it came or
///   a fetch of it failed.
/// - A set of keys at a URL of its own is taken only if it is that of a known agent
///   ([`Directories::trust`]): its path is a name that an agent makes up as it likes.
/// - What came holds for as long as it says, within bounds; then it is wanted again, and holds on
///   meanwhile. A fetch that fails changes nothing of what came before.
/// - A directory without a key that somebody signs with is wanted again, at most once a minute; what
///   comes then replaces what was there, so that keys that were removed are gone.
/// - After a failure a directory is not wanted for half a minute, then for twice as long, up to five
///   minutes. The failure counts for the host, too, and for all its directories but those that came
///   before or are of known agents: whoever makes names up for a host spoils nothing for those.
/// - Of a host one is fetched at a time, and at most [`Directories::MAX_FETCHES`] of all. Those that
///   came before or are of known agents have their turn first.
/// - A host has at most [`Directories::MAX_OF_HOST`]. When there is no room, the directory goes that
///   was asked for the longest time ago, first of those that never came.
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
    /// The failures of hosts that have an entry.
    hosts: HashMap<Box<str>, Backoff>,
    /// The directories of known agents.
    trusted: HashSet<DirectoryUrl>,
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
    /// The largest number of directories of a host.
    pub const MAX_OF_HOST: usize = 4;

    /// Makes a set for so many directories, at least one.
    #[must_use]
    pub fn with_room_for(max: usize) -> Self {
        Self {
            max: max.max(1),
            inner: Mutex::default(),
        }
    }

    /// Takes the directories of these agents for those of known agents from now on, and no others.
    /// Whoever reads the list of known agents anew says so here.
    pub fn trust(&self, known: &KnownAgents) {
        let directories = known
            .all()
            .iter()
            .filter_map(|agent| agent.directory.clone());
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.trusted = directories.collect();
    }

    /// Returns the next directory to fetch; `None`: there is none, or enough are being fetched.
    pub fn next(&self, now: Timestamp) -> Option<Fetch> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let url = inner.next(now)?;
        Some(Fetch { url, begun: now })
    }

    /// Takes what came of a fetch. That of a fetch that was given up, since it took too long, is
    /// taken as well, unless another was begun.
    pub fn finished(&self, fetch: Fetch, came: Result<Fetched, FetchFailure>, now: Timestamp) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = inner.entries.get_mut(&fetch.url) else {
            return;
        };
        if entry.phase != Phase::Fetching(fetch.begun) {
            return;
        }
        let has_failed = came.is_err();
        entry.finish(came, now);
        match has_failed {
            true => inner.host_failed(&fetch.url, now),
            false => _ = inner.hosts.remove(fetch.url.host()),
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
            if url.kind() == DirectoryKind::KeySet && !self.trusted.contains(url) {
                return Keys::Refused;
            }
            if !self.make_room_at_host(url, now) {
                return Keys::Refused;
            }
            if self.entries.len() >= max && !self.make_room(now, |_| true) {
                return Keys::Unknown;
            }
            self.entries.insert(url.clone(), Entry::default());
        }
        let host_may_be_tried = self.is_first(url) || self.host_is_over(url, now);
        let host_has_failed = self.hosts.get(url.host()).is_some_and(Backoff::has_failed);
        let entry = self.entries.entry(url.clone()).or_default();
        entry.looked = self.looked;
        if host_may_be_tried && entry.is_due(wanted, now) {
            entry.phase = Phase::Due;
            self.due.push_back(url.clone());
        }
        match entry.keys() {
            Keys::Unknown if !host_may_be_tried && host_has_failed => Keys::Failed,
            keys => keys,
        }
    }

    /// Takes the next directory to fetch out of the queue.
    fn next(&mut self, now: Timestamp) -> Option<DirectoryUrl> {
        let fetching = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.is_fetching(now));
        let hosts: HashSet<&str> = fetching.map(|(url, _)| url.host()).collect();
        if hosts.len() >= Directories::MAX_FETCHES {
            return None;
        }
        let free = self
            .due
            .iter()
            .enumerate()
            .filter(|(_, url)| !hosts.contains(url.host()));
        let first = free.min_by_key(|(place, url)| (!self.is_first(url), *place));
        let place = first.map(|(place, _)| place)?;
        let url = self.due.remove(place)?;
        if let Some(entry) = self.entries.get_mut(&url) {
            entry.phase = Phase::Fetching(now);
        }
        Some(url)
    }

    /// Returns whether a directory goes before others: it came before, or is of a known agent.
    fn is_first(&self, url: &DirectoryUrl) -> bool {
        self.trusted.contains(url) || self.entries.get(url).is_some_and(Entry::has_come)
    }

    fn host_is_over(&self, url: &DirectoryUrl, now: Timestamp) -> bool {
        let host = self.hosts.get(url.host());
        host.is_none_or(|backoff| backoff.is_over(now))
    }

    /// Counts a failure for a host, unless the directory has one of its own alone. What waits for
    /// the host waits no more.
    fn host_failed(&mut self, url: &DirectoryUrl, now: Timestamp) {
        if self.is_first(url) {
            return;
        }
        self.hosts.entry(url.host().into()).or_default().fail(now);
        let due = std::mem::take(&mut self.due);
        let (gone, due) = due
            .into_iter()
            .partition(|due| due.host() == url.host() && !self.is_first(due));
        self.due = due;
        let gone: VecDeque<DirectoryUrl> = gone;
        for url in gone {
            if let Some(entry) = self.entries.get_mut(&url) {
                entry.phase = Phase::Idle;
            }
        }
    }

    /// Makes room for one more directory of a host. Returns whether there is.
    fn make_room_at_host(&mut self, url: &DirectoryUrl, now: Timestamp) -> bool {
        let of_host = self.entries.keys().filter(|own| own.host() == url.host());
        of_host.count() < Directories::MAX_OF_HOST
            || self.make_room(now, |own| own.host() == url.host())
    }

    /// Drops one of these directories that is not being fetched. Returns whether there was one.
    fn make_room(&mut self, now: Timestamp, of: impl Fn(&DirectoryUrl) -> bool) -> bool {
        let idle = self
            .entries
            .iter()
            .filter(|(url, entry)| of(url) && !entry.is_fetching(now));
        let oldest = idle.min_by_key(|(url, entry)| (self.is_first(url), entry.looked));
        let Some(url) = oldest.map(|(url, _)| url.clone()) else {
            return false;
        };
        self.entries.remove(&url);
        self.due.retain(|due| *due != url);
        if !self.entries.keys().any(|own| own.host() == url.host()) {
            self.hosts.remove(url.host());
        }
        true
    }
}
