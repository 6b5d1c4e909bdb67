//! The pace of requests with one key: bursts, and how many a second in the long run.

use std::collections::HashMap;
use std::time::Duration;

use model::{ManagementKeyId, Moment};
use parking_lot::Mutex;

/// The paces of management keys: a hundred requests at once, and fifty a second in the long run.
#[derive(Debug, Default)]
pub(super) struct Paces(Mutex<HashMap<ManagementKeyId, Moment>>);

impl Paces {
    /// The number of requests that may come at once.
    const BURST: u32 = 100;
    /// The time after which one more may come.
    const INTERVAL: Duration = Duration::from_millis(20);
    /// The number of keys that are counted at once; those of before begin anew beyond it.
    const MOST: usize = 10_000;

    /// Takes one request of a key.
    ///
    /// # Errors
    /// The time until the next may come.
    pub(super) fn take(&self, key: ManagementKeyId, now: Moment) -> Result<(), Duration> {
        let mut paces = self.0.lock();
        if paces.len() >= Self::MOST && !paces.contains_key(&key) {
            paces.retain(|_, paid_until| *paid_until > now);
            if paces.len() >= Self::MOST {
                paces.clear();
            }
        }
        // The moment up to which the requests so far are paid by the time that passes.
        let paid_until = paces.entry(key).or_insert(now);
        let begins = (*paid_until).max(now);
        let ahead = begins.since(now);
        let most = Self::INTERVAL * (Self::BURST - 1);
        if ahead > most {
            return Err(ahead.saturating_sub(most));
        }
        *paid_until = begins.plus(Self::INTERVAL);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_may_come_at_once_and_fifty_a_second_after_that() {
        let (paces, key) = (Paces::default(), ManagementKeyId::from_u128(1));
        let at = |millis: u64| Moment(0).plus(Duration::from_millis(millis));
        let taken = |moment| {
            (0..1_000)
                .take_while(|_| paces.take(key, moment).is_ok())
                .count()
        };
        assert_eq!(taken(at(0)), 100);
        assert_eq!(paces.take(key, at(0)), Err(Duration::from_millis(20)));
        assert!(paces.take(ManagementKeyId::from_u128(2), at(0)).is_ok());
        assert_eq!(taken(at(1_000)), 50);
        assert_eq!(taken(at(10_000)), 100);
    }
}
