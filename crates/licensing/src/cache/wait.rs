//! The wait for a reading of the changes, for keys that must not be judged before.

use std::time::Duration;

use model::{KeyHash, Moment};

use super::{Found, LicenseCache};

impl LicenseCache {
    /// Repeats [`LicenseCache::find`] after the changes were read, for a key that must not be
    /// judged before. A gate that was suspended is waited for at most twice `load_timeout`, for by
    /// then the store is known to fail or to be silent; a key unknown here, at most
    /// `unknown_key_timeout`. Never returns [`Found::Unread`] or [`Found::Unheard`]. All who wait
    /// share one reading; how many wait is bounded by the running calls. Those whom it refuses are
    /// not answered all in one moment, in which calls with good keys would have to wait for them.
    pub(crate) async fn find_after_refresh(&self, hash: &KeyHash, now: Moment) -> Found {
        let timeout: Duration = match self.find(hash, now) {
            Found::Unread => 2 * self.options.load_timeout,
            Found::Unheard => self.options.unknown_key_timeout,
            found => return found,
        };
        let read = async {
            loop {
                let read = self.reading.ended();
                tokio::pin!(read);
                read.as_mut().enable();
                match self.find(hash, now) {
                    Found::Unread => self.reading.request(),
                    Found::Unheard => self.reading.request_for_unknown_key(),
                    found => return found,
                }
                read.await;
            }
        };
        let found = store::suspend_aware::timeout(timeout, read).await;
        if matches!(found, Ok(Found::Unknown)) {
            let turn = self.reading.turn(self.options.unknown_key_pause);
            if !turn.is_zero() {
                tokio::time::sleep(turn).await;
            }
        }
        found.unwrap_or(Found::Unavailable)
    }
}
