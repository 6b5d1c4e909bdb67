//! Lengths of time that may be shorter than a second.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use model::quantity::{self, Unit};

use crate::value::from_text;

/// A length of time in whole milliseconds, from zero to 100 years. Text form: `500ms`, `30s`, `5m`,
/// `1h`, `30d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Millis(u64);

/// The reason why a text is not a length of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseMillisError {
    /// The text is not a number with a unit.
    #[error(
        "`{0}` is not a duration: write a whole number and a unit, such as `500ms`, `30s`, `5m`, `1h` or `30d`"
    )]
    Malformed(String),
    /// The time is longer than anybody can mean.
    #[error("`{0}` is longer than 100 years: write a shorter time, 36600d at most")]
    TooLong(String),
}

const UNITS: [Unit; 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

impl Millis {
    const MAX_MILLIS: u64 = 100 * 366 * 86_400_000;

    /// Returns a length of so many seconds.
    pub(crate) const fn from_seconds(seconds: u64) -> Self {
        Self(seconds * 1_000)
    }

    pub(crate) const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Returns whether the length is zero.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Returns the length as a standard duration.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl FromStr for Millis {
    type Err = ParseMillisError;

    fn from_str(text: &str) -> Result<Self, ParseMillisError> {
        let shown = || model::quoted(text, 40);
        let millis = quantity::parse(text, &UNITS);
        let millis = millis.ok_or_else(|| ParseMillisError::Malformed(shown()))?;
        let millis = millis.filter(|millis| *millis <= Self::MAX_MILLIS);
        millis
            .map(Self)
            .ok_or_else(|| ParseMillisError::TooLong(shown()))
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        quantity::write(f, self.0, &UNITS)
    }
}

from_text! { Millis, "a duration in a string, such as \"30s\""; }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_in_their_largest_unit() {
        for text in ["1ms", "1500ms", "0s", "90s", "5m", "1h", "30d"] {
            assert_eq!(text.parse::<Millis>().expect(text).to_string(), text);
        }
        assert_eq!(
            "90s".parse::<Millis>().expect("valid").duration(),
            Duration::from_secs(90)
        );
        let long = "100000d"
            .parse::<Millis>()
            .expect_err("too long")
            .to_string();
        assert!(long.contains("longer than 100 years"), "{long}");
        assert!("36600d".parse::<Millis>().is_ok() && "36601d".parse::<Millis>().is_err());
        for bad in [
            "",
            "s",
            "ms",
            "1",
            "-1s",
            "+1s",
            "1.5s",
            "1us",
            "1w",
            "99999999999999999d",
            "9999999d",
            "é",
        ] {
            assert!(bad.parse::<Millis>().is_err(), "{bad}");
        }
    }
}
