//! The fingerprints of all credentials, so that a key that does not exist costs no look-up.

use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use model::Fingerprint;
use parking_lot::Mutex;

/// A set of fingerprints: open addressing in order of the fingerprints, 10 to 12.5 bytes each.
///
/// Fingerprints are never taken out. The set is read anew from the store once it has grown to more
/// than twice its size after the last reading, so that credentials which came and went do not fill
/// the memory. Reads take no lock; writes take turns.
#[derive(Debug)]
pub struct FingerprintSet {
    table: ArcSwap<Table>,
    writer: Mutex<Additions>,
    /// The number of fingerprints after the last reading.
    read: AtomicU64,
}

/// The fingerprints that come in while the set is read anew, which may come too late to be among
/// those that are read.
#[derive(Debug, Default)]
struct Additions {
    renewals: usize,
    since: Vec<Fingerprint>,
}

/// A reading of the set anew that is under way. If it is dropped, the set stays as it is.
#[derive(Debug)]
pub(crate) struct Renewal<'a>(&'a FingerprintSet);

#[derive(Debug)]
struct Table {
    slots: Box<[AtomicU64]>,
    filled: AtomicU64,
}

const EMPTY: u64 = 0;

impl FingerprintSet {
    /// The growth beyond twice the size that is worth a reading.
    const MIN_GROWTH: usize = 256;

    /// Returns an empty set with room for some fingerprints.
    #[must_use]
    pub fn with_capacity(fingerprints: usize) -> Self {
        Self {
            table: ArcSwap::from_pointee(Table::for_load(fingerprints)),
            writer: Mutex::default(),
            read: AtomicU64::new(0),
        }
    }

    /// Returns whether a fingerprint may be that of a credential. `false` is certain.
    #[must_use]
    pub fn contains(&self, fingerprint: Fingerprint) -> bool {
        self.table.load().find(word(fingerprint)).is_ok()
    }

    /// Adds fingerprints.
    pub fn insert(&self, fingerprints: impl IntoIterator<Item = Fingerprint>) {
        let mut additions = self.writer.lock();
        for fingerprint in fingerprints {
            self.add(fingerprint);
            if additions.renewals > 0 {
                additions.since.push(fingerprint);
            }
        }
    }

    /// Adds a fingerprint. Call it with the writer locked.
    fn add(&self, fingerprint: Fingerprint) {
        if self.table.load().is_full() {
            self.table.store(self.table.load().grown().into());
        }
        self.table.load().insert(word(fingerprint));
    }

    /// Returns whether so many fingerprints came in since the last reading that another is
    /// worthwhile.
    pub(crate) fn has_doubled(&self) -> bool {
        let read = usize::try_from(self.read.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        self.len() > read.saturating_mul(2).saturating_add(Self::MIN_GROWTH)
    }

    /// Begins to read the set anew. Call it before the store is first asked.
    pub(crate) fn renew(&self) -> Renewal<'_> {
        self.writer.lock().renewals += 1;
        Renewal(self)
    }

    /// Returns the number of fingerprints.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.table.load().filled.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    /// Returns whether there are no fingerprints.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the size of the set in memory, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.table.load().slots.len() * size_of::<u64>()
    }
}

impl Renewal<'_> {
    /// Replaces all fingerprints by those that were read and those that came in meanwhile.
    pub(crate) fn finish(self, read: FingerprintSet) {
        let additions = self.0.writer.lock();
        for fingerprint in &additions.since {
            read.add(*fingerprint);
        }
        self.0.read.store(read.len() as u64, Ordering::Relaxed);
        self.0.table.store(read.table.into_inner());
    }
}

impl Drop for Renewal<'_> {
    fn drop(&mut self) {
        let mut additions = self.0.writer.lock();
        additions.renewals -= 1;
        if additions.renewals == 0 {
            additions.since = Vec::new();
        }
    }
}

/// Returns the word of a fingerprint. A slot of zero is empty, so that the fingerprint zero shares
/// the word of the fingerprint one.
const fn word(fingerprint: Fingerprint) -> u64 {
    if fingerprint.0 == EMPTY {
        1
    } else {
        fingerprint.0
    }
}

impl Table {
    const MIN_SLOTS: usize = 64;

