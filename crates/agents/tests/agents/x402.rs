//! Payments of x402: one of npm `@x402/fetch`, and every way in which it may not fit.

use agents::payment::x402::{
    FacilitatorError, FacilitatorRequest, Payment, PaymentError, PaymentRequired, Requirements,
    Resource, SettleOutcome, Terms,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

const URL: &str = "https://news.example.com/article?id=7";

/// The payment of `tests/vectors/x402-fetch.json`, and its JSON.
fn vector() -> (String, Value) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/x402-fetch.json");
    let file: Value = serde_json::from_slice(&std::fs::read(path).expect(path)).expect(path);
    let header = file["payment_signature"]
        .as_str()
        .expect("a header")
        .to_owned();
    let json = STANDARD.decode(&header).expect("base64");
    (header, serde_json::from_slice(&json).expect("JSON"))
}

/// What that payment was asked for.
fn asked() -> Requirements {
    let terms = Terms {
        network: "eip155:84532".to_owned(),
        asset: "0x036CbD53842c5426634e7929541eC2318f3dCF7e".to_owned(),
        currency: "USD".parse().expect("valid"),
        decimals: 6,
        pay_to: "0x209693Bc6afc0C5328bA36FaF03C514EF312287C".to_owned(),
        max_timeout_seconds: 300,
        extra: json!({ "name": "USDC", "version": "2" })
            .as_object()
            .expect("an object")
            .clone(),
    };
    let price = "USD 0.01".parse().expect("a price");
    terms.require(price).expect("whole atoms")
}

fn read(payment: &Value) -> Result<Payment, PaymentError> {
    let header = STANDARD.encode(payment.to_string());
    Payment::read(header.as_bytes(), URL, &[asked()])
}

#[test]
fn what_is_asked_is_what_the_package_pays() {
    let (header, json) = vector();
    let payment = Payment::read(header.as_bytes(), URL, &[asked()]).expect("it fits");
    assert_eq!(payment.payload(), &json);
    assert_eq!(payment.requirements(), &asked());
    let body: Value =
        serde_json::from_slice(&FacilitatorRequest::about(&payment).body()).expect("JSON");
    assert_eq!(body["paymentPayload"], json);
    assert_eq!(body["paymentRequirements"], json["accepted"]);
    assert_eq!(body["x402Version"], 2);
}

#[test]
fn a_call_without_a_payment_is_told_what_is_asked() {
    let resource = Resource {
        url: URL.to_owned(),
        description: String::new(),
        mime_type: String::new(),
    };
    let required = PaymentRequired::new("payment_required", resource, vec![asked()]);
    let json = STANDARD.decode(required.header()).expect("base64");
    let json: Value = serde_json::from_slice(&json).expect("JSON");
    let (_, payment) = vector();
    let expected = json!({
        "x402Version": 2, "error": "payment_required", "resource": payment["resource"],
        "accepts": [payment["accepted"]],
    });
    assert_eq!(json, expected);
}

#[test]
fn a_payment_that_does_not_fit_is_refused_by_what_differs() {
    let changes = [
        ("/x402Version", json!(1), PaymentError::Version),
        (
            "/resource/url",
            json!("https://news.example.com/other"),
            PaymentError::Resource,
        ),
        ("/accepted/scheme", json!("upto"), PaymentError::Scheme),
        (
            "/accepted/network",
            json!("eip155:1"),
            PaymentError::Network,
        ),
        ("/accepted/asset", json!("0x0"), PaymentError::Asset),
        ("/accepted/amount", json!("9999"), PaymentError::Amount),
        ("/accepted/amount", json!("010000"), PaymentError::Amount),
        ("/accepted/payTo", json!("0x1"), PaymentError::PayTo),
        (
            "/accepted/maxTimeoutSeconds",
            json!(301),
            PaymentError::Terms,
        ),
        ("/accepted/extra/name", json!("EURC"), PaymentError::Terms),
        ("/accepted/amount", json!(10_000), PaymentError::Form),
        ("/payload", json!("x"), PaymentError::Form),
        (
            "/payload/authorization/value",
            json!("9999"),
            PaymentError::Amount,
        ),
        (
            "/payload/authorization/to",
            json!("0x1"),
            PaymentError::PayTo,
        ),
    ];
    for (pointer, value, reason) in changes {
        let (_, mut payment) = vector();
        *payment.pointer_mut(pointer).expect(pointer) = value;
        assert_eq!(read(&payment), Err(reason), "{pointer}");
    }
    let (_, mut without) = vector();
    without
        .as_object_mut()
        .expect("an object")
        .remove("resource");
    assert!(read(&without).is_ok());
    without["accepted"]["extra"]["more"] = json!(1);
    assert!(read(&without).is_ok());
}

