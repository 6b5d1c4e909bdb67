//! Tests of management keys for one license: they read what is that license's, and change nothing.

use control::SHIPPED;
use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use serde_json::{Value, json};

use crate::support::World;

/// The requests that change a license, with bodies that would do it.
const CHANGES: [(&str, &str, &str); 8] = [
    ("PATCH", "", r#"{"plan":"pro","remaining":1000000}"#),
    (
        "POST",
        "/extend",
        r#"{"expires_at":"2040-01-01T00:00:00Z"}"#,
    ),
    ("POST", "/disable", "{}"),
    ("POST", "/enable", "{}"),
    ("POST", "/rotate", "{}"),
    ("POST", "/credentials", "{}"),
    (
        "POST",
        "/credentials/revoke",
        r#"{"credential":"crd_00000000000000000000000000000001"}"#,
    ),
    ("POST", "/revoke", "{}"),
];

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap()
}

async fn bound(world: &World, license: &Value) -> String {
    let body = json!({ "license": license["id"] });
    world.key(&body.to_string()).await
}

/// Checks that every change of the license and of its API key is refused.
async fn changes_nothing(world: &World, key: &str, license: &Value) {
    let id = text(license, "id");
    let before = world.get(&format!("/licenses/{id}")).await;
    for (method, path, body) in CHANGES {
        let path = format!("/licenses/{id}{path}");
        let answer = world.remote(Some(key), method, &path, body).await;
        assert_eq!(answer.code(403), "scope_missing", "{method} {path}");
    }
    for (method, path, body) in [
        ("PATCH", format!("/keys/{id}"), r#"{"remaining":1000000}"#),
        ("DELETE", format!("/keys/{id}"), ""),
        ("POST", "/keys/delete-expired".to_owned(), "{}"),
        ("POST", "/licenses".to_owned(), r#"{"app":"api"}"#),
        ("POST", "/management-keys".to_owned(), "{}"),
    ] {
        let answer = world.remote(Some(key), method, &path, body).await;
        assert_eq!(answer.code(403), "scope_missing", "{method} {path}");
    }
    assert_eq!(world.get(&format!("/licenses/{id}")).await, before);
}

#[tokio::test]
async fn it_reads_by_default_and_says_so() {
    let world = World::start().await;
    let license = world.license(r#"{"app":"api","remaining":5}"#).await;
    let body = json!({ "license": license["id"] }).to_string();
    let made = world.local("POST", "/management-keys", body).await;
    let made = made.json(201);
    let scopes = made["scopes"].as_array().unwrap();
    assert!(scopes.len() > 3, "{made}");
    for scope in scopes {
        assert!(scope.as_str().unwrap().starts_with("read:"), "{made}");
    }
    assert_eq!(made["app"], "api", "the app of its license");
    let key = text(&made, "key");
    changes_nothing(&world, key, &license).await;
    for path in [
        "/licenses",
        "/usage",
        "/calls",
        "/calls/closed",
        "/stamps",
        "/management-keys",
        "/keys",
    ] {
        world.remote(Some(key), "GET", path, "").await.json(200);
    }
}

#[tokio::test]
async fn it_cannot_be_made_to_write() {
    let world = World::start().await;
    let license = world.license(r#"{"app":"api"}"#).await;
    for scopes in [
        json!(["write:licenses"]),
        json!(["read:usage", "write:keys"]),
    ] {
        let body = json!({ "license": license["id"], "scopes": scopes });
        let answer = world
            .local("POST", "/management-keys", body.to_string())
            .await;
        let problem = answer.json(400);
        assert_eq!(problem["field"], "scopes", "{problem}");
        assert!(text(&problem, "detail").contains("write:"), "{problem}");
    }
    let body = json!({ "license": license["id"], "scopes": ["read:usage"] });
    world.key(&body.to_string()).await;
}

#[tokio::test]
async fn its_list_holds_its_license_only_where_that_is_asked_for() {
    let world = World::start().await;
    let license = world.license(r#"{"app":"api","user":"ann"}"#).await;
    let body = json!({ "license": license["id"] });
    let key = world.key(&body.to_string()).await;
    let after = format!("cursor={}", text(&license, "id"));
    for (query, found) in [
        ("", 1),
        ("app=api&user=ann&status=active", 1),
        ("app=shop", 0),
        ("user=bob", 0),
        ("status=revoked", 0),
        (after.as_str(), 0),
    ] {
        let path = format!("/licenses?{query}");
        let list = world.remote(Some(&key), "GET", &path, "").await.json(200);
        assert_eq!(list["items"].as_array().unwrap().len(), found, "{query}");
    }
}

#[tokio::test]
async fn one_that_was_made_to_write_before_is_held_to_reading() {
    let world = World::start().await;
    let license = world.license(r#"{"app":"api"}"#).await;
    let other = world.license(r#"{"app":"api"}"#).await;
    let all = world.key_of_before(&license, &[]).await;
    let both = &["read:licenses", "write:licenses"];
    let both = world.key_of_before(&license, both).await;
    let none = world.key_of_before(&license, &["write:licenses"]).await;
    for (id, key) in [&all, &both] {
        changes_nothing(&world, key, &license).await;
        let path = format!("/licenses/{}", text(&license, "id"));
        world.remote(Some(key), "GET", &path, "").await.json(200);
        let path = format!("/licenses/{}", text(&other, "id"));
        let answer = world.remote(Some(key), "GET", &path, "").await;
        assert_eq!(answer.code(404), "not_found");
        let apps = world.remote(Some(key), "GET", "/apps", "").await.json(200);
        assert_eq!(apps["items"].as_array().unwrap().len(), 1, "{apps}");
        let shown = world.get(&format!("/management-keys/{id}")).await;
        assert!(!shown["scopes"].to_string().contains("write:"), "{shown}");
        let rotate = format!("/management-keys/{id}/rotate");
        let rotated = world.local("POST", &rotate, "").await.json(200);
        assert!(!rotated["scopes"].to_string().contains("write:"));
        assert_ne!(rotated["scopes"], json!([]));
        changes_nothing(&world, text(&rotated, "key"), &license).await;
    }
    let (id, key) = none;
    let answer = world.remote(Some(&key), "GET", "/licenses", "").await;
    assert_eq!(answer.code(403), "scope_missing");
    let rotate = format!("/management-keys/{id}/rotate");
    let problem = world.local("POST", &rotate, "").await.json(400);
    assert_eq!(problem["field"], "scopes", "{problem}");
}

#[tokio::test]
async fn what_makes_one_gives_it_what_itself_may_read_and_no_more() {
    let world = World::start().await;
    let license = world.license(r#"{"app":"api"}"#).await;
    let seller = world.key(r#"{"scopes":["write:keys","read:usage"]}"#).await;
    let ask = async |body: Value| {
        let body = body.to_string();
        world
            .remote(Some(&seller), "POST", "/management-keys", body)
            .await
    };
    let made = ask(json!({ "license": license["id"] })).await.json(201);
    assert_eq!(made["scopes"], json!(["read:usage"]));
    let wish = json!({ "license": license["id"], "scopes": ["read:licenses"] });
    assert_eq!(ask(wish).await.code(403), "scope_missing");
    let blind = world.key(r#"{"scopes":["write:keys"]}"#).await;
    let body = json!({ "license": license["id"] }).to_string();
    let answer = world
        .remote(Some(&blind), "POST", "/management-keys", body)
        .await;
    assert_eq!(
        answer.code(403),
        "scope_missing",
        "it may read nothing itself"
    );
}

#[tokio::test]
async fn it_sees_the_app_and_the_plan_of_its_license_without_what_is_behind_them() {
    let world = World::start().await;
    let license = world.license(r#"{"app":"api","plan":"pro"}"#).await;
    let key = bound(&world, &license).await;
    let get = async |path: &str| world.remote(Some(&key), "GET", path, "").await;
    let apps = get("/apps").await;
    assert!(!apps.text().contains("9000"), "{}", apps.text());
    let apps = apps.json(200);
    assert_eq!(apps["items"].as_array().unwrap().len(), 1, "{apps}");
    assert_eq!(apps["items"][0]["name"], "api");
    assert!(apps["items"][0]["upstreams"].is_null(), "{apps}");
    let app = get("/apps/api").await;
    assert!(!app.text().contains("9000"), "{}", app.text());
    assert_eq!(app.json(200)["name"], "api");
    assert_eq!(get("/apps/inner").await.code(404), "not_found");
    let plans = get("/plans").await.json(200);
    assert_eq!(plans["items"].as_array().unwrap().len(), 1, "{plans}");
    assert_eq!(plans["items"][0]["name"], "pro");
    let free = world.license(r#"{"app":"api"}"#).await;
    let key = bound(&world, &free).await;
    let plans = world
        .remote(Some(&key), "GET", "/plans", "")
        .await
        .json(200);
    assert_eq!(plans["items"], json!([]), "a license without a plan");
    // Who sells the app sees where it is.
    let seller = world.key("{}").await;
    let apps = world.remote(Some(&seller), "GET", "/apps", "").await;
    assert!(apps.text().contains("9000"), "{}", apps.text());
}

#[tokio::test]
async fn it_learns_nothing_of_the_gate_or_of_the_account() {
    let world = World::start().await;
    let license = world.license(r#"{"app":"api"}"#).await;
    let key = bound(&world, &license).await;
    for path in [
        "/status",
        "/accounts",
        "/accounts/default",
        "/signing-keys",
        "/audit",
        "/users?app=api",
        "/apps/api/credentials",
    ] {
        let answer = world.remote(Some(&key), "GET", path, "").await;
        assert_eq!(answer.code(403), "scope_missing", "{path}");
        let detail = text(&answer.json(403), "detail").to_owned();
        assert!(detail.contains("one license"), "{detail}");
    }
}

#[tokio::test]
async fn it_sees_the_user_of_its_license_in_apifews_words_and_no_other() {
    let world = World::speaking(SHIPPED).await;
    for login in ["ada", "bob"] {
        let body = json!({ "app": "api", "login": login, "first_name": login });
        world
            .local("POST", "/users", body.to_string())
            .await
            .json(201);
    }
    let license = world.license(r#"{"app":"api","user":"ada"}"#).await;
    let key = bound(&world, &license).await;
    let ask = async |login: &str| {
        let body = json!({ "USER_LOGIN": login }).to_string();
        let request = Request::post("/v2/app/user")
            .header("host", "gate")
            .header("apifew-key", &key)
            .body(Full::new(Bytes::from(body)));
        world.ask([127, 0, 0, 1], request.unwrap()).await.text()
    };
    let own = ask("ada").await;
    assert!(own.contains("ada"), "{own}");
    let other = ask("bob").await;
    assert!(other.contains("ERROR_USER_NOT_FOUND"), "{other}");
}

#[tokio::test]
async fn where_a_key_may_be_used_from_holds_for_those_that_it_makes() {
    let world = World::start().await;
    let body = r#"{"allow_ips":["127.0.0.0/8"]}"#;
    let made = world
        .local("POST", "/management-keys", body)
        .await
        .json(201);
    let key = text(&made, "key");
    let own = format!("/management-keys/{}", text(&made, "id"));
    for (method, path, addresses, status) in [
        ("POST", "/management-keys", json!(["0.0.0.0/0"]), 403),
        (
            "POST",
            "/management-keys",
            json!(["127.1.0.0/16", "::1/128"]),
            403,
        ),
        ("POST", "/management-keys", json!(["127.1.0.0/16"]), 201),
        ("POST", "/management-keys", json!([]), 201),
        ("PATCH", &own, json!([]), 403),
        ("PATCH", &own, json!(["10.0.0.0/8"]), 403),
        ("PATCH", &own, json!(["127.0.0.0/16"]), 200),
    ] {
        let body = json!({ "allow_ips": addresses }).to_string();
        let answer = world.remote(Some(key), method, path, body).await;
        let made = answer.json(status);
        if status == 201 {
            assert_ne!(
                made["allow_ips"],
                json!([]),
                "what is not said is inherited"
            );
        }
    }
}
