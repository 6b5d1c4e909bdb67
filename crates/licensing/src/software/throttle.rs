//! Limits of requests by key in windows, in the memory of this gate.

use std::collections::HashMap;
use std::time::Duration;

use model::{Moment, RateLimit};
use parking_lot::Mutex;

/// A count of requests by key, each in windows that begin with its first request.
#[derive(Debug)]
pub struct Throttle {
    most: usize,
    windows: Mutex<Windows>,
}

#[derive(Debug, Default)]
struct Windows {
    by_key: HashMap<u128, Window>,
    /// The moment from which on windows that are over are looked for again.
    sweep_at: Moment,
}

/// Requests that were taken, by which they can be given back.
#[derive(Debug)]
#[must_use = "they are made or given back"]
pub struct Taken {
    key: u128,
    count: u64,
    /// The end of the window that they were taken of; `None`: they were not counted.
    ends_at: Option<Moment>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    ends_at: Moment,
    count: u64,
}

impl Throttle {
    /// The time between two searches for windows that are over, in a throttle that is full.
    const SWEEP_PAUSE: Duration = Duration::from_secs(1);

    /// Returns a throttle that counts at most this many keys at once. Requests of further ones are
    /// let through uncounted.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            most,
            windows: Mutex::default(),
        }
    }

    /// Takes one request of a key. Costs a look-up.
    ///
    /// # Errors
    /// The time until the window of the key is over, if it is full. Then nothing is counted.
    pub fn take(&self, key: u128, limit: RateLimit, now: Moment) -> Result<(), Duration> {
        self.take_many(key, 1, limit, now).map(drop)
    }

    /// Takes several requests of a key, all or none.
    ///
    /// # Errors
    /// As [`Throttle::take`].
    pub fn take_many(
        &self,
        key: u128,
        count: u64,
        limit: RateLimit,
        now: Moment,
    ) -> Result<Taken, Duration> {
        let mut windows = self.windows.lock();
        let length = Duration::from_secs(limit.window.seconds().into());
        let fresh = Window {
            ends_at: now.plus(length),
            count: 0,
        };
        if !windows.by_key.contains_key(&key) && !windows.has_room(self.most, now) {
            return Ok(Taken {
                key,
                count,
                ends_at: None,
            });
        }
        let window = windows.by_key.entry(key).or_insert(fresh);
        if window.ends_at <= now {
            *window = fresh;
        }
        if window.count + count > u64::from(limit.calls) {
            return Err(window.ends_at.since(now));
        }
        window.count += count;
        Ok(Taken {
            key,
            count,
            ends_at: Some(window.ends_at),
        })
    }

    /// Gives requests back that were taken and not made, unless their window is over.
    pub fn give_back(&self, taken: Taken) {
        let mut windows = self.windows.lock();
        if let Some(window) = windows.by_key.get_mut(&taken.key)
            && Some(window.ends_at) == taken.ends_at
        {
            window.count = window.count.saturating_sub(taken.count);
        }
    }
}

impl Windows {
    /// Returns whether a further key can be counted. Windows that are over make room.
    fn has_room(&mut self, most: usize, now: Moment) -> bool {
        if self.by_key.len() >= most && self.sweep_at <= now {
            self.sweep_at = now.plus(Throttle::SWEEP_PAUSE);
            self.by_key.retain(|_, window| window.ends_at > now);
        }
        self.by_key.len() < most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment(0).plus(Duration::from_secs(seconds))
    }

    #[test]
    fn a_window_begins_with_the_first_request_and_lets_so_many_through() {
        let throttle = Throttle::new(10);
        let limit: RateLimit = "2/1m".parse().expect("valid");
        assert_eq!(throttle.take(1, limit, at(50)), Ok(()));
        assert_eq!(throttle.take(1, limit, at(60)), Ok(()));
        let wait = Duration::from_secs(20);
        assert_eq!(throttle.take(1, limit, at(90)), Err(wait));
        assert_eq!(throttle.take(2, limit, at(90)), Ok(()), "another key");
        let taken = throttle.take_many(1, 1, limit, at(110)).expect("a window");
        throttle.give_back(taken);
        let wait = throttle.take_many(1, 3, limit, at(110));
        assert_eq!(wait.err(), Some(Duration::from_secs(60)));
        assert!(throttle.take_many(1, 2, limit, at(110)).is_ok());
    }

    #[test]
    fn what_is_given_back_late_makes_no_room_in_the_window_after() {
        let throttle = Throttle::new(10);
        let limit: RateLimit = "2/1m".parse().expect("valid");
        let taken = throttle.take_many(1, 2, limit, at(0)).expect("a window");
        assert!(throttle.take_many(1, 2, limit, at(60)).is_ok());
        throttle.give_back(taken);
        assert!(throttle.take(1, limit, at(61)).is_err());
    }

    #[test]
    fn a_flood_of_keys_takes_bounded_memory_and_makes_room_when_it_is_over() {
        let throttle = Throttle::new(100);
        let limit: RateLimit = "1/1m".parse().expect("valid");
        for key in 0..1_000 {
            assert_eq!(throttle.take(key, limit, at(0)), Ok(()));
        }
        assert_eq!(throttle.windows.lock().by_key.len(), 100);
        assert_eq!(
            throttle.take(5_000, limit, at(0)),
            Ok(()),
            "it is not counted"
        );
        assert_eq!(throttle.take(5_000, limit, at(60)), Ok(()));
        assert!(throttle.take(5_000, limit, at(60)).is_err());
        assert_eq!(throttle.windows.lock().by_key.len(), 1);
    }
}
