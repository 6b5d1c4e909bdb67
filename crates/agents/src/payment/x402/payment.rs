//! What an agent sends to pay.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::agent::PaymentId;
use ring::digest::{Context, SHA256};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::terms::{Requirements, Resource};
use super::{EXACT, VERSION};

/// A payment that fits what was asked. Whether it is good, its facilitator says.
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
    /// The header is no base64 of JSON of a payment.
    #[error("invalid_payload: PAYMENT-SIGNATURE must be base64 of the JSON of a payment")]
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
    payload: Map<String, Value>,
}

impl Payment {
    /// The length of the longest header, in bytes.
    pub const MAX_BYTES: usize = 16_384;

    /// Reads the header of a call that was asked for one of these, for this URL.
    ///
    /// # Errors
    /// Whatever is not a payment by one of them: a 402 follows with the text of the error.
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
        let mut nearest = PaymentError::Scheme;
        let fits = |asked: &&Requirements| {
            let difference = difference(asked, &read.accepted);
            difference.is_none_or(|reason| {
                nearest = reason;
                false
            })
        };
        let Some(requirements) = asked.iter().find(fits).cloned() else {
            return Err(nearest);
        };
        check_authorization(&read.payload, &requirements)?;
        Ok(Self {
            id: identity(&requirements, &read.payload),
            payload,
            requirements,
        })
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

/// Checks what the payer signed, where its form is known: an authorization of EIP-3009.
fn check_authorization(
    payload: &Map<String, Value>,
    asked: &Requirements,
) -> Result<(), PaymentError> {
    let Some(authorization) = payload.get("authorization") else {
        return Ok(());
    };
    let text = |name: &str| authorization.get(name).and_then(Value::as_str);
    if text("value").is_none_or(|value| value != asked.amount) {
        return Err(PaymentError::Amount);
    }
    // Addresses of this kind are hexadecimal, and case is a checksum.
    if text("to").is_none_or(|to| !to.eq_ignore_ascii_case(&asked.pay_to)) {
        return Err(PaymentError::PayTo);
    }
    Ok(())
}

/// Returns the identity of a payment: network, token, payer and nonce where they are there, since
/// these settle once whatever stands around them; otherwise all that was sent.
fn identity(requirements: &Requirements, payload: &Map<String, Value>) -> PaymentId {
    let signed = ["authorization", "permit2Authorization"]
        .into_iter()
        .find_map(|name| payload.get(name));
    let text = |name: &str| signed?.get(name)?.as_str().map(str::to_ascii_lowercase);
    let rest = match (text("from"), text("nonce")) {
        (Some(from), Some(nonce)) => vec![from, nonce],
        _ => vec![sorted(&Value::Object(payload.clone()))],
    };
    let mut hash = Context::new(&SHA256);
    let asset = requirements.asset.to_ascii_lowercase();
    for part in [&requirements.network, &asset].into_iter().chain(&rest) {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let digest = hash.finish();
    PaymentId::from_bytes(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
}

/// Returns JSON with the names of each object in order, whatever order they came in.
fn sorted(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            let field = |(name, value): (&String, &Value)| {
                format!("{}:{}", Value::String(name.clone()), sorted(value))
            };
            let fields: Vec<String> = fields.into_iter().map(field).collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(sorted).collect();
            format!("[{}]", items.join(","))
        }
        other => other.to_string(),
    }
}
