//! The rule that says when somebody is told that a quota goes to its end.
//!
//! The thresholds are shares of what there was when units were granted last: by a new epoch, by a
//! refill that adds, by a credit. So whoever gets further units is told again when these go to their
//! end.

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
    /// Those of them that this roll-up brought.
    pub(crate) new: u64,
}

/// What was told of a balance: a level of an epoch. Level 1 is 80 % of the units, level 2 all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Noted {
    /// The epoch.
    pub(crate) epoch: i64,
    /// The level.
    pub(crate) level: u8,
    /// The units that were granted then; `None`: an earlier version did not note it.
    pub(crate) granted: Option<u64>,
    /// The units that were spent when units were granted last.
    pub(crate) base: u64,
}

/// The events of the levels, in the order in which they are reached.
const LEVELS: [EventType; 2] = [EventType::QuotaLow, EventType::QuotaExhausted];

/// Returns what is to be told of a balance beyond what was, and what is to be noted then: each level
/// once after each grant, also if both are reached at once.
pub(crate) fn thresholds(quota: Quota, noted: Option<Noted>) -> (&'static [EventType], Noted) {
    let mut now = match noted {
        // An older copy of the balance was put back: it was told of what came later.
        Some(noted) if noted.epoch > quota.epoch => return (&[], noted),
        Some(noted) if noted.epoch == quota.epoch => since_grant(quota, noted),
        _ => Noted {
            epoch: quota.epoch,
            level: 0,
            granted: Some(quota.granted),
            base: 0,
        },
    };
    let (told, reached) = (usize::from(now.level), reached(quota, now.base));
    now.level = now.level.max(reached as u8);
    (LEVELS.get(told..reached).unwrap_or_default(), now)
}

/// Returns what was told of the units of the last grant. A grant that this roll-up is the first to
/// see came before what it brought was spent, as far as anybody knows.
fn since_grant(quota: Quota, noted: Noted) -> Noted {
    let granted = Some(quota.granted);
    match noted.granted {
        Some(before) if quota.granted > before => Noted {
            level: 0,
            granted,
            base: quota.spent.saturating_sub(quota.new),
            ..noted
        },
        _ => Noted { granted, ..noted },
    }
}

/// Returns the level that is reached.
fn reached(quota: Quota, base: u64) -> usize {
    let of_grant = |units: u64| u128::from(units.saturating_sub(base));
    let (granted, spent) = (of_grant(quota.granted), of_grant(quota.spent));
    match quota.granted {
        0 => 0,
        _ if spent >= granted => 2,
        _ if spent * 5 >= granted * 4 => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOW: EventType = EventType::QuotaLow;
    const ALL: EventType = EventType::QuotaExhausted;

    fn quota(granted: u64, spent: u64, new: u64) -> Quota {
        Quota {
            epoch: 3,
            granted,
            spent,
            new,
        }
    }

    #[test]
    fn each_threshold_is_told_once_in_an_epoch() {
        let noted = |epoch, level| {
            Some(Noted {
                epoch,
                level,
                granted: None,
                base: 0,
            })
        };
        for (granted, spent, before, told) in [
            (10, 7, None, vec![]),
            (10, 8, None, vec![LOW]),
            (10, 8, noted(3, 1), vec![]),
            (10, 9, noted(2, 2), vec![LOW]),
            (10, 10, None, vec![LOW, ALL]),
            (10, 12, noted(3, 1), vec![ALL]),
            (10, 12, noted(3, 2), vec![]),
            (10, 1, noted(3, 2), vec![]),
            (10, 10, noted(4, 0), vec![]),
            (0, 5, None, vec![]),
            (u64::MAX, u64::MAX / 5 * 4, None, vec![LOW]),
        ] {
            let (is_told, after) = thresholds(quota(granted, spent, 1), before);
            assert_eq!(is_told, told, "{spent} of {granted}, {before:?}");
            let again = thresholds(quota(granted, spent, 1), Some(after));
            assert_eq!(again, (&[][..], after), "{spent} of {granted}, {before:?}");
        }
    }

    #[test]
    fn a_grant_within_an_epoch_has_the_thresholds_told_again_of_what_there_is_since() {
        let mut noted = None;
        for (granted, spent, new, told) in [
            (100, 100, 100, vec![LOW, ALL]),
            // 50 more, of which 39 are used, then 40, then all.
            (150, 139, 39, vec![]),
            (150, 140, 1, vec![LOW]),
            (150, 150, 10, vec![ALL]),
            (150, 150, 0, vec![]),
            // More before anything of it is told.
            (200, 160, 10, vec![]),
            (300, 170, 10, vec![]),
            (300, 271, 101, vec![]),
            (300, 272, 1, vec![LOW]),
            // A debit grants nothing, and what it leaves is used sooner.
            (280, 279, 7, vec![]),
            (280, 280, 1, vec![ALL]),
            // A grant that is used up in the same roll-up.
            (290, 290, 10, vec![LOW, ALL]),
        ] {
            let (is_told, after) = thresholds(quota(granted, spent, new), noted);
            assert_eq!(is_told, told, "{spent} of {granted}");
            noted = Some(after);
        }
    }
}
