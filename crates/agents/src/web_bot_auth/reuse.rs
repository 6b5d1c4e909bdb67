//! Memory of the signatures that were used, until they end.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use ring::digest::{Context, SHA256};

use super::keys::Thumbprint;
use crate::directory_url::DirectoryUrl;

/// A memory of the signatures that were used, each until some time after its end. It is of one
/// process: gates of a fleet do not share it.
///
/// It holds at most [`Reuse::MAX_MARKS`], one for each signature, of at most
/// [`Reuse::MAX_DIRECTORIES`]; a directory has at most a quarter. What is remembered is never given
/// up for something new, since somebody else could use it a second time then: where there is no room
/// the newcomer is refused.
#[derive(Debug)]
pub struct Reuse {
    max: usize,
    seen: Mutex<Seen>,
}

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// It was not there, and now is.
    Taken,
    /// It was there.
    Reused,
    /// Nobody remembers it, and there is no room to.
    NoRoom,
}

#[derive(Debug, Default)]
struct Seen {
    total: usize,
    of: HashMap<DirectoryUrl, Marks>,
    /// The time in seconds at which what has ended was last forgotten everywhere.
    swept: i64,
}

/// The marks of a directory, with the time in seconds at which each ends.
#[derive(Debug, Default)]
struct Marks {
    ends: HashMap<Mark, i64>,
    by_end: BTreeSet<(i64, Mark)>,
}

/// What is remembered of a signature: 16 bytes of a hash.
pub(super) type Mark = u128;

/// The time for which a signature is remembered after it is accepted no more, in seconds, so that a
/// clock that is set back does not make it good again.
const KEPT_LONGER_SECONDS: i64 = 60;

/// Returns the mark of a signature: its nonce, which the signature covers, or without one itself.
pub(super) fn mark(key: &Thumbprint, signature: &[u8], nonce: Option<&str>) -> Mark {
    let (kind, bytes) = match nonce {
        Some(nonce) => (b"n", nonce.as_bytes()),
        None => (b"s", signature),
    };
    let mut hash = Context::new(&SHA256);
    hash.update(kind);
    hash.update(key.as_bytes());
    hash.update(bytes);
    let digest = hash.finish();
    let half = digest.as_ref()[..16].try_into();
    u128::from_le_bytes(half.expect("SHA-256 has 32 bytes"))
}

impl Default for Reuse {
    fn default() -> Self {
        Self::with_room_for(Self::MAX_MARKS)
    }
}

impl Reuse {
    /// The largest number of signatures that are remembered, some 40 MB.
    pub const MAX_MARKS: usize = 262_144;
    /// The largest number of directories of which something is remembered.
    pub const MAX_DIRECTORIES: usize = 1_000;

    /// Makes a memory for so many signatures.
    #[must_use]
    pub fn with_room_for(max: usize) -> Self {
        Self {
            max,
            seen: Mutex::default(),
        }
    }

    /// Remembers the mark of a signature that is accepted until a time in seconds, if it is not
    /// there.
    pub(super) fn claim(
        &self,
        directory: &DirectoryUrl,
        mark: Mark,
        accepted_until: i64,
        now: i64,
    ) -> Claim {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.claim(
            directory,
            mark,
            accepted_until + KEPT_LONGER_SECONDS,
            now,
            self.max,
        )
    }
}

impl Seen {
    fn claim(
        &mut self,
        directory: &DirectoryUrl,
        mark: Mark,
        ends: i64,
        now: i64,
        max: usize,
    ) -> Claim {
        let is_there = |seen: &Self| {
            let own = seen.of.get(directory);
            own.is_some_and(|own| own.ends.contains_key(&mark))
        };
        if let Some(own) = self.of.get_mut(directory) {
            self.total -= own.forget_ended(now);
        }
        if is_there(self) {
            return Claim::Reused;
        }
        if !self.has_room(directory, max) {
            self.sweep(now);
            if !self.has_room(directory, max) {
                return Claim::NoRoom;
            }
        }
        let own = self.of.entry(directory.clone()).or_default();
        own.ends.insert(mark, ends);
        own.by_end.insert((ends, mark));
        self.total += 1;
        Claim::Taken
    }

    fn has_room(&self, directory: &DirectoryUrl, max: usize) -> bool {
        let fits = match self.of.get(directory) {
            Some(own) => own.ends.len() < max.div_ceil(4),
            None => self.of.len() < Reuse::MAX_DIRECTORIES,
        };
        fits && self.total < max
    }

