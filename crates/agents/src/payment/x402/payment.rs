//! What an agent sends to pay.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::agent::{PaymentId, Settlement};
use ring::digest::{Context, SHA256};
use serde::Deserialize;
use serde_json::Value;

use super::facilitator::FacilitatorRequest;
use super::terms::{Requirements, Resource, is_evm, is_evm_address, is_hex};
use super::{EXACT, VERSION};

/// A payment that fits what was asked: an authorization of a transfer (EIP-3009) on a network of
/// the kind `eip155`. Whether it is good, its facilitator says.
#[derive(Clone, Debug, PartialEq)]
pub struct Payment {
    /// The payment as it came, which the facilitator gets.
    payload: Value,
    /// What was asked, and is paid by it.
    requirements: Requirements,
    id: PaymentId,
}

/// The reason why a payment is not taken. Its text is for the `error` of the 402 that follows.
/// Blame: the agent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PaymentError {
    /// The header is too long.
    #[error("invalid_payload: PAYMENT-SIGNATURE has {0} bytes, at most {max} are read", max = Payment::MAX_BYTES)]
    Bytes(usize),
    /// The request to the facilitator with this payment would be too large.
    #[error("invalid_payload: the payment makes a request of {0} bytes to its facilitator, at most {max} are sent", max = Settlement::MAX_REQUEST_BYTES)]
    Request(usize),
    /// The header is no base64 of JSON of a payment, or what was signed is in another form than the
    /// one that is taken.
    #[error(
        "invalid_payload: PAYMENT-SIGNATURE must be base64 of the JSON of a payment whose payload is `signature` and `authorization` (EIP-3009), and nothing else"
    )]
    Form,
    /// The payment has another version.
    #[error("invalid_x402_version: this is version {VERSION}")]
    Version,
    /// The payment is for something else.
    #[error("invalid_resource: the payment is for another resource")]
    Resource,
    /// The payment has another scheme.
    #[error("unsupported_scheme: only `{EXACT}` is taken")]
    Scheme,
    /// The payment is on another network.
    #[error("invalid_network: the payment is on another network than was asked")]
    Network,
    /// The payment is in another token.
    #[error("invalid_asset: the payment is in another asset than was asked")]
    Asset,
    /// The payment is of another amount.
    #[error("invalid_amount: the payment is not of the amount that was asked")]
    Amount,
    /// The payment goes to somebody else.
    #[error("invalid_pay_to: the payment goes to somebody else")]
    PayTo,
    /// The payment was made by other terms in another way.
    #[error("invalid_payment_requirements: the payment is not by the terms that were asked")]
    Terms,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    x402_version: u32,
    resource: Option<Resource>,
    accepted: Requirements,
    payload: Signed,
}

/// What moves the money. Nothing may stand beside it: a facilitator that went by the other thing
/// would settle a payment whose identity is not this one's.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    #[serde(rename = "signature")]
    _signature: String,
    authorization: Authorization,
}

/// An authorization of EIP-3009, of which payer, token and nonce can move money once.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Authorization {
    from: String,
    to: String,
    value: String,
    valid_after: String,
    valid_before: String,
    nonce: String,
}

impl Payment {
    /// The length of the longest header, in bytes.
    pub const MAX_BYTES: usize = 16_384;

