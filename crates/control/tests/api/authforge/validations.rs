//! Validations: what is signed, who is let in, and the slots for devices.

use std::collections::HashSet;
use std::sync::Arc;

use licensing::SoftwareTerms;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Software, refused, token_body};

#[tokio::test]
async fn a_validation_is_signed_and_says_all_that_the_sdks_read() {
    let software = Software::start().await;
    let key = software
        .license(
            json!({ "label": "order 7", "maxHwidSlots": 2, "expiresAt": "2026-12-31T00:00:00Z" }),
        )
        .await;
    let variables = json!({ "tier": "pro", "seats": 3 });
    let path = format!("/v1/licenses/{key}/variables");
    assert_eq!(software.sell("PUT", &path, &variables).await.status, 200);
    let theme = json!({ "theme": "dark" });
    let path = format!("/v1/apps/{}/variables", software.app_id);
    assert_eq!(software.sell("PUT", &path, &theme).await.status, 200);
    let mut body = software.body(&key, "device-a");
    body["ttlSeconds"] = json!(7_200);
    let session = software
        .payload(&software.auth("validate", &body).await)
        .await;
    let now = software.world.services.now().seconds();
    assert_eq!(session["nonce"], body["nonce"]);
    assert_eq!(session["expiresIn"], now + 7_200, "an absolute time, whole");
    assert_eq!(session["licenseExpiresAt"], "2026-12-31T00:00:00.000Z");
    assert!(
        session["sessionExpiresAt"]
            .as_str()
            .unwrap()
            .starts_with("2026-03-01T02:00:1")
    );
    assert_eq!(
        (&session["maxHwidSlots"], &session["hwidCount"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(session["licenseLabel"], "order 7");
    assert_eq!(session["licenseVariables"], variables);
    assert_eq!(session["appVariables"], theme);
    assert!(session["requestId"].is_string() && session["timestamp"].is_string());
    assert_eq!(
        token_body(&session)["exp"],
        session["expiresIn"],
        "the token says the same"
    );
    // Without dashes and with blanks around it is the same license.
    let spaced = format!("  {} ", key.replace('-', ""));
    let again = software.session(&spaced, "device-a").await;
    assert_eq!(again["hwidCount"], 1);
    assert_eq!(
        again["expiresIn"],
        software.world.services.now().seconds() + 86_400
    );
}

#[tokio::test]
async fn the_life_of_a_session_is_clamped_and_never_longer_than_its_license() {
    let software = Software::start().await;
    let key = software
        .license(json!({ "unlimitedHwidSlots": true }))
        .await;
    let ends = software
        .license(json!({ "expiresAt": "2026-03-01T00:30:00Z" }))
        .await;
    let life = async |key: &str, ttl: Value| {
        let mut body = software.body(key, "a");
        body["ttlSeconds"] = ttl;
        let session = software
            .payload(&software.auth("validate", &body).await)
            .await;
        session["expiresIn"].as_i64().unwrap() - software.world.services.now().seconds()
    };
    for (asked, given) in [
        (json!(1), 3_600),
        (json!(-5), 3_600),
        (json!(5_000), 5_000),
        (json!(1_000_000_000_000_u64), 604_800),
        (json!(1e300), 604_800),
        (Value::Null, 86_400),
    ] {
        assert_eq!(life(&key, asked.clone()).await, given, "{asked}");
    }
    assert_eq!(life(&ends, json!(7_200)).await, 1_790);
}

#[tokio::test]
async fn case_97_no_more_devices_are_bound_than_there_are_slots() {
    let software = Arc::new(Software::start().await);
    let key = software.license(json!({ "maxHwidSlots": 2 })).await;
    for (device, count) in [("a", 1), ("b", 2), ("a", 2)] {
        assert_eq!(
            software.session(&key, device).await["hwidCount"],
            count,
            "{device}"
        );
    }
    refused(&software.validate(&key, "c").await, 403, "hwid_mismatch");
    let reset = software
        .act(&key, &json!({ "action": "reset-hwid" }))
        .await
        .json(200);
    assert_eq!(reset["hwidList"], json!([]));
    software.session(&key, "c").await;
    assert_eq!(software.shown(&key).await["hwidList"], json!(["c"]));

    let key = software.license(json!({ "maxHwidSlots": 2 })).await;
    let mut tries = JoinSet::new();
    for number in 0..10 {
        let (software, key) = (software.clone(), key.clone());
        tries.spawn(async move { software.validate(&key, &format!("new-{number}")).await });
    }
    let answers = tries.join_all().await;
    let (passed, others): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.status == 200);
    assert_eq!(passed.len(), 2);
    for answer in others {
        refused(answer, 403, "hwid_mismatch");
    }
    let bound = software.shown(&key).await["hwidList"]
        .as_array()
        .unwrap()
        .len();
    assert_eq!(bound, 2);
}

#[tokio::test]
async fn case_98_a_revoked_or_ended_license_is_410_until_it_is_active_again_and_costs_nothing() {
    let software = Software::start().await;
    let key = software
        .license(json!({ "expiresAt": "2026-03-01T01:00:00Z" }))
        .await;
    software.credit(2).await;
    software
        .act(&key, &json!({ "action": "revoke" }))
        .await
        .json(200);
    assert_eq!(software.shown(&key).await["status"], "revoked");
    refused(&software.validate(&key, "a").await, 410, "revoked");
    software
        .act(&key, &json!({ "action": "activate" }))
        .await
        .json(200);
    software.session(&key, "a").await;
    software.pass(3_600).await;
    refused(&software.validate(&key, "a").await, 410, "expired");
    let later = json!({ "action": "extend", "expiresAt": "2027-01-01T00:00:00Z" });
    software.act(&key, &later).await.json(200);
    software.session(&key, "a").await;
    assert_eq!(software.credits().await, 0);
    refused(&software.validate(&key, "a").await, 429, "no_credits");
    let path = format!("/v1/licenses/{key}");
    assert_eq!(
        software.sell("DELETE", &path, &Value::Null).await.status,
        200
    );
    refused(&software.validate(&key, "a").await, 410, "revoked");
}

#[tokio::test]
async fn any_number_of_devices_use_a_license_without_seats() {
    let software = Software::start().await;
    let key = software
        .license(json!({ "unlimitedHwidSlots": true }))
        .await;
    for number in 0..5 {
        let session = software.session(&key, &format!("device-{number}")).await;
        assert_eq!(
            (&session["maxHwidSlots"], &session["hwidCount"]),
            (&json!(1), &json!(0))
        );
    }
    assert_eq!(software.shown(&key).await["hwidList"], json!([]));
}

#[tokio::test]
async fn a_device_frees_the_others_once_where_the_app_says_so() {
    let terms = SoftwareTerms {
        rebinds_once: true,
        ..SoftwareTerms::default()
    };
    let software = Software::with(terms).await;
    let key = software.license(json!({ "maxHwidSlots": 3 })).await;
    for (device, count) in [("before the upgrade", 1), ("b", 2), ("c", 3)] {
        assert_eq!(software.session(&key, device).await["hwidCount"], count);
    }
    let rebound = software.session(&key, "after the upgrade").await;
    assert_eq!(rebound["hwidCount"], 1, "all others are freed");
    assert_eq!(
        software.shown(&key).await["hwidList"],
        json!(["after the upgrade"])
    );
    for device in ["d", "e"] {
        software.session(&key, device).await;
    }
    refused(
        &software.validate(&key, "another").await,
        403,
        "hwid_mismatch",
    );
}

/// Sessions end on a whole second, and a license that ends within one ends with it for its software.
#[tokio::test]
async fn a_license_and_its_sessions_end_at_one_instant() {
    let software = Software::start().await;
    let key = software
        .license(json!({ "expiresAt": "2026-03-01T00:30:00.700Z" }))
        .await;
    let session = software.session(&key, "a").await;
    let end = "2026-03-01T00:30:00.000Z";
    assert_eq!(session["sessionExpiresAt"], end);
    assert_eq!(session["licenseExpiresAt"], end);
    let seconds = end.parse::<model::Timestamp>().unwrap().seconds();
    assert_eq!(session["expiresIn"], seconds);
    assert_eq!(token_body(&session)["exp"], seconds);
    let left = seconds - software.world.services.now().seconds();
    software.pass(left as u64 - 1).await;
    assert_eq!(software.validate(&key, "a").await.status, 200);
    assert_eq!(software.beat(&session, "a").await.status, 200);
    software.pass(1).await;
    refused(&software.validate(&key, "a").await, 410, "expired");
    refused(&software.beat(&session, "a").await, 401, "session_expired");
}

#[tokio::test]
async fn all_devices_of_an_app_are_freed_at_once() {
    let software = Software::start().await;
    let mut keys = Vec::new();
    for _ in 0..3 {
        let key = software.license(json!({})).await;
        software.session(&key, "old").await;
        keys.push(key);
    }
    let untouched = software.license(json!({})).await;
    let path = format!("/v1/apps/{}/reset-hwid", software.app_id);
    let reset = software.sell("POST", &path, &Value::Null).await.json(200);
    assert_eq!(reset["licensesReset"], 3);
    for key in keys.iter().chain([&untouched]) {
        assert_eq!(software.shown(key).await["hwidList"], json!([]));
        software.session(key, "new").await;
    }
}

#[tokio::test]
async fn every_validation_has_a_record_of_its_license_that_its_account_paid_for() {
    let software = Software::start().await;
    let key = software.license(json!({})).await;
    software.credit(10).await;
    let sessions = [
        software.session(&key, "a").await,
        software.session(&key, "a").await,
    ];
    let ids: HashSet<_> = sessions
        .iter()
        .map(|session| session["requestId"].to_string())
        .collect();
    let calls = software.world.get("/calls?limit=10").await;
    let recorded: HashSet<_> = calls["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|call| {
            assert_eq!(
                (&call["mode"], &call["units"]),
                (&json!("verify"), &json!(1))
            );
            call["call_id"].to_string()
        })
        .collect();
    assert_eq!(ids, recorded, "{calls}");
    assert_eq!(software.credits().await, 8);
}

#[tokio::test]
async fn a_key_that_was_rotated_away_is_revoked_while_its_license_lives() {
    let software = Software::start().await;
    let key = software.license(json!({ "maxHwidSlots": 1 })).await;
    let licensing = software.world.services.licensing();
    let found = licensing.license_of_key(&key).await.unwrap().unwrap();
    let path = format!("/licenses/{}/rotate", found.stored.license.id);
    let rotated = software.world.local("POST", &path, r#"{"overlap":"1h"}"#);
    let new = rotated.await.json(200)["key"].as_str().unwrap().to_owned();
    software.session(&key, "a").await;
    software.pass(3_600).await;
    refused(&software.validate(&key, "a").await, 410, "revoked");
    software.session(&new, "a").await;
}

#[tokio::test]
async fn a_key_is_taken_in_small_letters_with_and_without_its_dashes() {
    let terms = SoftwareTerms {
        validate_limit: Some("5/1m".parse().unwrap()),
        ..SoftwareTerms::default()
    };
    let software = Software::with(terms).await;
    let key = software.license(json!({ "maxHwidSlots": 1 })).await;
    let small = key.to_lowercase();
    for text in [small.clone(), small.replace('-', ""), format!(" {small} ")] {
        software.session(&text, "a").await;
    }
    // All spellings are one license, also for its limit of five a minute.
    software.session(&key, "a").await;
    software.session(&key, "a").await;
    refused(&software.validate(&small, "a").await, 429, "rate_limited");
}
