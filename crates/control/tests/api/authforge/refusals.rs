//! Refusals: every one is a verdict that the SDKs understand, in the order of the protocol.

use http_body_util::Full;
use hyper::Request;
use licensing::SoftwareTerms;
use serde_json::{Value, json};

use super::{Software, refused};

#[tokio::test]
async fn whatever_is_wrong_with_a_request_is_told_in_the_words_of_the_protocol() {
    let software = Software::start().await;
    let key = software.license(json!({})).await;
    let good = software.body(&key, "a");
    for field in ["appId", "appSecret", "licenseKey", "hwid", "nonce"] {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(field);
        let answer = software.auth("validate", &body).await;
        refused(&answer, 400, "malformed_request");
        assert!(answer.text().contains(field), "{}", answer.text());
        let mut body = good.clone();
        body[field] = json!(7);
        refused(
            &software.auth("validate", &body).await,
            400,
            "malformed_request",
        );
    }
    for (field, value) in [
        ("hwid", json!("x".repeat(257))),
        ("hwid", json!("")),
        ("nonce", json!("x".repeat(129))),
        ("ttlSeconds", json!("1h")),
    ] {
        let mut body = good.clone();
        body[field] = value;
        refused(
            &software.auth("validate", &body).await,
            400,
            "malformed_request",
        );
    }
    // What an SDK of later may send is no reason to end a session.
    let mut body = good.clone();
    body["colour"] = json!("red");
    assert_eq!(software.auth("validate", &body).await.status, 200);
    let send = async |method: &str, path: &str, body: Vec<u8>| {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("Host", "gate");
        let request = request.body(Full::new(body.into())).unwrap();
        software.world.ask([127, 0, 0, 1], request).await
    };
    for path in [
        "/auth/validate",
        "/auth/heartbeat",
        "/auth/selfban",
        "/auth/offline/activate",
    ] {
        refused(&send("GET", path, vec![]).await, 405, "bad_request");
        refused(
            &send("POST", path, b"{".to_vec()).await,
            400,
            "malformed_request",
        );
        refused(
            &send("POST", path, b"[]".to_vec()).await,
            400,
            "malformed_request",
        );
        refused(&send("POST", path, vec![]).await, 400, "malformed_request");
        refused(
            &send("POST", path, vec![b' '; 20_000]).await,
            413,
            "bad_request",
        );
    }
}

#[tokio::test]
async fn the_app_is_judged_before_its_lists_and_these_before_the_license() {
    let software = Software::start().await;
    let key = software.license(json!({})).await;
    software
        .act(&key, &json!({ "action": "revoke" }))
        .await
        .json(200);
    let path = format!("/v1/apps/{}/security/blacklist", software.app_id);
    let block = json!({ "type": "hwid", "value": "bad" });
    assert_eq!(software.sell("POST", &path, &block).await.status, 201);
    let with = |changes: &[(&str, &str)]| {
        let mut body = software.body("TEST-KEY0-0000-0000", "bad");
        for (field, value) in changes {
            body[*field] = json!(value);
        }
        body
    };
    let wrong_app = [("appId", "app_1"), ("licenseKey", key.as_str())];
    for (changes, status, code) in [
        (&wrong_app[..], 401, "invalid_app"),
        (&[("appSecret", "wrong")][..], 401, "invalid_app"),
        (&[][..], 403, "blocked"),
        (&[("hwid", "good")][..], 401, "invalid_key"),
        (
            &[("hwid", "good"), ("licenseKey", key.as_str())][..],
            410,
            "revoked",
        ),
    ] {
        refused(
            &software.auth("validate", &with(changes)).await,
            status,
            code,
        );
    }
    // A license of another app is unknown to this one.
    let other = software.world.license(r#"{"app":"shop"}"#).await;
    let other = other["key"].as_str().unwrap();
    refused(&software.validate(other, "good").await, 401, "invalid_key");
}

#[tokio::test]
async fn validations_have_limits_by_license_by_address_and_by_app() {
    let terms = SoftwareTerms {
        validate_limit: Some("2/1m".parse().unwrap()),
        validate_limit_per_address: Some("5/1m".parse().unwrap()),
        burn_cap: Some("4/1h".parse().unwrap()),
        ..SoftwareTerms::default()
    };
    let software = Software::with(terms).await;
    let mut keys = Vec::new();
    for _ in 0..4 {
        keys.push(software.license(json!({})).await);
    }
    let from = async |address: u8, key: &str| {
        let body = software.body(key, "a");
        software
            .auth_from([127, 0, 0, address], "validate", &body)
            .await
    };
    for _ in 0..2 {
        assert_eq!(from(1, &keys[0]).await.status, 200);
    }
    let limited = from(1, &keys[0].replace('-', "")).await;
    refused(&limited, 429, "rate_limited");
    assert_eq!(limited.header("retry-after"), "60");
    assert_eq!(from(1, &keys[1]).await.status, 200);
    refused(&from(1, "TEST-KEY0-0000-0000").await, 401, "invalid_key");
    refused(&from(1, &keys[2]).await, 429, "rate_limited");
    assert_eq!(from(3, &keys[2]).await.status, 200);
    refused(&from(3, &keys[3]).await, 429, "app_burn_cap_reached");
    software.pass(60).await;
    refused(&from(1, &keys[0]).await, 429, "app_burn_cap_reached");
    software.pass(3_600).await;
    assert_eq!(from(1, &keys[0]).await.status, 200);
}

#[tokio::test]
async fn too_many_wrong_credentials_are_refused_as_a_rate_limit() {
    let software = Software::start().await;
    let key = software.license(json!({})).await;
    let mut codes = Vec::new();
    for number in 0..102 {
        let mut body = software.body(&key, "a");
        body["appSecret"] = json!(format!("guess-{number}"));
        // Loopback is not counted, unless a proxy names it.
        let request = Request::post("/auth/validate")
            .header("Host", "gate")
            .header("X-Forwarded-For", "192.0.2.7")
            .body(Full::new(body.to_string().into()))
            .unwrap();
        let answer = software.world.ask([127, 0, 0, 2], request).await;
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["status"], "failed");
        codes.push((answer.status, body["error"].as_str().unwrap().to_owned()));
    }
    assert_eq!(codes[0], (401, "invalid_app".to_owned()));
    assert_eq!(codes[101], (429, "rate_limited".to_owned()));
}
