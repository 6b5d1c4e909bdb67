//! The limits of licenses: quota with refills, rate windows and concurrency.

use std::fmt;
use std::str::FromStr;

use clap::Args;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cli::{left, whole};
use crate::forms::text_form;
use crate::interval::Interval;
use crate::time::Timestamp;

/// A limit on the calls in each window of a fixed length. Text form: `100/1h`, `100/1h,idle`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RateLimit {
    /// The calls that pass in one window; at least 1.
    pub calls: u32,
    /// The length of a window.
    pub window: Interval,
    /// The rule by which a window ends.
    pub kind: WindowKind,
}

/// The rule by which a rate window ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WindowKind {
    /// The window ends at multiples of its length since the UNIX epoch, so one of an hour or a day
    /// at UTC boundaries.
    #[default]
    Fixed,
    /// The window ends when no call has passed for its length, so calls in quick succession keep it
    /// open. It is counted in memory, whatever its length.
    Idle,
}

/// The effect of a refill on the units that are left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RefillMode {
    /// The units that are left are replaced.
    #[default]
    Set,
    /// The units that are left are kept, and the amount is added.
    Add,
}

/// Units that come back by themselves. Text form: `5/1h`, `5/1h,add`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Refill {
    /// The units of one refill; at least 1.
    pub amount: u64,
    /// The time between refills, counted from the creation of the license. Several periods in which
    /// nothing was used give one refill.
    pub every: Interval,
    /// The effect on the units that are left.
    pub mode: RefillMode,
}

/// The limits of one license.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Args)]
#[serde(default)]
pub struct Limits {
    /// The units given to start with; `None`: not counted.
    #[schemars(description = "The units given to start with; absent: not counted.")]
    #[schemars(range(max = crate::MAX_SAFE_INTEGER))]
    #[arg(
        long,
        value_name = "N",
        value_parser = left,
        help = "Units to start with [default: not counted]"
    )]
    pub remaining: Option<u64>,
    /// The refills of `remaining`.
    #[schemars(description = "The refill of the units.")]
    #[arg(
        long,
        value_name = "N/DURATION[,add]",
        help = "Units that come back by themselves; with `,add` what is left is kept"
    )]
    pub refill: Option<Refill>,
    /// The windows that all hold at once; empty: those of the plan.
    #[schemars(description = "The rate limits, which all hold at once; none: those of the plan.")]
    #[arg(
        long = "rate-limit",
        value_name = "N/DURATION",
        help = "Calls in a window; several hold at once [default: those of the plan]"
    )]
    pub rate_limits: Vec<RateLimit>,
    /// The calls that may be under way at once; `None`: the limit of the plan, if any. For several
    /// gates see `docs/redis.md`.
    #[schemars(description = "The largest number of calls at once; absent: that of the plan.")]
    #[arg(
        long,
        value_name = "N",
        value_parser = whole::<u32>,
        help = "Calls at once [default: that of the plan]"
    )]
    pub concurrency: Option<u32>,
}

crate::fields::read_fields!(Limits: remaining, refill, rate_limits, concurrency);

/// A quantity that is counted against a license and leased to gates in portions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Counter {
    /// The units of [`Limits::remaining`].
    Remaining,
    /// The calls of a rate window of this many seconds, 3,600 or more.
    Window(u32),
}

impl Counter {
    /// The length in seconds from which on windows are counted durably, as quota is.
    pub const DURABLE_WINDOW: u32 = 3_600;

    /// Returns the counter as a number for storage: 0 for `Remaining`, else the seconds of the
    /// window.
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Self::Remaining => 0,
            Self::Window(seconds) => seconds,
        }
    }

    /// Returns the counter that [`Counter::code`] stands for.
    #[must_use]
    pub const fn from_code(code: u32) -> Self {
        match code {
            0 => Self::Remaining,
            seconds => Self::Window(seconds),
        }
    }
}

impl RateLimit {
    /// The highest number of windows that can hold for one license at once.
    pub const MAX_WINDOWS: usize = 8;

    /// Checks whether these windows can hold for one license at once.
    ///
    /// # Errors
    /// The index of the window that is to blame, with a sentence on what is wrong and what would
    /// work.
    pub fn check_together(limits: &[Self]) -> Result<(), (usize, String)> {
        let (count, most) = (limits.len(), Self::MAX_WINDOWS);
        if count > most {
            let reason = format!("{count} windows are not possible: write {most} at most");
            return Err((most, reason));
        }
        for (at, limit) in limits.iter().enumerate() {
            let (window, kind) = (limit.window, limit.kind);
            if limit.is_durable() && !window.seconds().is_multiple_of(60) {
                let (hour, minutes) = (Counter::DURABLE_WINDOW, window.seconds() / 60);
                let reason = format!(
                    "`{limit}` is not possible: a window of {hour} seconds or more is one of whole minutes, such as `{}/{minutes}m`",
                    limit.calls
                );
                return Err((at, reason));
            }
            let same = |other: &&Self| other.window == window && other.kind == kind;
            if let Some(other) = limits[..at].iter().find(same) {
                let reason = match other.calls.cmp(&limit.calls) {
                    std::cmp::Ordering::Equal => {
                        format!("`{limit}` stands here twice: write it once")
                    }
                    order => {
                        let smaller = if order.is_lt() { other } else { limit };
                        format!(
                            "`{other}` and `{limit}` are for the same window: write the smaller one alone, `{smaller}`"
                        )
                    }
                };
                return Err((at, reason));
            }
        }
        Ok(())
    }

