//! The last uses of API keys that the store does not have yet.
//!
//! They are written to the store once a second, so that no call waits for it. A crash loses those
//! of the last second.

use std::collections::HashMap;
use std::time::Duration;

use model::{LicenseId, Timestamp};
use parking_lot::Mutex;
use store::Store;

/// The last use of each API key that is not in the store yet. Bounded by the keys that are cached.
#[derive(Default)]
pub(crate) struct LastUses(Mutex<HashMap<LicenseId, Timestamp>>);

impl LastUses {
    /// The number of keys that are remembered at once. If more of them are used within a second,
    /// the uses of the others are not recorded.
    const MAX_KEYS: usize = 1_000_000;

    /// Records a use of an API key.
    pub(crate) fn note(&self, id: LicenseId, at: Timestamp) {
        let mut uses = self.0.lock();
        if uses.len() < Self::MAX_KEYS || uses.contains_key(&id) {
            let last = uses.entry(id).or_insert(at);
            *last = at.max(*last);
        }
    }

    /// Returns the last use of a key; `None`: the store has it, if there was one.
    pub(crate) fn of(&self, id: LicenseId) -> Option<Timestamp> {
        self.0.lock().get(&id).copied()
    }

    /// Writes the uses to the store once a second, for ever.
    pub(crate) async fn run(&self, store: &dyn Store) {
        const WRITE_INTERVAL: Duration = Duration::from_secs(1);
        loop {
            tokio::time::sleep(WRITE_INTERVAL).await;
            self.write(store).await;
        }
    }

    /// Writes the uses to the store. Those that cannot be written are kept for the next time.
    pub(crate) async fn write(&self, store: &dyn Store) {
        const BATCH_SIZE: usize = 10_000;
        for uses in self.all().chunks(BATCH_SIZE) {
            let write = async { store.api_keys()?.note_requests(uses.to_vec()).await };
            match write.await {
                Ok(()) => self.remove_written(uses),
                Err(error) => {
                    tracing::debug!(%error, "the use of api keys cannot be noted");
                    return;
                }
            }
        }
    }

    fn all(&self) -> Vec<(LicenseId, Timestamp)> {
        let uses = self.0.lock();
        uses.iter().map(|(id, at)| (*id, *at)).collect()
    }

    /// Removes uses that were written, unless the key was used again since.
    fn remove_written(&self, written: &[(LicenseId, Timestamp)]) {
        let mut uses = self.0.lock();
        for (id, at) in written {
            if uses.get(id).is_some_and(|last| last <= at) {
                uses.remove(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_use_is_kept_until_it_or_a_later_one_is_written() {
        let uses = LastUses::default();
        let (id, at) = (LicenseId::from_u128(1), Timestamp::from_micros);
        uses.note(id, at(5));
        uses.note(id, at(3));
        assert_eq!(uses.of(id), Some(at(5)));
        let written = uses.all();
        uses.note(id, at(9));
        uses.remove_written(&written);
        assert_eq!(uses.of(id), Some(at(9)), "it was used again meanwhile");
        uses.remove_written(&uses.all());
        assert_eq!(uses.of(id), None);
    }
}
