//! Memory of the signatures that were used, until they end.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use ring::digest::{Context, SHA256};

use super::keys::Thumbprint;
use crate::directory_url::DirectoryUrl;

/// A memory of the signatures and nonces that were used, each until the signature ends. It is
/// of one process: gates of a fleet do not share it.
///
/// It holds at most [`Reuse::MAX_MARKS`], two for a signature with a nonce. When it is full, the
/// directory that has most of them loses the one that ends next: who signs more than it holds
/// weakens the memory of themselves, and of nobody else. Of more than [`Reuse::MAX_DIRECTORIES`] the
/// one goes that was heard of the longest time ago.
#[derive(Debug)]
pub struct Reuse {
    max: usize,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    total: usize,
    of: HashMap<DirectoryUrl, Marks>,
}

/// The marks of a directory, with the time in seconds at which each ends.
#[derive(Debug, Default)]
struct Marks {
    ends: HashMap<Mark, i64>,
    by_end: BTreeSet<(i64, Mark)>,
    /// The time in seconds of the last claim.
    claimed: i64,
}

/// What is remembered of a signature or nonce: 16 bytes of a hash.
pub(super) type Mark = u128;

/// Returns the marks of a signature.
pub(super) fn marks(key: &Thumbprint, signature: &[u8], nonce: Option<&str>) -> Vec<Mark> {
    let mark = |kind: &[u8], bytes: &[u8]| {
        let mut hash = Context::new(&SHA256);
        hash.update(kind);
        hash.update(key.as_bytes());
        hash.update(bytes);
        let digest = hash.finish();
        let half = digest.as_ref()[..16].try_into();
        u128::from_le_bytes(half.expect("SHA-256 has 32 bytes"))
    };
    let nonce = nonce.map(|nonce| mark(b"n", nonce.as_bytes()));
    std::iter::once(mark(b"s", signature))
        .chain(nonce)
        .collect()
}

impl Default for Reuse {
    fn default() -> Self {
        Self::with_room_for(Self::MAX_MARKS)
    }
}

impl Reuse {
    /// The largest number of signatures and nonces that are remembered, some 40 MB.
    pub const MAX_MARKS: usize = 262_144;
    /// The largest number of directories of which something is remembered.
    pub const MAX_DIRECTORIES: usize = 1_000;

    /// Makes a memory for so many signatures and nonces.
    #[must_use]
    pub fn with_room_for(max: usize) -> Self {
        Self {
            max,
            seen: Mutex::default(),
        }
    }

    /// Remembers marks until a time in seconds. Returns whether none of them was there.
    pub(super) fn claim(
        &self,
        directory: &DirectoryUrl,
        marks: &[Mark],
        ends: i64,
        now: i64,
    ) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = &mut *seen;
        if seen.of.len() >= Self::MAX_DIRECTORIES && !seen.of.contains_key(directory) {
            seen.drop_oldest();
        }
        let own = seen.of.entry(directory.clone()).or_default();
        own.claimed = now;
        seen.total -= own.forget_ended(now);
        if marks.iter().any(|mark| own.ends.contains_key(mark)) {
            return false;
        }
        for mark in marks {
            own.ends.insert(*mark, ends);
            own.by_end.insert((ends, *mark));
        }
        seen.total += marks.len();
        if seen.total > self.max {
            seen.make_room(self.max, now);
        }
        true
    }
}

impl Seen {
    /// Forgets all of the directory that was heard of the longest time ago.
    fn drop_oldest(&mut self) {
        let oldest = self.of.iter().min_by_key(|(_, marks)| marks.claimed);
        if let Some(url) = oldest.map(|(url, _)| url.clone()) {
            let marks = self.of.remove(&url);
            self.total -= marks.map_or(0, |marks| marks.ends.len());
        }
    }

    fn make_room(&mut self, max: usize, now: i64) {
        for marks in self.of.values_mut() {
            self.total -= marks.forget_ended(now);
        }
        self.of.retain(|_, marks| !marks.ends.is_empty());
        while self.total > max {
            let largest = self.of.values_mut().max_by_key(|marks| marks.ends.len());
            let Some(largest) = largest else { return };
            self.total -= usize::from(largest.forget_first());
        }
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

    #[test]
    fn a_mark_is_taken_once_until_it_ends() {
        let reuse = Reuse::default();
        let (one, other) = (directory("one"), directory("other"));
        assert!(reuse.claim(&one, &[1, 2], 100, 50));
        assert!(!reuse.claim(&one, &[3, 2], 100, 100));
        assert!(reuse.claim(&one, &[3], 100, 100));
        assert!(reuse.claim(&other, &[1], 100, 50));
        assert!(reuse.claim(&one, &[1], 200, 101));
    }

    #[test]
    fn who_fills_the_memory_forgets_its_own_marks_alone() {
        let reuse = Reuse::with_room_for(10);
        let (small, large) = (directory("small"), directory("large"));
        assert!(reuse.claim(&small, &[1], 1_000, 0));
        for mark in 0..100 {
            assert!(reuse.claim(&large, &[mark], 500 + mark as i64, 0));
        }
        assert!(!reuse.claim(&small, &[1], 1_000, 0));
        assert!(!reuse.claim(&large, &[99], 600, 0));
        assert!(reuse.claim(&large, &[0], 500, 0));
        let seen = reuse.seen.lock().expect("no panic");
        assert_eq!(seen.total, 10);
        assert_eq!(
            seen.of.values().map(|own| own.ends.len()).sum::<usize>(),
            10
        );
    }
}
