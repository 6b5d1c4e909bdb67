//! Tests of the audit log through the API: it names what was done, by whom and from where, and no
//! secret.

use serde_json::Value;

use crate::support::World;

async fn lines(world: &World, query: &str) -> Vec<Value> {
    let page = world.get(&format!("/audit{query}")).await;
    page["items"].as_array().unwrap().clone()
}

fn text<'a>(line: &'a Value, field: &str) -> &'a str {
    line[field].as_str().unwrap_or_default()
}

#[tokio::test]
async fn what_is_done_to_a_license_is_in_the_log_with_before_and_after() {
    let world = World::start().await;
    let license = world
        .license(r#"{"app":"api","label":"first","user":"ada@example.org"}"#)
        .await;
    let id = license["id"].as_str().unwrap();
    let local = async |method: &str, path: &str, body: &str| {
        let path = format!("/licenses/{id}{path}");
        world.local(method, &path, body).await.json(200)
    };
    local("PATCH", "", r#"{"label":"second"}"#).await;
    local("PATCH", "", r#"{"label":"second"}"#).await;
    local("POST", "/disable", "").await;
    local("POST", "/enable", "").await;
    local(
        "POST",
        "/extend",
        r#"{"expires_at":"2199-01-01T00:00:00Z"}"#,
    )
    .await;
    let rotated = local("POST", "/rotate", "").await;
    local("POST", "/revoke", "").await;
    let log = lines(&world, &format!("?subject={id}")).await;
    let actions: Vec<&str> = log.iter().map(|line| text(line, "action")).collect();
    assert_eq!(
        actions,
        [
            "license.create",
            "license.change",
            "license.disable",
            "license.enable",
            "license.extend",
            "license.rotate",
            "license.revoke"
        ],
        "a change that changes nothing is none"
    );
    assert!(log.iter().all(|line| line["actor"] == "operator"
        && line["address"].is_null()
        && line["account"] == "default"));
    assert_eq!(log[0]["after"]["app"], "api");
    assert_eq!(log[1]["before"], serde_json::json!({"label": "first"}));
    assert_eq!(log[1]["after"], serde_json::json!({"label": "second"}));
    assert_eq!(log[2]["after"], serde_json::json!({"status": "disabled"}));
    let whole = serde_json::to_string(&lines(&world, "").await).unwrap();
    for secret in [&license["key"], &rotated["key"]] {
        assert!(!whole.contains(secret.as_str().unwrap()));
    }
    assert!(
        !whole.contains("ada@example.org"),
        "a person can be forgotten"
    );
}

#[tokio::test]
async fn management_keys_and_accounts_are_in_the_log_by_the_key_that_did_it() {
    let world = World::start().await;
    world
        .local("POST", "/accounts", r#"{"name":"new"}"#)
        .await
        .json(201);
    let key = world
        .local("POST", "/management-keys", "{}")
        .await
        .json(201);
    let (id, secret) = (key["id"].as_str().unwrap(), key["key"].as_str().unwrap());
    let made = world
        .remote(Some(secret), "POST", "/management-keys", r#"{"pair":true}"#)
        .await
        .json(201);
    let made_id = made["id"].as_str().unwrap();
    let rotate = format!("/management-keys/{made_id}/rotate");
    let rotated = world
        .remote(Some(secret), "POST", &rotate, "")
        .await
        .json(200);
    let new_id = rotated["id"].as_str().unwrap();
    let revoke = format!("/management-keys/{new_id}/revoke");
    world
        .remote(Some(secret), "POST", &revoke, "")
        .await
        .json(200);
    let log = lines(&world, &format!("?actor={id}")).await;
    let actions: Vec<&str> = log.iter().map(|line| text(line, "action")).collect();
    assert_eq!(actions, ["key.create", "key.rotate", "key.revoke"]);
    assert!(log.iter().all(|line| line["address"] == "127.0.0.1"));
    assert_eq!(lines(&world, "?action=account.").await.len(), 1);
    let whole = serde_json::to_string(&lines(&world, "").await).unwrap();
    for secret in [
        &key["key"],
        &made["key"],
        &made["secret"],
        &rotated["secret"],
    ] {
        assert!(!whole.contains(secret.as_str().unwrap()));
    }
}

#[tokio::test]
async fn denied_log_ins_are_in_the_log_and_a_flood_of_them_is_few_lines() {
    let world = World::start().await;
    for _ in 0..50 {
        let answer = world.remote(Some("nonsense"), "GET", "/licenses", "").await;
        assert_eq!(answer.status, 401);
    }
    let mut log = Vec::new();
    while log.is_empty() {
        log = lines(&world, "?action=login.denied").await;
    }
    // A minute may have turned meanwhile.
    assert!(log.len() <= 3, "{log:?}");
    assert_eq!(log[0]["address"], "127.0.0.1");
    assert_eq!(log[0]["actor"], "unknown");
    assert!(!serde_json::to_string(&log).unwrap().contains("nonsense"));
}

#[tokio::test]
async fn an_account_sees_its_own_lines_only() {
    let world = World::start().await;
    world
        .local("POST", "/accounts", r#"{"name":"acme"}"#)
        .await
        .json(201);
    world.license(r#"{"app":"api"}"#).await;
    world.license(r#"{"app":"shop"}"#).await;
    let key = world.key(r#"{"account":"acme"}"#).await;
    let seen = world
        .remote(Some(&key), "GET", "/audit", "")
        .await
        .json(200);
    let seen = seen["items"].as_array().unwrap();
    assert!(seen.iter().all(|line| line["account"] == "acme"));
    assert!(seen.iter().any(|line| line["action"] == "license.create"));
    let foreign = world
        .remote(Some(&key), "GET", "/audit?account=default", "")
        .await
        .json(200);
    assert_eq!(foreign["items"].as_array().unwrap().len(), 0);
    for body in [
        r#"{"account":"acme","app":"shop"}"#,
        r#"{"account":"acme","scopes":["read:usage"]}"#,
    ] {
        let key = world.key(body).await;
        let answer = world.remote(Some(&key), "GET", "/audit", "").await;
        assert_eq!(answer.code(403), "scope_missing");
    }
}

#[tokio::test]
async fn pages_are_stable_while_lines_come_in_and_bad_cursors_are_refused() {
    let world = World::start().await;
    for _ in 0..5 {
        world.license(r#"{"app":"api"}"#).await;
    }
    let first = world.get("/audit?action=license.&limit=3").await;
    world.license(r#"{"app":"api"}"#).await;
    let cursor = first["next"].as_str().unwrap();
    let rest = world
        .get(&format!("/audit?action=license.&limit=3&cursor={cursor}"))
        .await;
    assert!(rest["next"].is_null(), "{rest}");
    let mut ids: Vec<&str> = [&first, &rest]
        .iter()
        .flat_map(|page| page["items"].as_array().unwrap())
        .map(|line| text(line, "subject"))
        .collect();
    assert_eq!(ids.len(), 6);
    ids.dedup();
    assert_eq!(ids.len(), 6);
    for query in ["?cursor=x", "?limit=0", "?limit=1001", "?colour=red"] {
        let answer = world.local("GET", &format!("/audit{query}"), "").await;
        assert_eq!(answer.code(400), "field_invalid", "{query}");
    }
}
