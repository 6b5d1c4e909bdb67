//! What a facilitator is asked and answers: `/verify` and `/settle`.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::VERSION;
use super::payment::Payment;
use super::terms::{Requirements, encode};

/// The body of a request to `/verify` and to `/settle`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FacilitatorRequest<'p> {
    x402_version: u32,
    payment_payload: &'p Value,
    payment_requirements: &'p Requirements,
}

/// The answer to `/verify`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyAnswer {
    /// Whether the payment is good.
    pub is_valid: bool,
    /// Why it is not, in a word of the facilitator.
    #[serde(default)]
    pub invalid_reason: Option<String>,
    /// Who pays.
    #[serde(default)]
    pub payer: Option<String>,
}

/// The answer to `/settle`, and what the agent is told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SettleAnswer {
    /// Whether it was settled.
    pub success: bool,
    /// Why it was not, in a word of the facilitator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_reason: Option<String>,
    /// Who paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer: Option<String>,
    /// The id of the settlement on its network; empty if there is none.
    #[serde(default, deserialize_with = "text_or_null")]
    pub transaction: String,
    /// The network.
    #[serde(default, deserialize_with = "text_or_null")]
    pub network: String,
    /// The number of atoms that were paid, where it is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<String>,
}

/// What became of a payment that was to be settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettleOutcome {
    /// It is paid. Where that is known by the nonce alone, which is used up, the answer names no
    /// settlement.
    Settled(SettleAnswer),
    /// It is not paid for this call, and will not be.
    Refused(SettleAnswer),
    /// Nobody knows yet: ask again with the same payment.
    Pending,
}

/// The reason why an answer of a facilitator says nothing. Whether a payment was settled is open
/// then. Blame: the facilitator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FacilitatorError {
    /// The answer is too large.
    #[error("the facilitator answered with {0} bytes, at most {max} are read", max = FacilitatorRequest::MAX_ANSWER_BYTES)]
    Bytes(usize),
    /// The answer has another status than its body goes with.
    #[error("the facilitator answered with status {0}")]
    Status(u16),
    /// The answer is not of the form that the protocol gives it.
    #[error("the facilitator's answer is not of the form that x402 gives it")]
    Form,
    /// It settled on another network, or another amount.
    #[error("the facilitator says that it settled `{0}`, which is not what was asked")]
    Other(String),
}

/// Words of facilitators for a payment whose nonce is used up: it was settled.
const USED: [&str; 4] = [
    "invalid_exact_evm_nonce_already_used",
    "nonce_already_used",
    "authorization_already_used",
    "permit2_invalid_nonce",
];
/// Words of facilitators for a settlement that is under way.
const PENDING: [&str; 2] = ["settlement_pending", "duplicate_settlement"];
/// The longest word and the longest id that is taken over from a facilitator, in bytes.
const MAX_TEXT_BYTES: usize = 256;

impl<'p> FacilitatorRequest<'p> {
    /// The size of the largest answer, in bytes.
    pub const MAX_ANSWER_BYTES: usize = 65_536;

    /// Returns the request about a payment.
    #[must_use]
    pub const fn about(payment: &'p Payment) -> Self {
        Self {
            x402_version: VERSION,
            payment_payload: payment.payload(),
            payment_requirements: payment.requirements(),
        }
    }

    /// Returns the body.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain data becomes JSON")
    }

    /// Reads the answer to `/verify`. A facilitator may give a status of its own to what is not
    /// good.
    ///
    /// # Errors
    /// An answer that does not say whether the payment is good.
    pub fn verified(&self, status: u16, body: &[u8]) -> Result<VerifyAnswer, FacilitatorError> {
        let mut answer: VerifyAnswer = read(status, body)?;
        if answer.is_valid && status != 200 {
            return Err(FacilitatorError::Status(status));
        }
        answer.invalid_reason = answer.invalid_reason.map(clip);
        answer.payer = answer.payer.map(clip);
        Ok(answer)
    }

    /// Reads the answer to `/settle`. `asked_before` says whether a request of ours to settle this
    /// payment may have arrived before: if its nonce is used up, that one settled it and its answer
    /// was lost. Without one the payment was used for something else, and pays nothing here.
    ///
    /// What may still be paid is pending: a refusal counts only for a first request, and only where
    /// nothing in it speaks of a transaction that was sent or of a fault of the facilitator's own.
    ///
    /// # Errors
    /// An answer that does not say whether it was settled, or says so of something else. It is open
    /// then, as with no answer at all: ask again.
    pub fn settled(
        &self,
        status: u16,
        body: &[u8],
        asked_before: bool,
    ) -> Result<SettleOutcome, FacilitatorError> {
        let mut answer: SettleAnswer = read(status, body)?;
        answer.error_reason = answer.error_reason.map(clip);
        answer.payer = answer.payer.map(clip);
        answer.transaction = clip(answer.transaction);
        answer.network = clip(answer.network);
        answer.amount = answer.amount.map(clip);
        let reason = answer.error_reason.as_deref().unwrap_or_default();
        let is_used = USED.contains(&reason);
        let may_be_paid = asked_before
            || status >= 500
            || !answer.transaction.is_empty()
            || PENDING.contains(&reason)
            || reason.ends_with("transaction_failed")
            || reason.starts_with("unexpected_");
        match answer.success {
            true if status != 200 => Err(FacilitatorError::Status(status)),
            true => self.check(answer).map(SettleOutcome::Settled),
            false if is_used && asked_before => Ok(SettleOutcome::Settled(self.paid(answer))),
            false if may_be_paid && !is_used => Ok(SettleOutcome::Pending),
            false => Ok(SettleOutcome::Refused(answer)),
        }
    }

    /// Returns what the agent is told of a payment that was settled before, and of which the
    /// facilitator now says only that its nonce is used up.
    fn paid(&self, answer: SettleAnswer) -> SettleAnswer {
        SettleAnswer {
            success: true,
            error_reason: None,
            network: self.payment_requirements.network.clone(),
            amount: None,
            ..answer
        }
    }

    fn check(&self, answer: SettleAnswer) -> Result<SettleAnswer, FacilitatorError> {
        let asked = self.payment_requirements;
        if answer.network != asked.network {
            return Err(FacilitatorError::Other(answer.network));
        }
        match answer.amount {
            Some(amount) if amount != asked.amount => Err(FacilitatorError::Other(amount)),
            _ => Ok(answer),
        }
    }
}

impl SettleAnswer {
    /// Returns the value of the header of the answer to the agent.
    #[must_use]
    pub fn header(&self) -> String {
        encode(self)
    }
}

fn read<T: for<'de> Deserialize<'de>>(status: u16, body: &[u8]) -> Result<T, FacilitatorError> {
    if body.len() > FacilitatorRequest::MAX_ANSWER_BYTES {
        return Err(FacilitatorError::Bytes(body.len()));
    }
    serde_json::from_slice(body).map_err(|_| match status {
        200 => FacilitatorError::Form,
        status => FacilitatorError::Status(status),
    })
}

/// Reads a text, and `null` as an empty one: some facilitators write so what is not there.
fn text_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Option::<String>::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn clip(mut text: String) -> String {
    if text.len() > MAX_TEXT_BYTES {
        let end = (0..=MAX_TEXT_BYTES)
            .rev()
            .find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
    }
    text
}