    /// Reads the header of a call to a URL that was asked for one of these. A payment need not name
    /// the URL; one that names another is for something else.
    ///
    /// # Errors
    /// Whatever is not a payment by one of them, by what differs from the last of them: a 402
    /// follows with the text of the error.
    pub fn read(header: &[u8], url: &str, asked: &[Requirements]) -> Result<Self, PaymentError> {
        if header.len() > Self::MAX_BYTES {
            return Err(PaymentError::Bytes(header.len()));
        }
        let json = STANDARD.decode(header).map_err(|_| PaymentError::Form)?;
        let payload: Value = serde_json::from_slice(&json).map_err(|_| PaymentError::Form)?;
        let version = payload.get("x402Version").and_then(Value::as_u64);
        if version.is_some_and(|version| version != u64::from(VERSION)) {
            return Err(PaymentError::Version);
        }
        let read = Payload::deserialize(&payload).map_err(|_| PaymentError::Form)?;
        if read.x402_version != VERSION {
            return Err(PaymentError::Version);
        }
        if read.resource.is_some_and(|resource| resource.url != url) {
            return Err(PaymentError::Resource);
        }
        // Without anything that was asked there is no scheme to pay by.
        let mut reason = PaymentError::Scheme;
        let fits = |asked: &&Requirements| {
            let difference = difference(asked, &read.accepted);
            difference.is_none_or(|differs| {
                reason = differs;
                false
            })
        };
        let Some(requirements) = asked.iter().find(fits).cloned() else {
            return Err(reason);
        };
        let authorization = &read.payload.authorization;
        authorization.check(&requirements)?;
        let payment = Self {
            id: authorization.identity(&requirements),
            payload,
            requirements,
        };
        // Numbers may become longer where they are written again.
        match FacilitatorRequest::about(&payment).body().len() {
            0..=Settlement::MAX_REQUEST_BYTES => Ok(payment),
            bytes => Err(PaymentError::Request(bytes)),
        }
    }

    /// Returns the identity.
    #[must_use]
    pub const fn id(&self) -> PaymentId {
        self.id
    }

    /// Returns the payment as it came.
    #[must_use]
    pub const fn payload(&self) -> &Value {
        &self.payload
    }

    /// Returns what it pays.
    #[must_use]
    pub const fn requirements(&self) -> &Requirements {
        &self.requirements
    }
}

/// Returns the first thing in which a payment differs from what was asked; `None`: none. What the
/// scheme needs may be more than was asked, and not other.
fn difference(asked: &Requirements, accepted: &Requirements) -> Option<PaymentError> {
    let holds = |(name, value): (&String, &Value)| accepted.extra.get(name) == Some(value);
    let same = [
        (asked.scheme == accepted.scheme, PaymentError::Scheme),
        (asked.network == accepted.network, PaymentError::Network),
        (asked.asset == accepted.asset, PaymentError::Asset),
        (asked.amount == accepted.amount, PaymentError::Amount),
        (asked.pay_to == accepted.pay_to, PaymentError::PayTo),
        (
            asked.max_timeout_seconds == accepted.max_timeout_seconds,
            PaymentError::Terms,
        ),
        (asked.extra.iter().all(holds), PaymentError::Terms),
    ];
    same.into_iter()
        .find(|(same, _)| !same)
        .map(|(_, reason)| reason)
}

impl Authorization {
    /// The number of digits of the largest number of a contract, 2^256 - 1.
    const MAX_DIGITS: usize = 78;

    /// Checks that each part has its one form, and that it pays what was asked. What could be
    /// spelled in two ways would give one payment two identities.
    fn check(&self, asked: &Requirements) -> Result<(), PaymentError> {
        if !is_evm(&asked.network) {
            return Err(PaymentError::Network);
        }
        let digits = [&self.value, &self.valid_after, &self.valid_before];
        let is_number = |text: &&String| {
            (1..=Self::MAX_DIGITS).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
        };
        let are_addresses = is_evm_address(&self.from) && is_evm_address(&self.to);
        if !are_addresses || !is_hex(&self.nonce, 64) || !digits.iter().all(is_number) {
            return Err(PaymentError::Form);
        }
        if self.value != asked.amount {
            return Err(PaymentError::Amount);
        }
        // The case of an address is a checksum.
        match self.to.eq_ignore_ascii_case(&asked.pay_to) {
            true => Ok(()),
            false => Err(PaymentError::PayTo),
        }
    }

    /// Returns the identity of the payment: network, token, payer and nonce, which a token takes
    /// once, whatever stands around them.
    fn identity(&self, asked: &Requirements) -> PaymentId {
        let parts = [&asked.network, &asked.asset, &self.from, &self.nonce];
        let mut hash = Context::new(&SHA256);
        for part in parts.map(|part| part.to_ascii_lowercase()) {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        let digest = hash.finish();
        PaymentId::from_bytes(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}
