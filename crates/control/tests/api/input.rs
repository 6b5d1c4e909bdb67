//! Input that nobody should send.

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
            br#"{"app":"api","concurrency":0}"#,
            "field_invalid",
            Some("concurrency"),
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
