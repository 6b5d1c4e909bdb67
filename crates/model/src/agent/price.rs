//! The price of one call of an agent.

use std::fmt;
use std::str::FromStr;

use crate::forms::text_form;
use crate::money::{Currency, Money};

/// The price of one call: an amount above nothing, at most [`Money::MAX_PRICE`], in a currency that
/// can be paid in. Its text is that of the header `crawler-price`: `USD 0.01`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AgentPrice {
    amount: Money,
    currency: Currency,
}

/// The reason why something is no [`AgentPrice`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseAgentPriceError {
    /// The text has another form.
    #[error(
        "`{0}` is not a price: write a currency and an amount above 0 with at most nine digits after the point, such as `USD 0.01`"
    )]
    Form(String),
    /// The amount is nothing, negative or beyond all prices.
    #[error(
        "a price of {0} cannot be asked: an amount is above 0 and at most {max}; what costs nothing is `allow`",
        max = Money::MAX_PRICE
    )]
    Amount(Money),
    /// Nobody pays with the currency.
    #[error("`{0}` is not a currency that can be paid in: write one such as `USD` or `EUR`")]
    Currency(Currency),
}

impl AgentPrice {
    /// Returns the price of this amount.
    ///
    /// # Errors
    /// An amount that is not above nothing or beyond [`Money::MAX_PRICE`], and a currency that
    /// nobody pays with.
    pub fn new(currency: Currency, amount: Money) -> Result<Self, ParseAgentPriceError> {
        if amount <= Money::ZERO || amount > Money::MAX_PRICE {
            return Err(ParseAgentPriceError::Amount(amount));
        }
        match currency.minor_digits() {
            Some(_) => Ok(Self { amount, currency }),
            None => Err(ParseAgentPriceError::Currency(currency)),
        }
    }

    /// Returns the amount.
    #[must_use]
    pub const fn amount(&self) -> Money {
        self.amount
    }

    /// Returns the currency.
    #[must_use]
    pub const fn currency(&self) -> Currency {
        self.currency
    }
}

impl fmt::Display for AgentPrice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.currency, self.amount)
    }
}

impl FromStr for AgentPrice {
    type Err = ParseAgentPriceError;

    fn from_str(text: &str) -> Result<Self, ParseAgentPriceError> {
        let form = || ParseAgentPriceError::Form(crate::quoted(text, 40));
        let (currency, amount) = text.split_once(' ').ok_or_else(form)?;
        let currency = currency.parse().map_err(|_| form())?;
        Self::new(currency, amount.parse().map_err(|_| form())?)
    }
}

text_form! { AgentPrice {
    "description": "The price of one call: a currency and an amount above 0.",
    "pattern": r"^[A-Z]{3} [0-9]+(\.[0-9]{1,9})?$",
    "examples": ["USD 0.01"],
} }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_a_currency_and_an_amount_above_nothing() {
        for good in ["USD 0.01", "EUR 12", "JPY 0.000000001"] {
            let price: AgentPrice = good.parse().expect("valid");
            assert_eq!(price.to_string(), good);
        }
        let error = |text: &str| text.parse::<AgentPrice>().expect_err(text);
        for bad in ["USD -0.01", "USD 0", "USD 0.000", "USD 9999999999999"] {
            assert!(
                matches!(error(bad), ParseAgentPriceError::Amount(_)),
                "{bad}"
            );
        }
        for bad in [
            "", "0.01", "0.01 USD", "USD", "usd 0.01", "USD 1e3", "USD  1", "USD 1 ",
        ] {
            assert!(matches!(error(bad), ParseAgentPriceError::Form(_)), "{bad}");
        }
        let unpaid = error("XXX 1");
        assert!(matches!(unpaid, ParseAgentPriceError::Currency(_)));
    }
}