#[test]
fn a_header_that_is_no_payment_is_refused_within_bounds() {
    let of = |header: &[u8]| Payment::read(header, URL, &[asked()]).expect_err("refused");
    let array = STANDARD.encode("[]");
    for bad in [&b"!"[..], b"", b"\xff", array.as_bytes(), b"e30="] {
        assert_eq!(of(bad), PaymentError::Form);
    }
    let long = vec![b'A'; Payment::MAX_BYTES + 1];
    assert_eq!(of(&long), PaymentError::Bytes(Payment::MAX_BYTES + 1));
    let none = Payment::read(vector().0.as_bytes(), URL, &[]);
    assert_eq!(none, Err(PaymentError::Scheme));
}

#[test]
fn a_payment_keeps_its_identity_whatever_stands_around_what_was_signed() {
    let (_, payment) = vector();
    let id = |payment: &Value| read(payment).expect("it fits").id();
    let mut dressed = payment.clone();
    dressed["extensions"] = json!({ "a": 1 });
    dressed["payload"]["signature"] = json!("0x00");
    let nonce = &mut dressed["payload"]["authorization"]["nonce"];
    *nonce = json!(nonce.as_str().expect("text").to_uppercase());
    assert_eq!(id(&dressed), id(&payment));
    let mut other = payment.clone();
    other["payload"]["authorization"]["nonce"] = json!("0x01");
    assert_ne!(id(&other), id(&payment));
    // Of a scheme that is not known all counts, in any order.
    let unknown = |payload: Value| {
        let mut unknown = payment.clone();
        unknown["payload"] = payload;
        id(&unknown)
    };
    assert_eq!(
        unknown(json!({ "a": 1, "b": [2] })),
        unknown(json!({ "b": [2], "a": 1 }))
    );
    assert_ne!(unknown(json!({ "a": 1 })), unknown(json!({ "a": 2 })));
}

#[test]
fn a_facilitator_is_believed_only_what_it_says_of_this_payment() {
    let (header, _) = vector();
    let payment = Payment::read(header.as_bytes(), URL, &[asked()]).expect("it fits");
    let request = FacilitatorRequest::about(&payment);
    let settled = |status, body: Value| request.settled(status, body.to_string().as_bytes());
    let good = json!({
        "success": true, "payer": "0x4e", "transaction": "0xabc", "network": "eip155:84532",
    });
    let Ok(SettleOutcome::Settled(answer)) = settled(200, good.clone()) else {
        panic!("it is settled");
    };
    let told = STANDARD.decode(answer.header()).expect("base64");
    assert_eq!(serde_json::from_slice::<Value>(&told).expect("JSON"), good);

    let failed = |reason: &str| {
        json!({
            "success": false, "errorReason": reason, "transaction": "", "network": "eip155:84532",
        })
    };
    let refused = settled(400, failed("insufficient_funds"));
    assert!(
        matches!(refused, Ok(SettleOutcome::Refused(_))),
        "{refused:?}"
    );
    let used = settled(200, failed("invalid_exact_evm_nonce_already_used"));
    assert!(
        matches!(used, Ok(SettleOutcome::SettledBefore(_))),
        "{used:?}"
    );
    assert_eq!(
        settled(200, failed("settlement_pending")),
        Ok(SettleOutcome::Pending)
    );

    let mut other = good.clone();
    other["network"] = json!("eip155:1");
    assert_eq!(
        settled(200, other),
        Err(FacilitatorError::Other("eip155:1".to_owned()))
    );
    let mut less = good.clone();
    less["amount"] = json!("1");
    assert_eq!(
        settled(200, less),
        Err(FacilitatorError::Other("1".to_owned()))
    );
    assert_eq!(settled(500, good), Err(FacilitatorError::Status(500)));
    assert_eq!(settled(200, json!({})), Err(FacilitatorError::Form));
    assert_eq!(
        request.settled(502, b"<html>"),
        Err(FacilitatorError::Status(502))
    );
    let large = vec![b' '; FacilitatorRequest::MAX_ANSWER_BYTES + 1];
    assert_eq!(
        request.settled(200, &large),
        Err(FacilitatorError::Bytes(65_537))
    );
}

#[test]
fn a_payment_is_good_only_if_its_facilitator_says_so() {
    let (header, _) = vector();
    let payment = Payment::read(header.as_bytes(), URL, &[asked()]).expect("it fits");
    let request = FacilitatorRequest::about(&payment);
    let verified = |status, body: Value| request.verified(status, body.to_string().as_bytes());
    let good = verified(200, json!({ "isValid": true, "payer": "0x4e" })).expect("read");
    assert!(good.is_valid);
    assert_eq!(good.payer.as_deref(), Some("0x4e"));
    let bad = verified(
        400,
        json!({ "isValid": false, "invalidReason": "x".repeat(1_000) }),
    );
    let bad = bad.expect("read");
    assert!(!bad.is_valid);
    assert_eq!(bad.invalid_reason.map(|reason| reason.len()), Some(256));
    assert_eq!(
        verified(500, json!({ "isValid": true })),
        Err(FacilitatorError::Status(500))
    );
    assert_eq!(
        verified(200, json!({ "valid": true })),
        Err(FacilitatorError::Form)
    );
}
