//! The times of the tries of a delivery.

use std::time::Duration;

use model::Timestamp;

/// The times of all tries of a delivery, each counted from the first: 1 to [`Schedule::MAX_TRIES`],
/// beginning with zero, each later than the one before. Beyond the last one the delivery has
/// failed, and its webhook is disabled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule(Vec<Duration>);

/// The error for times that are no [`Schedule`]. Blame: operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a schedule has 1 to {} times since the first try: `0s`, then each later than the one before, such as [\"0s\", \"1m\", \"5m\"]",
    Schedule::MAX_TRIES
)]
pub struct ScheduleInvalid;

impl Schedule {
    /// The largest number of tries.
    pub const MAX_TRIES: usize = 20;

    /// Returns a schedule of these times.
    ///
    /// # Errors
    /// There are none or too many, the first is not zero, or one is not later than that before.
    pub fn new(times: Vec<Duration>) -> Result<Self, ScheduleInvalid> {
        let count = (1..=Self::MAX_TRIES).contains(&times.len());
        let begins = times.first().is_some_and(Duration::is_zero);
        let grows = times.windows(2).all(|two| two[0] < two[1]);
        if count && begins && grows {
            Ok(Self(times))
        } else {
            Err(ScheduleInvalid)
        }
    }

    /// Returns the time of the next try of a delivery that failed `failures` times, the last of them
    /// begun at `last`; `None`: there is none.
    #[must_use]
    pub fn next(&self, failures: u32, last: Timestamp) -> Option<Timestamp> {
        let place = usize::try_from(failures).ok()?;
        let wait = *self.0.get(place)? - self.0[place.checked_sub(1)?];
        let micros = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
        Some(last.plus_micros(micros))
    }
}

/// At once, then 1, 5, 30 and 120 minutes after the first try.
impl Default for Schedule {
    fn default() -> Self {
        Self(
            [0, 1, 5, 30, 120]
                .map(|minutes| Duration::from_secs(minutes * 60))
                .into(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tries_of_a_delivery_that_fails_are_at_0_1_5_30_and_120_minutes_and_no_more() {
        let schedule = Schedule::default();
        let minute = 60_000_000;
        let (mut at, mut tries) = (Timestamp::from_micros(7), vec![0]);
        while let Some(next) = schedule.next(tries.len() as u32, at) {
            at = next;
            tries.push((at.micros() - 7) / minute);
        }
        assert_eq!(tries, [0, 1, 5, 30, 120]);
    }

    #[test]
    fn times_that_do_not_grow_from_zero_are_no_schedule() {
        let of = |seconds: &[u64]| {
            Schedule::new(seconds.iter().copied().map(Duration::from_secs).collect())
        };
        assert!(of(&[0]).is_ok() && of(&[0, 1, 5]).is_ok());
        let many: Vec<u64> = (0..21).collect();
        for wrong in [&[][..], &[1, 2], &[0, 5, 5], &[0, 5, 4], &many] {
            assert_eq!(of(wrong), Err(ScheduleInvalid), "{wrong:?}");
        }
    }
}
