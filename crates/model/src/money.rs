//! Exact amounts of money, and currencies.

use std::fmt;
use std::str::FromStr;

use crate::forms::text_form;

/// An amount in 10⁻⁹ of the major unit of a currency, up to 10²⁷ major units either way: far beyond
/// any sum of money, and within what a Parquet `decimal(38, 9)` and a PostgreSQL `numeric` hold
/// exactly.
///
/// The text form is a decimal number of the major unit: `0.01`, `12`, `-3.5`. The price of one unit
/// is at most [`Money::MAX_PRICE`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Money(i128);

/// The error for a text that is not an amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an amount: write a decimal number with at most nine digits after the point, such as `0.01`"
)]
pub struct ParseMoneyError(pub String);

impl Money {
    /// The amount of nothing.
    pub const ZERO: Self = Self(0);
    /// The greatest amount: 10²⁷ major units. The least is its negative.
    pub const MAX: Self = Self(10_i128.pow(36));
    /// The greatest price of one unit: some 9.2 thousand million major units.
    pub const MAX_PRICE: Self = Self(i64::MAX as i128);
    const NANOS: u128 = 1_000_000_000;

    /// Returns an amount of 10⁻⁹ major units, kept within range.
    #[must_use]
    pub const fn from_nanos(nanos: i128) -> Self {
        if nanos > Self::MAX.0 {
            Self::MAX
        } else if nanos < -Self::MAX.0 {
            Self(-Self::MAX.0)
        } else {
            Self(nanos)
        }
    }

    /// Returns the amount in 10⁻⁹ major units.
    #[must_use]
    pub const fn nanos(self) -> i128 {
        self.0
    }

    /// Returns the sum; `None` if it leaves the range.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        // The sum of two amounts is far from the range of the integer.
        let sum = self.0 + other.0;
        (sum.abs() <= Self::MAX.0).then_some(Self(sum))
    }

    /// Returns the sum, kept within range. Bookkeeping asks [`Money::checked_add`] first, and
    /// reports a sum that leaves the range.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self::from_nanos(self.0 + other.0)
    }

    /// Returns this price for so many units; `None` if the product leaves the range.
    #[must_use]
    pub fn checked_times(self, units: u64) -> Option<Self> {
        let product = self.0.checked_mul(i128::from(units))?;
        (product.abs() <= Self::MAX.0).then_some(Self(product))
    }

    /// Returns this price for so many units, kept within range.
    #[must_use]
    pub fn times(self, units: u64) -> Self {
        self.checked_times(units).unwrap_or(match self.0 < 0 {
            true => Self(-Self::MAX.0),
            false => Self::MAX,
        })
    }
}

impl FromStr for Money {
    type Err = ParseMoneyError;

    fn from_str(text: &str) -> Result<Self, ParseMoneyError> {
        parse(text)
            .map(Self)
            .ok_or_else(|| ParseMoneyError(crate::quoted(text, 40)))
    }
}

fn parse(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !plain(whole) || !plain(fraction) || fraction.len() > 9 {
        return None;
    }
    let scale = 10_i128.pow(9 - fraction.len() as u32);
    let nanos = whole
        .parse::<i128>()
        .ok()?
        .checked_mul(Money::NANOS as i128)?
        .checked_add(fraction.parse::<i128>().ok()? * scale)?;
    (nanos <= Money::MAX.0).then_some(if negative { -nanos } else { nanos })
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let nanos = self.0.unsigned_abs();
        let (whole, fraction) = (nanos / Self::NANOS, nanos % Self::NANOS);
        let fraction = format!("{fraction:09}");
        let fraction = fraction.trim_end_matches('0');
        if fraction.is_empty() {
            f.pad(&format!("{sign}{whole}"))
        } else {
            f.pad(&format!("{sign}{whole}.{fraction}"))
        }
    }
}

text_form! { Money {
    "description": "An amount in the major unit.",
    "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?$",
    "examples": ["0.01"],
} }

/// A currency by its three-letter code (ISO 4217).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency([u8; 3]);

/// The error for a text that is not a [`Currency`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a currency: write three capital letters, such as `EUR`")]
pub struct ParseCurrencyError(pub String);

impl Currency {
    /// Returns the code as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a currency holds three capital letters")
    }
}

impl FromStr for Currency {
    type Err = ParseCurrencyError;

    fn from_str(text: &str) -> Result<Self, ParseCurrencyError> {
        match text.as_bytes() {
            [a, b, c] if [a, b, c].iter().all(|l| l.is_ascii_uppercase()) => Ok(Self([*a, *b, *c])),
            _ => Err(ParseCurrencyError(crate::quoted(text, 20))),
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

text_form! { Currency {
    "description": "A currency (ISO 4217).",
    "pattern": "^[A-Z]{3}$",
    "examples": ["EUR"],
} }

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn every_amount_survives_its_text_form(nanos in -Money::MAX.0..=Money::MAX.0) {
            let money = Money::from_nanos(nanos);
            proptest::prop_assert_eq!(money.to_string().parse(), Ok(money));
        }
    }

    #[test]
    fn amounts_that_are_not_decimal_numbers_are_refused() {
        for bad in [
            "",
            ".",
            "1.",
            ".5",
            "1e3",
            "+1",
            "0.0000000001",
            "1000000000000000000000000000.000000001",
            "9999999999999999999999999999999999999999",
            "1 ",
            "--1",
        ] {
            assert!(bad.parse::<Money>().is_err(), "{bad}");
        }
        assert_eq!(
            "0.01"
                .parse::<Money>()
                .expect("valid")
                .times(250)
                .to_string(),
            "2.5"
        );
    }

    #[test]
    fn what_leaves_the_range_is_told_and_never_wraps() {
        let price = Money::MAX_PRICE;
        assert_eq!(price.to_string(), "9223372036.854775807");
        let expensive = price.checked_times(5_000_000).expect("within range");
        assert_eq!(expensive.to_string(), "46116860184273879.035");
        assert_eq!(price.checked_times(u64::MAX), None);
        assert_eq!(price.times(u64::MAX), Money::MAX);
        assert_eq!(Money::MAX.checked_add(Money(1)), None);
        assert_eq!(Money::MAX.saturating_add(Money::MAX), Money::MAX);
        assert_eq!(Money::MAX.to_string().len(), 28);
    }
}
