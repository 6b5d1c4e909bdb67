//! Self-bans: software that finds itself tampered with.

use serde_json::{Value, json};

use super::{Software, refused};

#[tokio::test]
async fn without_a_session_device_and_address_are_blocked_and_the_license_stays() {
    let software = Software::start().await;
    let key = software
        .license(json!({ "unlimitedHwidSlots": true }))
        .await;
    let mut body = software.body(&key, "bad");
    body["revokeLicense"] = json!(true);
    refused(
        &software.auth("selfban", &body).await,
        403,
        "revoke_requires_session",
    );
    body["revokeLicense"] = json!(false);
    body["blacklistIp"] = json!(false);
    let banned = software.auth_from([127, 0, 0, 3], "selfban", &body).await;
    assert_eq!(banned.json(200), json!({ "status": "success" }));
    refused(&software.validate(&key, "bad").await, 403, "blocked");
    software.session(&key, "good").await;
    let body = software.body(&key, "worse");
    software
        .auth_from([127, 0, 0, 3], "selfban", &body)
        .await
        .json(200);
    let path = format!("/v1/apps/{}/security", software.app_id);
    let lists = software.sell("GET", &path, &Value::Null).await.json(200);
    assert_eq!(lists["hwidBlacklist"], json!(["bad", "worse"]));
    assert_eq!(lists["ipBlacklist"], json!(["127.0.0.3"]));
    let mut wrong = software.body(&key, "x");
    wrong["appSecret"] = json!("wrong");
    refused(&software.auth("selfban", &wrong).await, 401, "invalid_app");
    wrong.as_object_mut().unwrap().remove("licenseKey");
    refused(
        &software.auth("selfban", &wrong).await,
        400,
        "malformed_request",
    );
}

#[tokio::test]
async fn with_a_session_the_license_is_revoked_unless_told_otherwise() {
    let software = Software::start().await;
    let key = software.license(json!({ "maxHwidSlots": 2 })).await;
    let (one, two) = (
        software.session(&key, "a").await,
        software.session(&key, "b").await,
    );
    let ban = async |session: &Value, device: &str, more: Value| {
        let mut body = json!({ "appId": software.app_id, "hwid": device, "sessionToken": session["sessionToken"] });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        software.auth("selfban", &body).await
    };
    let gentle = json!({ "revokeLicense": false, "blacklistHwid": false, "blacklistIp": false });
    ban(&one, "a", gentle).await.json(200);
    software.payload(&software.beat(&one, "a").await).await;
    refused(&ban(&one, "b", json!({})).await, 403, "hwid_mismatch");
    ban(&one, "a", json!({ "blacklistIp": false }))
        .await
        .json(200);
    assert_eq!(software.shown(&key).await["status"], "revoked");
    refused(&software.beat(&two, "b").await, 410, "revoked");
    let log = software
        .world
        .local("GET", "/audit?limit=1000", "")
        .await
        .text();
    assert!(log.contains("app-settings.change"), "{log}");
}

#[tokio::test]
async fn a_list_that_is_full_is_named_and_keeps_neither_license_nor_address_from_being_banned() {
    let software = Software::start().await;
    let lists = format!("/v1/apps/{}/security", software.app_id);
    let blocked: Vec<_> = (0..1_000).map(|at| format!("other-{at}")).collect();
    let put = json!({ "hwidBlacklist": blocked });
    software.sell("PUT", &lists, &put).await.json(200);
    let key = software.license(json!({ "maxHwidSlots": 1 })).await;
    let session = software.session(&key, "a").await;
    let body =
        json!({ "appId": software.app_id, "hwid": "a", "sessionToken": session["sessionToken"] });
    let answer = software.auth("selfban", &body).await;
    refused(&answer, 400, "malformed_request");
    assert!(answer.text().contains("`hwidBlacklist`"), "{answer:?}");
    assert_eq!(software.shown(&key).await["status"], "revoked");
    let found = software.sell("GET", &lists, &Value::Null).await.json(200);
    assert_eq!(found["ipBlacklist"], json!(["127.0.0.1"]));
    assert_eq!(found["hwidBlacklist"], json!(blocked));
}

#[tokio::test]
async fn the_longest_device_that_validates_can_be_banned_too() {
    let software = Software::start().await;
    let key = software.license(json!({ "maxHwidSlots": 1 })).await;
    let device = "x".repeat(256);
    software.session(&key, &device).await;
    let mut body = software.body(&key, &device);
    body["blacklistIp"] = json!(false);
    software.auth("selfban", &body).await.json(200);
    refused(&software.validate(&key, &device).await, 403, "blocked");
    let lists = format!("/v1/apps/{}/security/blacklist", software.app_id);
    let block = json!({ "type": "hwid", "value": "y".repeat(256) });
    let blocked = software.sell("POST", &lists, &block).await.json(201);
    assert_eq!(blocked["hwidBlacklist"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn forty_copies_that_ban_themselves_at_once_are_all_banned() {
    let terms = licensing::SoftwareTerms {
        validate_limit: None,
        validate_limit_per_address: None,
        ..licensing::SoftwareTerms::default()
    };
    let software = std::sync::Arc::new(Software::with(terms).await);
    let key = software
        .license(json!({ "unlimitedHwidSlots": true }))
        .await;
    let mut bans = tokio::task::JoinSet::new();
    for number in 0..40 {
        let (software, key) = (software.clone(), key.clone());
        bans.spawn(async move {
            let mut body = software.body(&key, &format!("device-{number}"));
            body["blacklistIp"] = json!(false);
            software.auth("selfban", &body).await.status
        });
    }
    let answers = bans.join_all().await;
    assert!(answers.iter().all(|status| *status == 200), "{answers:?}");
    let lists = format!("/v1/apps/{}/security", software.app_id);
    let lists = software.sell("GET", &lists, &Value::Null).await.json(200);
    assert_eq!(lists["hwidBlacklist"].as_array().unwrap().len(), 40);
}
