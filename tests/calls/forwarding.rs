//! What reaches the upstream: the call as it was sent, without what is ours.

use serde_json::Value;
use testkit::client::{KEY_HEADER, Request};
use testkit::{App, Config, Site, binary};

fn headers_named<'a>(echo: &'a Value, name: &str) -> Vec<&'a str> {
    let headers = echo["headers"]
        .as_array()
        .expect("headers are a list")
        .iter();
    let named = headers.filter(|header| {
        header[0]
            .as_str()
            .is_some_and(|found| found.eq_ignore_ascii_case(name))
    });
    named.filter_map(|header| header[1].as_str()).collect()
}

#[test]
fn method_path_query_host_headers_and_body_pass_unchanged() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let request = Request::post("/echo/A%20b?x=1&x=%2F&y", b"{\"a\": 1}")
        .host("customer.example")
        .header("X-CaSe", "kept")
        .header("Accept", "a/b;q=0.5, */*")
        .header("Cookie", "session=1")
        .header("Authorization", "Basic dXNlcjpwYXNz")
        .key(&license.key);
    let echo = site.gateway.call(&request).json();
    assert_eq!(
        (&echo["method"], &echo["target"]),
        (&"POST".into(), &"/echo/A%20b?x=1&x=%2F&y".into())
    );
    assert_eq!(echo["body"], "{\"a\": 1}");
    let expected = [
        ("Host", "customer.example"),
        ("Accept", "a/b;q=0.5, */*"),
        ("Cookie", "session=1"),
        ("Authorization", "Basic dXNlcjpwYXNz"),
    ];
    for (name, value) in expected {
        assert_eq!(headers_named(&echo, name), [value], "{echo}");
    }
    assert!(
        echo["headers"].to_string().contains("X-CaSe"),
        "the case of a header's name is kept: {echo}"
    );
}

#[test]
fn the_answer_passes_unchanged_with_a_call_id_added() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let response = site
        .gateway
        .call(&Request::get("/header/X-From-Upstream/yes").key(&license.key));
    assert_eq!(
        (response.status, response.header("X-From-Upstream")),
        (200, Some("yes"))
    );
    assert_eq!(response.body, b"xx\n");
    assert_eq!(
        site.upstream.served()[0].call_id.as_deref(),
        Some(response.call_id())
    );
}

#[test]
fn what_a_caller_says_in_our_name_is_not_believed() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let request = Request::get("/echo")
        .header("Tallygate-Call-Id", "forged")
        .key(&license.key);
    let response = site.gateway.call(&request);
    assert_ne!(response.call_id(), "forged");
    assert_eq!(
        headers_named(&response.json(), "tallygate-call-id"),
        [response.call_id()]
    );
}

#[test]
fn the_key_is_taken_out_and_the_callers_address_is_told() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let request = Request::get("/echo")
        .header("X-Forwarded-Host", "elsewhere.test")
        .header("X-Forwarded-Proto", "https")
        .key(&license.key);
    let echo = site.gateway.call(&request).json();
    assert!(headers_named(&echo, KEY_HEADER).is_empty(), "{echo}");
    assert!(!echo.to_string().contains(&license.key), "{echo}");
    assert_eq!(
        headers_named(&echo, "x-forwarded-for"),
        ["127.0.0.1"],
        "{echo}"
    );
    assert_eq!(
        headers_named(&echo, "x-forwarded-proto"),
        ["http"],
        "{echo}"
    );
    assert!(
        headers_named(&echo, "x-forwarded-host").is_empty(),
        "{echo}"
    );
    assert_eq!(headers_named(&echo, "host").len(), 1, "{echo}");
}

/// A site whose gate believes what is said on this host.
fn behind_a_trusted_proxy() -> Site {
    Site::with(binary!(), |upstream| {
        Config::new(upstream).server("trusted_proxies = [\"::ffff:127.0.0.0/104\"]")
    })
}

#[test]
fn all_that_trusted_proxies_say_of_the_caller_is_passed_on_in_order() {
    let site = behind_a_trusted_proxy();
    let license = site.gateway.license(&[]);
    let request = Request::get("/echo")
        .header("X-Forwarded-For", "9.9.9.9")
        .header("X-Forwarded-For", "203.0.113.7:4711,[2001:DB8::1]:80")
        .header("X-Forwarded-For", "::ffff:198.51.100.2, <script>")
        .key(&license.key);
    let echo = site.gateway.call(&request).json();
    assert_eq!(
        headers_named(&echo, "x-forwarded-for"),
        ["9.9.9.9, 203.0.113.7, 2001:db8::1, 198.51.100.2, unknown, 127.0.0.1"],
        "{echo}"
    );
}

