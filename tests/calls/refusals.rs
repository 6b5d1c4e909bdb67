//! Refusals: what they say, and that they cost no upstream connection, keep the caller's open and leak nothing.

use testkit::client::{Connection, KEY_HEADER, Request, Response};
use testkit::{App, Config, License, Site, assert_eventually, binary};

/// A site whose app has routes, so that permissions and paths matter.
fn site() -> Site {
    Site::with(binary!(), |upstream| {
        let app = App::new("api", upstream)
            .route("/a", &[])
            .route("/b", &["methods = [\"GET\"]"]);
        Config::default().app(app.line("hosts = [\"api.test\"]"))
    })
}

fn refused(connection: &mut Connection, request: &Request) -> Response {
    let response = connection
        .call(request)
        .unwrap_or_else(|error| panic!("{error} to {request:?}"));
    assert_ne!(response.status, 200, "{request:?} passed");
    assert_eq!(
        response.header("content-type"),
        Some("application/problem+json"),
        "{response:?}"
    );
    assert_eq!(response.json()["status"], response.status, "{response:?}");
    let _present = response.call_id();
    response
}

#[test]
fn every_refusal_has_its_status_and_code_keeps_the_connection_and_opens_none() {
    let site = site();
    let gateway = &site.gateway;
    let good = gateway.license(&[]);
    let other = gateway.license(&[]);
    let changed = |how: &str| {
        let license = gateway.license(&[]);
        let _ = gateway.cli().text(&["license", how, &license.id]);
        license
    };
    let with = |license: &License| Request::get("/a").key(&license.key);
    let both = Request::get("/a").key(&good.key).key(&other.key);
    let cases = [
        (Request::get("/a"), 401, "license_missing"),
        (
            Request::get("/a").key("no-such-key"),
            401,
            "license_unknown",
        ),
        (
            Request::get("/a").key("00000000-0000-4000-8000-000000000000"),
            401,
            "license_unknown",
        ),
        (with(&changed("disable")), 403, "license_disabled"),
        (with(&changed("revoke")), 403, "license_revoked"),
        (
            with(&gateway.license(&["--permission", "GET /b"])),
            403,
            "route_not_permitted",
        ),
        (
            with(&gateway.license(&["--allow-ip", "10.0.0.0/8"])),
            403,
            "ip_not_allowed",
        ),
        (
            with(&gateway.license(&["--remaining", "0"])),
            402,
            "quota_exhausted",
        ),
        (both, 400, "credential_ambiguous"),
        (with(&good).host("nobody.test"), 404, "app_unknown"),
        (Request::get("/c").key(&good.key), 404, "route_unknown"),
        (
            Request::post("/b", b"").key(&good.key),
            405,
            "method_not_allowed",
        ),
        (
            Request::get("/a/../b").key(&good.key),
            400,
            "path_ambiguous",
        ),
    ];
    let mut connection = gateway.connect();
    for (request, status, code) in cases {
        let response = refused(&mut connection, &request);
        assert_eq!(
            (response.status, response.refusal_code().as_deref()),
            (status, Some(code)),
            "{request:?}"
        );
    }
    assert_eq!(
        (site.upstream.connections(), site.upstream.served_count()),
        (0, 0)
    );
    // The very same connection still serves.
    assert_eq!(
        connection.call(&with(&good)).expect("an answer").status,
        200
    );
}

#[test]
fn an_expired_license_is_refused_from_its_last_moment_on() {
    let site = site();
    let soon = testkit::clock::rfc3339_in(std::time::Duration::from_secs(2));
    let license = site.gateway.license(&["--expires-at", &soon]);
    let request = Request::get("/a").key(&license.key);
    // A call that is under way at that moment is cut.
    assert_eventually!(site.gateway.connect().call(&request).is_ok_and(|response| {
        (response.status, response.refusal_code().as_deref()) == (403, Some("license_expired"))
    }));
}

