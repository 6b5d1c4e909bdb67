//! What an envelope may say, and what the upstream and the caller get of it.

use super::*;

#[test]
fn case_12_an_answer_comes_as_it_is_or_in_a_result_object() {
    let site = site();
    let license = site.gateway.license(&[]);
    let ask = |route: &str, wrapped: Option<bool>| {
        let mut body = json!({"APP_NAME": "open", "ROUTE": route, "METHOD": "GET"});
        if let Some(wrapped) = wrapped {
            body["RESPONSE_AS_RESULT"] = wrapped.into();
        }
        let license = site.gateway.license_of("open", &[]);
        called(&site, &license, &body).0
    };
    for plain in [None, Some(false)] {
        let teapot = ask("/status/418/7", plain);
        assert_eq!((teapot.status, teapot.body.len()), (418, 7));
        let header = ask("/header/X-Colour/blue", plain);
        assert_eq!(
            (header.status, header.header("x-colour")),
            (200, Some("blue"))
        );
        assert_eq!(header.header("content-length"), Some("3"));
        assert_eq!(header.header("cache-control"), None, "nothing is added");
        let moved = ask("/status/301", plain);
        assert_eq!(moved.status, 301);
        let stream = ask("/stream/5/100/1", plain);
        assert_eq!((stream.body.len(), stream.complete), (500, true));
    }
    let direct = site
        .gateway
        .call(&Request::get("/paid/bytes/40").key(&license.key));
    let by_rpc = apifew::rpc(&site.gateway, &license.key, &get("/paid/bytes/40"));
    assert_eq!(direct.body, by_rpc.body);

    let echo = ask("/echo", Some(true));
    assert_eq!(echo.status, 200);
    let result = apifew::result(&echo);
    assert_eq!(result["success_msg"], "INFO_API_RESPONSE");
    assert_eq!(result["status_code"], 200);
    assert_eq!(
        result["data"]["target"], "/echo",
        "JSON stands as JSON: {result}"
    );
    let text = ask("/bytes/3", Some(true));
    assert_eq!(
        apifew::result(&text)["data"].as_str().map(str::len),
        Some(3)
    );
    for (status, outer) in [(404, 404), (500, 500), (204, 200), (201, 201)] {
        let answer = ask(&format!("/status/{status}"), Some(true));
        let result = apifew::result(&answer);
        assert_eq!(
            (answer.status, &result["status_code"]),
            (outer, &status.into())
        );
    }
    let empty = ask("/status/204", Some(true));
    assert_eq!(apifew::result(&empty)["data"], Value::Null);
    let cut = ask("/close-mid-body", Some(true));
    assert_eq!(apifew::error(&cut, 502), "ERROR_RESPONSE_INCOMPLETE");
}

