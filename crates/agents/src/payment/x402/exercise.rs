//! What fuzz targets and tests of their seeds call.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::agent::Settlement;
use serde_json::Map;

use super::{FacilitatorRequest, Payment, SettleOutcome, Terms};

/// Takes any bytes as the JSON of a payment, and as the answer of a facilitator to its settlement.
///
/// # Panics
/// If a payment is taken that does not pay what was asked, has another identity once it was written
/// again, or makes too large a request; and if something is settled that the answer does not call so.
pub fn exercise(bytes: &[u8]) {
    let terms = Terms {
        network: "eip155:84532".to_owned(),
        asset: "0x036CbD53842c5426634e7929541eC2318f3dCF7e".to_owned(),
        currency: "USD".parse().expect("a currency"),
        decimals: 6,
        pay_to: "0x209693Bc6afc0C5328bA36FaF03C514EF312287C".to_owned(),
        max_timeout_seconds: 300,
        extra: Map::new(),
    };
    let asked = terms.require("USD 0.01".parse().expect("a price"));
    let asked = [asked.expect("a whole number of atoms")];
    let read = |json: &[u8]| {
        let header = STANDARD.encode(json);
        Payment::read(header.as_bytes(), "https://news.example.com/", &asked)
    };
    let Ok(payment) = read(bytes) else { return };
    let value = payment.payload().pointer("/payload/authorization/value");
    assert_eq!(value.and_then(|value| value.as_str()), Some("10000"));
    let again = read(payment.payload().to_string().as_bytes());
    // What was written again may be too long for a header.
    assert!(again.is_err() || again.is_ok_and(|again| again.id() == payment.id()));
    let request = FacilitatorRequest::about(&payment);
    assert!(request.body().len() <= Settlement::MAX_REQUEST_BYTES);
    if let Ok(SettleOutcome::Settled(answer)) = request.settled(200, bytes, false) {
        assert!(answer.success && answer.network == asked[0].network);
    }
}
