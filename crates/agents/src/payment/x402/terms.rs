//! What is asked of an agent.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::Currency;
use model::agent::AgentPrice;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{EXACT, VERSION};

/// How a site is paid: where, in what, and to whom.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// The network (CAIP-2), of the kind `eip155` alone, such as `eip155:8453`.
    pub network: String,
    /// The address of the token that is paid with, which knows EIP-3009.
    pub asset: String,
    /// The currency that a whole token is worth one major unit of.
    pub currency: Currency,
    /// The number of digits behind the point of the smallest part of a token, its atom: 6 for USDC.
    pub decimals: u32,
    /// The address that is paid to.
    pub pay_to: String,
    /// The time that a payment may take, in seconds.
    pub max_timeout_seconds: u64,
    /// What the scheme needs beyond that, such as the token's name and version.
    pub extra: Map<String, Value>,
}

/// The reason why a price cannot be asked by terms. Blame: who wrote the configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TermsError {
    /// The network has no CAIP-2 form, or is of another kind than `eip155`: how payments are told
    /// apart elsewhere is not known here.
    #[error("`{0}` is not a network that payments are taken on: write one such as `eip155:8453`")]
    Network(String),
    /// An address has another form.
    #[error("`{field}` must be an address: `0x` and 40 hexadecimal digits")]
    Address {
        /// The field.
        field: &'static str,
    },
    /// The token would move in another way than the one that is known here.
    #[error("`extra.assetTransferMethod` must be `eip3009`: leave it out, or write that")]
    Transfer,
    /// The token has more digits than any.
    #[error("`decimals` is {0}, at most 24 are known")]
    Decimals(u32),
    /// The time is none or endless.
    #[error("`max_timeout_seconds` is {0}: write 1 to 3600")]
    Timeout(u64),
    /// The price is in another currency.
    #[error("a price of {price} cannot be paid with a token that is worth {currency}")]
    Currency {
        /// The price.
        price: AgentPrice,
        /// The currency of the token.
        currency: Currency,
    },
    /// The price is no whole number of atoms: others would round it, down to nothing.
    #[error(
        "a price of {price} is not a whole number of the smallest parts of the token, which has {decimals} digits after the point"
    )]
    Fraction {
        /// The price.
        price: AgentPrice,
        /// The digits of the token.
        decimals: u32,
    },
}

/// One way to pay, as it is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Requirements {
    /// The scheme, always [`EXACT`] here.
    pub scheme: String,
    /// The network.
    pub network: String,
    /// The number of atoms, in digits.
    pub amount: String,
    /// The token.
    pub asset: String,
    /// Who is paid.
    pub pay_to: String,
    /// The time that a payment may take, in seconds.
    pub max_timeout_seconds: u64,
    /// What the scheme needs beyond that.
    #[serde(default)]
    pub extra: Map<String, Value>,
}

/// What is paid for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// The URL of the call.
    pub url: String,
    /// What is there, for people.
    #[serde(default)]
    pub description: String,
    /// The type of what is there.
    #[serde(default)]
    pub mime_type: String,
}

/// The content of the header of a 402.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentRequired {
    /// The version, always [`VERSION`] here.
    pub x402_version: u32,
    /// Why the call was not let in: no payment, or what is wrong with it.
    pub error: String,
    /// What is paid for.
    pub resource: Resource,
    /// The ways to pay.
    pub accepts: Vec<Requirements>,
}

impl Terms {
    const MAX_DECIMALS: u32 = 24;

    /// Checks the terms by themselves.
    ///
    /// # Errors
    /// The first field that cannot be meant.
    pub fn check(&self) -> Result<(), TermsError> {
        if !is_evm(&self.network) {
            return Err(TermsError::Network(model::quoted(&self.network, 80)));
        }
        for (field, address) in [("asset", &self.asset), ("pay_to", &self.pay_to)] {
            if !is_evm_address(address) {
                return Err(TermsError::Address { field });
            }
        }
        let transfer = self.extra.get("assetTransferMethod");
        if transfer.is_some_and(|method| method != "eip3009") {
            return Err(TermsError::Transfer);
        }
        if self.decimals > Self::MAX_DECIMALS {
            return Err(TermsError::Decimals(self.decimals));
        }
        match self.max_timeout_seconds {
            1..=3_600 => Ok(()),
            seconds => Err(TermsError::Timeout(seconds)),
        }
    }

    /// Returns what is asked for a call of this price. Configuration asks it for each of its prices.
    ///
    /// # Errors
    /// A price in another currency, and one that is no whole number of atoms.
    pub fn require(&self, price: AgentPrice) -> Result<Requirements, TermsError> {
        if price.currency() != self.currency {
            return Err(TermsError::Currency {
                price,
                currency: self.currency,
            });
        }
        let fraction = TermsError::Fraction {
            price,
            decimals: self.decimals,
        };
        let amount = atoms(price.amount().nanos(), self.decimals).ok_or(fraction)?;
        Ok(Requirements {
            scheme: EXACT.to_owned(),
            network: self.network.clone(),
            amount: amount.to_string(),
            asset: self.asset.clone(),
            pay_to: self.pay_to.clone(),
            max_timeout_seconds: self.max_timeout_seconds,
            extra: self.extra.clone(),
        })
    }
}

