//! Sets of statuses and of outcomes that are billed, asked once per call.

use std::fmt;

use model::Outcome;

use crate::reader::{Section, values};
use crate::value::{FromValue, clip};

/// A set of HTTP statuses, 100 to 599.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StatusSet([u64; 8]);

/// The statuses that are billed, by the way that a call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Billable {
    /// The statuses of calls through the proxy \[2xx, 101 and 304\].
    pub forwarded: StatusSet,
    /// The statuses of calls by rpc (apifew's `/v1/request`), which callers drive as they do the
    /// proxy; the same as of the others if the file names them \[200, and the statuses that callers
    /// can turn it into: 206 and 304\].
    pub by_rpc: StatusSet,
    /// The statuses that a provider reports (apifew's consumed tokens and stamps), and those of
    /// verifications; the same as of the others if the file names them \[exactly 200\].
    pub own_ways: StatusSet,
}

/// A set of outcomes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OutcomeSet(u8);

/// An item of a list of statuses: `200`, `2xx` or `200-299`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct StatusRange {
    first: u16,
    last: u16,
}

const FIRST: u16 = 100;
const LAST: u16 = 599;

impl StatusSet {
    /// The empty set.
    pub const NONE: Self = Self([0; 8]);

    fn of(ranges: impl IntoIterator<Item = StatusRange>) -> Self {
        let mut set = Self::NONE;
        for range in ranges {
            for status in range.first..=range.last {
                let bit = usize::from(status - FIRST);
                set.0[bit / 64] |= 1 << (bit % 64);
            }
        }
        set
    }

    /// Returns whether a status is in the set.
    #[must_use]
    pub fn contains(&self, status: u16) -> bool {
        let Some(bit) = status.checked_sub(FIRST).map(usize::from) else {
            return false;
        };
        self.0
            .get(bit / 64)
            .is_some_and(|word| word & (1 << (bit % 64)) != 0)
    }

    /// Returns the statuses in order.
    pub fn iter(&self) -> impl Iterator<Item = u16> {
        (FIRST..=LAST).filter(|status| self.contains(*status))
    }
}

impl Billable {
    /// The statuses that a caller can get in place of 200, by asking for a part (`Range`) or for
    /// changes (`If-None-Match`).
    pub const CHOSEN_BY_CALLERS: [u16; 2] = [206, 304];

    /// Reads `billable` of an app or a route; `None` where it is not there.
    pub(crate) fn read(section: &Section<'_>) -> Option<Self> {
        let ranges = section.located::<StatusRange>("billable")?;
        Some(Self::named(StatusSet::of(values(ranges))))
    }

    /// Makes the set that the file names hold for every way of a call.
    const fn named(statuses: StatusSet) -> Self {
        Self {
            forwarded: statuses,
            by_rpc: statuses,
            own_ways: statuses,
        }
    }

    /// Returns the statuses by which a caller can make a call free that is billed otherwise.
    #[must_use]
    pub fn free_by_choice(&self) -> Vec<u16> {
        let set = &self.forwarded;
        let chosen = Self::CHOSEN_BY_CALLERS.into_iter();
        chosen
            .filter(|status| set.contains(200) && !set.contains(*status))
            .collect()
    }
}

impl Default for Billable {
    fn default() -> Self {
        let range = |first, last| StatusRange { first, last };
        Self {
            forwarded: StatusSet::of([range(200, 299), range(101, 101), range(304, 304)]),
            by_rpc: StatusSet::of([range(200, 200), range(206, 206), range(304, 304)]),
            own_ways: StatusSet::of([range(200, 200)]),
        }
    }
}

impl OutcomeSet {
    pub(crate) fn of(outcomes: impl IntoIterator<Item = Outcome>) -> Self {
        let bits = outcomes.into_iter().map(|outcome| 1 << outcome as u8);
        Self(bits.fold(0, |all, bit: u8| all | bit))
    }

    /// Returns whether an outcome is in the set.
    #[must_use]
    pub const fn contains(&self, outcome: Outcome) -> bool {
        self.0 & (1 << outcome as u8) != 0
    }