#[test]
fn refusals_of_a_known_license_are_recorded_and_unknown_keys_are_not() {
    let site = site();
    let license = site.gateway.license(&["--permission", "GET /b"]);
    let refused = site.gateway.call(&Request::get("/a").key(&license.key));
    let _unknown = site.gateway.call(&Request::get("/a").key("nobody"));
    let records = site.gateway.wait_for_calls(1);
    let record = &records[0];
    assert_eq!(record["call_id"], refused.call_id());
    assert_eq!(
        (&record["outcome"], &record["status"]),
        (&"refused".into(), &403.into()),
        "{record}"
    );
    assert_eq!(
        (&record["billable"], &record["attempts"]),
        (&false.into(), &0.into()),
        "{record}"
    );
    assert!(
        site.gateway
            .metric("tallygate_refused_total", &["code=\"license_unknown\""])
            >= 1.0
    );
    assert!(
        site.gateway
            .metric("tallygate_refused_total", &["code=\"route_not_permitted\""])
            >= 1.0
    );
}

#[test]
fn an_unknown_key_and_a_malformed_one_look_the_same() {
    let site = site();
    let good = site.gateway.license(&[]).key;
    let mut flipped = good.clone();
    let last = flipped.pop().expect("a key is not empty");
    flipped.push(if last == 'a' { 'b' } else { 'a' });
    let keys = [
        flipped.as_str(),
        "x",
        "AAAA-BBBB-CCCC-DDDD",
        "00000000-0000-4000-8000-000000000000",
        "\u{e9}\u{e9}",
    ];
    let shapes: Vec<Vec<u8>> = keys.iter().map(|key| anonymous(&site, key)).collect();
    for (key, shape) in keys.iter().zip(&shapes) {
        let (left, right) = (
            String::from_utf8_lossy(shape),
            String::from_utf8_lossy(&shapes[0]),
        );
        assert_eq!(left, right, "{key} is answered differently");
    }
}

/// The answer to a key, byte for byte, without what is different in every answer.
fn anonymous(site: &Site, key: &str) -> Vec<u8> {
    let request = Request::get("/a").header("Connection", "close").key(key);
    let mut connection = site.gateway.connect();
    connection.send(&request.bytes()).expect("the gate reads");
    let text = String::from_utf8_lossy(&connection.read_to_end()).into_owned();
    let head = testkit::wire::Head::parse(text.as_bytes()).expect("an answer");
    let call_id = head
        .header("tallygate-call-id")
        .expect("a call id")
        .to_owned();
    let lines = text.replace(&call_id, "ID");
    let kept = lines
        .split("\r\n")
        .filter(|line| !line.to_ascii_lowercase().starts_with("date:"));
    kept.collect::<Vec<_>>().join("\r\n").into_bytes()
}

#[test]
fn two_different_credentials_are_ambiguous_and_the_same_twice_is_not() {
    let site = site();
    let (one, two) = (site.gateway.license(&[]), site.gateway.license(&[]));
    let code = |request: Request| site.gateway.call(&request).refusal_code();
    let ambiguous = Some("credential_ambiguous".to_owned());
    assert_eq!(
        code(Request::get("/a").key(&one.key).key(&two.key)),
        ambiguous
    );
    assert_eq!(
        code(Request::get("/a").key(&one.key).key("garbage")),
        ambiguous
    );
    assert_eq!(code(Request::get("/a").key(&one.key).key(&one.key)), None);
}

#[test]
fn the_header_that_carries_the_key_can_be_chosen() {
    let site = Site::with(binary!(), |upstream| {
        Config::default().app(App::new("api", upstream).line("license_headers = [\"X-Api-Key\"]"))
    });
    let license = site.gateway.license(&[]);
    assert_eq!(
        site.gateway
            .call(&Request::get("/").header("x-api-key", &license.key))
            .status,
        200
    );
    assert_eq!(
        site.gateway
            .call(&Request::get("/").header(KEY_HEADER, &license.key))
            .status,
        401
    );
}

