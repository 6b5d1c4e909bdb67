//! Tests of input that no client should send.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::World;

#[tokio::test]
async fn bad_bodies_are_400_and_name_the_field() {
    let world = World::start().await;
    let deep = format!(r#"{{"app":{}"#, "[".repeat(200_000));
    for (body, code, field) in [
        (
            &br#"{"app":"api","colour":"red"}"#[..],
            "field_invalid",
            Some("colour"),
        ),
        (
            br#"{"app":"api","remaining":-1}"#,
            "field_invalid",
            Some("remaining"),
        ),
        (
            br#"{"app":"api","remaining":18446744073709551615}"#,
            "field_invalid",
            Some("remaining"),
        ),
        (
            br#"{"app":"api","refill":"often"}"#,
            "field_invalid",
            Some("refill"),
        ),
        (
            br#"{"app":"api","rate_limits":["10/1m","x"]}"#,
            "field_invalid",
            Some("rate_limits[1]"),
        ),
        (
            br#"{"app":"api","permissions":["GET /a/../b"]}"#,
            "field_invalid",
            Some("permissions[0]"),
        ),
        (
            br#"{"app":"api","allow_ips":["everywhere"]}"#,
            "field_invalid",
            Some("allow_ips[0]"),
        ),
        (
            br#"{"app":"api","allow_ips":["10.0.0.0/8","1.2.3.4/0"]}"#,
            "field_invalid",
            Some("allow_ips[1]"),
        ),
        (
            br#"{"app":"api","concurrency":0}"#,
            "field_invalid",
            Some("concurrency"),
        ),
        (
            br#"{"app":"api","device_slots":17}"#,
            "field_invalid",
            Some("device_slots"),
        ),
        (
            br#"{"app":"api","device_slots":300}"#,
            "field_invalid",
            Some("device_slots"),
        ),
        (
            br#"{"app":"api","variables":{"a":{"b":1}}}"#,
            "field_invalid",
            Some("variables"),
        ),
        (
            br#"{"app":"api","plan":"gold"}"#,
            "field_invalid",
            Some("plan"),
        ),
        (
            br#"{"app":"api","key_format":"roman"}"#,
            "field_invalid",
            Some("key_format"),
        ),
        (
            br#"{"app":"api","key":"a key with spaces"}"#,
            "field_invalid",
            Some("key"),
        ),
        (br#"{"app":"api","app":"api"}"#, "field_invalid", None),
        (b"{}", "field_invalid", None),
        (b"", "field_invalid", None),
        (b"[]", "field_invalid", None),
        (b"{\"app\":\"\xff\"}", "request_malformed", None),
        (br#"{"app":"api"} tail"#, "request_malformed", None),
        (br#"{"app":"#, "request_malformed", None),
        (deep.as_bytes(), "field_invalid", Some("app")),
    ] {
        let answer = world.local("POST", "/licenses", body).await;
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        let problem = answer.json(400);
        assert_eq!(problem["code"], code, "{shown}: {problem}");
        if let Some(field) = field {
            assert_eq!(problem["field"], field, "{shown}: {problem}");
        }
    }
    let answer = world
        .local("POST", "/licenses", r#"{"app":"nothing"}"#)
        .await;
    assert_eq!(answer.code(404), "app_unknown");
    assert_eq!(world.get("/licenses").await["items"], serde_json::json!([]));
}

#[tokio::test]
async fn a_single_address_is_the_network_of_it_alone_and_what_is_none_is_said_in_words() {
    let world = World::start().await;
    let made = world
        .license(r#"{"app":"api","allow_ips":["127.0.0.1","2001:db8::/32"]}"#)
        .await;
    assert_eq!(
        made["allow_ips"],
        serde_json::json!(["127.0.0.1/32", "2001:db8::/32"])
    );
    let path = format!("/licenses/{}", made["id"].as_str().unwrap());
    let changed = world
        .local("PATCH", &path, r#"{"allow_ips":["::1"]}"#)
        .await;
    assert_eq!(
        changed.json(200)["allow_ips"],
        serde_json::json!(["::1/128"])
    );
    let key = world
        .local("POST", "/management-keys", r#"{"allow_ips":["192.0.2.7"]}"#)
        .await;
    let key = key.json(201);
    assert_eq!(key["allow_ips"], serde_json::json!(["192.0.2.7/32"]));
    let key = format!("/management-keys/{}", key["id"].as_str().unwrap());
    for (method, path, body) in [
        (
            "POST",
            "/licenses",
            r#"{"app":"api","allow_ips":["127.0.0.1","192.0.2"]}"#,
        ),
        (
            "PATCH",
            path.as_str(),
            r#"{"allow_ips":["::1","10.0.0.0/33"]}"#,
        ),
        (
            "POST",
            "/management-keys",
            r#"{"allow_ips":["::1","localhost"]}"#,
        ),
        ("PATCH", key.as_str(), r#"{"allow_ips":["::1",""]}"#),
    ] {
        let problem = world.local(method, path, body).await.json(400);
        assert_eq!(problem["field"], "allow_ips[1]", "{problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.contains("neither an address nor a network"),
            "{detail}"
        );
    }
}

#[tokio::test]
async fn a_body_that_is_too_long_is_413() {
    let world = World::start().await;
    let body = format!(r#"{{"app":"api","user":"{}"}}"#, "x".repeat(1 << 20));
    assert_eq!(
        world.local("POST", "/licenses", body).await.code(413),
        "body_too_large"
    );
}

#[tokio::test]
async fn bad_queries_paths_and_methods_are_problems() {
    let world = World::start().await;
    for path in [
        "/licenses?colour=red",
        "/licenses?limit=0",
        "/licenses?limit=1001",
        "/licenses?limit=1&limit=2",
        "/licenses?cursor=x",
        "/calls?limit=many",
        "/calls?cursor=1.x",
        "/calls?format=xml",
        "/calls?format=jsonl&cursor=1.0198c0de-0000-7000-8000-000000000001",
        "/stamps?format=jsonl&cursor=1.0198c0de-0000-7000-8000-000000000001",
        "/usage?by=colour",
        "/usage?by=day,day",
        "/usage?from=yesterday",
        "/apps?x=1",
    ] {
        assert_eq!(
            world.local("GET", path, "").await.code(400),
            "field_invalid",
            "{path}"
        );
    }
    for (path, hinted) in [
        ("/usage?from=2026-11-29T06:00:00+05:30", true),
        ("/usage?from=2026-11-29T06:00:00%2B05:30&to=x", false),
    ] {
        let problem = world.local("GET", path, "").await.json(400);
        let detail = problem["detail"].as_str().unwrap();
        assert_eq!(detail.contains("write `%2B`"), hinted, "{detail}");
    }
    let large = r#"{"app":"api","concurrency":4294967296}"#;
    let problem = world.local("POST", "/licenses", large).await.json(400);
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains("4294967296 is more than is taken"),
        "{detail}"
    );
    for path in ["/nowhere", "//", "//api/v2/licenses", "/licenses/"] {
        assert_eq!(
            world.local("GET", path, "").await.code(404),
            "path_unknown",
            "{path}"
        );
    }
    for path in [
        "/licenses/x",
        "/licenses/lic_00",
        "/apps/%00",
        "/accounts/..%2f",
        "/licenses/%ff",
    ] {
        let answer = world.local("GET", path, "").await;
        assert!(
            (400..=404).contains(&answer.status),
            "{path}: {}",
            answer.text()
        );
    }
    assert_eq!(
        world.local("DELETE", "/licenses", "").await.code(405),
        "method_not_allowed"
    );
}

#[tokio::test]
async fn a_head_that_is_no_http_ends_its_connection_and_no_other() {
    let world = World::start().await;
    for bytes in [
        &b"\x00\x01\x02\r\n\r\n"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: \xff\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        stream.shutdown().await.unwrap();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"),
            "{answer:?}"
        );
    }
    assert_eq!(world.get("/status").await["node"], "here");
}