#[test]
fn case_13_parameters_are_the_query_of_a_get_and_the_json_body_of_a_post() {
    let site = site();
    let license = site.gateway.license(&[]);
    let echo = |method: &str| {
        let body = json!({"APP_NAME": "api", "ROUTE": "/paid/echo?z=1", "METHOD": method,
            "PARAMS": {"q": "a b&c", "n": 7, "list": [true, "é"]}, "RESPONSE_AS_RESULT": true});
        let (response, record) = called(&site, &license, &body);
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(record["method"], method);
        response.json()["data"].clone()
    };
    for method in ["GET", "DELETE"] {
        let seen = echo(method);
        assert_eq!(seen["method"], method);
        assert_eq!(
            seen["target"],
            "/paid/echo?z=1&list=true&list=%C3%A9&n=7&q=a+b%26c"
        );
        assert_eq!(seen["body"], "");
    }
    for method in ["POST", "PUT", "PATCH"] {
        let seen = echo(method);
        assert_eq!(
            (&seen["method"], &seen["target"]),
            (&method.into(), &"/paid/echo?z=1".into())
        );
        let body: Value = serde_json::from_str(seen["body"].as_str().expect("text")).expect("JSON");
        assert_eq!(body, json!({"q": "a b&c", "n": 7, "list": [true, "é"]}));
        let headers = seen["headers"].to_string().to_ascii_lowercase();
        assert!(headers.contains("application/json"), "{headers}");
    }
    // A number is passed on digit for digit.
    let exact = r#"{"APP_NAME":"api","ROUTE":"/paid/echo","METHOD":"POST","PARAMS":{"n":12345678901234567890.10}}"#;
    let request = Request::post("/v1/request", exact.as_bytes()).header(KEY_HEADER, &license.key);
    let seen = apifew::send(&site.gateway, request).json();
    assert_eq!(seen["body"], r#"{"n":12345678901234567890.10}"#);
    // Without parameters there is no body.
    let bare = apifew::rpc(&site.gateway, &license.key, &envelope("POST", "/paid/echo")).json();
    assert_eq!(bare["body"], "");
}

#[test]
fn case_14_headers_reach_the_upstream_but_for_those_of_connection_host_and_gate() {
    let site = site();
    let license = site.gateway.license(&[]);
    let with = |headers: Value| {
        let mut body = get("/paid/status/200");
        body["HEADERS"] = headers;
        body
    };
    let (response, _) = called(
        &site,
        &license,
        &with(json!({"x-api-key": "s3cret", "Accept": "text/csv"})),
    );
    assert_eq!(response.status, 200);
    let served = site.upstream.take_served().remove(0);
    assert_eq!(served.header("x-api-key"), Some("s3cret"));
    assert_eq!(served.header("accept"), Some("text/csv"));
    for name in [
        "Host",
        "Connection",
        "Keep-Alive",
        "Proxy-Authorization",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
        "Content-Length",
        "Expect",
        "Apifew-User-License-Key",
        "apifew-request-token",
        "Apifew-Anything",
        "Tallygate-Call-Id",
        "tallygate-rpc-app",
        "Tallygate-User-Id",
        "X-Forwarded-For",
        "Forwarded",
        "X-HTTP-Method-Override",
    ] {
        let body = with(json!({name: "x"}));
        assert_eq!(
            refused(&site, &license.key, &body, 400),
            "ERROR_FIELD_INVALID",
            "{name}"
        );
        let response = apifew::rpc(&site.gateway, &license.key, &body);
        assert_eq!(response.json()["data"]["field"], format!("HEADERS.{name}"));
    }
    for headers in [
        json!({"x-a": "b\r\nHost: evil"}),
        json!({"x a": "1"}),
        json!({"x-a": 1}),
        json!(["x"]),
        json!("x"),
    ] {
        assert_eq!(
            refused(&site, &license.key, &with(headers), 400),
            "ERROR_FIELD_INVALID"
        );
    }
    let many: serde_json::Map<_, _> = (0..65).map(|n| (format!("x-{n}"), json!("1"))).collect();
    assert_eq!(
        refused(&site, &license.key, &with(many.into()), 400),
        "ERROR_FIELD_INVALID"
    );
    assert_eq!(site.upstream.served_count(), 0);
}

#[test]
fn case_15_only_configured_apps_and_declared_routes_are_called() {
    let site = site();
    let license = site.gateway.license(&[]);
    let to = |app: &str, method: &str, route: &str| json!({"APP_NAME": app, "ROUTE": route, "METHOD": method});
    for app in [
        "nothing",
        "evil.host",
        "127.0.0.1:9000",
        "api.test.evil",
        "evilapi.test",
    ] {
        let body = to(app, "GET", "/paid/status/200");
        assert_eq!(
            refused(&site, &license.key, &body, 404),
            "ERROR_APP_NOT_FOUND",
            "{app}"
        );
    }
    for (method, route, status, code) in [
        ("GET", "/free", 404, "ERROR_ROUTE_UNKNOWN"),
        ("GET", "/paidx", 404, "ERROR_ROUTE_UNKNOWN"),
        ("GET", "/", 404, "ERROR_ROUTE_UNKNOWN"),
        ("POST", "/dear", 405, "ERROR_METHOD_NOT_ALLOWED"),
        ("OPTIONS", "/paid", 405, "ERROR_METHOD_NOT_ALLOWED"),
    ] {
        let body = to("api", method, route);
        assert_eq!(
            refused(&site, &license.key, &body, status),
            code,
            "{method} {route}"
        );
    }
    for app in ["api", "api.test", "API.TEST", "v2.api.test"] {
        let (response, record) = called(&site, &license, &to(app, "get", "/paid/status/200"));
        assert_eq!(
            (response.status, &record["app"]),
            (200, &"api".into()),
            "{app}"
        );
    }
    // A license of one app opens no other.
    let body = to("open", "GET", "/status/200");
    assert_eq!(
        refused(&site, &license.key, &body, 401),
        "ERROR_LICENSE_UNKNOWN"
    );
}

#[test]
fn case_16_a_route_cannot_leave_its_app_or_its_prefix() {
    let site = site();
    let license = site.gateway.license(&[]);
    let open = site.gateway.license_of("open", &[]);
    for route in [
        "//evil.host/x",
        "//evil.host",
        "/../admin",
        "/paid/../admin",
        "/paid/../../etc/passwd",
        "/paid/..",
        "/paid/%2e%2e/admin",
        "/paid/%2E./admin",
        "/paid/..%2fadmin",
        "/paid%2fx",
        "/paid/..%5cadmin",
        "/paid\\..\\admin",
        "/paid/%252e%252e/admin",
        "/paid/;x/../admin",
        "/paid/%00",
        "/paid/%c0%ae%c0%ae/x",
        "paid",
        "http://evil.host/paid",
        "evil.host:80",
        "*",
        "/paid/x#y",
    ] {
        for (key, app) in [(&license.key, "api"), (&open.key, "open")] {
            let body = json!({"APP_NAME": app, "ROUTE": route, "METHOD": "GET"});
            let before = site.upstream.connections();
            let response = apifew::rpc(&site.gateway, key, &body);
            let code = apifew::error(&response, 400);
            assert!(
                ["ERROR_PATH_AMBIGUOUS", "ERROR_FIELD_INVALID"].contains(&code.as_str()),
                "{route}"
            );
            assert_eq!(response.json()["data"]["field"], "ROUTE", "{route}");
            assert_eq!(site.upstream.connections(), before, "{route}");
        }
    }
    assert_eq!(site.gateway.calls(&[]).len(), 0);
}

#[test]
fn any_method_of_the_request_serves_and_a_get_may_have_a_body() {
    let site = site();
    let license = site.gateway.license(&[]);
    let body = envelope("POST", "/paid/echo").to_string();
    for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "REPORT"] {
        let request = format!(
            "{method} /v1/request HTTP/1.1\r\nHost: gate\r\n{KEY_HEADER}: {}\r\nContent-Length: {}\r\n\r\n{body}",
            license.key,
            body.len()
        );
        let mut connection = Connection::open(site.gateway.control_addr()).expect("it listens");
        connection.send(request.as_bytes()).expect("it reads");
        let response = connection.read_response(method).expect("an answer");
        assert_eq!(response.status, 200, "{method} {}", response.text());
        assert_eq!(response.json()["method"], "POST");
    }
}

