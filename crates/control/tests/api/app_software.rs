//! Tests of what has to do with the software that is sold with an app: credentials and signing keys that it has already, and its
//! switch.

use serde_json::{Value, json};

use crate::support::World;

/// The first key of RFC 8032, section 7.1.
const SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
const PUBLIC_KEY: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

impl World {
    async fn keys(&self) -> Vec<(String, String)> {
        let list = self.get("/apps/api/signing-keys").await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let pair = |key: &Value| (text(&key["public_key"]), text(&key["state"]));
        list["items"].as_array().unwrap().iter().map(pair).collect()
    }
}

#[tokio::test]
async fn a_signing_key_is_imported_rotated_with_notice_and_retired_and_the_log_says_so() {
    let world = World::by_hand(control::SHIPPED).await;
    let own = world.get("/apps/api/credentials").await["public_key"].clone();
    let own = own.as_str().unwrap().to_owned();
    let post = async |path: &str, body: Value| {
        let path = format!("/apps/api/signing-keys/{path}");
        world.local("POST", &path, body.to_string()).await
    };
    let imported = json!({ "private_key": SEED });
    for _ in 0..2 {
        let answer = post("import", imported.clone()).await.json(200);
        assert_eq!(answer["public_key"], PUBLIC_KEY);
        assert_eq!(answer["state"], "signing");
    }
    let shown = world.get("/apps/api/credentials").await;
    assert_eq!(shown["public_key"], PUBLIC_KEY);
    let next = post("rotate", json!({ "lead": "30d" })).await.json(201);
    assert_eq!(next["state"], "next");
    let again = post("rotate", json!({ "at_once": true })).await;
    assert_eq!(again.code(409), "conflict");
    let next = next["public_key"].as_str().unwrap().to_owned();
    let of = |key: &str, state: &str| (key.to_owned(), state.to_owned());
    let expected = [
        of(&own, "overlapping"),
        of(PUBLIC_KEY, "signing"),
        of(&next, "next"),
    ];
    assert_eq!(world.keys().await, expected);
    let ids = world.get("/apps/api/signing-keys").await;
    let id = |at: usize| ids["items"][at]["id"].clone();
    let retired = post("retire", json!({ "id": id(0) })).await.json(200);
    assert_eq!(retired["state"], "retired");
    let signs = post("retire", json!({ "id": id(1) })).await;
    assert_eq!(signs.json(400)["field"], "id");
    for (path, body, field) in [
        (
            "import",
            json!({ "private_key": "secret words" }),
            "private_key",
        ),
        ("rotate", json!({}), "lead"),
        ("rotate", json!({ "lead": "1d", "at_once": true }), "lead"),
    ] {
        let refused = post(path, body).await;
        assert_eq!(refused.json(400)["field"], field);
        assert!(!refused.text().contains("secret words"));
    }
    let log = world.local("GET", "/audit?limit=1000", "").await.text();
    for action in ["app-key.import", "app-key.rotate", "app-key.retire"] {
        assert_eq!(log.matches(action).count(), 1, "{action} in {log}");
    }
    assert!(!log.contains(SEED), "{log}");
}

#[tokio::test]
async fn credentials_are_imported_without_being_shown_and_software_is_switched_off_and_on() {
    let world = World::start().await;
    let path = "/apps/api/credentials/import";
    let secret = "the-secret-that-software-has";
    let body = json!({ "app_id": "app_theirs", "app_secret": secret });
    let imported = world.local("POST", path, body.to_string()).await;
    let shown = imported.json(200);
    assert_eq!(shown["imported_app_id"], "app_theirs");
    assert!(!imported.text().contains(secret));
    for (id, secret, field) in [
        ("", secret, "app_id"),
        ("with blanks", secret, "app_id"),
        ("app_theirs", "short", "app_secret"),
    ] {
        let body = json!({ "app_id": id, "app_secret": secret }).to_string();
        let refused = world.local("POST", path, body).await;
        assert_eq!(refused.json(400)["field"], field, "{id} {secret}");
    }
    let software = "/apps/api/software";
    assert_eq!(world.get(software).await["app_id"], "app_theirs");
    for enabled in [false, false, true] {
        let body = json!({ "enabled": enabled }).to_string();
        let changed = world.local("PATCH", software, body).await.json(200);
        assert_eq!(changed["enabled"], enabled);
        assert_eq!(changed["disabled_at"].is_null(), enabled);
        assert_eq!(world.get(software).await, changed);
    }
    let log = world.local("GET", "/audit?limit=1000", "").await.text();
    assert!(log.contains("app-secret.import"), "{log}");
    assert_eq!(log.matches("app-settings.change").count(), 3, "{log}");
    assert!(!log.contains(secret), "{log}");
}
