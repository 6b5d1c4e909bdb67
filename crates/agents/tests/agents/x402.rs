//! Payments of x402: one of npm `@x402/fetch`, and every way in which it may not fit.

use agents::payment::x402::{
    FacilitatorError, FacilitatorRequest, Payment, PaymentError, PaymentRequired, Requirements,
    Resource, SettleOutcome, Terms,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::agent::Settlement;
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
            json!("0x036CbD53842c5426634e7929541eC2318f3dCF7e"),
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
    for name in ["from", "nonce"] {
        let text = &mut dressed["payload"]["authorization"][name];
        let digits = text.as_str().expect("text").trim_start_matches("0x");
        *text = json!(format!("0x{}", digits.to_uppercase()));
    }
    for (name, value) in [("validAfter", "1"), ("validBefore", "1796000469")] {
        dressed["payload"]["authorization"][name] = json!(value);
    }
    assert_eq!(id(&dressed), id(&payment));
    for (name, digits) in [("from", 40), ("nonce", 64)] {
        let mut other = payment.clone();
        other["payload"]["authorization"][name] = json!(format!("0x{}", "1".repeat(digits)));
        assert_ne!(id(&other), id(&payment), "{name}");
    }
}

#[test]
fn what_could_give_one_payment_a_second_identity_is_refused() {
    let set = |pointer: &str, value: Value| {
        let (_, mut payment) = vector();
        let (object, name) = pointer.rsplit_once('/').expect("a field");
        let object = payment.pointer_mut(object).expect(pointer);
        let object = object.as_object_mut().expect(pointer);
        object.insert(name.to_owned(), value);
        read(&payment)
    };
    let (_, vector) = vector();
    let own = &vector["payload"]["authorization"];
    let nonce = own["nonce"].as_str().expect("text");
    let of = |name: &str| format!("/payload/authorization/{name}");
    for (pointer, value) in [
        // A decoy beside what the facilitator settles.
        ("/payload/permit2Authorization".to_owned(), own.clone()),
        ("/payload/junk".to_owned(), json!(1)),
        (of("junk"), json!(1)),
        // Other spellings of the same numbers.
        (of("nonce"), json!(1)),
        (of("nonce"), json!(nonce.to_uppercase())),
        (of("nonce"), json!(nonce.trim_start_matches("0x"))),
        (of("nonce"), json!(nonce.replacen("0x", "0x0", 1))),
        (of("nonce"), json!(format!(" {nonce}"))),
        (of("nonce"), json!("0x01")),
        (of("from"), json!("0x01")),
        (of("from"), Value::Null),
        (of("to"), json!("0x01")),
        (of("value"), json!(10_000)),
        (of("value"), json!("0x2710")),
        (of("validAfter"), json!(0)),
        (of("validAfter"), json!("+0")),
        (of("validBefore"), json!("")),
        (of("validBefore"), json!("9".repeat(79))),
        ("/payload/signature".to_owned(), json!(0)),
    ] {
        let text = value.to_string();
        assert_eq!(
            set(&pointer, value),
            Err(PaymentError::Form),
            "{pointer} {text}"
        );
    }
    // Of another way to pay alone, too.
    let permit = json!({ "signature": "0x00", "permit2Authorization": own });
    assert_eq!(set("/payload", permit), Err(PaymentError::Form));
    let junk = json!({ "a": 1 });
    assert_eq!(set("/payload", junk), Err(PaymentError::Form));
}

#[test]
fn a_payment_on_a_network_of_another_kind_is_refused_also_where_it_was_asked() {
    let (_, mut payment) = vector();
    let network = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp";
    payment["accepted"]["network"] = json!(network);
    let mut asked = asked();
    asked.network = network.to_owned();
    let header = STANDARD.encode(payment.to_string());
    let read = Payment::read(header.as_bytes(), URL, &[asked]);
    assert_eq!(read, Err(PaymentError::Network));
}

