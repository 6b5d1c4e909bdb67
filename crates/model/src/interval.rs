//! Lengths of time in the form that people write: `1s`, `5m`, `1h`, `30d`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::forms::text_form;
use crate::quantity::{self, Unit};

/// A length of time in whole seconds, from one second to 100 years of 366 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Interval(u32);

/// The error for a text that is not an [`Interval`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a duration: write a whole number and a unit, such as `30s`, `5m`, `1h` or `30d`"
)]
pub struct ParseIntervalError(pub String);

impl Interval {
    const MAX_SECONDS: u64 = 100 * 366 * 86_400;

    /// Returns the interval of so many seconds; `None` for zero and for more than 100 years.
    #[must_use]
    pub fn from_seconds(seconds: u64) -> Option<Self> {
        (1..=Self::MAX_SECONDS)
            .contains(&seconds)
            .then_some(Self(seconds as u32))
    }

    /// Returns the length in seconds.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        self.0
    }

    /// Returns the length in microseconds.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0 as i64 * 1_000_000
    }

    /// Returns the length as a standard duration.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0 as u64)
    }
}

const UNITS: [Unit; 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

impl FromStr for Interval {
    type Err = ParseIntervalError;

    fn from_str(text: &str) -> Result<Self, ParseIntervalError> {
        let seconds = quantity::parse(text, &UNITS).flatten();
        let interval = seconds.and_then(Self::from_seconds);
        interval.ok_or_else(|| ParseIntervalError(crate::quoted(text, 40)))
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        quantity::write(f, self.0.into(), &UNITS)
    }
}

text_form! { Interval {
    "description": "A length of time: whole seconds, minutes, hours or days.",
    "pattern": "^[0-9]+[smhd]$",
    "examples": ["30d"],
} }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_read_and_written_in_their_largest_unit() {
        for (text, seconds) in [
            ("1s", 1),
            ("90s", 90),
            ("5m", 300),
            ("24h", 86_400),
            ("30d", 2_592_000),
        ] {
            assert_eq!(text.parse::<Interval>().expect(text).seconds(), seconds);
        }
        assert_eq!("24h".parse::<Interval>().expect("valid").to_string(), "1d");
        for bad in ["", "s", "0s", "-1s", "1", "1w", "1.5h", "99999999999d", "é"] {
            assert!(bad.parse::<Interval>().is_err(), "{bad}");
        }
    }
}
