//! Heartbeats: sessions that go on, and what ends them.

use licensing::SoftwareTerms;
use serde_json::{Value, json};

use super::{Software, refused, token_body};

#[tokio::test]
async fn a_heartbeat_says_all_that_a_validation_says_and_prolongs_the_session() {
    let software = Software::start().await;
    let key = software.license(json!({ "label": "order 7" })).await;
    let mut body = software.body(&key, "a");
    body["ttlSeconds"] = json!(3_600);
    let first = software
        .payload(&software.auth("validate", &body).await)
        .await;
    software.pass(1_000).await;
    let next = software.payload(&software.beat(&first, "a").await).await;
    let names =
        |session: &Value| -> Vec<String> { session.as_object().unwrap().keys().cloned().collect() };
    assert_eq!(names(&first), names(&next));
    assert_ne!(first["nonce"], next["nonce"]);
    let prolonged = next["expiresIn"].as_i64().unwrap() - first["expiresIn"].as_i64().unwrap();
    assert_eq!(prolonged, 1_000, "the life that was asked for is kept");
    assert_eq!(token_body(&next)["exp"], next["expiresIn"]);
    software.pass(3_599).await;
    let last = software.payload(&software.beat(&next, "a").await).await;
    software.pass(3_600).await;
    refused(&software.beat(&last, "a").await, 401, "session_expired");
}

#[tokio::test]
async fn each_tenth_heartbeat_of_a_license_costs_a_credit() {
    let software = Software::start().await;
    let key = software.license(json!({ "maxHwidSlots": 2 })).await;
    software.credit(4).await;
    let mut sessions = [
        software.session(&key, "a").await,
        software.session(&key, "b").await,
    ];
    assert_eq!(software.credits().await, 2);
    for number in 1..=20 {
        let which = number % 2;
        let device = ["a", "b"][which];
        let answer = software.beat(&sessions[which], device).await;
        sessions[which] = software.payload(&answer).await;
        let left = 2 - number as u64 / 10;
        assert_eq!(software.credits().await, left, "after heartbeat {number}");
    }
    // Nothing is left: nine more are free, and the tenth is refused until there is something.
    for _ in 1..=9 {
        let answer = software.beat(&sessions[0], "a").await;
        sessions[0] = software.payload(&answer).await;
    }
    for _ in 0..3 {
        refused(&software.beat(&sessions[0], "a").await, 429, "no_credits");
    }
    software.credit(1).await;
    software
        .payload(&software.beat(&sessions[0], "a").await)
        .await;
    assert_eq!(software.credits().await, 0);
}

/// An answer that was lost costs nothing more: the same body is the same heartbeat for a minute.
#[tokio::test]
async fn a_heartbeat_that_is_sent_again_is_counted_once() {
    let software = Software::start().await;
    let key = software.license(json!({})).await;
    software.credit(3).await;
    let session = software.session(&key, "a").await;
    let body = |nonce: &str| {
        json!({
            "appId": software.app_id,
            "sessionToken": session["sessionToken"],
            "nonce": nonce,
            "hwid": "a",
        })
    };
    let beats = |session: &Value| token_body(session)["n"].as_u64().unwrap();
    for number in 1..=10 {
        let body = body(&format!("beat {number}"));
        for _ in 0..3 {
            let answer = software.auth("heartbeat", &body).await;
            let next = software.payload(&answer).await;
            assert_eq!((&next["nonce"], beats(&next)), (&body["nonce"], number));
        }
    }
    assert_eq!(
        software.credits().await,
        1,
        "one validation, ten heartbeats"
    );
    software.pass(60).await;
    let answer = software.auth("heartbeat", &body("beat 10")).await;
    assert_eq!(beats(&software.payload(&answer).await), 11);
}

#[tokio::test]
async fn a_running_program_learns_at_its_next_heartbeat_what_became_of_its_license() {
    let software = Software::start().await;
    let key = software
        .license(json!({ "maxHwidSlots": 1, "expiresAt": "2026-03-01T12:00:00Z" }))
        .await;
    let session = software.session(&key, "a").await;
    refused(&software.beat(&session, "b").await, 403, "hwid_mismatch");
    let mut foreign = session.clone();
    foreign["sessionToken"] = json!(format!("{}x", session["sessionToken"].as_str().unwrap()));
    refused(&software.beat(&foreign, "a").await, 401, "session_expired");
    software
        .act(&key, &json!({ "action": "revoke" }))
        .await
        .json(200);
    refused(&software.beat(&session, "a").await, 410, "revoked");
    software
        .act(&key, &json!({ "action": "activate" }))
        .await
        .json(200);
    software.payload(&software.beat(&session, "a").await).await;
    software
        .act(&key, &json!({ "action": "reset-hwid" }))
        .await
        .json(200);
    refused(&software.beat(&session, "a").await, 403, "hwid_mismatch");
    let session = software.session(&key, "a").await;
    let path = format!("/v1/apps/{}", software.app_id);
    let switch = async |on: bool| {
        let answer = software.sell("PUT", &path, &json!({ "enabled": on })).await;
        assert_eq!(answer.json(200)["enabled"], on);
    };
    switch(false).await;
    refused(&software.beat(&session, "a").await, 403, "app_disabled");
    refused(&software.validate(&key, "a").await, 403, "app_disabled");
    switch(true).await;
    let path = format!("/v1/apps/{}/security/blacklist", software.app_id);
    let block = json!({ "type": "ip", "value": "127.0.0.0/8" });
    assert_eq!(software.sell("POST", &path, &block).await.status, 201);
    refused(&software.beat(&session, "a").await, 403, "blocked");
}

#[tokio::test]
async fn heartbeats_of_a_license_have_a_limit() {
    let terms = SoftwareTerms {
        heartbeat_limit: Some("3/1m".parse().unwrap()),
        ..SoftwareTerms::default()
    };
    let software = Software::with(terms).await;
    let key = software.license(json!({})).await;
    let session = software.session(&key, "a").await;
    for _ in 0..3 {
        software.payload(&software.beat(&session, "a").await).await;
    }
    let limited = software.beat(&session, "a").await;
    refused(&limited, 429, "rate_limited");
    assert_eq!(limited.header("retry-after"), "60");
    software.pass(60).await;
    software.payload(&software.beat(&session, "a").await).await;
}