#[test]
fn a_payment_that_grows_when_it_is_written_again_is_refused_at_the_bound() {
    let (_, payment) = vector();
    let numbers = |count: usize| {
        let mut text = payment.to_string();
        let numbers = vec!["1e15"; count].join(",");
        text.insert_str(1, &format!("\"extensions\":[{numbers}],"));
        let header = STANDARD.encode(text);
        assert!(header.len() <= Payment::MAX_BYTES);
        Payment::read(header.as_bytes(), URL, &[asked()])
    };
    let payment = numbers(1_000).expect("it fits");
    let body = FacilitatorRequest::about(&payment).body();
    assert!(body.len() <= Settlement::MAX_REQUEST_BYTES);
    let refused = numbers(2_000);
    assert!(
        matches!(refused, Err(PaymentError::Request(bytes)) if bytes > Settlement::MAX_REQUEST_BYTES),
        "{refused:?}"
    );
}

#[test]
fn a_facilitator_is_believed_only_what_it_says_of_this_payment() {
    let (header, _) = vector();
    let payment = Payment::read(header.as_bytes(), URL, &[asked()]).expect("it fits");
    let request = FacilitatorRequest::about(&payment);
    let settled = |status, body: Value| request.settled(status, body.to_string().as_bytes(), false);
    let good = json!({
        "success": true, "payer": "0x4e", "transaction": "0xabc", "network": "eip155:84532",
    });
    let Ok(SettleOutcome::Settled(answer)) = settled(200, good.clone()) else {
        panic!("it is settled");
    };
    let told = STANDARD.decode(answer.header()).expect("base64");
    assert_eq!(serde_json::from_slice::<Value>(&told).expect("JSON"), good);

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
        request.settled(502, b"<html>", false),
        Err(FacilitatorError::Status(502))
    );
    let large = vec![b' '; FacilitatorRequest::MAX_ANSWER_BYTES + 1];
    assert_eq!(
        request.settled(200, &large, true),
        Err(FacilitatorError::Bytes(65_537))
    );
}

/// Returns what is taken for the outcome of a settlement that its facilitator says failed.
fn failed(status: u16, fields: Value, asked_before: bool) -> &'static str {
    let payment = Payment::read(vector().0.as_bytes(), URL, &[asked()]).expect("it fits");
    let mut body = json!({ "success": false, "network": "eip155:84532" });
    let fields = fields.as_object().expect("an object").clone();
    body.as_object_mut().expect("an object").extend(fields);
    let request = FacilitatorRequest::about(&payment);
    match request.settled(status, body.to_string().as_bytes(), asked_before) {
        Ok(SettleOutcome::Settled(answer)) => {
            let told = (answer.success, answer.error_reason.as_deref());
            assert_eq!(told, (true, None));
            assert_eq!(answer.network, "eip155:84532");
            "settled"
        }
        Ok(SettleOutcome::Refused(answer)) => {
            assert!(!answer.success);
            "refused"
        }
        Ok(SettleOutcome::Pending) => "pending",
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_settlement_is_refused_only_where_nothing_could_have_been_paid() {
    let because = |reason: &str| json!({ "errorReason": reason });
    for (status, fields, first, again) in [
        (400, because("insufficient_funds"), "refused", "pending"),
        (
            200,
            because("invalid_exact_evm_signature"),
            "refused",
            "pending",
        ),
        (200, json!({}), "refused", "pending"),
        (
            200,
            json!({ "errorReason": null, "transaction": null }),
            "refused",
            "pending",
        ),
        (
            200,
            because("invalid_exact_evm_nonce_already_used"),
            "refused",
            "settled",
        ),
        (
            400,
            json!({ "errorReason": "permit2_invalid_nonce", "network": null }),
            "refused",
            "settled",
        ),
        (500, because("insufficient_funds"), "pending", "pending"),
        (200, because("settlement_pending"), "pending", "pending"),
        (200, because("duplicate_settlement"), "pending", "pending"),
        (
            200,
            because("invalid_exact_evm_transaction_failed"),
            "pending",
            "pending",
        ),
        (
            200,
            because("unexpected_settle_error"),
            "pending",
            "pending",
        ),
        (
            200,
            json!({ "errorReason": "insufficient_funds", "transaction": "0xabc" }),
            "pending",
            "pending",
        ),
    ] {
        let shown = fields.to_string();
        assert_eq!(
            failed(status, fields.clone(), false),
            first,
            "{status} {shown}"
        );
        assert_eq!(
            failed(status, fields, true),
            again,
            "{status} {shown}, again"
        );
    }
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
