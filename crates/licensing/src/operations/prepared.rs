//! The operations that are done and whose claims the store does not know as finished yet.
//!
//! An answer that was prepared with its claim is in the store already, so that nobody waits until it
//! is written there that its operation is done: that is done for many at once, in the background.
//! Until then the answer is given from here. What a crash loses of it is found by the next who asks:
//! they take the claim over, with its reference and the prepared answer.

use std::collections::HashMap;
use std::time::Duration;

use model::Timestamp;
use parking_lot::Mutex;
use store::{ClaimKey, Store};
use tokio::sync::Notify;

/// The answers that wait until the store knows that their operations are done.
#[derive(Default)]
pub(crate) struct PreparedAnswers {
    waiting: Mutex<Waiting>,
    added: Notify,
    /// The turn to write.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Waiting {
    answers: HashMap<ClaimKey, Prepared>,
    bytes: usize,
    /// Whether an answer found no room since there was none waiting.
    overflowed: bool,
}

/// An answer that was prepared with its claim.
#[derive(Clone)]
pub(super) struct Prepared {
    /// The SHA-256 of the content that it answers.
    pub(super) content: [u8; 32],
    pub(super) answer: Vec<u8>,
    pub(super) claimed_at: Timestamp,
    pub(super) expires_at: Timestamp,
}

impl PreparedAnswers {
    /// The memory that answers may take, in bytes. Further ones are not kept: their claims are taken
    /// over by whoever asks again.
    const MAX_BYTES: usize = 16 << 20;
    /// The number of claims that are finished together.
    const BATCH_SIZE: usize = 1_000;

    /// Adds an answer whose operation is done. Returns whether it is kept.
    pub(super) fn add(&self, key: ClaimKey, prepared: Prepared) -> bool {
        let mut waiting = self.waiting.lock();
        let bytes = prepared.bytes();
        if waiting.bytes + bytes > Self::MAX_BYTES {
            // Once for each time that it fills, not for each answer.
            if !std::mem::replace(&mut waiting.overflowed, true) {
                tracing::warn!(
                    bytes = waiting.bytes,
                    "the store is behind with noting which operations are done: whoever repeats one of them waits for the ledger"
                );
            }
            return false;
        }
        if let Some(before) = waiting.answers.insert(key, prepared) {
            waiting.bytes -= before.bytes();
        }
        waiting.bytes += bytes;
        drop(waiting);
        self.added.notify_one();
        true
    }

    /// Returns an answer that the store does not know as given yet and that has not ended.
    pub(super) fn of(&self, key: &ClaimKey, now: Timestamp) -> Option<Prepared> {
        let waiting = self.waiting.lock();
        let found = waiting.answers.get(key);
        found.filter(|prepared| prepared.expires_at > now).cloned()
    }

    /// Writes what is added, many at a time, for ever.
    pub(crate) async fn run(&self, store: &dyn Store) {
        /// The time in which further ones come together. Another gate that is asked the same has
        /// to wait for it.
        const GATHERING: Duration = Duration::from_millis(20);
        const RETRY_PAUSE: Duration = Duration::from_secs(1);
        loop {
            self.added.notified().await;
            tokio::time::sleep(GATHERING).await;
            while !self.write(store).await {
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }

    /// Writes all that waits. Returns `false` if the store fails; what is not written stays.
    pub(crate) async fn write(&self, store: &dyn Store) -> bool {
        let _writing = self.writing.lock().await;
        loop {
            let batch = self.batch();
            if batch.is_empty() {
                return true;
            }
            let finish = async { store.claims()?.finish_prepared(batch.clone()).await };
            if let Err(error) = finish.await {
                tracing::debug!(%error, count = batch.len(), "operations that are done cannot be noted yet");
                return false;
            }
            self.remove(&batch);
        }
    }

    fn batch(&self) -> Vec<ClaimKey> {
        let waiting = self.waiting.lock();
        waiting
            .answers
            .keys()
            .take(Self::BATCH_SIZE)
            .copied()
            .collect()
    }

    fn remove(&self, written: &[ClaimKey]) {
        let mut waiting = self.waiting.lock();
        for key in written {
            if let Some(prepared) = waiting.answers.remove(key) {
                waiting.bytes -= prepared.bytes();
            }
        }
        waiting.overflowed &= !waiting.answers.is_empty();
    }
}

impl Prepared {
    /// Returns the memory that it takes, with its place in the list.
    fn bytes(&self) -> usize {
        const PLACE: usize = 2 * (size_of::<ClaimKey>() + size_of::<Prepared>());
        self.answer.len() + PLACE
    }
}

impl std::fmt::Debug for PreparedAnswers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let waiting = self.waiting.lock();
        f.debug_struct("PreparedAnswers")
            .field("count", &waiting.answers.len())
            .field("bytes", &waiting.bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::ClaimKind;

    fn key(number: u32) -> ClaimKey {
        let mut digest = [0; 32];
        digest[..4].copy_from_slice(&number.to_le_bytes());
        ClaimKey {
            kind: ClaimKind::Nonce,
            digest,
        }
    }

    fn prepared(bytes: usize) -> Prepared {
        Prepared {
            content: [1; 32],
            answer: vec![7; bytes],
            claimed_at: Timestamp::from_micros(0),
            expires_at: Timestamp::from_micros(9),
        }
    }

    #[test]
    fn answers_take_bounded_memory_and_end_in_time() {
        let answers = PreparedAnswers::default();
        let now = Timestamp::from_micros(8);
        let fits = (0..u32::MAX).take_while(|number| answers.add(key(*number), prepared(1 << 20)));
        assert_eq!(fits.count(), 15, "16 MiB with their places");
        assert_eq!(
            answers.of(&key(14), now).map(|found| found.answer.len()),
            Some(1 << 20)
        );
        assert!(answers.waiting.lock().overflowed);
        assert!(answers.of(&key(15), now).is_none());
        assert!(answers.of(&key(14), Timestamp::from_micros(9)).is_none());
        answers.remove(&answers.batch());
        assert_eq!(answers.waiting.lock().bytes, 0);
        assert!(!answers.waiting.lock().overflowed, "it is told anew");
        assert!(answers.add(key(15), prepared(1 << 20)));
        assert!(
            answers.add(key(15), prepared(1)),
            "in place of the one before"
        );
        assert_eq!(answers.waiting.lock().bytes, prepared(1).bytes());
    }
}