    /// Forgets what has ended of all directories, at most once a second: a pass over them.
    fn sweep(&mut self, now: i64) {
        if now == self.swept {
            return;
        }
        self.swept = now;
        for marks in self.of.values_mut() {
            self.total -= marks.forget_ended(now);
        }
        self.of.retain(|_, marks| !marks.ends.is_empty());
    }
}

impl Marks {
    /// Forgets what has ended, and returns how many that were.
    fn forget_ended(&mut self, now: i64) -> usize {
        let mut forgotten = 0;
        while self.by_end.first().is_some_and(|(ends, _)| *ends < now) {
            forgotten += usize::from(self.forget_first());
        }
        forgotten
    }

    fn forget_first(&mut self) -> bool {
        let first = self.by_end.pop_first();
        first.is_some_and(|(_, mark)| self.ends.remove(&mark).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> DirectoryUrl {
        DirectoryUrl::of_origin(&format!("https://{name}.example")).expect("an origin")
    }

    fn is_counted(reuse: &Reuse) -> bool {
        let seen = reuse.seen.lock().expect("no panic");
        let counts = seen
            .of
            .values()
            .map(|own| (own.ends.len(), own.by_end.len()));
        let (ends, by_end) = counts.fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
        seen.total == ends && ends == by_end
    }

    #[test]
    fn a_mark_is_taken_once_until_a_minute_after_its_end() {
        let reuse = Reuse::default();
        let (one, other) = (directory("one"), directory("other"));
        assert_eq!(reuse.claim(&one, 1, 100, 50), Claim::Taken);
        assert_eq!(reuse.claim(&one, 1, 100, 100), Claim::Reused);
        assert_eq!(reuse.claim(&one, 1, 100, 160), Claim::Reused);
        assert_eq!(reuse.claim(&one, 3, 100, 100), Claim::Taken);
        assert_eq!(reuse.claim(&other, 1, 100, 50), Claim::Taken);
        assert_eq!(reuse.claim(&one, 1, 200, 161), Claim::Taken);
        assert!(is_counted(&reuse));
    }

    #[test]
    fn whoever_fills_the_memory_takes_nothing_from_others_and_a_quarter_of_the_room() {
        let reuse = Reuse::with_room_for(12);
        let (small, large) = (directory("small"), directory("large"));
        assert_eq!(reuse.claim(&small, 1, 1_000, 0), Claim::Taken);
        for mark in 0..3 {
            assert_eq!(reuse.claim(&large, mark, 500, 0), Claim::Taken);
        }
        assert_eq!(reuse.claim(&large, 3, 500, 0), Claim::NoRoom);
        // As many directories as it takes: there is one wildcard behind them.
        for name in 0..20 {
            let claim = reuse.claim(&directory(&format!("d{name}")), 1, 500, 0);
            assert_eq!(
                claim,
                if name < 8 {
                    Claim::Taken
                } else {
                    Claim::NoRoom
                }
            );
        }
        assert_eq!(reuse.claim(&small, 1, 1_000, 1), Claim::Reused);
        assert_eq!(reuse.claim(&large, 0, 500, 1), Claim::Reused);
        assert_eq!(reuse.claim(&small, 2, 1_000, 1), Claim::NoRoom);
        // Once theirs have ended there is room again.
        assert_eq!(reuse.claim(&small, 2, 1_000, 561), Claim::Taken);
        assert_eq!(reuse.claim(&small, 1, 1_000, 561), Claim::Reused);
        assert!(is_counted(&reuse));
    }

    #[test]
    fn directories_are_remembered_up_to_a_bound_and_none_for_another() {
        let reuse = Reuse::default();
        let nth = |n: usize| directory(&format!("d{n}"));
        for n in 0..Reuse::MAX_DIRECTORIES {
            assert_eq!(reuse.claim(&nth(n), 1, 100, 0), Claim::Taken);
        }
        assert_eq!(
            reuse.claim(&nth(Reuse::MAX_DIRECTORIES), 1, 100, 1),
            Claim::NoRoom
        );
        assert_eq!(reuse.claim(&nth(0), 1, 100, 1), Claim::Reused);
        assert_eq!(reuse.claim(&nth(0), 2, 100, 1), Claim::Taken);
        assert_eq!(
            reuse.claim(&nth(Reuse::MAX_DIRECTORIES), 1, 300, 161),
            Claim::Taken
        );
    }
}