#[test]
fn a_missing_or_unknown_key_is_told_where_it_belongs() {
    let site = Site::with(binary!(), |upstream| {
        let names = "license_headers = [\"Authorization\", \"X-Api-Key\"]";
        Config::default().app(App::new("api", upstream).line(names))
    });
    for request in [
        Request::get("/"),
        Request::get("/").header("X-Api-Key", "no-such-key"),
    ] {
        let answer = site.gateway.call(&request);
        assert_eq!(answer.status, 401);
        let lines = answer.head.headers.iter();
        let challenges: Vec<_> = lines
            .filter(|(name, _)| name.eq_ignore_ascii_case("www-authenticate"))
            .map(|(_, value)| value.as_str())
            .collect();
        let named = "ApiKey realm=\"tallygate\", header=\"X-Api-Key\"";
        assert_eq!(challenges, ["Bearer realm=\"tallygate\"", named]);
        let body = answer.json();
        for place in ["`Authorization: Bearer KEY`", "`X-Api-Key: KEY`"] {
            let detail = body["detail"].as_str().expect("a detail");
            assert!(detail.contains(place), "{body}");
        }
        // Clients of language models show one of these and nothing else.
        assert_eq!(body["error"]["message"], body["message"]);
        assert_eq!(body["error"]["code"], body["code"]);
    }
    let site = self::site();
    let answer = site.gateway.call(&Request::get("/a"));
    let challenge = answer.header("www-authenticate").unwrap_or_default();
    assert!(challenge.contains(KEY_HEADER), "{challenge}");
    assert!(answer.text().contains(KEY_HEADER), "{}", answer.text());
}

#[test]
fn another_method_than_those_of_a_path_is_told_which_they_are() {
    let site = Site::with(binary!(), |upstream| {
        let app = App::new("api", upstream)
            .route("/a", &["methods = [\"GET\", \"POST\"]"])
            .route("/a/b", &["methods = [\"DELETE\"]"]);
        Config::default().app(app)
    });
    let license = site.gateway.license(&[]);
    let asked = |method: &str, path: &str| {
        let answer = site
            .gateway
            .call(&Request::new(method, path).key(&license.key));
        let allow = answer.header("allow").map(ToOwned::to_owned);
        (answer.status, answer.refusal_code(), allow)
    };
    let refused = |allow: &str| {
        let code = Some("method_not_allowed".to_owned());
        (405, code, Some(allow.to_owned()))
    };
    assert_eq!(asked("PUT", "/a"), refused("GET, HEAD, POST"));
    assert_eq!(asked("BREW", "/a/x"), refused("GET, HEAD, POST"));
    assert_eq!(asked("PUT", "/a/b/c"), refused("GET, HEAD, POST, DELETE"));
    let unknown = Some("route_unknown".to_owned());
    assert_eq!(asked("GET", "/c"), (404, unknown, None));
    assert_eq!(asked("DELETE", "/a/b").0, 200);
}

#[test]
fn paths_that_could_be_read_in_two_ways_are_refused_where_permissions_apply() {
    let site = site();
    let license = site.gateway.license(&["--permission", "GET /a"]);
    let tricks = [
        "/a/../b",
        "/a/./b",
        "/a/%2e%2e/b",
        "/a/%2E%2E%2Fb",
        "/a/..%2fb",
        "/a%2fb",
        "/a%5cb",
        "/a\\..\\b",
        "/a//b",
        "//a",
        "/a;x=1/b",
        "/a/..;/b",
        "/a/%252e%252e/b",
        "/a/%00",
        "/a/.%2e/b",
    ];
    let mut connection = site.gateway.connect();
    for path in tricks {
        let response = refused(&mut connection, &Request::get(path).key(&license.key));
        assert_eq!(
            response.refusal_code().as_deref(),
            Some("path_ambiguous"),
            "{path}"
        );
        assert_eq!(response.status, 400, "{path}");
    }
    assert_eq!(site.upstream.served_count(), 0);
}

