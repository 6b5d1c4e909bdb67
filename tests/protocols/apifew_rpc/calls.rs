//! What a call by rpc costs and leaves behind, and who may make one.

use super::*;

#[test]
fn case_06_without_a_license_key_nothing_reaches_the_upstream() {
    let site = site();
    let body = get("/paid/status/200").to_string();
    let request = || Request::post("/v1/request", body.as_bytes());
    for request in [request(), request().header(KEY_HEADER, "")] {
        let response = apifew::send(&site.gateway, request);
        assert_eq!(apifew::error(&response, 401), "ERROR_LICENSE_MISSING");
    }
    let two = request()
        .header(KEY_HEADER, "a-key-of-one")
        .header(KEY_HEADER, "a-key-of-two");
    let response = apifew::send(&site.gateway, two);
    assert_eq!(apifew::error(&response, 400), "ERROR_CREDENTIAL_AMBIGUOUS");
    assert_eq!(site.upstream.connections(), 0);
    assert_eq!(site.gateway.calls(&[]).len(), 0);
}

#[test]
fn case_07_an_invalid_key_is_401_with_no_call_no_charge_and_one_line_in_the_log() {
    let site = site();
    let stranger = site.gateway.license_of("open", &[]);
    let keys = [
        "12345678-aaaa-bbbb-cccc-1234567890abcdef",
        "tg_no",
        &stranger.key,
    ];
    for key in keys {
        let response = apifew::rpc(&site.gateway, key, &get("/paid/status/200"));
        assert_eq!(apifew::error(&response, 401), "ERROR_LICENSE_UNKNOWN");
        let id = response.call_id().to_owned();
        let lines = || {
            let log = site.gateway.log();
            let lines = log.lines().filter(|line| line.contains(&id));
            lines.map(ToOwned::to_owned).collect::<Vec<_>>()
        };
        assert_eventually!(lines().len() == 1, "{:?}", lines());
        assert!(lines()[0].contains("license_unknown"), "{:?}", lines());
        assert!(!site.gateway.log().contains(key), "the key is in the log");
    }
    assert_eq!(site.upstream.connections(), 0);
    assert_eq!(site.gateway.calls(&[]).len(), 0);
    let usage = site.gateway.cli().json(&["usage"]);
    assert_eq!(usage, json!([]));
}

#[test]
fn case_07_a_license_that_may_not_be_used_is_403_and_a_record_that_costs_nothing() {
    let site = site();
    let license = site.gateway.license(&[]);
    let _ = site.gateway.cli().text(&["license", "revoke", &license.id]);
    let code = refused(&site, &license.key, &get("/paid/status/200"), 403);
    assert_eq!(code, "ERROR_LICENSE_REVOKED");
    let record = site.gateway.wait_for_calls(1).remove(0);
    assert_eq!(
        (&record["outcome"], &record["mode"]),
        (&"refused".into(), &"rpc".into())
    );
    assert_eq!(
        (&record["billable"], &record["units"]),
        (&false.into(), &0.into())
    );

    // From where the caller calls is judged by the caller's address, not by that of the control plane.
    let elsewhere = site.gateway.license(&["--allow-ip", "192.0.2.0/24"]);
    let code = refused(&site, &elsewhere.key, &get("/paid/status/200"), 403);
    assert_eq!(code, "ERROR_IP_NOT_ALLOWED");
    let here = site.gateway.license(&["--allow-ip", "127.0.0.0/8"]);
    let (response, _) = called(&site, &here, &get("/paid/status/200"));
    assert_eq!(response.status, 200);
}

#[test]
fn case_08_the_upstream_gets_neither_the_license_key_nor_anything_of_the_gate() {
    let site = site();
    let license = site.gateway.license(&["--user", "zoe"]);
    let body = json!({"APP_NAME": "api.test", "ROUTE": "/paid/echo", "METHOD": "POST",
        "PARAMS": {"a": 1}, "HEADERS": {"X-Api-Key": "of the provider"}});
    let request = Request::post("/v1/request", body.to_string().as_bytes())
        .header(KEY_HEADER, &license.key)
        .header("Apifew-Key", "tg_a_management_key")
        .header("Cookie", "session=1")
        .header("Tallygate-Rpc-App", "open")
        .header("Tallygate-Rpc-Caller", "192.0.2.1");
    let response = apifew::send(&site.gateway, request);
    assert_eq!(response.status, 200, "{}", response.text());
    let served = site.upstream.served().remove(0);
    assert_eq!(served.call_id.as_deref(), Some(response.call_id()));
    let mut names: Vec<String> = served
        .headers
        .iter()
        .map(|(name, _)| name.to_ascii_lowercase())
        .collect();
    names.sort_unstable();
    let expected = [
        "content-length",
        "content-type",
        "host",
        "tallygate-call-id",
        "x-api-key",
        "x-forwarded-for",
        "x-forwarded-proto",
    ];
    assert_eq!(names, expected);
    assert_eq!(served.header("host"), Some("api.test"));
    assert_eq!(served.header("x-forwarded-for"), Some("127.0.0.1"));
    let all = format!("{served:?}");
    assert!(
        !all.contains(&license.key) && !all.contains("tg_a_management_key"),
        "{all}"
    );
}

