//! Points in time, and who tells them.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::forms::text_form;

/// A point in time: microseconds since the UNIX epoch, UTC.
///
/// Its text form is RFC 3339 with `Z`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

/// Why a text is not a [`Timestamp`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a time: write RFC 3339, such as `2026-01-31T12:00:00Z`")]
pub struct ParseTimestampError(pub String);

impl Timestamp {
    /// Microseconds in an hour.
    pub const HOUR: i64 = 3_600_000_000;
    /// Microseconds in a quarter of an hour.
    pub const QUARTER: i64 = Self::HOUR / 4;

    /// The time this many microseconds after the UNIX epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the UNIX epoch.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the UNIX epoch.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// The number of the period of this length, counted from the UNIX epoch (so hours and days begin at UTC boundaries).
    #[must_use]
    pub const fn period(self, length_seconds: u32) -> u32 {
        self.seconds().div_euclid(length_seconds as i64) as u32
    }

    /// The start of the hour (UTC) that this time lies in, kept within range.
    #[must_use]
    pub const fn hour(self) -> Self {
        Self(self.0.saturating_sub(self.0.rem_euclid(Self::HOUR)))
    }

    /// The start of the quarter of an hour (UTC) that this time lies in, kept within range.
    #[must_use]
    pub const fn quarter(self) -> Self {
        Self(self.0.saturating_sub(self.0.rem_euclid(Self::QUARTER)))
    }

    /// The start of the day (UTC) that this time lies in, kept within range.
    #[must_use]
    pub const fn day(self) -> Self {
        Self(self.0.saturating_sub(self.0.rem_euclid(24 * Self::HOUR)))
    }

    /// This time moved by some microseconds, kept within range.
    #[must_use]
    pub const fn plus_micros(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// The time from `earlier` to this one; zero if `earlier` is later.
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

/// A point in time by the clock that runs since the machine was started: nobody sets it, and it runs on while the machine
/// sleeps or the process is stopped. Microseconds. It means nothing in another process on another machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl Moment {
    /// Microseconds from `earlier` to this; 0 if `earlier` is later.
    #[must_use]
    pub const fn micros_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The time from `earlier` to this; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.micros_since(earlier))
    }

    /// So much later, kept within range.
    #[must_use]
    pub fn plus(self, time: Duration) -> Self {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

/// Tells the time, by two clocks: one that people read and set, and one by which ages are told.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// How long the machine has been running, its sleep included.
    fn since_boot(&self) -> Moment;
}

/// The clock of the machine.
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

/// A clock that stands until it is moved; for tests and simulations.
#[derive(Debug, Default)]
pub struct ManualClock {
    wall: AtomicI64,
    since_boot: AtomicU64,
}

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self {
            wall: AtomicI64::new(now.micros()),
            since_boot: AtomicU64::new(Self::UPTIME),
        }
    }

    /// What it says at first of how long the machine has been running: an hour.
    const UPTIME: u64 = 3_600_000_000;

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.wall.fetch_add(micros, Ordering::SeqCst);
        self.since_boot
            .fetch_add(micros.unsigned_abs(), Ordering::SeqCst);
    }

    /// Sets what people read, while no time passes.
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
    fn a_timestamp_survives_rfc_3339() {
        let text = "2026-01-31T23:59:59.25Z";
        let time: Timestamp = text.parse().expect("valid");
        assert_eq!(time.to_string(), text);
        assert_eq!("2026-02-01T01:59:59.25+02:00".parse(), Ok(time));
        assert_eq!(time.hour().to_string(), "2026-01-31T23:00:00Z");
        assert!("2026-01-31".parse::<Timestamp>().is_err());
    }
}