#[test]
fn a_permission_ends_at_a_segment_and_names_its_method() {
    let site = Site::with(binary!(), |upstream| {
        Config::default().app(App::new("api", upstream).route("/", &[]))
    });
    let license = site.gateway.license(&["--permission", "GET /a"]);
    let status = |request: Request| site.gateway.call(&request.key(&license.key)).status;
    assert_eq!(status(Request::get("/a")), 200);
    assert_eq!(status(Request::get("/a/b?c=d")), 200);
    assert_eq!(status(Request::get("/ab")), 403);
    assert_eq!(status(Request::post("/a", b"")), 403);
}

#[test]
fn a_revocation_is_in_force_when_the_command_returns() {
    let site = site();
    let license = site.gateway.license(&[]);
    let mut connection = site.gateway.connect();
    let request = Request::get("/a").key(&license.key);
    assert_eq!(connection.call(&request).expect("an answer").status, 200);
    let _ = site
        .gateway
        .cli()
        .text(&["license", "disable", &license.id]);
    assert_eq!(
        refused(&mut connection, &request).refusal_code().as_deref(),
        Some("license_disabled")
    );
    let _ = site.gateway.cli().text(&["license", "enable", &license.id]);
    assert_eq!(connection.call(&request).expect("an answer").status, 200);
    let _ = site.gateway.cli().text(&["license", "revoke", &license.id]);
    assert_eq!(
        refused(&mut connection, &request).refusal_code().as_deref(),
        Some("license_revoked")
    );
}

#[test]
fn a_body_over_the_limit_is_refused_before_or_while_it_comes() {
    let site = Site::with(binary!(), |upstream| {
        Config::default().app(App::new("api", upstream).line("body_limit = \"1KiB\""))
    });
    let license = site.gateway.license(&[]);
    let declared = site
        .gateway
        .call(&Request::post("/echo", &[b'x'; 1025]).key(&license.key));
    assert_eq!(
        (declared.status, declared.refusal_code().as_deref()),
        (413, Some("body_too_large"))
    );
    assert_eq!(
        site.upstream.connections(),
        0,
        "a declared length needs no upstream to be refused"
    );
    assert_eq!(
        site.gateway
            .call(&Request::post("/echo", &[b'x'; 1024]).key(&license.key))
            .status,
        200
    );

    let mut connection = site.gateway.connect();
    let head = Request::new("POST", "/echo")
        .header("Transfer-Encoding", "chunked")
        .key(&license.key);
    connection.send(&head.bytes()).expect("the gate reads");
    // The gate may close before it has read all of it.
    let _sent = (0..3)
        .try_for_each(|_| connection.send(format!("200\r\n{}\r\n", "x".repeat(512)).as_bytes()));
    let _sent = connection.send(b"0\r\n\r\n");
    let streamed = connection.read_response("POST").expect("a refusal");
    assert_eq!(
        (streamed.status, streamed.refusal_code().as_deref()),
        (413, Some("body_too_large"))
    );
}

/// An app that cuts open streams, but for those below `/finish`.
fn cutting() -> Site {
    Site::with(binary!(), |upstream| {
        let app = App::new("api", upstream)
            .route("/finish", &["on_revoke = \"finish\""])
            .route("/", &[]);
        Config::default().app(app)
    })
}

#[test]
fn open_streams_of_a_revoked_license_are_cut_or_finished_as_the_app_says() {
    let site = cutting();
    let license = site.gateway.license(&[]);
    let open = |path: &str| {
        site.gateway
            .open_stream(&Request::get(path).key(&license.key))
    };
    let mut cut = open("/hold-mid-body");
    let mut finish = open("/finish/hold-mid-body");
    let _ = site.gateway.cli().text(&["license", "revoke", &license.id]);
    assert!(cut.is_closed_by_peer());
    site.upstream.release();
    finish.read_half();
    assert_eventually!(site.gateway.calls(&[]).len() == 2);
    site.assert_clean(&[], &[]);
}