#[test]
fn case_09_an_answer_200_is_one_record_and_one_charge() {
    let site = site();
    let license = site.gateway.license(&["--remaining", "9"]);
    let (response, record) = called(&site, &license, &get("/dear/bytes/250?secret=1"));
    assert_eq!((response.status, response.body.len()), (200, 250));
    for (field, value) in [
        ("license_id", json!(license.id)),
        ("app", json!("api")),
        ("route", json!("/dear")),
        ("method", json!("GET")),
        ("status", json!(200)),
        ("outcome", json!("delivered")),
        ("mode", json!("rpc")),
        ("billable", json!(true)),
        ("units", json!(5)),
        ("attempts", json!(1)),
        ("response_bytes", json!(250)),
    ] {
        assert_eq!(record[field], value, "{field} of {record}");
    }
    assert_eq!(site.gateway.wait_for_calls(1).len(), 1);
    let usage = site.gateway.cli().json(&["usage", "--by", "license,mode"]);
    assert_eq!(usage[0]["billable_calls"], 1);
    assert_eq!(
        (&usage[0]["units"], &usage[0]["mode"]),
        (&5.into(), &"rpc".into())
    );
    // The same balance as at the gate: 4 of 9 units are left.
    let code = refused(&site, &license.key, &get("/dear/status/200"), 402);
    assert_eq!(code, "ERROR_QUOTA_EXHAUSTED");
    site.assert_clean(&[], &[(&license.id, 9)]);
}

#[test]
fn case_10_every_status_is_recorded_and_only_200_is_charged() {
    let site = site();
    let license = site.gateway.license(&["--remaining", "1"]);
    for status in [201, 204, 301, 404, 500] {
        let (response, record) = called(&site, &license, &get(&format!("/paid/status/{status}")));
        assert_eq!(response.status, status);
        assert_eq!(record["status"], status, "{record}");
        assert_eq!(
            (&record["billable"], &record["mode"]),
            (&false.into(), &"rpc".into())
        );
    }
    assert_eq!(site.gateway.calls(&[]).len(), 5);
    let usage = site.gateway.cli().json(&["usage", "--by", "license"]);
    assert_eq!(
        (&usage[0]["calls"], &usage[0]["billable_calls"]),
        (&5.into(), &0.into())
    );
    assert_eq!(
        called(&site, &license, &get("/paid/status/200")).0.status,
        200
    );
    assert_eq!(
        refused(&site, &license.key, &get("/paid/status/200"), 402),
        "ERROR_QUOTA_EXHAUSTED"
    );
}

#[test]
fn a_call_is_not_free_by_asking_for_a_part_of_it_or_for_what_changed() {
    let site = site();
    for (status, name, value) in [(206, "Range", "bytes=0-"), (304, "If-None-Match", "\"a\"")] {
        let license = site.gateway.license(&["--remaining", "1"]);
        let mut ask = get(&format!("/paid/status/{status}"));
        ask["HEADERS"] = json!({ name: value });
        let (response, record) = called(&site, &license, &ask);
        assert_eq!(response.status, status);
        assert_eq!(record["billable"], true, "{record}");
        let code = refused(&site, &license.key, &ask, 402);
        assert_eq!(code, "ERROR_QUOTA_EXHAUSTED");
    }
}

#[test]
fn case_11_an_upstream_that_fails_is_502_or_504_with_a_record_and_no_charge() {
    let site = site();
    let license = site.gateway.license(&[]);
    for (route, status, code) in [
        ("/paid/hang", 504, "ERROR_UPSTREAM_TIMEOUT"),
        ("/paid/reset-before-head", 502, "ERROR_UPSTREAM_UNREACHABLE"),
        ("/paid/close-before-head", 502, "ERROR_UPSTREAM_UNREACHABLE"),
        ("/paid/garbage", 502, "ERROR_UPSTREAM_INVALID"),
    ] {
        let (response, record) = called(&site, &license, &get(route));
        assert_eq!(apifew::error(&response, status), code, "{route}");
        assert_eq!(response.json()["data"]["call_id"], response.call_id());
        assert_eq!(record["status"], status, "{record}");
        assert_eq!(
            (&record["billable"], &record["mode"]),
            (&false.into(), &"rpc".into())
        );
    }
    assert_eq!(site.gateway.calls(&[]).len(), 4);
}

