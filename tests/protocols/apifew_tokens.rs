//! apifew's tokens: issued to a consumer, used at the gate or told about by the provider, exactly once.

use serde_json::{Value, json};
use testkit::client::{Request, Response};
use testkit::{Apifew, App, Config, License, Site, apifew, assert_eventually, binary};

const PLAN: &str =
    "[[plan]]\nname = \"main\"\ncurrency = \"EUR\"\nprice_per_unit = \"0.01\"\nfeatures = []";
const CONSUME: &str = "/v1/token/consume";

/// `api` has a plan and routes of one and of five units, `other` has neither.
fn site() -> Site {
    Site::with(binary!(), |upstream| {
        let api = App::new("api", upstream)
            .line("hosts = [\"api.test\"]")
            .line("plan = \"main\"")
            .route("/a", &[])
            .route("/b", &[])
            .route("/dear", &["units = 5"]);
        let other = App::new("other", upstream).line("hosts = [\"other.test\"]");
        Config::default().app(api).app(other).table(PLAN)
    })
}

fn ask(site: &Site, license: &License, method: &str, url: &str) -> Response {
    let body = json!({"USER_LICENSE_KEY": license.key, "API_URL": url, "API_METHOD": method});
    let request = Request::post("/v1/token", body.to_string().as_bytes());
    apifew::send(&site.gateway, request)
}

/// A new token for that call.
fn token(site: &Site, license: &License, method: &str, url: &str) -> String {
    let response = ask(site, license, method, url);
    assert_eq!(response.status, 200, "{}", response.text());
    let result = apifew::result(&response);
    result["data"]["token"]
        .as_str()
        .expect("a token")
        .to_owned()
}

fn consume(provider: &Apifew<'_>, token: &str, status: u16) -> Response {
    provider.ask(
        CONSUME,
        &json!({"TOKEN": token, "REQUEST_STATUS_CODE": status}),
    )
}

/// What its holder sees of a token.
fn state(site: &Site, license: &License, token: &str) -> Value {
    let body = json!({"USER_LICENSE_KEY": license.key, "TOKEN": token}).to_string();
    let request = Request::post("/v1/token/confirm", body.as_bytes());
    let response = apifew::send(&site.gateway, request);
    assert_eq!(response.status, 200, "{}", response.text());
    apifew::result(&response)["data"].clone()
}

/// A call to the gate with a token.
fn with_token(site: &Site, method: &str, path: &str, token: &str) -> Response {
    let request = Request::new(method, path).header("Apifew-Request-Token", token);
    site.gateway.call(&request)
}

fn billed(site: &Site) -> (Value, Value) {
    let usage = site.gateway.cli().json(&["usage", "--by", "license"]);
    let first = |field: &str| usage[0][field].clone();
    (first("calls"), first("billable_calls"))
}

#[test]
fn case_17_every_request_gives_a_fresh_token() {
    let site = site();
    let license = site.gateway.license(&[]);
    let first = token(&site, &license, "GET", "https://api.test/a/x?y=z");
    let second = token(&site, &license, "get", "/a/x");
    assert_ne!(first, second);
    let groups: Vec<usize> = first.split('-').map(str::len).collect();
    assert_eq!(groups, [8, 4, 4, 4, 16]);
    let seen = state(&site, &license, &first);
    assert_eq!(
        (&seen["state"], &seen["consumed"]),
        (&"issued".into(), &false.into())
    );
    assert_eq!(
        (&seen["api_method"], &seen["api_path"]),
        (&"GET".into(), &"/a/x".into())
    );
    assert_eq!(
        site.gateway.calls(&[]).len(),
        0,
        "a token costs nothing yet"
    );
}