    fn with_slots(slots: usize) -> Self {
        Self {
            slots: (0..slots).map(|_| AtomicU64::new(EMPTY)).collect(),
            filled: AtomicU64::new(0),
        }
    }

    /// Returns a table for so many words, in which at most 8 of 10 slots are filled, so that an
    /// absent word is found missing after a few steps.
    fn for_load(words: usize) -> Self {
        Self::with_slots((words / 8 * 10 + 10).max(Self::MIN_SLOTS))
    }

    fn is_full(&self) -> bool {
        self.filled.load(Ordering::Relaxed) as usize * 10 >= self.slots.len() * 8
    }

    fn grown(&self) -> Self {
        let table = Self::with_slots(self.slots.len() / 4 * 5 + 10);
        for slot in &self.slots {
            match slot.load(Ordering::Relaxed) {
                EMPTY => {}
                word => table.insert(word),
            }
        }
        table
    }

    /// Returns the slot that holds a word, or the empty one where it belongs.
    fn find(&self, word: u64) -> Result<usize, usize> {
        let length = self.slots.len();
        // Words are uniform: their place is their share of the range.
        let mut at = ((u128::from(word) * length as u128) >> 64) as usize;
        loop {
            match self.slots[at].load(Ordering::Acquire) {
                EMPTY => return Err(at),
                found if found == word => return Ok(at),
                _ => at = if at + 1 == length { 0 } else { at + 1 },
            }
        }
    }

    fn insert(&self, word: u64) {
        if let Err(at) = self.find(word) {
            self.slots[at].store(word, Ordering::Release);
            self.filled.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn a_million_fingerprints_take_at_most_twelve_and_a_half_megabytes() {
        let set = FingerprintSet::with_capacity(0);
        let spread = |n: u64| Fingerprint(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        set.insert((1..=1_000_000).map(spread));
        assert_eq!(set.len(), 1_000_000);
        assert!(set.bytes() <= 12_600_000, "{}", set.bytes());
        assert!((1..=1_000_000).all(|n| set.contains(spread(n))));
        let strangers = (2_000_000..3_000_000).filter(|n| set.contains(spread(*n)));
        assert_eq!(strangers.count(), 0);
    }

    #[test]
    fn readers_find_what_was_there_while_a_writer_grows_the_set() {
        let set = FingerprintSet::with_capacity(0);
        let spread = |n: u64| Fingerprint(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        set.insert((1..=100).map(spread));
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                while set.len() < 20_000 {
                    assert!((1..=100).all(|n| set.contains(spread(n))));
                }
            });
            for n in 101..=20_000 {
                set.insert([spread(n)]);
                assert!(set.contains(spread(n)));
            }
            reader.join().unwrap();
        });
    }

    #[test]
    fn what_comes_in_while_it_is_read_anew_stays_and_what_has_gone_goes() {
        let set = FingerprintSet::with_capacity(0);
        set.insert((1..=1_000).map(Fingerprint));
        assert!(set.has_doubled());
        let renewal = set.renew();
        let read = FingerprintSet::with_capacity(0);
        read.insert([Fingerprint(7)]);
        set.insert([Fingerprint(2_000)]);
        renewal.finish(read);
        assert!([7, 2_000].into_iter().all(|n| set.contains(Fingerprint(n))));
        assert!(!set.contains(Fingerprint(8)) && !set.has_doubled());
        assert_eq!(set.len(), 2);
        // A reading that was given up keeps nothing waiting.
        drop(set.renew());
        set.insert([Fingerprint(3_000)]);
        assert!(set.writer.lock().since.is_empty());
    }

    proptest! {
        #[test]
        fn it_holds_what_was_put_in_and_nothing_else(
            words in proptest::collection::vec(prop_oneof![any::<u64>(), 0..4_u64, (u64::MAX - 3)..], 0..300),
            strangers in proptest::collection::vec(2..u64::MAX, 0..50),
        ) {
            let set = FingerprintSet::with_capacity(words.len() / 3);
            set.insert(words.iter().copied().map(Fingerprint));
            let known: HashSet<u64> = words.iter().map(|word| (*word).max(1)).collect();
            prop_assert_eq!(set.len(), known.len());
            for word in words.iter().chain(&strangers) {
                prop_assert_eq!(set.contains(Fingerprint(*word)), known.contains(&(*word).max(1)));
            }
        }
    }
}
