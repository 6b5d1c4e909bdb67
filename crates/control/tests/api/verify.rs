//! Tests of `POST /keys/verify`, which gives the same answer about a key however it was made.

use serde_json::{Value, json};

use crate::support::World;

async fn verified(world: &World, by: &str, body: Value) -> Value {
    let asked = world.remote(Some(by), "POST", "/keys/verify", body.to_string());
    asked.await.json(200)
}

#[tokio::test]
async fn the_key_of_a_license_is_judged_and_spent_like_any_other() {
    let world = World::start().await;
    let owner = world.key("{}").await;
    let made = r#"{"app":"api","remaining":2,"label":"ada","allow_ips":["10.0.0.0/8"]}"#;
    let license = world.license(made).await;
    let key = license["key"].as_str().unwrap();
    let ask = || verified(&world, &owner, json!({ "key": key }));
    for left in [1, 0] {
        let said = ask().await;
        assert_eq!(said["valid"], true, "{said}");
        assert_eq!(said["kind"], "license");
        assert_eq!(said["key"]["id"], license["id"]);
        assert_eq!(said["key"]["name"], "ada");
        assert_eq!(said["key"]["remaining"], left, "a verification uses it");
    }
    assert_eq!(ask().await["refusal"], "exhausted");
    let id = license["id"].as_str().unwrap();
    world.local("POST", "/ledger/ship", "{}").await.json(200);
    let calls = world.get(&format!("/calls?license={id}")).await;
    assert_eq!(calls["items"][0]["mode"], "verify", "{calls}");
}

#[tokio::test]
async fn what_a_license_says_no_to_is_said_in_the_words_of_keys() {
    let world = World::start().await;
    let owner = world.key("{}").await;
    let license = world.license(r#"{"app":"api"}"#).await;
    let (id, key) = (license["id"].as_str().unwrap(), license["key"].clone());
    let asked = json!({ "key": key, "permissions": { "files": ["read"] } });
    let said = verified(&world, &owner, asked).await;
    assert_eq!(said["refusal"], "not_permitted", "{said}");
    for (to, word) in [
        ("disable", "disabled"),
        ("enable", ""),
        ("revoke", "unknown"),
    ] {
        world
            .local("POST", &format!("/licenses/{id}/{to}"), "{}")
            .await
            .json(200);
        let said = verified(&world, &owner, json!({ "key": key })).await;
        assert_eq!(said["valid"], word.is_empty(), "{to}: {said}");
        if !word.is_empty() {
            assert_eq!(said["refusal"], word, "{to}");
        }
    }
}

#[tokio::test]
async fn a_key_is_what_it_is_to_its_owner_alone() {
    let world = World::start().await;
    world
        .local("POST", "/accounts", r#"{"name":"acme"}"#)
        .await
        .json(201);
    let license = world.license(r#"{"app":"api"}"#).await;
    let neighbour = world.license(r#"{"app":"api"}"#).await;
    let strangers = [
        world.key(r#"{"account":"acme"}"#).await,
        world.key(r#"{"app":"inner"}"#).await,
        world
            .key(&json!({ "license": neighbour["id"] }).to_string())
            .await,
    ];
    for stranger in &strangers {
        let said = verified(&world, stranger, json!({ "key": license["key"] })).await;
        assert_eq!(said, json!({ "valid": false, "refusal": "unknown" }));
    }
    let owner = world.key("{}").await;
    let api_key = world
        .local("POST", "/keys", r#"{"app":"api"}"#)
        .await
        .json(201);
    let said = verified(&world, &owner, json!({ "key": api_key["key"] })).await;
    assert_eq!(
        (&said["valid"], &said["kind"]),
        (&json!(true), &json!("api_key"))
    );
    // What opens the control plane opens no gate.
    for none in [owner.as_str(), "tg_nothing", ""] {
        let said = verified(&world, &owner, json!({ "key": none })).await;
        assert_eq!(said["refusal"], "unknown", "{said}");
    }
}