#[test]
fn case_18_a_token_that_is_consumed_with_200_is_one_charge() {
    let site = site();
    let provider = Apifew::of_app(&site.gateway, "api");
    let license = site.gateway.license(&["--remaining", "7"]);
    let token = token(&site, &license, "POST", "https://api.test/dear/x");
    let result = provider.result(
        CONSUME,
        &json!({"TOKEN": token, "REQUEST_STATUS_CODE": 200}),
    );
    assert_eq!(
        result["data"],
        json!({"app_name": "api", "token": token, "consumed": true})
    );
    let record = site.gateway.wait_for_calls(1).remove(0);
    for (field, value) in [
        ("license_id", json!(license.id)),
        ("app", json!("api")),
        ("route", json!("/dear")),
        ("method", json!("POST")),
        ("status", json!(200)),
        ("mode", json!("token")),
        ("billable", json!(true)),
        ("units", json!(5)),
    ] {
        assert_eq!(record[field], value, "{field} of {record}");
    }
    assert_eq!(billed(&site), (1.into(), 1.into()));
    let shown = site.gateway.cli().json(&["license", "show", &license.id]);
    assert_eq!(shown["balance"]["remaining"], 2, "{shown}");
    site.assert_clean(&[], &[(&license.id, 7)]);
}

/// A token holds the most that its route may cost; what is said when it is used is what it costs.
#[test]
fn a_token_costs_the_units_that_its_use_names_where_the_answer_of_its_route_would() {
    let site = Site::with(binary!(), |upstream| {
        let metered = ["units = 2", "units_header = \"X-Units\"", "units_max = 6"];
        let api = App::new("api", upstream)
            .route("/a", &metered)
            .route("/fixed", &["units = 5"]);
        Config::default().app(api)
    });
    let provider = Apifew::of_app(&site.gateway, "api");
    let license = site.gateway.license(&["--remaining", "100"]);
    let left = || {
        let shown = site.gateway.cli().json(&["license", "show", &license.id]);
        shown["balance"]["remaining"].clone()
    };
    let mut remaining = 100;
    for (path, said, held, units) in [
        ("/a", json!(null), 6, 2),
        ("/a", json!(4), 6, 4),
        ("/a", json!(0), 6, 0),
        ("/a", json!(700), 6, 6),
        ("/fixed", json!(1), 5, 5),
    ] {
        let token = token(&site, &license, "GET", path);
        assert_eq!(left(), remaining - held, "{path} {said}");
        let mut use_up = json!({"TOKEN": token, "REQUEST_STATUS_CODE": 200});
        if !said.is_null() {
            use_up["UNITS"] = said.clone();
        }
        let _ = provider.result(CONSUME, &use_up);
        remaining -= units;
        assert_eq!(left(), remaining, "{path} {said}");
    }
    let token = token(&site, &license, "GET", "/a");
    let wrong = json!({"TOKEN": token, "REQUEST_STATUS_CODE": 200, "UNITS": "4"});
    let refused = provider.ask(CONSUME, &wrong);
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("UNITS"), "{}", refused.text());
    assert_eq!(state(&site, &license, &token)["state"], "issued");
    let calls = site.gateway.wait_for_calls(5);
    let units: Vec<_> = calls.iter().map(|call| call["units"].clone()).collect();
    assert_eq!(units, [2, 4, 0, 6, 5]);
    site.assert_clean(&[], &[(&license.id, 100)]);
}

#[test]
fn case_19_a_consumed_token_is_refused_and_charged_no_more() {
    let site = site();
    let provider = Apifew::of_app(&site.gateway, "api");
    let license = site.gateway.license(&[]);
    let token = token(&site, &license, "GET", "/a");
    assert_eq!(consume(&provider, &token, 200).status, 200);
    for status in [200, 500] {
        let again = consume(&provider, &token, status);
        assert_eq!(apifew::error(&again, 401), "ERROR_TOKEN_INVALID");
        assert!(!again.text().contains("\"consumed\":true"));
    }
    let at_the_gate = with_token(&site, "GET", "/a", &token);
    assert_eq!(at_the_gate.refusal_code().as_deref(), Some("token_invalid"));
    assert_eq!(site.upstream.connections(), 0);
    assert_eq!(site.gateway.wait_for_calls(1).len(), 1);
    assert_eq!(billed(&site), (1.into(), 1.into()));
}

