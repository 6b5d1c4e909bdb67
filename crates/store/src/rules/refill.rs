//! The rules by which a balance changes: by hand, by a refill that is due, or by credits and debits.
//! They are pure functions, so that every store counts alike.

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
    /// The sum of all units that were ever credited.
    pub(crate) credited: u64,
    /// The sum of all units that were ever to be debited.
    pub(crate) debited: u64,
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
    /// The `credited` of the license that was applied last.
    pub(crate) credited: u64,
    /// The `debited` of the license that was applied last.
    pub(crate) debited: u64,
    /// The sum of all units that debits took: at most `debited`, since they take only what is free.
    pub(crate) debits_taken: u64,
}

/// The largest count that a column holds.
const MOST: u64 = i64::MAX as u64;

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
            credited: 0,
            debited: 0,
            debits_taken: 0,
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

/// Returns whether credits or debits of the license are not in its balance yet.
pub(crate) const fn is_to_adjust(row: &BalanceRow, terms: &Terms) -> bool {
    terms.credited > row.credited || terms.debited > row.debited
}

/// Applies the credits and debits that are not in a balance yet, as [`present`] returned it. Of its
/// epoch instances hold `held` units, which no debit takes.
///
/// Credits come first, whatever the order of the two: changes that were not answered yet have none.
/// Sums below the row's mean that the license is an older copy than the row: the row stands.
pub(crate) fn adjust(row: &mut BalanceRow, terms: &Terms, held: u64) {
    let credits = terms.credited.saturating_sub(row.credited);
    row.granted = row.granted.min(MOST).saturating_add(credits).min(MOST);
    row.credited = row.credited.max(terms.credited);
    let debits = terms.debited.saturating_sub(row.debited);
    let free = row.granted.saturating_sub(row.settled).saturating_sub(held);
    let taken = debits.min(free);
    row.granted -= taken;
    row.debits_taken = row.debits_taken.saturating_add(taken).min(MOST);
    row.debited = row.debited.max(terms.debited);
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
            credited: 0,
            debited: 0,
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
    fn a_credit_adds_to_the_epoch_and_a_debit_takes_what_is_free_of_it() {
        let terms = terms(10, "5/1h");
        let mut row = present(None, &terms, after(0)).expect("counted");
        row.settled = 3;
        let credited = Terms {
            credited: 4,
            ..terms
        };
        assert!(is_to_adjust(&row, &credited));
        adjust(&mut row, &credited, 5);
        assert_eq!((row.granted, row.epoch, row.credited), (14, 0, 4));
        let before = row;
        adjust(&mut row, &credited, 5);
        assert_eq!(row, before, "it is applied once");
        // Of 14 units 3 are spent and 5 are held: 6 are free.
        let debited = Terms {
            debited: 9,
            ..credited
        };
        adjust(&mut row, &debited, 5);
        assert_eq!((row.granted, row.debited, row.debits_taken), (8, 9, 6));
        // What was not free then is not owed later.
        adjust(&mut row, &debited, 0);
        assert_eq!(row.granted, 8);
        // A refill that sets forgets them, and no later credit is lost.
        let row = present(Some(row), &debited, after(1)).expect("counted");
        assert_eq!((row.granted, row.settled, row.credited), (5, 0, 4));
        assert!(!is_to_adjust(&row, &debited));
    }

    proptest::proptest! {
        /// However credits, debits, leases and spending follow each other, no debit takes a unit
        /// that is held or spent, and all units are accounted for.
        #[test]
        fn no_unit_is_taken_that_is_held_or_spent(
            steps in proptest::collection::vec((0..4_u8, 0..20_u64), 0..60)
        ) {
            let mut terms = Terms { refill: None, ..terms(10, "1/1h") };
            let mut row = present(None, &terms, after(0)).expect("counted");
            let (mut held, mut taken) = (0, 0);
            for (step, units) in steps {
                match step {
                    0 => terms.credited += units,
                    1 => terms.debited += units,
                    2 => held += units.min(row.granted - row.settled - held),
                    _ => {
                        let spent = units.min(held);
                        (held, row.settled) = (held - spent, row.settled + spent);
                    }
                }
                let free = row.granted - row.settled - held;
                let credits = terms.credited - row.credited;
                let asked = terms.debited - row.debited;
                adjust(&mut row, &terms, held);
                taken += asked.min(free + credits);
                proptest::prop_assert!(row.granted >= row.settled + held);
                proptest::prop_assert_eq!(row.debits_taken, taken);
                proptest::prop_assert_eq!(row.granted + taken, 10 + terms.credited);
                proptest::prop_assert!(!is_to_adjust(&row, &terms));
            }
        }
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
            credited: 7,
            debited: 6,
            debits_taken: 5,
        };
        assert_eq!(present(Some(row), &terms, after(5)), Some(row));
        assert!(!is_to_adjust(&row, &terms));
        let mut adjusted = row;
        adjust(&mut adjusted, &terms, 0);
        assert_eq!(adjusted, row);
        let unlimited = Terms {
            remaining: None,
            ..terms
        };
        assert_eq!(present(Some(row), &unlimited, after(5)), None);
        assert_eq!(next_refill_at(&unlimited, after(5)), None);
    }
}
