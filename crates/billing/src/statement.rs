//! Statements: usage under one plan revision as lines that can be charged.

use model::usage::UsageSums;
use model::{Currency, Money, PlanRevision};

use crate::round::round_to_minor;

/// The kind of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineKind {
    /// Billed units at the plan's price.
    Usage,
    /// The difference to the nearest payable amount.
    Rounding,
}

/// A line of a statement: a kind, a number of units, a price and an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PriceLine {
    /// The kind of the line.
    pub kind: LineKind,
    /// The units; 0 for rounding.
    pub units: u64,
    /// The price of one unit; zero for rounding.
    pub price_per_unit: Money,
    /// The amount, negative for rounding down.
    pub amount: Money,
}

/// The bill for a period of usage under one plan revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The currency of every amount.
    pub currency: Currency,
    /// The lines, whose amounts add up to the total. Lines of zero are left out.
    pub lines: Vec<PriceLine>,
    /// The payable amount.
    pub total: Money,
}

/// Returns the gross line of some usage, or none for no usage. Its amount is the sum of the prices
/// of the calls, not a new product, so that a statement never differs from its records.
#[must_use]
pub fn price_lines(revision: &PlanRevision, usage: &UsageSums) -> Vec<PriceLine> {
    let usage_line = PriceLine {
        kind: LineKind::Usage,
        units: usage.units,
        price_per_unit: revision.plan.price_per_unit,
        amount: usage.amount,
    };
    let nothing = usage.units == 0 && usage.amount == Money::ZERO;
    if nothing { vec![] } else { vec![usage_line] }
}

impl Statement {
    /// Returns the statement over this usage, as if the period ended now.
    #[must_use]
    pub fn preview(revision: &PlanRevision, usage: &UsageSums) -> Self {
        let plan = &revision.plan;
        let mut lines = price_lines(revision, usage);
        let sum = |lines: &[PriceLine]| {
            lines
                .iter()
                .fold(Money::ZERO, |total, line| total.saturating_add(line.amount))
        };
        let exact = sum(&lines);
        let total = round_to_minor(exact, plan.currency);
        let rounding = Money::from_nanos(total.nanos() - exact.nanos());
        if rounding != Money::ZERO {
            lines.push(PriceLine {
                kind: LineKind::Rounding,
                units: 0,
                price_per_unit: Money::ZERO,
                amount: rounding,
            });
        }
        Self {
            currency: plan.currency,
            lines,
            total,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{plan, price_of_call};
    use model::Plan;

    fn usage(plan: &Plan, units: u64) -> UsageSums {
        UsageSums {
            calls: units,
            billable_calls: units,
            units,
            amount: price_of_call(plan, true, units),
            ..UsageSums::default()
        }
    }

    #[test]
    fn what_was_used_is_charged_and_rounded_to_what_can_be_paid() {
        let plan = plan("0.0015", "EUR");
        let statement = Statement::preview(&PlanRevision::from(plan.clone()), &usage(&plan, 1_003));
        let amounts: Vec<_> = statement
            .lines
            .iter()
            .map(|line| (line.kind, line.amount.to_string()))
            .collect();
        assert_eq!(
            amounts,
            [
                (LineKind::Usage, "1.5045".to_owned()),
                (LineKind::Rounding, "-0.0045".to_owned()),
            ]
        );
        assert_eq!(statement.total.to_string(), "1.5");
    }

    #[test]
    fn nothing_used_is_nothing_to_pay() {
        let plan = plan("0.01", "EUR");
        let statement = Statement::preview(&PlanRevision::from(plan), &UsageSums::default());
        assert_eq!((statement.lines, statement.total), (vec![], Money::ZERO));
    }

    proptest::proptest! {
        #[test]
        fn lines_always_add_up_to_the_total(
            nanos in 0_i128..10_000_000_000, units in 0_u64..1_000_000,
        ) {
            let mut plan = plan("0", "EUR");
            plan.price_per_unit = Money::from_nanos(nanos);
            let statement = Statement::preview(&PlanRevision::from(plan.clone()), &usage(&plan, units));
            let sum: i128 = statement.lines.iter().map(|line| line.amount.nanos()).sum();
            proptest::prop_assert_eq!(sum, statement.total.nanos());
            proptest::prop_assert!(statement.total >= Money::ZERO);
        }
    }
}
