//! Pay per crawl: an agent says in a header what it would pay, and is told what it was charged.
//! Headers and words are those of Cloudflare's documentation of 2026-04-23.
//!
//! An offer counts only from an agent that is known for sure and whose license pays: see
//! [`model::agent`].

use model::agent::{AgentPrice, ParseAgentPriceError};
use model::word_enum;

/// The header of a 402 with the price of the call.
pub const PRICE: &str = "crawler-price";
/// The header of a call with the price that is paid, no more and no less.
pub const EXACT_PRICE: &str = "crawler-exact-price";
/// The header of a call with the most that is paid.
pub const MAX_PRICE: &str = "crawler-max-price";
/// The header of an answer with what was charged.
pub const CHARGED: &str = "crawler-charged";
/// The header of an answer with a [`CrawlerError`].
pub const ERROR: &str = "crawler-error";

/// What an agent offers for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Nothing.
    None,
    /// This, no more and no less.
    Exact(AgentPrice),
    /// The price of the call, up to this.
    UpTo(AgentPrice),
}

word_enum!(
    /// The reason why an agent is not let in, in the words of `crawler-error`.
    CrawlerError {
        /// The agent is sent away.
        CrawlerForbidden => "CrawlerForbidden",
        /// The agent offers to pay, and nobody knows for sure who it is.
        StrongAuthRequired => "StrongAuthRequired",
        /// The signature of the agent does not hold.
        InvalidSignature => "InvalidSignature",
        /// An offer is no price.
        InvalidCrawlerPriceValue => "InvalidCrawlerPriceValue",
        /// The agent offers nothing.
        MissingCrawlerPrice => "MissingCrawlerPrice",
        /// The license of the agent cannot pay.
        PaymentFailed => "PaymentFailed",
        /// The exact offer is not the price.
        InvalidCrawlerExactPrice => "InvalidCrawlerExactPrice",
        /// The greatest offer is less than the price.
        InvalidCrawlerMaxPrice => "InvalidCrawlerMaxPrice",
        /// There are two offers.
        ConflictingPriceHeaders => "ConflictingPriceHeaders",
        /// The site states a price that is none. Blame: the site.
        InvalidContentPrice => "InvalidContentPrice",
    }
);

impl CrawlerError {
    /// Returns the status of the answer.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::StrongAuthRequired
            | Self::InvalidSignature
            | Self::InvalidCrawlerPriceValue
            | Self::ConflictingPriceHeaders => 400,
            Self::MissingCrawlerPrice
            | Self::InvalidCrawlerExactPrice
            | Self::InvalidCrawlerMaxPrice => 402,
            Self::CrawlerForbidden | Self::PaymentFailed => 403,
            Self::InvalidContentPrice => 502,
        }
    }
}

impl Offer {
    /// Reads the offer of a call from all values of the two headers.
    ///
    /// # Errors
    /// Two offers, whether they are equal or not, and one that is no price.
    pub fn read<'h>(
        exact: impl IntoIterator<Item = &'h [u8]>,
        max: impl IntoIterator<Item = &'h [u8]>,
    ) -> Result<Self, CrawlerError> {
        let (mut exact, mut max) = (exact.into_iter(), max.into_iter());
        let offer = match (exact.next(), max.next()) {
            (None, None) => Self::None,
            (Some(value), None) => Self::Exact(price(value)?),
            (None, Some(value)) => Self::UpTo(price(value)?),
            (Some(_), Some(_)) => return Err(CrawlerError::ConflictingPriceHeaders),
        };
        match exact.next().or(max.next()) {
            Some(_) => Err(CrawlerError::ConflictingPriceHeaders),
            None => Ok(offer),
        }
    }

    /// Returns what an agent with this offer is charged for a call of a price: the price.
    ///
    /// # Errors
    /// An offer that does not pay it: none, too little, or in another currency.
    pub fn pays(&self, price: AgentPrice) -> Result<AgentPrice, CrawlerError> {
        let same = |offer: &AgentPrice| offer.currency() == price.currency();
        match self {
            Self::None => Err(CrawlerError::MissingCrawlerPrice),
            Self::Exact(offer) if *offer == price => Ok(price),
            Self::Exact(_) => Err(CrawlerError::InvalidCrawlerExactPrice),
            Self::UpTo(offer) if same(offer) && offer.amount() >= price.amount() => Ok(price),
            Self::UpTo(_) => Err(CrawlerError::InvalidCrawlerMaxPrice),
        }
    }
}

