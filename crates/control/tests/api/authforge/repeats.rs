//! Requests that are sent again: after an answer that was lost, or by somebody who listened.

use std::sync::Arc;
use std::time::Duration;

use licensing::{Idempotency, IdempotentRequest};
use model::CallId;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use store::ClaimKind;
use tokio::task::JoinSet;

use super::{Software, refused};

#[tokio::test]
async fn case_100_the_same_body_gets_the_same_answer_for_a_minute_and_the_nonce_nothing_else() {
    let software = Software::start().await;
    let key = software.license(json!({ "maxHwidSlots": 1 })).await;
    software.credit(1).await;
    let body = software.body(&key, "a");
    let first = software.auth("validate", &body).await;
    assert_eq!(software.payload(&first).await["nonce"], body["nonce"]);
    software.pass(59).await;
    // No credit is left, and the answer is given all the same.
    let again = software.auth("validate", &body).await;
    assert_eq!(again.text(), first.text(), "to the byte");
    assert_eq!(software.credits().await, 0);
    software.credit(5).await;
    let mut other = body.clone();
    other["ttlSeconds"] = json!(3_600);
    refused(
        &software.auth("validate", &other).await,
        401,
        "replay_detected",
    );
    software.pass(1).await;
    refused(
        &software.auth("validate", &body).await,
        401,
        "replay_detected",
    );
    software.pass(530).await;
    refused(
        &software.auth("validate", &body).await,
        401,
        "replay_detected",
    );
    assert_eq!(software.credits().await, 5, "none of them cost anything");
    software.pass(20).await;
    assert_eq!(
        software.auth("validate", &body).await.status,
        200,
        "it is forgotten"
    );
}

#[tokio::test]
async fn of_many_that_are_sent_at_once_one_costs_and_all_get_its_answer() {
    let software = Arc::new(Software::start().await);
    let key = software.license(json!({ "maxHwidSlots": 1 })).await;
    software.credit(10).await;
    let body = software.body(&key, "a");
    let mut tries = JoinSet::new();
    for _ in 0..8 {
        let (software, body) = (software.clone(), body.clone());
        tries.spawn(async move { software.auth("validate", &body).await });
    }
    let answers = tries.join_all().await;
    for answer in &answers {
        assert_eq!((answer.status, answer.text()), (200, answers[0].text()));
    }
    assert_eq!(software.credits().await, 9);
}

#[tokio::test]
async fn a_refusal_leaves_its_nonce_free() {
    let software = Software::start().await;
    let key = software.license(json!({ "maxHwidSlots": 1 })).await;
    software.credit(1).await;
    software.session(&key, "a").await;
    let body = software.body(&key, "a");
    refused(&software.auth("validate", &body).await, 429, "no_credits");
    software.credit(2).await;
    let other = software.body(&key, "b");
    refused(
        &software.auth("validate", &other).await,
        403,
        "hwid_mismatch",
    );
    assert_eq!(software.credits().await, 2, "a refusal costs nothing");
    assert_eq!(software.auth("validate", &body).await.status, 200);
    software
        .act(&key, &json!({ "action": "reset-hwid" }))
        .await
        .json(200);
    assert_eq!(software.auth("validate", &other).await.status, 200);
    assert_eq!(software.credits().await, 0);
}

/// A gate claimed the nonce and died: another gives its answer, for which that gate's record costs.
#[tokio::test]
async fn a_validation_of_a_gate_that_died_is_answered_by_another_which_takes_no_credit() {
    const ANSWER: &str = r#"{"status":"success"}"#;
    let software = Software::start().await;
    let key = software.license(json!({ "maxHwidSlots": 1 })).await;
    software.credit(1).await;
    let dead = software.world.neighbour().await;
    let claim = async |body: &Value| {
        let content = Sha256::digest(body.to_string());
        let nonce = body["nonce"].as_str().unwrap().as_bytes();
        let name: [&[u8]; 3] = [b"authforge validate", b"api", nonce];
        let sealed_under: [&[u8]; 4] = [name[0], name[1], name[2], &content];
        let request = IdempotentRequest {
            kind: ClaimKind::Nonce,
            name: &name,
            content: &[&content],
            reference: CallId::generate().as_u128(),
            prepared: Some(&dead.seal_answer(&sealed_under, ANSWER.as_bytes())),
            waits_for_disk: true,
            lifetime: Duration::from_secs(600),
            dead: &[],
        };
        let claimed = dead.once(&request).await.unwrap();
        assert!(matches!(claimed, Idempotency::Run(_)));
    };
    let (body, other) = (software.body(&key, "a"), software.body(&key, "b"));
    claim(&body).await;
    claim(&other).await;
    // It may be at it: nothing is given before five seconds are over.
    let mut early = std::pin::pin!(software.auth("validate", &body));
    let waits = tokio::time::timeout(Duration::from_millis(300), &mut early).await;
    assert!(waits.is_err(), "{waits:?}");
    software.pass(5).await;
    assert_eq!(early.await.text(), ANSWER);
    for _ in 0..2 {
        let answer = software.auth("validate", &body).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, ANSWER));
    }
    let mut changed = body.clone();
    changed["ttlSeconds"] = json!(3_600);
    let refusal = software.auth("validate", &changed).await;
    refused(&refusal, 401, "replay_detected");
    assert_eq!(software.shown(&key).await["hwidList"], json!(["a"]));
    let refusal = software.auth("validate", &other).await;
    refused(&refusal, 403, "hwid_mismatch");
    assert_eq!(software.credits().await, 1, "none was taken");
    software.session(&key, "a").await;
    refused(&software.auth("validate", &body).await, 429, "no_credits");
    software.pass(55).await;
    let refusal = software.auth("validate", &body).await;
    refused(&refusal, 401, "replay_detected");
}

#[tokio::test]
async fn a_repeated_request_of_a_license_that_was_revoked_meanwhile_is_refused() {
    let software = Software::start().await;
    let key = software.license(json!({})).await;
    let body = software.body(&key, "a");
    assert_eq!(software.auth("validate", &body).await.status, 200);
    software
        .act(&key, &json!({ "action": "revoke" }))
        .await
        .json(200);
    refused(&software.auth("validate", &body).await, 410, "revoked");
}