#[test]
fn a_large_raw_answer_streams_and_a_caller_who_leaves_ends_the_call() {
    let site = site();
    let license = site.gateway.license(&[]);
    let begin = |route: &str| {
        let body = get(route).to_string();
        let request =
            Request::post("/v1/request", body.as_bytes()).header(KEY_HEADER, &license.key);
        let mut connection = Connection::open(site.gateway.control_addr()).expect("it listens");
        connection.send(&request.bytes()).expect("it reads");
        connection
    };
    // The upstream sends the second half only when told: the first must not wait for it.
    let mut connection = begin("/paid/hold-mid-body");
    let head = connection.read_head().expect("a head");
    assert_eq!(head.status(), Some(200));
    let first = connection.read_exactly(1_000).expect("half a body");
    site.upstream.release();
    let second = connection.read_exactly(1_000).expect("the other half");
    assert_eq!(first.len() + second.len(), 2_000);

    let mut connection = begin("/paid/hold-mid-body");
    let id = connection
        .read_head()
        .expect("a head")
        .header("tallygate-call-id")
        .expect("an id")
        .to_owned();
    drop(connection);
    let record = site.gateway.record(&id);
    assert_eq!(
        (&record["outcome"], &record["status"]),
        (&"client_gone".into(), &200.into())
    );

    // Before the status, leaving is leaving: not billed.
    let connection = begin("/paid/hang");
    site.upstream.wait_for_served(3);
    drop(connection);
    assert_eventually!(
        site.gateway
            .calls(&[])
            .iter()
            .any(|call| call["outcome"] == "client_gone" && call["billable"] == false)
    );
    let large = apifew::rpc(&site.gateway, &license.key, &get("/paid/bytes/30000000"));
    assert_eq!((large.body.len(), large.complete), (30_000_000, true));
    let mut wrapped = get("/paid/bytes/30000000");
    wrapped["RESPONSE_AS_RESULT"] = true.into();
    let wrapped = apifew::rpc(&site.gateway, &license.key, &wrapped);
    assert_eq!(apifew::error(&wrapped, 502), "ERROR_RESPONSE_TOO_LARGE");
}

