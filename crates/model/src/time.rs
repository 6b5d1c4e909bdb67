//! Points in time, and the clocks that tell them.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::forms::text_form;

/// A point in time in microseconds since the UNIX epoch, UTC.
///
/// Its text form is RFC 3339 with `Z`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

/// The error for a text that is not a [`Timestamp`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a time: write RFC 3339, such as `2026-01-31T12:00:00Z`")]
pub struct ParseTimestampError(pub String);

impl Timestamp {
    /// The microseconds in an hour.
    pub const HOUR: i64 = 3_600_000_000;
    /// The microseconds in a quarter of an hour.
    pub const QUARTER: i64 = Self::HOUR / 4;

    /// Returns the time this many microseconds after the UNIX epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Returns the microseconds since the UNIX epoch.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Returns the whole seconds since the UNIX epoch.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Returns the number of the period of a length in seconds, counted from the UNIX epoch (so
    /// hours and days begin at UTC boundaries).
    #[must_use]
    pub const fn period(self, length_seconds: u32) -> u32 {
        self.seconds().div_euclid(length_seconds as i64) as u32
    }

    /// Returns the start of the hour (UTC) that this time lies in, kept within range.
    #[must_use]
    pub const fn hour(self) -> Self {
        Self(self.0.saturating_sub(self.0.rem_euclid(Self::HOUR)))
    }

    /// Returns the start of the quarter of an hour (UTC) that this time lies in, kept within range.
    #[must_use]
    pub const fn quarter(self) -> Self {
        Self(self.0.saturating_sub(self.0.rem_euclid(Self::QUARTER)))
    }

    /// Returns the start of the day (UTC) that this time lies in, kept within range.
    #[must_use]
    pub const fn day(self) -> Self {
        Self(self.0.saturating_sub(self.0.rem_euclid(24 * Self::HOUR)))
    }

    /// Returns this time moved by some microseconds, kept within range.
    #[must_use]
    pub const fn plus_micros(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// Returns the time from `earlier` to this one; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let micros = match time.duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
        };
        Self(micros)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000)
            .ok()
            .and_then(|time| time.format(&Rfc3339).ok());
        match text {
            Some(text) => f.pad(&text),
            None => write!(f, "@{}us", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    fn from_str(text: &str) -> Result<Self, ParseTimestampError> {
        OffsetDateTime::parse(text, &Rfc3339)
            .ok()
            .and_then(|time| i64::try_from(time.unix_timestamp_nanos() / 1_000).ok())
            .map(Self)
            .ok_or_else(|| ParseTimestampError(crate::quoted(text, 40)))
    }
}

text_form! { Timestamp {
    "format": "date-time",
    "description": "A time (RFC 3339, UTC).",
} }

/// Returns the seconds that a caller is told to wait, as in `Retry-After`: whole ones, at least 1,
/// after which the wait is over for sure.
#[must_use]
pub fn retry_after_seconds(wait: Duration) -> u64 {
    let begun = u64::from(wait.subsec_nanos() > 0);
    wait.as_secs().saturating_add(begun).max(1)
}

/// A point in time in microseconds by the clock that runs since the machine was started. Nobody
/// sets that clock, and it runs on while the machine sleeps or the process is stopped. A moment
/// means nothing on another machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl Moment {
    /// Returns the microseconds from `earlier` to this; 0 if `earlier` is later.
    #[must_use]
    pub const fn micros_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Returns the time from `earlier` to this; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.micros_since(earlier))
    }

    /// Returns the moment so much later, kept within range.
    #[must_use]
    pub fn plus(self, time: Duration) -> Self {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

/// Two clocks: the wall clock, which people read and set, and the clock since boot, for ages.
pub trait Clock: Send + Sync + 'static {
    /// Returns the time of the wall clock.
    fn now(&self) -> Timestamp;

    /// Returns how long the machine has been running, its sleep included.
    fn since_boot(&self) -> Moment;
}

/// The clocks of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }

    fn since_boot(&self) -> Moment {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let micros = u64::try_from(time.tv_nsec / 1_000).unwrap_or(0);
        Moment(seconds.saturating_mul(1_000_000).saturating_add(micros))
    }
}

/// A clock that stands until it is moved, for tests and simulations.
#[derive(Debug, Default)]
pub struct ManualClock {
    wall: AtomicI64,
    since_boot: AtomicU64,
}

impl ManualClock {
    /// Makes a clock that shows `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self {
            wall: AtomicI64::new(now.micros()),
            since_boot: AtomicU64::new(Self::UPTIME),
        }
    }

    /// The uptime that the clock begins with, in microseconds: an hour.
    const UPTIME: u64 = 3_600_000_000;

    /// Lets time pass, on both clocks.
    pub fn advance(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.wall.fetch_add(micros, Ordering::SeqCst);
        self.since_boot
            .fetch_add(micros.unsigned_abs(), Ordering::SeqCst);
    }

    /// Sets the wall clock, while no time passes.
    pub fn set(&self, now: Timestamp) {
        self.wall.store(now.micros(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.wall.load(Ordering::SeqCst))
    }

    fn since_boot(&self) -> Moment {
        Moment(self.since_boot.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_begins_at_or_before_a_time_and_stays_in_range() {
        let first = Timestamp::from_micros(i64::MIN);
        assert_eq!(first.hour(), first);
        assert_eq!(Timestamp::from_micros(-1).hour().micros(), -3_600_000_000);
        assert_eq!(
            Timestamp::from_micros(3_600_000_001).hour().micros(),
            3_600_000_000
        );
    }

    #[test]
    fn whoever_waits_as_told_has_waited_long_enough() {
        for (micros, seconds) in [
            (0, 1),
            (1, 1),
            (1_000_000, 1),
            (1_000_001, 2),
            (59_999_999, 60),
        ] {
            let wait = Duration::from_micros(micros);
            assert_eq!(retry_after_seconds(wait), seconds, "{wait:?}");
        }
        assert_eq!(retry_after_seconds(Duration::MAX), u64::MAX);
    }

    #[test]
    fn a_timestamp_survives_rfc_3339() {
        let text = "2026-01-31T23:59:59.25Z";
        let time: Timestamp = text.parse().expect("valid");
        assert_eq!(time.to_string(), text);
        assert_eq!("2026-02-01T01:59:59.25+02:00".parse(), Ok(time));
        assert_eq!(time.hour().to_string(), "2026-01-31T23:00:00Z");
        assert!("2026-01-31".parse::<Timestamp>().is_err());
    }
}
