//! The rules by which a balance changes: by hand, or by a refill that is due. They are pure
//! functions, so that every store counts alike.

use model::{Refill, RefillMode, Timestamp};

/// The terms of a license that concern its balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// The units that a balance begins with; `None`: not counted.
    pub(crate) remaining: Option<u64>,
    /// The refill; `None`: there is none.
    pub(crate) refill: Option<Refill>,
    /// The time that refills are counted from.
    pub(crate) created_at: Timestamp,
    /// A number that grows whenever the units left are set by hand.
    pub(crate) balance_stamp: i64,
    /// The time (microseconds) up to which refills that fell due are past; it grows with the
    /// schedule and the stamp above.
    pub(crate) refill_stamp: i64,
}

/// A balance as the store holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BalanceRow {
    /// The number of times that the units left were set anew.
    pub(crate) epoch: u32,
    /// The units granted in this epoch.
    pub(crate) granted: u64,
    /// The units spent in this epoch by instances that are settled.
    pub(crate) settled: u64,
    /// The `balance_stamp` of the license that was applied last.
    pub(crate) balance_stamp: i64,
    /// The `refill_stamp` of the license that was applied last.
    pub(crate) refill_stamp: i64,
    /// The time (microseconds) at which the last refill fell due that was claimed or is past.
    pub(crate) refilled_through: i64,
}

/// Returns the balance as it is at `now`, with `row` as it was written down last; `None`: the
/// license counts nothing.
///
/// A stamp older than the row's means that the license is an older copy than the row: the row
/// stands.
pub(crate) fn present(
    row: Option<BalanceRow>,
    terms: &Terms,
    now: Timestamp,
) -> Option<BalanceRow> {
    let remaining = terms.remaining?;
    let mut row = match row {
        None => BalanceRow {
            epoch: 0,
            granted: remaining,
            settled: 0,
            balance_stamp: terms.balance_stamp,
            refill_stamp: i64::MIN,
            refilled_through: terms.created_at.micros(),
        },
        Some(row) if terms.balance_stamp > row.balance_stamp => BalanceRow {
            epoch: row.epoch.saturating_add(1),
            granted: remaining,
            settled: 0,
            balance_stamp: terms.balance_stamp,
            ..row
        },
        Some(row) => row,
    };
    if terms.refill_stamp > row.refill_stamp {
        row.refill_stamp = terms.refill_stamp;
        let past = terms.refill_stamp.min(now.micros());
        row.refilled_through = row.refilled_through.max(past);
    }
    claim(&mut row, terms, now);
    Some(row)
}

/// Claims one refill, however many fell due.
fn claim(row: &mut BalanceRow, terms: &Terms, now: Timestamp) {
    let Some(refill) = terms.refill else { return };
    let period = period_number(terms, refill, now);
    let due_at = start_of(terms, refill, period);
    if period < 1 || due_at <= row.refilled_through {
        return;
    }
    row.refilled_through = due_at;
    match refill.mode {
        RefillMode::Set => {
            row.epoch = row.epoch.saturating_add(1);
            row.granted = refill.amount;
            row.settled = 0;
        }
        RefillMode::Add => row.granted = row.granted.saturating_add(refill.amount),
    }
}

/// Returns when the next refill falls due; `None`: never.
pub(crate) fn next_refill_at(terms: &Terms, now: Timestamp) -> Option<Timestamp> {
    terms.remaining?;
    let refill = terms.refill?;
    let period = period_number(terms, refill, now).max(0);
    Some(Timestamp::from_micros(start_of(terms, refill, period + 1)))
}

fn period_number(terms: &Terms, refill: Refill, now: Timestamp) -> i64 {
    let age = now.micros().saturating_sub(terms.created_at.micros());
    age.div_euclid(refill.every.micros())
}

fn start_of(terms: &Terms, refill: Refill, period: i64) -> i64 {
    let age = period.saturating_mul(refill.every.micros());
    terms.created_at.micros().saturating_add(age)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = Timestamp::HOUR;

    fn terms(remaining: u64, refill: &str) -> Terms {
        Terms {
            remaining: Some(remaining),
            refill: Some(refill.parse().expect("valid")),
            created_at: Timestamp::from_micros(7),
            balance_stamp: 1,
            refill_stamp: 7,
        }
    }

    fn after(hours: i64) -> Timestamp {
        Timestamp::from_micros(7 + hours * HOUR)
    }

    #[test]
    fn a_refill_is_due_a_whole_interval_after_the_license_was_made_and_not_before() {
        let terms = terms(0, "5/1h");
        let early = after(1).plus_micros(-1);
        let first = present(None, &terms, early).expect("counted");
        assert_eq!((first.granted, first.epoch), (0, 0));
        let second = present(Some(first), &terms, after(1)).expect("counted");
        assert_eq!((second.granted, second.epoch), (5, 1));
        assert_eq!(present(Some(second), &terms, after(1)), Some(second));
        assert_eq!(next_refill_at(&terms, after(1)), Some(after(2)));
    }

    #[test]
    fn intervals_that_passed_unused_give_one_refill() {
        let add = terms(50, "5/1h,add");
        let row = present(None, &add, after(3)).expect("counted");
        assert_eq!((row.granted, row.epoch), (55, 0));
        let set = terms(50, "5/1h");
        let row = present(None, &set, after(3)).expect("counted");
        assert_eq!((row.granted, row.epoch), (5, 1));
    }

    #[test]
    fn what_was_set_by_hand_stands_until_the_next_refill_falls_due() {
        let before = terms(50, "5/1h");
        let row = present(None, &before, after(1)).expect("counted");
        let by_hand = Terms {
            remaining: Some(100),
            balance_stamp: 2,
            refill_stamp: after(3).micros() + 1,
            ..before
        };
        let row = present(Some(row), &by_hand, after(3).plus_micros(2)).expect("counted");
        assert_eq!((row.granted, row.epoch), (100, 2));
        let row = present(Some(row), &by_hand, after(4)).expect("counted");
        assert_eq!((row.granted, row.epoch), (5, 3));
    }

    #[test]
    fn a_schedule_that_changes_gives_nothing_for_the_past() {
        let hourly = terms(0, "5/1h");
        let row = present(None, &hourly, after(30)).expect("counted");
        let daily = Terms {
            refill: Some("7/1d".parse().expect("valid")),
            refill_stamp: after(30).micros(),
            ..hourly
        };
        let row = present(Some(row), &daily, after(47)).expect("counted");
        assert_eq!(row.granted, 5);
        let row = present(Some(row), &daily, after(48)).expect("counted");
        assert_eq!(row.granted, 7);
    }

    #[test]
    fn a_license_from_an_older_copy_leaves_the_balance_alone() {
        let terms = terms(50, "5/1h");
        let row = BalanceRow {
            epoch: 4,
            granted: 9,
            settled: 3,
            balance_stamp: 10,
            refill_stamp: 20,
            refilled_through: after(9).micros(),
        };
        assert_eq!(present(Some(row), &terms, after(5)), Some(row));
        let unlimited = Terms {
            remaining: None,
            ..terms
        };
        assert_eq!(present(Some(row), &unlimited, after(5)), None);
        assert_eq!(next_refill_at(&unlimited, after(5)), None);
    }
}