#[test]
fn bad_envelopes_name_the_field_and_reach_nobody() {
    let site = site();
    let license = site.gateway.license(&[]);
    let send = |body: &[u8]| {
        let request = Request::post("/v1/request", body).header(KEY_HEADER, &license.key);
        apifew::send(&site.gateway, request)
    };
    let base = |field: &str, value: &str| {
        let mut fields = vec![
            ("APP_NAME", r#""api""#),
            ("ROUTE", r#""/paid""#),
            ("METHOD", r#""GET""#),
        ];
        fields.retain(|(name, _)| *name != field);
        if !value.is_empty() {
            fields.push((field, value));
        }
        let pairs: Vec<_> = fields
            .iter()
            .map(|(name, value)| format!("\"{name}\":{value}"))
            .collect();
        format!("{{{}}}", pairs.join(","))
    };
    let long = format!("\"/{}\"", "x".repeat(9_000));
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(200), "]".repeat(200));
    for (field, value, code) in [
        ("APP_NAME", "", "ERROR_FIELD_MISSING"),
        ("APP_NAME", "1", "ERROR_FIELD_INVALID"),
        ("APP_NAME", r#""""#, "ERROR_FIELD_INVALID"),
        ("ROUTE", "", "ERROR_FIELD_MISSING"),
        ("ROUTE", "null", "ERROR_FIELD_INVALID"),
        ("ROUTE", &long, "ERROR_FIELD_INVALID"),
        ("METHOD", "", "ERROR_FIELD_MISSING"),
        ("METHOD", r#""""#, "ERROR_FIELD_INVALID"),
        ("METHOD", r#""G T""#, "ERROR_FIELD_INVALID"),
        ("METHOD", r#""CONNECT""#, "ERROR_FIELD_INVALID"),
        ("PARAMS", "[1]", "ERROR_FIELD_INVALID"),
        ("PARAMS", r#""a""#, "ERROR_FIELD_INVALID"),
        ("PARAMS", &deep, "ERROR_FIELD_INVALID"),
        ("HEADERS", "[]", "ERROR_FIELD_INVALID"),
        ("RESPONSE_AS_RESULT", r#""true""#, "ERROR_FIELD_INVALID"),
        ("RESPONSE_AS_RESULT", "1", "ERROR_FIELD_INVALID"),
        ("COLOUR", "1", "ERROR_FIELD_UNKNOWN"),
    ] {
        let response = send(base(field, value).as_bytes());
        assert_eq!(
            apifew::error(&response, 400),
            code,
            "{field} {}",
            response.text()
        );
        assert_eq!(
            response.json()["data"]["field"],
            field,
            "{}",
            response.text()
        );
    }
    let nested = send(base("PARAMS", r#"{"a":{"b":1}}"#).as_bytes());
    assert_eq!(nested.json()["data"]["field"], "PARAMS.a");
    let not_text = [b"{\"APP_NAME\":\"\xff\"".as_slice(), b"}"].concat();
    assert_eq!(apifew::error(&send(&not_text), 400), "ERROR_BODY_NOT_UTF8");
    for body in [b"".as_slice(), b"{", b"[]", b"\xff\xfe"] {
        assert_eq!(send(body).status, 400);
    }
    let huge = format!("{{\"APP_NAME\":\"{}\"}}", "x".repeat(9 << 20));
    assert_eq!(
        apifew::error(&send(huge.as_bytes()), 413),
        "ERROR_BODY_TOO_LARGE"
    );
    assert_eq!(site.upstream.connections(), 0);
    assert_eq!(site.gateway.calls(&[]).len(), 0);
}