#[test]
fn what_trusted_proxies_say_otherwise_is_passed_on_in_one_form() {
    let site = behind_a_trusted_proxy();
    let license = site.gateway.license(&[]);
    let request = Request::get("/echo")
        .header("Forwarded", "for=\"203.0.113.7:4711\";proto=https")
        .header("Forwarded", "for=\"[2001:DB8::1]:80\"")
        .header("X-Real-IP", "::ffff:203.0.113.7")
        .header("X-Forwarded-Prefix", "/v1")
        .header("Tallygate-Zone", "eu")
        .header("Tallygate-User-Id", "forged")
        .key(&license.key);
    let echo = site.gateway.call(&request).json();
    for (name, values) in [
        (
            "forwarded",
            &["for=203.0.113.7;proto=https, for=\"[2001:db8::1]\", for=127.0.0.1;proto=http"][..],
        ),
        ("x-real-ip", &["203.0.113.7"]),
        ("x-forwarded-prefix", &["/v1"]),
        ("tallygate-zone", &["eu"]),
        ("tallygate-user-id", &[]),
    ] {
        assert_eq!(headers_named(&echo, name), values, "{name}: {echo}");
    }
    let garbled = Request::get("/echo")
        .header("Forwarded", "for=\"")
        .header("X-Real-IP", "nobody")
        .key(&license.key);
    let echo = site.gateway.call(&garbled).json();
    for name in ["forwarded", "x-real-ip"] {
        assert!(headers_named(&echo, name).is_empty(), "{name}: {echo}");
    }
}

#[test]
fn an_address_is_allowed_in_whatever_form_it_is_said() {
    let site = behind_a_trusted_proxy();
    let cases = [
        ("203.0.113.7", "203.0.113.7:4711"),
        ("203.0.113.7", "::ffff:203.0.113.7"),
        ("::ffff:203.0.113.0/120", "203.0.113.7"),
        ("2001:DB8::/32", "[2001:db8::1]:80"),
        ("2001:db8::1", "2001:DB8:0::1"),
    ];
    for (allowed, said) in cases {
        let license = site.gateway.license(&["--allow-ip", allowed]);
        let request = Request::get("/").key(&license.key);
        let from = |said: &[&str]| {
            let said = said.iter();
            let request = said.fold(request.clone(), |it, line| {
                it.header("X-Forwarded-For", line)
            });
            site.gateway.call(&request).status
        };
        assert_eq!(from(&[said]), 200, "{said} is in {allowed}");
        assert_eq!(from(&["192.0.2.1", said]), 200, "{said} came last");
        assert_eq!(from(&[said, "192.0.2.1:80"]), 403, "{said} did not call");
        assert_eq!(from(&[]), 403, "this host is not in {allowed}");
    }
}

#[test]
fn methods_cannot_be_overridden_by_a_header() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let request = Request::get("/echo")
        .header("X-HTTP-Method-Override", "DELETE")
        .key(&license.key);
    let echo = site.gateway.call(&request).json();
    assert!(
        headers_named(&echo, "x-http-method-override").is_empty(),
        "{echo}"
    );
}

#[test]
fn apps_are_told_apart_by_host() {
    let first = testkit::Upstream::start();
    let site = Site::with(binary!(), |second| {
        Config::default()
            .app(App::new("one", &first.url()).line("hosts = [\"one.test\"]"))
            .app(App::new("two", second).line("hosts = [\"two.test\"]"))
    });
    let (one, two) = (
        site.gateway.license_of("one", &[]),
        site.gateway.license_of("two", &[]),
    );
    assert_eq!(
        site.gateway
            .call(&Request::get("/").host("one.test").key(&one.key))
            .status,
        200
    );
    assert_eq!(
        site.gateway
            .call(&Request::get("/").host("two.test").key(&two.key))
            .status,
        200
    );
    assert_eq!((first.served_count(), site.upstream.served_count()), (1, 1));
    // A license of one app opens no other.
    assert_eq!(
        site.gateway
            .call(&Request::get("/").host("two.test").key(&one.key))
            .status,
        401
    );
    assert_eq!(
        site.gateway
            .call(&Request::get("/").host("three.test").key(&one.key))
            .status,
        404
    );
}

#[test]
fn an_open_route_needs_no_credential_and_is_metered() {
    let site = Site::with(binary!(), |upstream| {
        let app = App::new("api", upstream)
            .route("/public", &["access = \"open\""])
            .route("/", &[]);
        Config::default().app(app)
    });
    let response = site.gateway.call(&Request::get("/public/page"));
    assert_eq!(response.status, 200);
    let record = site.gateway.record(response.call_id());
    assert_eq!(record["license_id"], Value::Null, "{record}");
    assert_eq!(site.gateway.call(&Request::get("/private")).status, 401);
}

#[test]
fn connections_to_the_upstream_are_used_again() {
    let site = Site::with(binary!(), |upstream| {
        Config::new(upstream).server("threads = 1")
    });
    let license = site.gateway.license(&[]);
    for _ in 0..10 {
        assert_eq!(
            site.gateway
                .call(&Request::get("/").key(&license.key))
                .status,
            200
        );
    }
    assert_eq!(site.upstream.connections(), 1);
}