    /// Returns whether this window is counted durably (a fixed one of an hour or longer) rather
    /// than in memory.
    #[must_use]
    pub const fn is_durable(&self) -> bool {
        self.window.seconds() >= Counter::DURABLE_WINDOW && matches!(self.kind, WindowKind::Fixed)
    }

    /// Returns the end of the fixed window that holds `now`.
    #[must_use]
    pub fn window_end(&self, now: Timestamp) -> Timestamp {
        let period = i64::from(now.period(self.window.seconds())) + 1;
        Timestamp::from_micros(period * self.window.micros())
    }
}

/// The reason why a text is not a limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseLimitError {
    /// The text is not a rate limit.
    #[error("`{0}` is not a rate limit: write calls and a duration, such as `100/1h`")]
    RateLimit(String),
    /// The text is not a refill.
    #[error("`{0}` is not a refill: write units and a duration, such as `100/1d` or `100/1d,add`")]
    Refill(String),
}

impl FromStr for RateLimit {
    type Err = ParseLimitError;

    fn from_str(text: &str) -> Result<Self, ParseLimitError> {
        let parse = || {
            let (calls, rest) = text.split_once('/')?;
            let calls = calls.parse().ok().filter(|calls| *calls > 0)?;
            let (window, kind) = match rest.split_once(',') {
                None => (rest, WindowKind::Fixed),
                Some((window, "idle")) => (window, WindowKind::Idle),
                Some(_) => return None,
            };
            Some(Self {
                calls,
                window: window.parse().ok()?,
                kind,
            })
        };
        parse().ok_or_else(|| ParseLimitError::RateLimit(crate::quoted(text, 40)))
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            WindowKind::Fixed => "",
            WindowKind::Idle => ",idle",
        };
        write!(f, "{}/{}{kind}", self.calls, self.window)
    }
}

impl FromStr for Refill {
    type Err = ParseLimitError;

    fn from_str(text: &str) -> Result<Self, ParseLimitError> {
        let parse = || {
            let (amount, rest) = text.split_once('/')?;
            let (every, mode) = match rest.split_once(',') {
                None | Some((_, "set")) => (rest.split(',').next()?, RefillMode::Set),
                Some((every, "add")) => (every, RefillMode::Add),
                Some(_) => return None,
            };
            let amount = amount.parse().ok().filter(|amount| *amount > 0)?;
            Some(Self {
                amount,
                every: every.parse().ok()?,
                mode,
            })
        };
        parse().ok_or_else(|| ParseLimitError::Refill(crate::quoted(text, 40)))
    }
}

impl fmt::Display for Refill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = if self.mode == RefillMode::Add {
            ",add"
        } else {
            ""
        };
        write!(f, "{}/{}{mode}", self.amount, self.every)
    }
}

text_form! { RateLimit {
    "description": "Calls in each window, as in `100/1h`; `,idle` for a window that ends when no call passes for its length.",
    "pattern": "^[0-9]+/[0-9]+[smhd](,idle)?$",
    "examples": ["100/1h"],
} }
text_form! { Refill {
    "description": "Units that come back, as in `5/1h`, in place of those left or, with `,add`, beside them.",
    "pattern": "^[0-9]+/[0-9]+[smhd](,set|,add)?$",
    "examples": ["5/1h"],
} }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_survive_their_text_form() {
        for text in ["10/1m", "100/1h", "1/30d", "10/1h,idle"] {
            assert_eq!(text.parse::<RateLimit>().expect(text).to_string(), text);
        }
        for text in ["5/1h", "5/1h,add"] {
            assert_eq!(text.parse::<Refill>().expect(text).to_string(), text);
        }
        assert!("0/1m".parse::<RateLimit>().is_err());
        assert!("1/1m,busy".parse::<RateLimit>().is_err());
        assert!(
            !"1/1h,idle"
                .parse::<RateLimit>()
                .expect("valid")
                .is_durable()
        );
        assert!("5/1h,more".parse::<Refill>().is_err());
    }

    #[test]
    fn a_window_ends_at_the_next_multiple_of_its_length() {
        let limit: RateLimit = "10/1h".parse().expect("valid");
        let now: Timestamp = "2026-01-31T23:59:59Z".parse().expect("valid");
        assert_eq!(limit.window_end(now).to_string(), "2026-02-01T00:00:00Z");
    }
}