/// Returns the atoms of an amount in 10⁻⁹ of a token; `None` if they are no whole number, or nothing.
fn atoms(nanos: i128, decimals: u32) -> Option<i128> {
    let atoms = match decimals.checked_sub(9) {
        Some(more) => nanos.checked_mul(10_i128.checked_pow(more)?)?,
        None => {
            let part = 10_i128.pow(9 - decimals);
            (nanos % part == 0).then_some(nanos / part)?
        }
    };
    (atoms > 0).then_some(atoms)
}

/// Returns whether a text is the chain id (CAIP-2) of a network of the kind `eip155`, in its one
/// form.
pub(super) fn is_evm(network: &str) -> bool {
    let chain = network.strip_prefix("eip155:");
    chain.is_some_and(|chain| {
        (1..=32).contains(&chain.len())
            && chain.bytes().all(|byte| byte.is_ascii_digit())
            && !chain.starts_with('0')
    })
}

/// Returns whether a text is an address on such a network.
pub(super) fn is_evm_address(text: &str) -> bool {
    is_hex(text, 40)
}

/// Returns whether a text is `0x` and so many hexadecimal digits.
pub(super) fn is_hex(text: &str, digits: usize) -> bool {
    let rest = text.strip_prefix("0x").filter(|rest| rest.len() == digits);
    rest.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

impl PaymentRequired {
    /// Returns what is asked for a resource, with the reason why the call was not let in.
    #[must_use]
    pub fn new(error: &str, resource: Resource, accepts: Vec<Requirements>) -> Self {
        Self {
            x402_version: VERSION,
            error: error.to_owned(),
            resource,
            accepts,
        }
    }

    /// Returns the value of the header.
    #[must_use]
    pub fn header(&self) -> String {
        encode(self)
    }
}

/// Returns a value as base64 of its JSON.
pub(super) fn encode<T: Serialize>(value: &T) -> String {
    // Values of these types have texts as keys, and no number that JSON lacks.
    STANDARD.encode(serde_json::to_vec(value).expect("plain data becomes JSON"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(decimals: u32) -> Terms {
        Terms {
            network: "eip155:84532".to_owned(),
            asset: "0x036CbD53842c5426634e7929541eC2318f3dCF7e".to_owned(),
            currency: "USD".parse().expect("valid"),
            decimals,
            pay_to: "0x209693Bc6afc0C5328bA36FaF03C514EF312287C".to_owned(),
            max_timeout_seconds: 300,
            extra: Map::new(),
        }
    }

    #[test]
    fn a_price_is_a_whole_number_of_atoms_or_refused() {
        let amount = |decimals, price: &str| {
            let price = price.parse().expect("a price");
            terms(decimals).require(price).map(|asked| asked.amount)
        };
        assert_eq!(amount(6, "USD 0.01").as_deref(), Ok("10000"));
        assert_eq!(amount(6, "USD 0.000001").as_deref(), Ok("1"));
        assert_eq!(amount(0, "USD 3").as_deref(), Ok("3"));
        assert_eq!(amount(18, "USD 0.000000001").as_deref(), Ok("1000000000"));
        for (decimals, price) in [(6, "USD 0.0000001"), (6, "USD 1.0000005"), (0, "USD 0.5")] {
            let refused = amount(decimals, price).expect_err(price);
            assert!(matches!(refused, TermsError::Fraction { .. }), "{refused}");
        }
        let refused = amount(6, "EUR 1").expect_err("another currency");
        assert!(matches!(refused, TermsError::Currency { .. }), "{refused}");
    }

    #[test]
    fn terms_that_cannot_be_meant_are_refused() {
        type Change = fn(&mut Terms);
        assert_eq!(terms(6).check(), Ok(()));
        let changes: [(Change, &str); 10] = [
            (|terms| terms.network = "base".to_owned(), "`base`"),
            (|terms| terms.network = "eip155:".to_owned(), "`eip155:`"),
            (
                |terms| terms.network = "eip155:01".to_owned(),
                "`eip155:01`",
            ),
            (
                |terms| terms.network = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp".to_owned(),
                "is not a network that payments are taken on",
            ),
            (|terms| terms.asset.truncate(41), "`asset`"),
            (
                |terms| {
                    let method = "permit2".into();
                    terms.extra.insert("assetTransferMethod".to_owned(), method);
                },
                "`extra.assetTransferMethod`",
            ),
            (|terms| terms.asset.clear(), "`asset`"),
            (|terms| terms.pay_to = "0x\n".to_owned(), "`pay_to`"),
            (|terms| terms.decimals = 25, "`decimals` is 25"),
            (
                |terms| terms.max_timeout_seconds = 0,
                "`max_timeout_seconds` is 0",
            ),
        ];
        for (change, word) in changes {
            let mut terms = terms(6);
            change(&mut terms);
            let error = terms.check().expect_err(word).to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