#[test]
fn open_streams_of_one_key_that_ends_are_cut_and_those_of_the_other_keys_stay() {
    let site = cutting();
    let license = site.gateway.license(&[]);
    let cli = site.gateway.cli();
    let others = ["second", "third"].map(|_| {
        let made = cli.json(&["license", "add-key", &license.id]);
        let credentials = made["credentials"].as_array().expect("a list").clone();
        let id = credentials.last().expect("the new one")["id"].clone();
        (made["key"].as_str().expect("a key").to_owned(), id)
    });
    let open = |key: &str, path: &str| site.gateway.open_stream(&Request::get(path).key(key));
    let [(second, second_id), (third, _)] = &others;
    let mut revoked = open(second, "/hold-mid-body");
    let mut others = [
        open(&license.key, "/hold-mid-body"),
        open(second, "/finish/hold-mid-body"),
        open(third, "/hold-mid-body"),
    ];
    let id = second_id.as_str().expect("an id");
    let _ = cli.text(&["license", "end-key", &license.id, id]);
    assert!(revoked.is_closed_by_peer());
    // Keys that end later may be used until then.
    let _ = cli.text(&["license", "rotate", &license.id, "--overlap", "1h"]);
    site.upstream.release();
    for connection in &mut others {
        connection.read_half();
    }
    assert_eq!(site.gateway.wait_for_calls(4).len(), 4);
    site.assert_clean(&[], &[]);
}

#[test]
fn a_changed_license_is_changed_at_the_gate_when_the_command_returns() {
    let site = site();
    let license = site.gateway.license(&["--label", "first"]);
    let call = || {
        let request = Request::get("/a").host("api.test").key(&license.key);
        let response = site.gateway.call(&request);
        (response.status, response.refusal_code())
    };
    let change = |arguments: &[&str]| {
        let words = [&["license", "change", &license.id], arguments].concat();
        site.gateway.cli().json(&words)
    };
    assert_eq!(call().0, 200);
    change(&["--allow-ip", "192.0.2.0/24"]);
    assert_eq!(call(), (403, Some("ip_not_allowed".to_owned())));
    change(&["--clear", "allow-ip", "--permission", "POST /a"]);
    assert_eq!(call(), (403, Some("route_not_permitted".to_owned())));
    let changed = change(&["--clear", "permission", "--label", "second"]);
    assert_eq!(changed["label"], "second");
    assert_eq!(call().0, 200);
}

#[test]
fn a_permission_that_no_route_serves_is_refused_when_it_is_given() {
    let site = site();
    let cli = site.gateway.cli();
    let told = "tallygate: permissions: `POST /b/c` opens nothing, no route of app `api` serves it: there are `* /a`, `GET /b`\n";
    let create = ["license", "create", "--app", "api", "--permission"];
    let refused = cli.run(&[&create[..], &["POST /b/c"]].concat());
    assert_eq!((refused.code, refused.stderr.as_str()), (2, told));
    let license = site.gateway.license(&["--permission", "GET /b/c"]);
    let change = [
        "license",
        "change",
        &license.id,
        "--permission",
        "POST /b/c",
    ];
    let refused = cli.run(&change);
    assert_eq!((refused.code, refused.stderr.as_str()), (2, told));
    // Whatever lies below it may be called.
    let wide = site.gateway.license(&["--permission", "* /"]);
    let answer = site.gateway.call(&Request::get("/a").key(&wide.key));
    assert_ne!(answer.status, 403, "{answer:?}");
}

/// What a head is answered, with the connection's end behind it.
fn answer_to(site: &Site, head: &str) -> (u16, String, String) {
    let mut connection = site.gateway.connect();
    connection.send(head.as_bytes()).expect("the gate reads");
    let answer = connection.read_response("GET").expect("an answer");
    assert_eq!(connection.read_to_end(), b"", "the connection ends");
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(answer.header("date").is_some(), "{answer:?}");
    let problem = answer.json();
    assert_eq!(problem["call_id"], answer.call_id(), "{problem}");
    assert_eq!(problem["status"], answer.status, "{problem}");
    let text = |member: &str| problem[member].as_str().unwrap_or_default().to_owned();
    (answer.status, text("code"), text("detail"))
}