#[test]
fn case_20_of_fifty_parallel_consumes_exactly_one_succeeds() {
    let site = site();
    let provider = Apifew::of_app(&site.gateway, "api");
    let license = site.gateway.license(&["--remaining", "9"]);
    for _ in 0..3 {
        let token = token(&site, &license, "GET", "/a");
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let (site, provider, token) = (&site, &provider, &token);
            let threads: Vec<_> = (0..50)
                .map(|number| {
                    // Some ask the gate itself, which consumes the same tokens.
                    scope.spawn(move || match number % 5 {
                        0 => with_token(site, "GET", "/a", token).status,
                        _ => consume(provider, token, 200).status,
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("no panic"))
                .collect()
        });
        let won = statuses.iter().filter(|status| **status == 200).count();
        let lost = statuses.iter().filter(|status| **status == 401).count();
        assert_eq!((won, lost), (1, 49), "{statuses:?}");
    }
    assert_eq!(site.gateway.wait_for_calls(3).len(), 3);
    assert_eq!(billed(&site), (3.into(), 3.into()));
    let shown = site.gateway.cli().json(&["license", "show", &license.id]);
    assert_eq!(shown["balance"]["remaining"], 6, "{shown}");
    let books = site.gateway.verify();
    assert_eq!(
        (&books["lost"], &books["duplicated"]),
        (&0.into(), &0.into()),
        "{books}"
    );
    assert!(site.upstream.served_count() <= 3);
}

#[test]
fn case_21_a_failed_call_spends_the_token_and_charges_nothing() {
    let site = site();
    let provider = Apifew::of_app(&site.gateway, "api");
    let license = site.gateway.license(&["--remaining", "1"]);
    for status in [500, 201, 404] {
        let token = token(&site, &license, "GET", "/a");
        let first = consume(&provider, &token, status);
        assert_eq!(apifew::result(&first)["data"]["consumed"], true);
        let again = consume(&provider, &token, 200);
        assert_eq!(apifew::error(&again, 401), "ERROR_TOKEN_INVALID");
    }
    let calls = site.gateway.wait_for_calls(3);
    assert!(
        calls.iter().all(|call| call["billable"] == false),
        "{calls:?}"
    );
    assert_eq!(billed(&site), (3.into(), 0.into()));
    // The one unit there is was never used up.
    let token = token(&site, &license, "GET", "/a");
    assert_eq!(consume(&provider, &token, 200).status, 200);
}

#[test]
fn case_22_another_apps_secret_consumes_nothing_and_the_token_stays_usable() {
    let site = site();
    let (own, other) = (
        Apifew::of_app(&site.gateway, "api"),
        Apifew::of_app(&site.gateway, "other"),
    );
    let _ = site.gateway.cli().json(&["account", "create", "acme"]);
    let foreign = Apifew::with_key(&site.gateway, &["--account", "acme"]);
    let reader = Apifew::with_key(&site.gateway, &["--app", "api", "--scope", "read:licenses"]);
    let license = site.gateway.license(&[]);
    let token = token(&site, &license, "GET", "/a");
    for stranger in [&other, &foreign] {
        let refused = consume(stranger, &token, 200);
        assert_eq!(apifew::error(&refused, 401), "ERROR_TOKEN_INVALID");
    }
    assert_eq!(
        apifew::error(&consume(&reader, &token, 200), 403),
        "ERROR_KEY_SCOPE"
    );
    let body = json!({"TOKEN": token, "REQUEST_STATUS_CODE": 200}).to_string();
    let nobody = apifew::send(&site.gateway, Request::post(CONSUME, body.as_bytes()));
    assert_eq!(apifew::error(&nobody, 401), "ERROR_KEY_MISSING");
    let old = Request::post(CONSUME, body.as_bytes()).header("Apifew-App-Secret-Key", &own.key);
    assert_eq!(apifew::send(&site.gateway, old).status, 200);
    assert_eq!(site.gateway.wait_for_calls(1).len(), 1);
}

#[test]
fn case_23_an_expired_token_is_refused_and_costs_nothing() {
    let site = site();
    let provider = Apifew::of_app(&site.gateway, "api");
    let license = site.gateway.license(&["--remaining", "1"]);
    let body = json!({"USER_LICENSE_KEY": license.key, "API_URL": "/a", "API_METHOD": "GET", "TOKEN_TTL": 1});
    let request = Request::post("/v1/token", body.to_string().as_bytes());
    let issued = apifew::result(&apifew::send(&site.gateway, request));
    let token = issued["data"]["token"]
        .as_str()
        .expect("a token")
        .to_owned();
    // Its unit is held for it meanwhile.
    let held = ask(&site, &license, "GET", "/a");
    assert_eq!(apifew::error(&held, 402), "ERROR_QUOTA_EXHAUSTED");
    assert_eventually!(state(&site, &license, &token)["state"] == "expired");
    let late = consume(&provider, &token, 200);
    assert_eq!(apifew::error(&late, 401), "ERROR_TOKEN_INVALID");
    let at_the_gate = with_token(&site, "GET", "/a", &token);
    assert_eq!(at_the_gate.refusal_code().as_deref(), Some("token_invalid"));
    assert_eq!(site.upstream.connections(), 0);
    let calls = site.gateway.calls(&[]);
    let refused = |call: &Value| call["outcome"] == "refused" && call["billable"] == false;
    assert!(calls.iter().all(refused), "{calls:?}");
    // And is free again when its time is over.
    assert_eventually!(ask(&site, &license, "GET", "/a").status == 200);
}

#[test]
fn case_24_a_token_for_one_call_is_refused_for_any_other() {
    let site = site();
    let license = site.gateway.license(&[]);
    let token = token(&site, &license, "GET", "https://api.test/a");
    let request = |method: &str, path: &str, host: &str| {
        let request = Request::new(method, path).host(host);
        let request = request.header("Apifew-Request-Token", &token);
        site.gateway.call(&request).refusal_code()
    };
    for (method, path) in [
        ("POST", "/a"),
        ("GET", "/b"),
        ("GET", "/a/x"),
        ("DELETE", "/a"),
    ] {
        let code = request(method, path, "api.test");
        assert_eq!(code.as_deref(), Some("token_mismatch"), "{method} {path}");
    }
    let elsewhere = request("GET", "/a", "other.test");
    assert_eq!(elsewhere.as_deref(), Some("token_invalid"), "another app");
    assert_eq!(site.upstream.connections(), 0);
    // Refused, it is as good as new.
    let response = with_token(&site, "GET", "/a?page=2", &token);
    assert_eq!(response.status, 200);
    let served = site.upstream.served().remove(0);
    assert_eq!(served.header("apifew-request-token"), None);
    let record = site.gateway.record(response.call_id());
    assert_eq!(
        (&record["mode"], &record["billable"]),
        (&"token".into(), &true.into())
    );
    assert_eq!(with_token(&site, "GET", "/a", &token).status, 401);
}

#[test]
fn case_25_the_pricing_is_shown_when_it_is_asked_for() {
    let site = site();
    let license = site.gateway.license(&[]);
    let provider = Apifew::of_app(&site.gateway, "api");
    for (shows, expected) in [
        (Some(true), Some("main")),
        (Some(false), None),
        (None, None),
    ] {
        let token = token(&site, &license, "GET", "/a");
        let mut body = json!({"TOKEN": token, "REQUEST_STATUS_CODE": 200});
        if let Some(shows) = shows {
            body["SHOW_PRICING"] = shows.into();
        }
        let data = provider.result(CONSUME, &body)["data"].clone();
        let pricing = data
            .get("pricing")
            .map(|name| name.as_str().expect("a name"));
        assert_eq!(pricing, expected, "{data}");
    }
    let free = site.gateway.license_of("other", &[]);
    let token = token(&site, &free, "GET", "https://other.test/x");
    let other = Apifew::of_app(&site.gateway, "other");
    let body = json!({"TOKEN": token, "REQUEST_STATUS_CODE": 200, "SHOW_PRICING": true});
    assert_eq!(other.result(CONSUME, &body)["data"]["pricing"], Value::Null);
}

#[test]
fn case_26_a_license_that_was_revoked_meanwhile_is_refused() {
    let site = site();
    let provider = Apifew::of_app(&site.gateway, "api");
    let license = site.gateway.license(&[]);
    let token = token(&site, &license, "GET", "/a");
    let _ = site.gateway.cli().text(&["license", "revoke", &license.id]);
    assert_eq!(
        apifew::error(&consume(&provider, &token, 200), 403),
        "ERROR_LICENSE_REVOKED"
    );
    let at_the_gate = with_token(&site, "GET", "/a", &token);
    assert_eq!(
        at_the_gate.refusal_code().as_deref(),
        Some("license_revoked")
    );
    let none = ask(&site, &license, "GET", "/a");
    assert_eq!(apifew::error(&none, 403), "ERROR_LICENSE_REVOKED");
    assert_eq!(site.upstream.connections(), 0);
    assert_eventually!(!site.gateway.calls(&[]).is_empty());
    let calls = site.gateway.calls(&[]);
    assert!(
        calls.iter().all(|call| call["billable"] == false),
        "{calls:?}"
    );
}

#[test]
fn step_4_the_holder_sees_what_was_reported_and_agrees_or_does_not() {
    let site = site();
    let provider = Apifew::of_app(&site.gateway, "api");
    let license = site.gateway.license(&[]);
    let say = |token: &str, status: u16, key: &str| {
        let body = json!({"USER_LICENSE_KEY": key, "TOKEN": token, "REQUEST_STATUS_CODE": status});
        let request = Request::post("/v1/token/confirm", body.to_string().as_bytes());
        apifew::send(&site.gateway, request)
    };
    let token = token(&site, &license, "GET", "/a");
    let early = say(&token, 200, &license.key);
    assert_eq!(apifew::error(&early, 409), "ERROR_TOKEN_NOT_CONSUMED");
    assert_eq!(consume(&provider, &token, 200).status, 200);
    let seen = state(&site, &license, &token);
    assert_eq!(
        (&seen["state"], &seen["request_status_code"]),
        (&"consumed".into(), &200.into())
    );
    assert_eq!(seen["confirmed_status_code"], Value::Null);
    let call_id = seen["call_id"].as_str().expect("the call").to_owned();
    assert_eq!(site.gateway.record(&call_id)["mode"], "token");

    let disputed = say(&token, 500, &license.key);
    let result = apifew::result(&disputed);
    assert_eq!(
        (disputed.status, &result["success_msg"]),
        (200, &"INFO_TOKEN_DISPUTED".into())
    );
    assert_eq!(result["data"]["confirmed_status_code"], 500);
    assert_eq!(state(&site, &license, &token)["state"], "disputed");
    let confirmed = apifew::result(&say(&token, 200, &license.key));
    assert_eq!(confirmed["success_msg"], "INFO_TOKEN_CONFIRMED");
    assert_eq!(state(&site, &license, &token)["state"], "confirmed");

    // It is the holder's alone, and a dispute changes no bill.
    let stranger = site.gateway.license(&[]);
    for key in [
        stranger.key.as_str(),
        "12345678-aaaa-bbbb-cccc-1234567890abcdef",
    ] {
        assert_eq!(say(&token, 200, key).status, 401);
    }
    assert_eq!(billed(&site), (1.into(), 1.into()));
}

#[test]
fn what_no_license_covers_gets_no_token() {
    let site = site();
    let refused = |license: &License, method: &str, url: &str, status: u16, code: &str| {
        let response = ask(&site, license, method, url);
        assert_eq!(apifew::error(&response, status), code, "{url}");
    };
    let narrow = site.gateway.license(&["--permission", "GET /a"]);
    refused(&narrow, "GET", "/b", 403, "ERROR_ROUTE_NOT_PERMITTED");
    refused(&narrow, "GET", "/elsewhere", 404, "ERROR_ROUTE_UNKNOWN");
    let away = site.gateway.license(&["--allow-ip", "192.0.2.0/24"]);
    refused(&away, "GET", "/a", 403, "ERROR_IP_NOT_ALLOWED");
    let poor = site.gateway.license(&["--remaining", "4"]);
    refused(&poor, "GET", "/dear", 402, "ERROR_QUOTA_EXHAUSTED");
    assert_eq!(ask(&site, &poor, "GET", "/a").status, 200);
    let unknown = License {
        key: "12345678-aaaa-bbbb-cccc-1234567890abcdef".to_owned(),
        ..poor
    };
    refused(&unknown, "GET", "/a", 401, "ERROR_LICENSE_UNKNOWN");
}

#[test]
fn bad_input_names_the_field_and_uses_up_nothing() {
    let site = site();
    let provider = Apifew::of_app(&site.gateway, "api");
    let license = site.gateway.license(&["--remaining", "1"]);
    let with = |base: &Value, field: &str, value: Value| {
        let mut body = base.clone();
        body[field] = value;
        body
    };
    let issue = json!({"USER_LICENSE_KEY": license.key, "API_URL": "/a", "API_METHOD": "GET"});
    for (field, value, code) in [
        ("USER_LICENSE_KEY", json!(1), "ERROR_FIELD_INVALID"),
        (
            "USER_LICENSE_KEY",
            json!("x".repeat(513)),
            "ERROR_FIELD_INVALID",
        ),
        ("API_URL", json!(""), "ERROR_FIELD_INVALID"),
        ("API_URL", json!("a/b"), "ERROR_FIELD_INVALID"),
        ("API_URL", json!("ftp://api.test/a"), "ERROR_FIELD_INVALID"),
        (
            "API_URL",
            json!("https://api.test/a/../b"),
            "ERROR_PATH_AMBIGUOUS",
        ),
        ("API_URL", json!("//evil.host/a"), "ERROR_PATH_AMBIGUOUS"),
        ("API_METHOD", json!("BREW"), "ERROR_FIELD_INVALID"),
        ("API_METHOD", json!(null), "ERROR_FIELD_INVALID"),
        ("TOKEN_TTL", json!(0), "ERROR_FIELD_INVALID"),
        ("TOKEN_TTL", json!(86_401), "ERROR_FIELD_INVALID"),
        ("TOKEN_TTL", json!("60"), "ERROR_FIELD_INVALID"),
        ("EXTRA", json!(1), "ERROR_FIELD_UNKNOWN"),
    ] {
        let response = provider.ask("/v1/token", &with(&issue, field, value.clone()));
        assert_eq!(apifew::error(&response, 400), code, "{field} {value}");
        assert_eq!(response.json()["data"]["field"], field, "{value}");
    }
    let token = token(&site, &license, "GET", "/a");
    let base = json!({"TOKEN": token, "REQUEST_STATUS_CODE": 200});
    for (field, value, code) in [
        ("TOKEN", json!(7), "ERROR_FIELD_INVALID"),
        ("TOKEN", json!("a b"), "ERROR_FIELD_INVALID"),
        ("REQUEST_STATUS_CODE", json!("200"), "ERROR_FIELD_INVALID"),
        ("REQUEST_STATUS_CODE", json!(99), "ERROR_FIELD_INVALID"),
        ("REQUEST_STATUS_CODE", json!(600), "ERROR_FIELD_INVALID"),
        ("REQUEST_STATUS_CODE", json!(-1), "ERROR_FIELD_INVALID"),
        ("SHOW_PRICING", json!("yes"), "ERROR_FIELD_INVALID"),
        ("EXTRA", json!({}), "ERROR_FIELD_UNKNOWN"),
    ] {
        let response = provider.ask(CONSUME, &with(&base, field, value.clone()));
        assert_eq!(apifew::error(&response, 400), code, "{field} {value}");
        assert_eq!(response.json()["data"]["field"], field, "{value}");
    }
    for (path, field) in [
        ("/v1/token", "USER_LICENSE_KEY"),
        (CONSUME, "TOKEN"),
        ("/v1/token/confirm", "USER_LICENSE_KEY"),
    ] {
        let response = provider.ask(path, &json!({}));
        assert_eq!(
            apifew::error(&response, 400),
            "ERROR_FIELD_MISSING",
            "{path}"
        );
        assert_eq!(response.json()["data"]["field"], field, "{path}");
    }
    assert_eq!(
        consume(&provider, "12345678-aaaa-bbbb-cccc-1234567890abcdef", 200).status,
        401
    );
    assert_eq!(consume(&provider, &token, 200).status, 200);
    assert_eq!(site.gateway.wait_for_calls(1).len(), 1);
}