    /// Returns the outcomes in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = Outcome> {
        let all = Outcome::ALL.iter().copied();
        all.filter(|outcome| self.contains(*outcome))
    }
}

impl Default for OutcomeSet {
    /// Returns the default: delivered, client gone, interrupted.
    fn default() -> Self {
        Self::of([
            Outcome::Delivered,
            Outcome::ClientGone,
            Outcome::Interrupted,
        ])
    }
}

impl fmt::Debug for StatusSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl fmt::Debug for OutcomeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl FromValue for StatusRange {
    const EXPECTED: &'static str =
        "a status from 100 to 599, such as \"200\", \"2xx\" or \"200-299\"";

    fn from_text(text: &str) -> Option<Result<Self, String>> {
        let status = |text: &str| {
            let plain = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
            let status = plain.then(|| text.parse::<u16>().ok()).flatten();
            status.filter(|status| (FIRST..=LAST).contains(status))
        };
        let parse = || {
            let (first, last) = if let Some(class) = text.strip_suffix("xx") {
                let first = status(&format!("{class}00"))?;
                (first, first + 99)
            } else if let Some((first, last)) = text.split_once('-') {
                (status(first)?, status(last)?)
            } else {
                (status(text)?, status(text)?)
            };
            (first <= last).then_some(Self { first, last })
        };
        let refused = || {
            format!(
                "`{}` is not allowed here: write {}",
                clip(text),
                Self::EXPECTED
            )
        };
        Some(parse().ok_or_else(refused))
    }

    fn from_integer(number: i128) -> Option<Result<Self, String>> {
        Self::from_text(&number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(texts: &[&str]) -> Result<StatusSet, String> {
        let ranges = texts
            .iter()
            .map(|text| StatusRange::from_text(text).expect("text"));
        ranges.collect::<Result<Vec<_>, _>>().map(StatusSet::of)
    }

    #[test]
    fn a_set_of_statuses_holds_what_it_was_made_of_and_nothing_else() {
        let set = set(&["200", "3xx", "418-420", "599", "100"]).expect("valid");
        let expected: Vec<u16> = [100, 200]
            .into_iter()
            .chain(300..400)
            .chain(418..=420)
            .chain([599])
            .collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), expected);
        for outside in [0, 99, 600, 611, 612, 65_535] {
            assert!(!set.contains(outside));
        }
    }

    #[test]
    fn no_call_is_free_by_the_choice_of_its_caller_unless_the_file_says_so() {
        let default = Billable::default();
        assert!([101, 200, 204, 206, 304].map(|it| default.forwarded.contains(it)) == [true; 5]);
        assert!(!default.forwarded.contains(301) && !default.forwarded.contains(404));
        assert_eq!(default.own_ways.iter().collect::<Vec<_>>(), [200]);
        assert_eq!(default.by_rpc.iter().collect::<Vec<_>>(), [200, 206, 304]);
        for (named, free) in [
            (&["200"][..], &[206, 304][..]),
            (&["2xx"], &[304]),
            (&["200", "206", "304"], &[]),
            (&["404"], &[]),
        ] {
            let named = Billable::named(set(named).expect("valid"));
            assert_eq!(named.free_by_choice(), free);
        }
        assert!(default.free_by_choice().is_empty());
    }

    #[test]
    fn texts_that_are_not_statuses_are_refused() {
        for bad in [
            "", "20", "0xx", "6xx", "xx", "2x", "600", "99", "299-200", "200-", "-200", "+20",
            "2xx-3xx", "éxx",
        ] {
            assert!(set(&[bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn outcomes_that_are_never_billed_cannot_be_named() {
        assert!(OutcomeSet::default().contains(Outcome::ClientGone));
        assert!(!OutcomeSet::default().contains(Outcome::UpstreamFailed));
        for word in ["refused", "unknown", "Delivered"] {
            assert!(Outcome::from_text(word).expect("text").is_err());
        }
    }
}