#[test]
fn a_websocket_passes_both_ways_and_is_one_call() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let mut connection = site.gateway.connect();
    let request = Request::get("/upgrade")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .key(&license.key);
    connection.send(&request.bytes()).expect("the gate reads");
    let head = connection.read_head().expect("a head");
    assert_eq!(head.status(), Some(101));
    connection.send(b"ping").expect("the tunnel is open");
    assert_eq!(connection.read_exactly(4).expect("an echo"), b"ping");
    drop(connection);
    let record = site
        .gateway
        .record(head.header("tallygate-call-id").expect("a call id"));
    assert_eq!(record["status"], 101, "{record}");
}

#[test]
fn a_websocket_may_carry_more_than_a_body() {
    let site = Site::with(binary!(), |upstream| {
        Config::default().app(App::new("api", upstream).line("body_limit = \"1KiB\""))
    });
    let license = site.gateway.license(&[]);
    let mut connection = site.gateway.connect();
    let request = Request::get("/upgrade")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .key(&license.key);
    connection.send(&request.bytes()).expect("the gate reads");
    let head = connection.read_head().expect("a head");
    assert_eq!(head.status(), Some(101));
    for _ in 0..10 {
        connection.send(&[b'x'; 1_000]).expect("the tunnel is open");
        let echo = connection.read_exactly(1_000).expect("an echo");
        assert_eq!(echo, [b'x'; 1_000]);
    }
    drop(connection);
    let record = site
        .gateway
        .record(head.header("tallygate-call-id").expect("a call id"));
    assert_eq!(record["status"], 101, "{record}");
}

#[test]
fn a_connection_stays_open_unless_the_answer_says_otherwise() {
    let site = Site::with(binary!(), |upstream| {
        Config::default().app(App::new("api", upstream).line("read_timeout = \"300ms\""))
    });
    let license = site.gateway.license(&[]);
    let good = Request::get("/").key(&license.key);
    for path in [
        "/status/500",
        "/last-answer",
        "/reset-before-head",
        "/garbage",
        "/hang",
        "/stream/2/10/1",
        "/until-close/10",
    ] {
        let mut connection = site.gateway.connect();
        let first = connection
            .call(&Request::get(path).key(&license.key))
            .expect("an answer");
        if first
            .header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"))
        {
            continue;
        }
        let second = connection.call(&good);
        assert!(
            second.is_ok_and(|second| second.status == 200),
            "{path}: closed after {:?}",
            first.head
        );
    }
}

#[test]
fn what_curl_and_browsers_write_into_a_target_is_forwarded() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let long = format!("/echo?{}=\"\"", "\"".repeat(3_000));
    let cases = [
        ("/echo?f={\"a\":1}", "/echo?f={%22a%22:1}".to_owned()),
        (
            "/echo/<b>`?q=<b>|^`[1]",
            "/echo/%3Cb%3E%60?q=%3Cb%3E|^`[1]".to_owned(),
        ),
        ("/echo/é|^\"{}?ü", "/echo/é|^\"{}?ü".to_owned()),
        (&long, long.replace('"', "%22")),
    ];
    let mut connection = site.gateway.connect();
    for (target, expected) in cases {
        let body = Request::post(target, b"<not \"touched\">").key(&license.key);
        // In two pieces, as the network may deliver it.
        let bytes = body.header("X-Raw", "<\"`>").bytes();
        let (first, rest) = bytes.split_at(12);
        connection.send(first).expect("the gate reads");
        std::thread::sleep(std::time::Duration::from_millis(20));
        connection.send(rest).expect("the gate reads");
        let echo = connection.read_response("POST").expect("an answer").json();
        assert_eq!(echo["target"], expected.as_str());
        assert_eq!(echo["body"], "<not \"touched\">");
        assert_eq!(headers_named(&echo, "x-raw"), ["<\"`>"]);
    }
}

#[test]
fn heads_that_the_framework_does_not_read_are_refused_as_documented() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let ask = |request: Request| {
        let mut connection = site.gateway.connect();
        connection.send(&request.bytes()).expect("the gate reads");
        connection.read_response("GET").expect("an answer").status
    };
    let with_headers = |count: usize| {
        (0..count).fold(Request::get("/").key(&license.key), |request, number| {
            request.header(&format!("X-{number}"), "1")
        })
    };
    let long = |length: usize| Request::get(&format!("/{}", "x".repeat(length))).key(&license.key);
    // Host and the key are two.
    assert_eq!((ask(with_headers(254)), ask(with_headers(255))), (200, 431));
    assert_eq!((ask(long(64_999)), ask(long(66_000))), (200, 414));
}
