//! The rule by which ranges of a lane are sealed: one after the other, each once.

use crate::error::Error;
use crate::ledger::SealIntent;

/// The meaning of the sealed file of a range, by the position that its lane is sealed up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sealing {
    /// The range comes next, and is written down.
    Ahead,
    /// The lane is sealed up to the end of the range: it was done before.
    Behind,
    /// The range does not begin where the lane is sealed up to.
    Refused(Error),
}

impl Sealing {
    /// Returns what the sealed file of a range means.
    pub(crate) fn done(range: &SealIntent, sealed: u64) -> Self {
        if sealed == range.through {
            Self::Behind
        } else if sealed == range.from {
            Self::Ahead
        } else {
            Self::Refused(elsewhere(range.from, sealed))
        }
    }
}

/// Returns the error of a range that begins or ends at `expected` where the store is at `found`.
pub(crate) const fn elsewhere(expected: u64, found: u64) -> Error {
    Error::Position { expected, found }
}

#[cfg(test)]
mod tests {
    use model::InstanceId;

    use super::*;

    #[test]
    fn ranges_are_sealed_one_after_the_other_and_once() {
        let range = SealIntent {
            instance: InstanceId::from_u128(7),
            lane: 0,
            from: 10,
            through: 20,
        };
        for (sealed, done) in [
            (10, Sealing::Ahead),
            (20, Sealing::Behind),
            (0, Sealing::Refused(elsewhere(10, 0))),
            (15, Sealing::Refused(elsewhere(10, 15))),
        ] {
            assert_eq!(Sealing::done(&range, sealed), done, "{sealed}");
        }
    }
}
