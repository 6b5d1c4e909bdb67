//! Rounding of amounts to what can be paid.

use model::{Currency, Money};

/// Returns the digits after the point of a currency's smallest payable unit (ISO 4217); 2 if nobody
/// pays with it any more.
#[must_use]
pub fn minor_digits(currency: Currency) -> u32 {
    currency.minor_digits().unwrap_or(2)
}

/// Returns the nearest payable amount; halves go away from zero.
#[must_use]
pub fn round_to_minor(amount: Money, currency: Currency) -> Money {
    let step = 10_i128.pow(9 - minor_digits(currency));
    let nanos = amount.nanos();
    let rest = nanos % step;
    let down = nanos - rest;
    if rest.abs() * 2 < step {
        return Money::from_nanos(down);
    }
    Money::from_nanos(down + step * nanos.signum())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounded(amount: &str, currency: &str) -> String {
        let amount = amount.parse().expect("valid");
        round_to_minor(amount, currency.parse().expect("valid")).to_string()
    }

    #[test]
    fn halves_go_away_from_zero_and_each_currency_has_its_digits() {
        assert_eq!(rounded("0.005", "EUR"), "0.01");
        assert_eq!(rounded("-0.005", "EUR"), "-0.01");
        assert_eq!(rounded("0.004999999", "EUR"), "0");
        assert_eq!(rounded("1.5", "JPY"), "2");
        assert_eq!(rounded("1.0005", "KWD"), "1.001");
    }

    proptest::proptest! {
        #[test]
        fn rounding_moves_by_at_most_half_a_step(nanos in -10_i128.pow(30)..10_i128.pow(30)) {
            let currency = "EUR".parse().expect("valid");
            let rounded = round_to_minor(Money::from_nanos(nanos), currency).nanos();
            proptest::prop_assert_eq!(rounded % 10_000_000, 0);
            proptest::prop_assert!((rounded - nanos).abs() <= 5_000_000);
        }
    }
}
