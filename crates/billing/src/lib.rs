//! The price of usage: plan terms and sums in, price lines out. Pure and exact, without clock and
//! store.
//!
//! A call is priced once, when it is closed, by the revision of its plan ([`price_of_call`]); sums
//! of those prices are gross. Rounding belongs to statements ([`Statement`]).

#![forbid(unsafe_code)]

mod round;
mod statement;

pub use round::{minor_digits, round_to_minor};
pub use statement::{LineKind, PriceLine, Statement, price_lines};

use model::{Money, Plan};

/// Returns the gross price of one call: the plan's price for each of its units, and zero for a call
/// that is not billed.
///
/// A product outside the range of [`Money`] is kept at the end of the range.
#[must_use]
pub fn price_of_call(plan: &Plan, billable: bool, units: u64) -> Money {
    if billable {
        plan.price_per_unit.times(units)
    } else {
        Money::ZERO
    }
}

#[cfg(test)]
pub(crate) fn plan(price: &str, currency: &str) -> Plan {
    Plan {
        name: "pro".parse().expect("valid"),
        currency: currency.parse().expect("valid"),
        price_per_unit: price.parse().expect("valid"),
        rate_limits: vec![],
        concurrency: None,
        features: vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_costs_its_units_and_nothing_when_it_is_not_billed() {
        let plan = plan("0.01", "EUR");
        assert_eq!(price_of_call(&plan, true, 250).to_string(), "2.5");
        assert_eq!(price_of_call(&plan, false, 250), Money::ZERO);
        assert_eq!(
            price_of_call(&plan, true, u64::MAX).nanos(),
            10_000_000 * i128::from(u64::MAX)
        );
    }

    proptest::proptest! {
        #[test]
        fn prices_of_parts_add_up_to_the_price_of_the_whole(
            nanos in 0_i128..1_000_000_000, a in 0_u64..1_000_000, b in 0_u64..1_000_000,
        ) {
            let mut plan = plan("0", "EUR");
            plan.price_per_unit = Money::from_nanos(nanos);
            let parts = price_of_call(&plan, true, a).saturating_add(price_of_call(&plan, true, b));
            proptest::prop_assert_eq!(parts, price_of_call(&plan, true, a + b));
        }
    }
}
