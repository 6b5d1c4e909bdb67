//! Tests of who may ask, and what they see.

use std::os::unix::fs::PermissionsExt;

use model::{Clock, SystemClock};

use crate::support::World;

#[tokio::test]
async fn the_socket_is_its_owners_alone_and_gives_full_rights() {
    let world = World::start().await;
    let socket = api_types::socket_path(world.directory.path());
    let mode = std::fs::metadata(socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(world.get("/status").await["node"], "here");
    // A second bind takes its place, as an upgrade does.
    let _second = control::bind_socket(world.directory.path()).unwrap();
    world.stop().await;
}

#[tokio::test]
async fn without_a_good_key_everything_on_tcp_is_401() {
    let world = World::start().await;
    let license = world.license(r#"{"app":"api"}"#).await;
    let answer = world.remote(None, "GET", "/licenses", "").await;
    assert_eq!(answer.code(401), "key_missing");
    assert_eq!(answer.header("www-authenticate"), "Bearer");
    // A license's key opens the gate, never the API.
    for key in ["nonsense", license["key"].as_str().unwrap()] {
        for path in ["/licenses", "/status", "/nowhere"] {
            assert_eq!(
                world.remote(Some(key), "GET", path, "").await.code(401),
                "key_unknown"
            );
        }
    }
}

#[tokio::test]
async fn a_revoked_or_ended_key_is_no_key() {
    let world = World::start().await;
    let key = world
        .local("POST", "/management-keys", "{}")
        .await
        .json(201);
    let text = key["key"].as_str().unwrap();
    world
        .remote(Some(text), "GET", "/licenses", "")
        .await
        .json(200);
    let path = format!("/management-keys/{}/revoke", key["id"].as_str().unwrap());
    let revoked = world.local("POST", &path, "").await.json(200);
    assert!(
        revoked["revoked_at"].is_string() && revoked["key"].is_null(),
        "{revoked}"
    );
    assert_eq!(
        world
            .remote(Some(text), "GET", "/licenses", "")
            .await
            .code(401),
        "key_unknown"
    );
    let end = SystemClock.now().plus_micros(1_000_000);
    let ended = world.key(&format!(r#"{{"expires_at":"{end}"}}"#)).await;
    while SystemClock.now() <= end {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(
        world
            .remote(Some(&ended), "GET", "/licenses", "")
            .await
            .code(401),
        "key_unknown"
    );
}

#[tokio::test]
async fn what_belongs_to_another_account_or_app_is_not_there() {
    let world = World::start().await;
    world
        .local("POST", "/accounts", r#"{"name":"acme"}"#)
        .await
        .json(201);
    let ours = world.license(r#"{"app":"api"}"#).await;
    let id = ours["id"].as_str().unwrap();
    let theirs = world.key(r#"{"account":"acme"}"#).await;
    let theirs = Some(theirs.as_str());
    for (method, path) in [
        ("GET", format!("/licenses/{id}")),
        ("PATCH", format!("/licenses/{id}")),
        ("POST", format!("/licenses/{id}/revoke")),
        ("POST", format!("/licenses/{id}/rotate")),
        ("GET", "/accounts/default".to_owned()),
        ("GET", "/apps/api".to_owned()),
    ] {
        assert_eq!(
            world.remote(theirs, method, &path, "{}").await.code(404),
            "not_found",
            "{path}"
        );
    }
    let answer = world
        .remote(theirs, "POST", "/licenses", r#"{"app":"api"}"#)
        .await;
    assert_eq!(answer.code(404), "app_unknown");
    let list = world.remote(theirs, "GET", "/licenses", "").await.json(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 0);
    let apps = world.remote(theirs, "GET", "/apps", "").await.json(200);
    assert_eq!(apps["items"][0]["name"], "shop");
    let accounts = world.remote(theirs, "GET", "/accounts", "").await.json(200);
    assert_eq!(accounts["items"].as_array().unwrap().len(), 1);

    let narrow = world.key(r#"{"app":"api"}"#).await;
    world
        .remote(Some(&narrow), "GET", &format!("/licenses/{id}"), "")
        .await
        .json(200);
    let answer = world
        .remote(Some(&narrow), "GET", "/usage?app=shop", "")
        .await;
    assert_eq!(answer.code(404), "not_found");
    assert_eq!(
        world.get(&format!("/licenses/{id}")).await["status"],
        "active"
    );
}

#[tokio::test]
async fn a_key_for_one_license_sees_that_license_only() {
    let world = World::start().await;
    let own = world.license(r#"{"app":"api"}"#).await;
    let other = world.license(r#"{"app":"api"}"#).await;
    let (own, other) = (own["id"].as_str().unwrap(), other["id"].as_str().unwrap());
    let key = world.key(&format!(r#"{{"license":"{own}"}}"#)).await;
    let key = Some(key.as_str());
    let list = world.remote(key, "GET", "/licenses", "").await.json(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    world
        .remote(key, "GET", &format!("/licenses/{own}"), "")
        .await
        .json(200);
    let answer = world
        .remote(key, "GET", &format!("/licenses/{other}"), "")
        .await;
    assert_eq!(answer.code(404), "not_found");
    let answer = world
        .remote(key, "GET", &format!("/usage?license={other}"), "")
        .await;
    assert_eq!(answer.code(404), "not_found");
    assert_eq!(
        world
            .remote(key, "POST", "/licenses", r#"{"app":"api"}"#)
            .await
            .code(403),
        "scope_missing"
    );
}

#[tokio::test]
async fn what_concerns_the_whole_gate_is_done_on_its_host() {
    let world = World::start().await;
    let key = world.key("{}").await;
    for (method, path) in [
        ("POST", "/ledger/verify"),
        ("POST", "/ledger/ship"),
        ("POST", "/ledger/rebuild"),
        ("GET", "/ledger/export?format=csv"),
    ] {
        assert_eq!(
            world.remote(Some(&key), method, path, "").await.code(403),
            "local_only",
            "{path}"
        );
    }
    let answer = world
        .remote(Some(&key), "POST", "/accounts", r#"{"name":"x"}"#)
        .await;
    assert_eq!(answer.code(403), "local_only");
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_ends_although_somebody_keeps_a_connection() {
    let world = World::start().await;
    let _idle = tokio::net::TcpStream::connect(world.address).await.unwrap();
    world.get("/status").await;
    world.stop().await;
}
