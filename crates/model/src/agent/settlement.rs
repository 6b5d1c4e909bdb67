//! Settlements: payments of agents for calls, each of which moves money at most once.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::price::AgentPrice;
use crate::forms::text_form;
use crate::id::CallId;
use crate::name::{AccountName, AppName};
use crate::time::Timestamp;
use crate::word_enum;

/// The identity of a payment: the same for all messages of which only one could move money. 32
/// bytes of a hash; its text is 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PaymentId([u8; 32]);

/// The error for a text that is not a [`PaymentId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id of a payment is 64 hexadecimal digits")]
pub struct ParsePaymentIdError;

word_enum!(
    /// The state of a settlement.
    SettlementState: "What became of a payment: `pending`, nobody knows yet; `settled`, it is paid; `refused`, it is not; \
                      `unknown`, nobody could say for ten minutes." {
        /// It was begun, and its facilitator did not say yet what became of it.
        Pending = 0 => "pending",
        /// It is paid.
        Settled = 1 => "settled",
        /// It is not paid, and will not be.
        Refused = 2 => "refused",
        /// Nobody could say for [`Settlement::UNKNOWN_AFTER`]. It is shown, never billed and never
        /// begun anew.
        Unknown = 3 => "unknown",
    }
);

/// A settlement, which is written down before a facilitator is asked for it: whoever finds it
/// pending asks again with the same payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    /// The payment, which has no other settlement.
    pub id: PaymentId,
    /// The call that is paid for.
    pub call_id: CallId,
    /// The account that is paid.
    pub account: AccountName,
    /// The app of the call.
    pub app: AppName,
    /// The price of the call.
    pub price: AgentPrice,
    /// The network (CAIP-2) that the money moves on.
    pub network: String,
    /// The body of the request to the facilitator, at most [`Settlement::MAX_REQUEST_BYTES`] bytes.
    pub request: String,
    /// The state.
    pub state: SettlementState,
    /// Who paid, as the facilitator says; `None`: it does not.
    pub payer: Option<String>,
    /// The id on its network; `None`: there is none, or the answer that had it was lost.
    pub transaction: Option<String>,
    /// The word of the facilitator for its refusal; `None`: there is none.
    pub reason: Option<String>,
    /// The time at which it was begun.
    pub begun_at: Timestamp,
    /// The time of its end; `None`: it is pending.
    pub ended_at: Option<Timestamp>,
}

impl Settlement {
    /// The size of the largest request, in bytes.
    pub const MAX_REQUEST_BYTES: usize = 32_768;
    /// The time after which a settlement that nobody could say anything of is unknown.
    pub const UNKNOWN_AFTER: Duration = Duration::from_secs(600);

    /// Returns whether the facilitator is to be asked again.
    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.state == SettlementState::Pending && now.since(self.begun_at) < Self::UNKNOWN_AFTER
    }

    /// Returns whether it becomes unknown now.
    #[must_use]
    pub fn is_given_up(&self, now: Timestamp) -> bool {
        self.state == SettlementState::Pending && !self.is_open(now)
    }
}

impl PaymentId {
    /// Returns the identity with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for PaymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PaymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PaymentId {
    type Err = ParsePaymentIdError;

    fn from_str(text: &str) -> Result<Self, ParsePaymentIdError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| ParsePaymentIdError)?;
        Ok(Self(bytes))
    }
}

text_form! { PaymentId {
    "description": "A payment, by what of it can move money only once.",
    "pattern": "^[0-9a-f]{64}$",
} }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_settlement_is_asked_for_again_for_ten_minutes_and_then_given_up() {
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        let mut settlement = Settlement {
            id: PaymentId::from_bytes([7; 32]),
            call_id: CallId::from_u128(1),
            account: AccountName::default(),
            app: "news".parse().expect("valid"),
            price: "USD 0.01".parse().expect("valid"),
            network: "eip155:84532".to_owned(),
            request: "{}".to_owned(),
            state: SettlementState::Pending,
            payer: None,
            transaction: None,
            reason: None,
            begun_at: at(0),
            ended_at: None,
        };
        assert!(settlement.is_open(at(599)) && !settlement.is_given_up(at(599)));
        assert!(!settlement.is_open(at(600)) && settlement.is_given_up(at(600)));
        settlement.state = SettlementState::Settled;
        assert!(!settlement.is_open(at(1)) && !settlement.is_given_up(at(600)));
        let text = serde_json::to_string(&settlement).expect("plain data");
        assert_eq!(
            serde_json::from_str::<Settlement>(&text).expect("its form"),
            settlement
        );
    }

    #[test]
    fn the_id_of_a_payment_survives_its_text() {
        let id = PaymentId::from_bytes([0xab; 32]);
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "ab", &"x".repeat(64), &"ab".repeat(33)] {
            assert_eq!(bad.parse::<PaymentId>(), Err(ParsePaymentIdError), "{bad}");
        }
    }
}
