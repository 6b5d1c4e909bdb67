//! What sellers send that cannot be used: refused by the name of its field, with nothing half done.

use serde_json::{Value, json};

use super::{Software, denied};

#[tokio::test]
async fn a_label_has_up_to_128_characters_of_any_script_and_one_message_says_so() {
    let software = Software::start().await;
    let key = software.license(json!({})).await;
    let set = async |label: String| {
        let set = json!({ "action": "set-label", "label": label });
        software.act(&key, &set).await
    };
    for label in ["x".repeat(128), "😀".repeat(128)] {
        assert_eq!(set(label.clone()).await.json(200)["label"], label);
    }
    let before = software.shown(&key).await;
    for label in [
        "x".repeat(129),
        "😀".repeat(129),
        "x".repeat(600),
        "a\nb".to_owned(),
    ] {
        let message = denied(&set(label).await, 400, "bad_request");
        assert_eq!(
            message,
            "`label`: send at most 128 characters, without control characters"
        );
    }
    assert_eq!(software.shown(&key).await, before);
    assert_eq!(set(String::new()).await.json(200)["label"], Value::Null);
}

#[tokio::test]
async fn an_action_takes_no_field_of_another_one() {
    let software = Software::start().await;
    let key = software.license(json!({ "maxHwidSlots": 2 })).await;
    let before = software.shown(&key).await;
    for (action, field) in [
        (
            json!({ "action": "revoke", "expiresAt": "2030-01-01T00:00:00Z" }),
            "expiresAt",
        ),
        (
            json!({ "action": "activate", "expiresAt": null }),
            "expiresAt",
        ),
        (
            json!({ "action": "reset-hwid", "maxHwidSlots": 3 }),
            "maxHwidSlots",
        ),
        (
            json!({ "action": "extend", "expiresAt": null, "label": "x" }),
            "label",
        ),
        (
            json!({ "action": "set-label", "label": "x", "unlimitedHwidSlots": true }),
            "unlimitedHwidSlots",
        ),
        (
            json!({ "action": "set-slots", "maxHwidSlots": 3, "label": null }),
            "label",
        ),
    ] {
        let message = denied(&software.act(&key, &action).await, 400, "bad_request");
        assert!(message.contains(&format!("`{field}`")), "{message}");
        assert_eq!(software.shown(&key).await, before);
    }
}

#[tokio::test]
async fn a_wrong_value_is_named_by_the_field_of_the_protocol() {
    let software = Software::start().await;
    let key = software.license(json!({})).await;
    for limit in ["-1", "0", "201", "x", "1.5", ""] {
        for path in [
            format!("/v1/licenses?appId={}&limit={limit}", software.app_id),
            format!("/v1/licenses/{key}/offline-files?limit={limit}"),
        ] {
            let answer = software.sell("GET", &path, &Value::Null).await;
            let message = denied(&answer, 400, "bad_request");
            assert_eq!(message, "`limit`: send 1 to 200", "{path}");
        }
    }
    let body = json!({ "appId": software.app_id, "maxHwidSlots": 17 });
    let message = denied(
        &software.sell("POST", "/v1/licenses", &body).await,
        400,
        "bad_request",
    );
    assert!(message.contains("`unlimitedHwidSlots`"), "{message}");
    assert!(!message.contains("unlimited_devices"), "{message}");
    for text in ["{appId", "no JSON", "{\"appId\""] {
        let request = hyper::Request::post("/v1/licenses")
            .header("Host", "gate")
            .header("Authorization", format!("Bearer {}", software.seller));
        let request = request.body(http_body_util::Full::from(text.to_owned()));
        let answer = software.world.ask([127, 0, 0, 1], request.unwrap()).await;
        let message = denied(&answer, 400, "bad_request");
        assert!(message.starts_with("the body "), "{message}");
    }
}

#[tokio::test]
async fn variables_are_not_taken_away_by_an_empty_body_and_hold_no_number_that_is_rounded() {
    let software = Software::start().await;
    let key = software.license(json!({})).await;
    for path in [
        format!("/v1/licenses/{key}/variables"),
        format!("/v1/apps/{}/variables", software.app_id),
    ] {
        let put = async |body: &Value| software.sell("PUT", &path, body).await;
        let kept = json!({ "seats": 9_007_199_254_740_991_u64 });
        put(&kept).await.json(200);
        // `null` stands for no body at all.
        for wrong in [
            Value::Null,
            json!({ "seats": 9_007_199_254_740_992_u64 }),
            json!({ "seats": 1e16 }),
        ] {
            denied(&put(&wrong).await, 400, "bad_request");
            let found = software.sell("GET", &path, &Value::Null).await.json(200);
            assert_eq!(found, kept);
        }
        assert_eq!(put(&json!({})).await.json(200), json!({}));
    }
}

#[tokio::test]
async fn what_is_named_twice_is_kept_once() {
    let software = Software::start().await;
    let path = format!("/v1/apps/{}/security", software.app_id);
    let lists =
        json!({ "hwidBlacklist": ["b", "a", "b"], "ipWhitelist": ["10.0.0.1", "10.0.0.1/32"] });
    let put = software.sell("PUT", &path, &lists).await.json(200);
    assert_eq!(put["hwidBlacklist"], json!(["b", "a"]));
    assert_eq!(put["ipWhitelist"], json!(["10.0.0.1"]));
    let key = software.license(json!({ "maxHwidSlots": 2 })).await;
    let files = format!("/v1/licenses/{key}/offline-files");
    let body = json!({ "hwids": ["a", "b", "a"] });
    let file = software.sell("POST", &files, &body).await.json(201);
    assert_eq!(file["hwids"], json!(["a", "b"]));
}

#[tokio::test]
async fn a_key_for_one_license_sees_nothing_of_its_app() {
    let software = Software::start().await;
    let key = software.license(json!({})).await;
    let licensing = software.world.services.licensing();
    let id = licensing.license_of_key(&key).await.unwrap().unwrap();
    let body = json!({ "license": id.stored.license.id }).to_string();
    let alone = software.world.key(&body).await;
    let get = async |path: String| software.sell_as(&alone, "GET", &path, &Value::Null).await;
    assert_eq!(get(format!("/v1/licenses/{key}")).await.status, 200);
    assert_eq!(
        get(format!("/v1/licenses/{key}/variables")).await.status,
        200
    );
    for path in ["", "/security", "/variables", "/webhooks"] {
        let answer = get(format!("/v1/apps/{}{path}", software.app_id)).await;
        denied(&answer, 403, "forbidden");
    }
}

#[tokio::test]
async fn forty_entries_that_are_blocked_at_once_are_all_blocked() {
    let software = std::sync::Arc::new(Software::start().await);
    let path = format!("/v1/apps/{}/security", software.app_id);
    let mut asked = tokio::task::JoinSet::new();
    for number in 0..40 {
        let (software, path) = (software.clone(), format!("{path}/blacklist"));
        asked.spawn(async move {
            let block = json!({ "type": "hwid", "value": format!("device-{number}") });
            software.sell("POST", &path, &block).await.status
        });
    }
    let answers = asked.join_all().await;
    assert!(answers.iter().all(|status| *status == 201), "{answers:?}");
    let lists = software.sell("GET", &path, &Value::Null).await.json(200);
    assert_eq!(lists["hwidBlacklist"].as_array().unwrap().len(), 40);
}
