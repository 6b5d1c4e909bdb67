//! The rule by which ranges of a lane are sealed: one after the other, each once.

use crate::error::Error;
use crate::ledger::SealIntent;

/// The decision on a range that is announced or was sealed, by the position that its lane is sealed
/// up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sealing {
    /// The range lies ahead, and is written down.
    Ahead,
    /// The lane is sealed beyond the beginning of the range: it stands only if it was sealed as it
    /// is.
    Behind,
    /// The range begins or ends where it cannot.
    Refused(Error),
}

impl Sealing {
    /// Returns what the announcement of a range means.
    pub(crate) fn announced(range: &SealIntent, sealed: u64) -> Self {
        if range.from < sealed {
            Self::Behind
        } else {
            Self::Ahead
        }
    }

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
        for (sealed, announced, done) in [
            (10, Sealing::Ahead, Sealing::Ahead),
            (20, Sealing::Behind, Sealing::Behind),
            (0, Sealing::Ahead, Sealing::Refused(elsewhere(10, 0))),
            (15, Sealing::Behind, Sealing::Refused(elsewhere(10, 15))),
        ] {
            assert_eq!(Sealing::announced(&range, sealed), announced, "{sealed}");
            assert_eq!(Sealing::done(&range, sealed), done, "{sealed}");
        }
    }
}