fn price(value: &[u8]) -> Result<AgentPrice, CrawlerError> {
    let text = std::str::from_utf8(value).ok();
    let price = text.map(|text| text.trim_matches([' ', '\t']).parse());
    price
        .and_then(|price: Result<AgentPrice, ParseAgentPriceError>| price.ok())
        .ok_or(CrawlerError::InvalidCrawlerPriceValue)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(exact: &[&str], max: &[&str]) -> Result<Offer, CrawlerError> {
        let bytes = |values: &[&'static str]| {
            let values = values.iter().map(|value| value.as_bytes());
            values.collect::<Vec<&'static [u8]>>()
        };
        let leaked = |values: &[&str]| {
            let values = values
                .iter()
                .map(|value| -> &'static str { value.to_string().leak() });
            values.collect::<Vec<_>>()
        };
        Offer::read(bytes(&leaked(exact)), bytes(&leaked(max)))
    }

    fn price_of(text: &str) -> AgentPrice {
        text.parse().expect("a price")
    }

    #[test]
    fn an_offer_is_one_price() {
        assert_eq!(read(&[], &[]), Ok(Offer::None));
        let exact = Offer::Exact(price_of("USD 0.01"));
        assert_eq!(read(&["USD 0.01"], &[]), Ok(exact));
        assert_eq!(
            read(&[], &[" USD 0.010 "]),
            Ok(Offer::UpTo(price_of("USD 0.01")))
        );
        for (exact, max) in [
            (&["USD 1"][..], &["USD 1"][..]),
            (&["USD 1", "USD 1"], &[]),
            (&[], &["USD 1", "USD 2"]),
        ] {
            assert_eq!(read(exact, max), Err(CrawlerError::ConflictingPriceHeaders));
        }
        for bad in [
            "", "0.01", "USD", "USD -1", "USD 0", "USD 1e9", "usd 1", "\u{e9}",
        ] {
            let refused = Err(CrawlerError::InvalidCrawlerPriceValue);
            assert_eq!(read(&[bad], &[]), refused, "{bad}");
        }
    }

    #[test]
    fn an_agent_is_charged_the_price_and_never_more_than_it_offers() {
        let price = price_of("USD 0.01");
        let exact = |text| Offer::Exact(price_of(text)).pays(price);
        let up_to = |text| Offer::UpTo(price_of(text)).pays(price);
        assert_eq!(exact("USD 0.01"), Ok(price));
        assert_eq!(up_to("USD 0.01"), Ok(price));
        assert_eq!(up_to("USD 5"), Ok(price));
        assert_eq!(
            Offer::None.pays(price),
            Err(CrawlerError::MissingCrawlerPrice)
        );
        for wrong in ["USD 0.02", "USD 0.009", "EUR 0.01"] {
            assert_eq!(exact(wrong), Err(CrawlerError::InvalidCrawlerExactPrice));
        }
        for wrong in ["USD 0.009", "EUR 5"] {
            assert_eq!(up_to(wrong), Err(CrawlerError::InvalidCrawlerMaxPrice));
        }
    }

    #[test]
    fn every_error_has_its_status() {
        let with = |status| {
            CrawlerError::ALL
                .into_iter()
                .filter(move |e| e.status() == status)
        };
        assert_eq!(
            [400, 402, 403, 502].map(|status| with(status).count()),
            [4, 3, 2, 1]
        );
    }
}