#[test]
fn case_28_calls_of_an_app_in_test_mode_are_recorded_and_never_billed() {
    let site = site();
    let license = site.gateway.license_of("trial", &[]);
    let body = json!({"APP_NAME": "trial", "ROUTE": "/status/200", "METHOD": "GET"});
    let (response, record) = called(&site, &license, &body);
    assert_eq!((response.status, &record["status"]), (200, &200.into()));
    assert_eq!(
        (&record["billable"], &record["test"]),
        (&false.into(), &true.into()),
        "{record}"
    );
    let usage = site.gateway.cli().json(&["usage", "--by", "license"]);
    assert_eq!(
        (&usage[0]["calls"], &usage[0]["billable_calls"]),
        (&1.into(), &0.into())
    );
}

#[test]
fn fifty_parallel_calls_never_spend_more_than_there_is() {
    let site = site();
    let license = site.gateway.license(&["--remaining", "20"]);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let call = || apifew::rpc(&site.gateway, &license.key, &get("/paid/status/200")).status;
        let threads: Vec<_> = (0..50).map(|_| scope.spawn(call)).collect();
        let join =
            |thread: std::thread::ScopedJoinHandle<'_, u16>| thread.join().expect("no panic");
        threads.into_iter().map(join).collect()
    });
    let count = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!((count(200), count(402)), (20, 30), "{statuses:?}");
    assert_eq!(site.upstream.served_count(), 20);
    site.assert_clean(&[], &[(&license.id, 20)]);
}

#[test]
fn the_internal_listener_is_the_gates_alone_and_its_words_are_no_callers() {
    use std::os::unix::fs::PermissionsExt;
    let upstream = Upstream::start();
    let mut gateway = Gateway::start(binary!(), Config::new(&upstream.url()));
    let socket = gateway.data_dir().join("rpc.sock");
    let mode = std::fs::metadata(&socket)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    // On the listener for callers they mean nothing, and go nowhere.
    let license = gateway.license(&["--allow-ip", "192.0.2.0/24"]);
    let spoofed = Request::get("/status/200")
        .key(&license.key)
        .header("Tallygate-Rpc-App", "api")
        .header("Tallygate-Rpc-Caller", "192.0.2.1");
    assert_eq!(
        gateway.call(&spoofed).refusal_code().as_deref(),
        Some("ip_not_allowed")
    );
    let license = gateway.license(&[]);
    let passed = Request::get("/header/Tallygate-Rpc-Refusal/x")
        .key(&license.key)
        .header("Tallygate-Rpc-Caller", "192.0.2.1");
    assert_eq!(gateway.call(&passed).status, 200);
    assert_eq!(upstream.served()[0].header("tallygate-rpc-caller"), None);
    // What an upstream says is never taken for the gate's own refusal.
    let body =
        json!({"APP_NAME": "api", "ROUTE": "/header/Tallygate-Rpc-Refusal/x", "METHOD": "GET"});
    let answer = apifew::rpc(&gateway, &license.key, &body);
    assert_eq!(
        (answer.status, answer.header("tallygate-rpc-refusal")),
        (200, None)
    );
    assert_eq!(gateway.stop().code(), Some(0));
}

#[test]
fn an_address_that_guesses_license_keys_by_rpc_is_slowed_down_and_no_other_is() {
    let site = Site::with(binary!(), |upstream| {
        Config::new(upstream)
            .server("trusted_proxies = [\"127.0.0.1/32\"]")
            .table("[control]\nfailures_per_minute = 5")
    });
    let license = site.gateway.license(&[]);
    let call = |key: &str, address: &str| {
        let body = json!({"APP_NAME": "api", "ROUTE": "/a", "METHOD": "GET"});
        let request = Request::post("/v1/request", body.to_string().as_bytes())
            .header("Apifew-User-License-Key", key)
            .header("X-Forwarded-For", address);
        apifew::send(&site.gateway, request)
    };
    let strange = "12345678-aaaa-bbbb-cccc-1234567890abcdef";
    // A minute may end in between.
    assert_eventually!({
        let answers: Vec<_> = (0..6).map(|_| call(strange, "192.0.2.1")).collect();
        answers[5].status == 429
            && apifew::error(&answers[5], 429) == "ERROR_TOO_MANY_FAILURES"
            && answers[5].header("retry-after").is_some()
    });
    assert_eq!(call(&license.key, "192.0.2.2").status, 200);
}