#[test]
fn a_head_that_is_too_large_or_no_http_is_told_so_by_the_gate() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let head = |length: usize, headers: usize| {
        let (path, lines) = ("/".repeat(length), "X: y\r\n".repeat(headers - 2));
        let key = &license.key;
        format!(
            "GET /{} HTTP/1.1\r\nHost: a\r\nApifew-User-License-Key: {key}\r\n{lines}\r\n",
            &path.replace('/', "a")[1..]
        )
    };
    for largest in [head(65_534, 2), head(1, 256)] {
        let mut connection = site.gateway.connect();
        connection.send(largest.as_bytes()).expect("the gate reads");
        let answer = connection.read_response("GET").expect("an answer");
        assert_eq!(answer.status, 200);
    }
    let long = "Host: a\r\n".to_owned() + &format!("X: {}\r\n", "y".repeat(9_000)).repeat(120);
    for (given, status, code, detail) in [
        (
            head(65_535, 2),
            414,
            "target_too_long",
            "at most 65534 bytes",
        ),
        (head(1, 257), 431, "head_too_large", "at most 256 headers"),
        (
            format!("GET / HTTP/1.1\r\n{long}"),
            431,
            "head_too_large",
            "1048575 bytes",
        ),
        (
            "GET / HTTP/9.9\r\n\r\n".to_owned(),
            400,
            "request_malformed",
            "",
        ),
        (
            "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n".to_owned(),
            405,
            "method_not_allowed",
            "",
        ),
    ] {
        let (told_status, told_code, told_detail) = answer_to(&site, &given);
        assert_eq!((told_status, &*told_code), (status, code));
        assert!(told_detail.contains(detail), "{told_detail}");
    }
    // One that came together with the request before.
    let mut connection = site.gateway.connect();
    let both = head(1, 2) + "GET / HTTP/9.9\r\n\r\n";
    connection.send(both.as_bytes()).expect("the gate reads");
    assert_eq!(
        connection.read_response("GET").expect("an answer").status,
        200
    );
    let second = connection.read_response("GET").expect("an answer");
    assert_eq!(second.refusal_code().as_deref(), Some("request_malformed"));
    assert_eq!(site.upstream.served_count(), 3);
}

#[test]
fn a_malformed_request_is_told_which_part_is_wrong_and_what_would_work() {
    let site = Site::start(binary!());
    for (head, detail) in [
        ("GET / HTTP/1.1\r\n", "`Host` is missing"),
        ("GET / HTTP/1.1\r\nHost: a:b\r\n", "`Host` has to be a name"),
        ("get / HTTP/1.1\r\nHost: a\r\n", "capitals"),
        ("GET a HTTP/1.1\r\nHost: a\r\n", "begin the target with `/`"),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n",
            "`Transfer-Encoding: chunked` and no other coding",
        ),
    ] {
        let mut connection = site.gateway.connect();
        let head = format!("{head}\r\n");
        connection.send(head.as_bytes()).expect("the gate reads");
        let answer = connection.read_response("GET").expect("an answer");
        assert_eq!(answer.refusal_code().as_deref(), Some("request_malformed"));
        let problem = answer.json();
        let told = problem["detail"].as_str().expect("a detail");
        assert!(told.contains(detail), "{head} {told}");
    }
    // What the framework refuses before the gate sees it.
    for head in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 4\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n",
        "GET http://b/ HTTP/1.1\r\nHost: a\r\n",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let (status, code, told) = answer_to(&site, &format!("{head}\r\n"));
        assert_eq!((status, &*code), (400, "request_malformed"), "{head}");
        assert!(told.contains("one `Host`"), "{told}");
    }
    assert_eq!(site.upstream.served_count(), 0);
}
