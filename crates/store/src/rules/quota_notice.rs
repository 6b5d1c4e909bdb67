//! The rule that says when somebody is told that a quota goes to its end.

use model::EventType;

/// The units of a balance in its present epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quota {
    /// The epoch.
    pub(crate) epoch: i64,
    /// The units granted in it.
    pub(crate) granted: u64,
    /// The units spent in it.
    pub(crate) spent: u64,
}

/// What was told of a balance: a level of an epoch. Level 1 is 80 % of the units, level 2 all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Noted {
    /// The epoch.
    pub(crate) epoch: i64,
    /// The level.
    pub(crate) level: u8,
}

/// The events of the levels, in the order in which they are reached.
const LEVELS: [EventType; 2] = [EventType::QuotaLow, EventType::QuotaExhausted];

/// Returns what is to be told of a balance beyond what was: each level once in an epoch, also if
/// both are reached at once or units are added later.
pub(crate) fn thresholds(quota: Quota, noted: Option<Noted>) -> &'static [EventType] {
    let told = match noted {
        Some(noted) if noted.epoch == quota.epoch => usize::from(noted.level),
        // An older copy of the balance was put back: it was told of what came later.
        Some(noted) if noted.epoch > quota.epoch => LEVELS.len(),
        _ => 0,
    };
    let (granted, spent) = (u128::from(quota.granted), u128::from(quota.spent));
    let reached = match granted {
        0 => 0,
        _ if spent >= granted => 2,
        _ if spent * 5 >= granted * 4 => 1,
        _ => 0,
    };
    LEVELS.get(told..reached).unwrap_or_default()
}

/// Returns the level that is reached with an event.
pub(crate) fn level(told: EventType) -> u8 {
    let place = LEVELS.iter().position(|kind| *kind == told);
    place.map_or(0, |place| place as u8 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_threshold_is_told_once_in_an_epoch() {
        let (low, all) = (EventType::QuotaLow, EventType::QuotaExhausted);
        let noted = |epoch, level| Some(Noted { epoch, level });
        for (granted, spent, before, told) in [
            (10, 7, None, vec![]),
            (10, 8, None, vec![low]),
            (10, 8, noted(3, 1), vec![]),
            (10, 9, noted(2, 2), vec![low]),
            (10, 10, None, vec![low, all]),
            (10, 12, noted(3, 1), vec![all]),
            (10, 12, noted(3, 2), vec![]),
            (10, 1, noted(3, 2), vec![]),
            (10, 10, noted(4, 0), vec![]),
            (0, 5, None, vec![]),
            (u64::MAX, u64::MAX / 5 * 4, None, vec![low]),
        ] {
            let quota = Quota {
                epoch: 3,
                granted,
                spent,
            };
            assert_eq!(
                thresholds(quota, before),
                told,
                "{spent} of {granted}, {before:?}"
            );
        }
        assert_eq!((level(low), level(all)), (1, 2));
    }
}
