//! x402, version 2: an agent is told in a header what a call costs, and sends a payment in another,
//! which a facilitator verifies and settles. The gate has no code of any chain.
//!
//! The order is: [`PaymentRequired`] with a 402; [`Payment::read`]; `/verify` at the facilitator; the
//! upstream; `/settle`; [`SettleAnswer::header`] with the answer. A payment is told from another by
//! [`Payment::id`].

mod exercise;
mod facilitator;
mod payment;
mod terms;

pub use exercise::exercise;
pub use facilitator::{
    FacilitatorError, FacilitatorRequest, SettleAnswer, SettleOutcome, VerifyAnswer,
};
pub use payment::{Payment, PaymentError};
pub use terms::{PaymentRequired, Requirements, Resource, Terms, TermsError};

/// The version of the protocol.
pub const VERSION: u32 = 2;
/// The header of a 402 with what is asked: base64 of a [`PaymentRequired`].
pub const PAYMENT_REQUIRED: &str = "payment-required";
/// The header of a call with a [`Payment`].
pub const PAYMENT_SIGNATURE: &str = "payment-signature";
/// The header of an answer that was paid: base64 of a [`SettleAnswer`].
pub const PAYMENT_RESPONSE: &str = "payment-response";
/// The scheme of payments: the amount, no more and no less.
pub const EXACT: &str = "exact";
