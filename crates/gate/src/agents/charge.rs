//! The price of a call that a license pays: the offer of the agent, and the units that it comes to.

use agents::payment::crawler::{self, CrawlerError, Offer};
use licensing::CachedLicense;
use model::agent::AgentPrice;
use model::{Money, Plan};

use super::head::RequestHead;

/// The header of an answer with what the call was charged.
pub const CHARGED: &str = crawler::CHARGED;

/// What a call is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Charge {
    /// The price.
    pub(crate) price: AgentPrice,
    /// The units of the license that pay it; `None`: those of the route.
    pub(crate) units: Option<u64>,
}

impl Charge {
    /// Returns the charge of a price to a license. Where its plan has a price of a unit, it is as
    /// many units as come to exactly the price, so that the bill says the same; without one it is
    /// the units of the route, which are bought beforehand.
    ///
    /// # Errors
    /// [`CrawlerError::PaymentFailed`] if no number of units of the plan comes to the price, or the
    /// plan has another currency.
    pub(super) fn of(price: AgentPrice, license: &CachedLicense) -> Result<Self, CrawlerError> {
        let plan = license.plan().map(|revision| &revision.plan);
        let priced = plan.filter(|plan| plan.price_per_unit > Money::ZERO);
        let units = match priced {
            Some(plan) => Some(units(price, plan).ok_or(CrawlerError::PaymentFailed)?),
            None => None,
        };
        Ok(Self { price, units })
    }
}

/// Returns the offer in the head of a call; `None`: it makes none.
///
/// # Errors
/// Two offers, and one that is no price.
pub(super) fn offer(head: &RequestHead<'_>) -> Result<Option<Offer>, CrawlerError> {
    let offer = Offer::read(
        head.values(crawler::EXACT_PRICE),
        head.values(crawler::MAX_PRICE),
    )?;
    Ok((offer != Offer::None).then_some(offer))
}

/// Returns the units that come to exactly a price.
fn units(price: AgentPrice, plan: &Plan) -> Option<u64> {
    let (amount, unit) = (price.amount().nanos(), plan.price_per_unit.nanos());
    let is_whole = price.currency() == plan.currency && amount % unit == 0;
    is_whole.then(|| u64::try_from(amount / unit).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(currency: &str, price: &str) -> Plan {
        Plan {
            name: "standard".parse().expect("valid"),
            currency: currency.parse().expect("valid"),
            price_per_unit: price.parse().expect("valid"),
            rate_limits: vec![],
            concurrency: None,
            features: vec![],
        }
    }

    #[test]
    fn a_price_is_a_whole_number_of_units_or_none() {
        let price = |text: &str| text.parse::<AgentPrice>().expect("valid");
        let of = |text: &str, plan: &Plan| units(price(text), plan);
        assert_eq!(of("USD 0.01", &plan("USD", "0.01")), Some(1));
        assert_eq!(of("USD 0.05", &plan("USD", "0.01")), Some(5));
        assert_eq!(of("USD 0.015", &plan("USD", "0.01")), None);
        assert_eq!(of("USD 0.01", &plan("EUR", "0.01")), None);
    }
}
