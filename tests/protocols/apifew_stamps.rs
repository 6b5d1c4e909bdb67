//! apifew's request stamps: a provider reports a call that it served, once, and gets a signature that anybody can check.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::{Value, json};
use testkit::client::{self, Connection, Request, Response};
use testkit::eventually::{test_timeout, wait_for};
use testkit::{Apifew, App, Config, Gateway, License, Site, apifew, binary};

const STAMP: &str = "/v1/stamp";
const PLAN: &str =
    "[[plan]]\nname = \"main\"\ncurrency = \"EUR\"\nprice_per_unit = \"0.01\"\nfeatures = []";

/// `api` has a plan and routes of one and of five units, `trial` is in test mode, `other` has neither.
fn config(upstream: &str) -> Config {
    let api = App::new("api", upstream)
        .line("hosts = [\"api.test\"]")
        .line("plan = \"main\"")
        .route("/a", &[])
        .route("/dear", &["units = 5"]);
    let trial = App::new("trial", upstream)
        .line("hosts = [\"trial.test\"]")
        .line("mode = \"test\"");
    let other = App::new("other", upstream).line("hosts = [\"other.test\"]");
    Config::default().app(api).app(trial).app(other).table(PLAN)
}

fn site() -> Site {
    Site::with(binary!(), config)
}

/// A report of `GET /a` with status 200, with the id if there is one.
fn report(license: &License, id: Option<&str>) -> Value {
    let mut report = json!({"USER_LICENSE_KEY": license.key, "API_URL": "https://api.test/a",
        "API_METHOD": "GET", "REQUEST_STATUS_CODE": 200});
    if let Some(id) = id {
        report["ID"] = id.into();
    }
    report
}

/// The same with another value in one field.
fn with(report: &Value, field: &str, value: impl Into<Value>) -> Value {
    let mut report = report.clone();
    report[field] = value.into();
    report
}

fn stamped(provider: &Apifew<'_>, report: &Value) -> Value {
    let result = provider.result(STAMP, report);
    assert_eq!(result["success_msg"], "INFO_REQUEST_STAMPED");
    result["data"].clone()
}

fn left(gateway: &Gateway, license: &License) -> Value {
    let shown = gateway.cli().json(&["license", "show", &license.id]);
    shown["balance"]["remaining"].clone()
}

fn billed(gateway: &Gateway) -> (Value, Value) {
    let usage = gateway.cli().json(&["usage", "--by", "mode"]);
    assert_eq!(usage.as_array().map(Vec::len), Some(1), "{usage}");
    assert_eq!(usage[0]["mode"], "stamp");
    (
        usage[0]["calls"].clone(),
        usage[0]["billable_calls"].clone(),
    )
}

fn assert_books_are_right(gateway: &Gateway) {
    let books = gateway.verify();
    for field in ["lost", "duplicated"] {
        assert_eq!(books[field], 0, "{books}");
    }
}

fn jwks(gateway: &Gateway) -> Value {
    apifew::send(gateway, Request::get("/.well-known/jwks.json")).json()
}

fn decoded(part: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(part).expect("base64url")
}

/// What a stamp says, if a key of the set signed it. Needs no gate.
fn verified(stamp: &str, keys: &Value) -> Option<Value> {
    let (message, signature) = stamp.rsplit_once('.')?;
    let (header, payload) = message.split_once('.')?;
    let header: Value = serde_json::from_slice(&decoded(header)).expect("JSON");
    assert_eq!(
        (&header["alg"], &header["typ"]),
        (&"EdDSA".into(), &"tallygate-stamp".into())
    );
    let keys = keys["keys"].as_array().expect("a set of keys");
    let key = keys.iter().find(|key| key["kid"] == header["kid"])?;
    assert_eq!(
        (&key["kty"], &key["crv"]),
        (&"OKP".into(), &"Ed25519".into())
    );
    let public = decoded(key["x"].as_str().expect("the public key"));
    UnparsedPublicKey::new(&ED25519, public)
        .verify(message.as_bytes(), &decoded(signature))
        .ok()?;
    Some(serde_json::from_slice(&decoded(payload)).expect("JSON"))
}

/// Where the answers of a route say what they used, so may a report; nowhere else.
#[test]
fn a_report_says_how_many_units_a_call_used_where_its_answer_would() {
    let site = Site::with(binary!(), |upstream| {
        let api = App::new("api", upstream)
            .line("hosts = [\"api.test\"]")
            .route(
                "/a",
                &["units = 2", "units_header = \"X-Units\"", "units_max = 6"],
            )
            .route("/fixed", &["units = 5"]);
        Config::default().app(api)
    });
    let provider = Apifew::of_app(&site.gateway, "api");
    let license = site.gateway.license(&["--remaining", "100"]);
    let plain = report(&license, None);
    let fixed = with(&plain, "API_URL", "/fixed");
    let mut remaining = 100;
    for (report, units) in [
        (plain.clone(), 2),
        (with(&plain, "UNITS", 4), 4),
        (with(&plain, "UNITS", 0), 0),
        (with(&plain, "UNITS", 7), 6),
        (with(&plain, "UNITS", 9_007_199_254_740_991_u64), 6),
        (with(&fixed, "UNITS", 1), 5),
    ] {
        let answer = stamped(&provider, &report);
        assert_eq!(answer["units"], units, "{report}");
        remaining -= units;
        assert_eq!(left(&site.gateway, &license), remaining, "{report}");
    }
    for wrong in [
        json!(-1),
        json!(1.5),
        json!("4"),
        json!(true),
        json!([4]),
        json!(u64::MAX),
    ] {
        let refused = provider.ask(STAMP, &with(&plain, "UNITS", wrong.clone()));
        assert_eq!(refused.status, 400, "{wrong}");
        assert!(refused.text().contains("UNITS"), "{}", refused.text());
    }
    let once = with(&with(&plain, "ID", "order-9"), "UNITS", 3);
    let first = stamped(&provider, &once);
    assert_eq!(stamped(&provider, &once), first);
    let other = provider.ask(STAMP, &with(&once, "UNITS", 4));
    assert_eq!(other.status, 409, "other units are another report");
    assert_eq!(left(&site.gateway, &license), remaining - 3);
    let calls = site.gateway.wait_for_calls(7);
    let units: Vec<_> = calls.iter().map(|call| call["units"].clone()).collect();
    assert_eq!(units, [2, 4, 0, 6, 6, 5, 3]);
    assert_books_are_right(&site.gateway);
}

#[test]
fn case_27_a_report_with_an_id_that_is_sent_twice_is_one_charge() {
    let site = site();
    let provider = Apifew::of_app(&site.gateway, "api");
    let license = site.gateway.license(&["--remaining", "9"]);
    let dear = with(&report(&license, Some("order-1")), "API_URL", "/dear/x?y=z");
    let first = stamped(&provider, &dear);
    for (field, value) in [
        ("id", json!("order-1")),
        ("app_name", json!("api")),
        ("stamped", json!(true)),
        ("pricing", json!("main")),
        ("api_method", json!("GET")),
        ("api_path", json!("/dear/x")),
        ("request_status_code", json!(200)),
        ("units", json!(5)),
        ("billable", json!(true)),
        ("over_quota", json!(false)),
    ] {
        assert_eq!(first[field], value, "{field} of {first}");
    }
    assert_eq!(stamped(&provider, &dear), first, "the answer is the same");
    let record = site.gateway.wait_for_calls(1).remove(0);
    for (field, value) in [
        ("call_id", first["call_id"].clone()),
        ("license_id", json!(license.id)),
        ("app", json!("api")),
        ("route", json!("/dear")),
        ("method", json!("GET")),
        ("status", json!(200)),
        ("outcome", json!("delivered")),
        ("mode", json!("stamp")),
        ("billable", json!(true)),
        ("units", json!(5)),
        ("plan", json!("main")),
    ] {
        assert_eq!(record[field], value, "{field} of {record}");
    }
    assert_eq!(billed(&site.gateway), (1.into(), 1.into()));
    assert_eq!(left(&site.gateway, &license), 4);
    assert_eq!(site.upstream.connections(), 0, "the work was done before");
    assert_books_are_right(&site.gateway);
}

#[test]
fn the_same_id_with_other_content_is_a_conflict_and_is_not_charged() {
    let site = site();
    let provider = Apifew::of_app(&site.gateway, "api");
    let (license, neighbour) = (site.gateway.license(&[]), site.gateway.license(&[]));
    let first = report(&license, Some("order-1"));
    let stamp = stamped(&provider, &first);
    for other in [
        with(&first, "REQUEST_STATUS_CODE", 500),
        with(&first, "API_METHOD", "POST"),
        with(&first, "API_URL", "/dear"),
        with(&first, "USER_LICENSE_KEY", neighbour.key.as_str()),
    ] {
        let refused = provider.ask(STAMP, &other);
        assert_eq!(apifew::error(&refused, 409), "ERROR_STAMP_CONFLICT");
    }
    // The same call, written in another way, is the same.
    let same = with(&first, "API_URL", "/%61?again");
    assert_eq!(stamped(&provider, &with(&same, "API_METHOD", "get")), stamp);
    assert_eq!(site.gateway.wait_for_calls(1).len(), 1);
    // Another app has ids of its own.
    let other = Apifew::of_app(&site.gateway, "other");
    let theirs = site.gateway.license_of("other", &[]);
    let _ = stamped(&other, &report(&theirs, Some("order-1")));
    assert_eq!(site.gateway.wait_for_calls(2).len(), 2);
}

#[test]
fn a_call_that_failed_is_recorded_and_costs_nothing() {
    let site = site();
    let provider = Apifew::of_app(&site.gateway, "api");
    let license = site.gateway.license(&["--remaining", "1"]);
    for status in [201, 204, 301, 404, 500] {
        let failed = with(&report(&license, None), "REQUEST_STATUS_CODE", status);
        let stamp = stamped(&provider, &failed);
        assert_eq!(
            (&stamp["billable"], &stamp["over_quota"]),
            (&false.into(), &false.into()),
            "{stamp}"
        );
    }
    assert_eq!(site.gateway.wait_for_calls(5).len(), 5);
    assert_eq!(billed(&site.gateway), (5.into(), 0.into()));
    assert_eq!(left(&site.gateway, &license), 1);
    // A test app's calls are recorded and never billed.
    let trial = Apifew::of_app(&site.gateway, "trial");
    let stamp = stamped(
        &trial,
        &report(&site.gateway.license_of("trial", &[]), None),
    );
    assert_eq!(stamp["billable"], false);
}

#[test]
fn without_quota_the_work_is_recorded_all_the_same_and_flagged() {
    let site = site();
    let provider = Apifew::of_app(&site.gateway, "api");
    let license = site.gateway.license(&["--remaining", "1"]);
    let within = stamped(&provider, &report(&license, Some("a")));
    assert_eq!(within["over_quota"], false);
    let beyond = report(&license, Some("b"));
    let flagged = stamped(&provider, &beyond);
    assert_eq!(
        (&flagged["over_quota"], &flagged["billable"]),
        (&true.into(), &true.into())
    );
    assert_eq!(stamped(&provider, &beyond), flagged);
    let windowed = site.gateway.license(&["--rate-limit", "1/1h"]);
    let _ = stamped(&provider, &report(&windowed, None));
    assert_eq!(
        stamped(&provider, &report(&windowed, None))["over_quota"],
        true
    );
    let calls = site.gateway.wait_for_calls(4);
    let record = |stamp: &Value| {
        let found = calls
            .iter()
            .find(|call| call["call_id"] == stamp["call_id"]);
        found.expect("a record").clone()
    };
    assert_eq!(record(&within)["refusal"], Value::Null);
    assert_eq!(record(&flagged)["refusal"], "quota_exhausted");
    assert_eq!(record(&flagged)["outcome"], "delivered");
    assert_eq!(billed(&site.gateway), (4.into(), 4.into()));
    assert_eq!(left(&site.gateway, &license), 0, "nothing was over-spent");
    assert_books_are_right(&site.gateway);
    // The gate lets nobody in for it.
    let refused = site.gateway.call(&Request::get("/a").key(&license.key));
    assert_eq!(refused.refusal_code().as_deref(), Some("quota_exhausted"));
}

#[test]
fn a_stamp_is_verified_offline_and_outlives_its_key() {
    let mut site = site();
    let license = site.gateway.license(&[]);
    let (stamp, keys) = {
        let provider = Apifew::of_app(&site.gateway, "api");
        let stamp = stamped(&provider, &report(&license, Some("order-1")));
        (stamp, jwks(&site.gateway))
    };
    let rotate = ["signing-key", "rotate", "stamps", "--at-once"];
    let _ = site.gateway.cli().text(&rotate);
    let later = jwks(&site.gateway);
    let newer = {
        let provider = Apifew::of_app(&site.gateway, "api");
        stamped(&provider, &report(&license, Some("order-2")))
    };
    let _ = site.gateway.stop();
    let signed = stamp["stamp"].as_str().expect("a stamp");
    let said = verified(signed, &keys).expect("a right signature");
    for (field, value) in [
        ("call_id", &stamp["call_id"]),
        ("id", &json!("order-1")),
        ("license_id", &json!(license.id)),
        ("account", &json!("default")),
        ("app", &json!("api")),
        ("method", &json!("GET")),
        ("path", &json!("/a")),
        ("status", &json!(200)),
        ("units", &json!(1)),
        ("billable", &json!(true)),
        ("over_quota", &json!(false)),
        ("plan", &json!("main")),
        ("at", &stamp["at"]),
    ] {
        assert_eq!(said[field], *value, "{field} of {said}");
    }
    assert!(!signed.contains(&license.key) && !said.to_string().contains(&license.key));
    assert_eq!(verified(signed, &later), Some(said), "also when retired");
    let newer = newer["stamp"].as_str().expect("a stamp");
    assert!(verified(newer, &later).is_some());
    assert!(verified(newer, &keys).is_none(), "signed by another key");
    let (message, signature) = signed.rsplit_once('.').expect("three parts");
    let (header, _) = message.split_once('.').expect("three parts");
    let payload = URL_SAFE_NO_PAD.encode(r#"{"status":500}"#);
    assert!(verified(&format!("{header}.{payload}.{signature}"), &keys).is_none());
}

#[test]
fn of_many_reports_of_one_call_at_once_one_is_charged() {
    let site = site();
    let provider = Apifew::of_app(&site.gateway, "api");
    let license = site.gateway.license(&["--remaining", "9"]);
    let report = report(&license, Some("order-1"));
    let answers: Vec<Response> = std::thread::scope(|scope| {
        let ask = || provider.ask(STAMP, &report);
        let threads: Vec<_> = (0..30).map(|_| scope.spawn(ask)).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| thread.join();
        threads
            .into_iter()
            .map(|thread| join(thread).expect("no panic"))
            .collect()
    });
    let stamp = stamped(&provider, &report);
    for answer in answers {
        if answer.status == 200 {
            assert_eq!(apifew::result(&answer)["data"], stamp);
        } else {
            assert_eq!(apifew::error(&answer, 409), "ERROR_STAMP_UNDER_WAY");
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
    }
    assert_eq!(site.gateway.wait_for_calls(1).len(), 1);
    assert_eq!(left(&site.gateway, &license), 8);
    // Without an id nothing tells two reports apart.
    for _ in 0..2 {
        let _ = stamped(&provider, &with(&report, "ID", Value::Null));
    }
    assert_eq!(site.gateway.wait_for_calls(3).len(), 3);
}

#[test]
fn a_report_by_a_stranger_or_of_a_license_that_may_not_be_used_is_refused() {
    let site = site();
    let provider = Apifew::of_app(&site.gateway, "api");
    let other = Apifew::of_app(&site.gateway, "other");
    let reader = Apifew::with_key(&site.gateway, &["--app", "api", "--scope", "read:licenses"]);
    let license = site.gateway.license(&[]);
    let report = report(&license, Some("order-1"));
    let refused = |provider: &Apifew<'_>, report: &Value, status: u16, code: &str| {
        let refused = provider.ask(STAMP, report);
        assert_eq!(apifew::error(&refused, status), code, "{report}");
    };
    let nobody = Request::post(STAMP, report.to_string().as_bytes());
    let nobody = apifew::send(&site.gateway, nobody);
    assert_eq!(apifew::error(&nobody, 401), "ERROR_KEY_MISSING");
    refused(&reader, &report, 403, "ERROR_KEY_SCOPE");
    refused(&other, &report, 401, "ERROR_LICENSE_UNKNOWN");
    let unknown = "12345678-aaaa-bbbb-cccc-1234567890abcdef";
    let unknown = with(&report, "USER_LICENSE_KEY", unknown);
    refused(&provider, &unknown, 401, "ERROR_LICENSE_UNKNOWN");
    let elsewhere = with(&report, "API_URL", "/elsewhere");
    refused(&provider, &elsewhere, 404, "ERROR_ROUTE_UNKNOWN");
    let narrow = site.gateway.license(&["--permission", "GET /dear"]);
    let narrow = with(&report, "USER_LICENSE_KEY", narrow.key);
    refused(&provider, &narrow, 403, "ERROR_ROUTE_NOT_PERMITTED");
    // The address that reports is the provider's: where the license may be used from was for the provider to judge.
    let away = site.gateway.license(&["--allow-ip", "192.0.2.0/24"]);
    let away = with(&report, "USER_LICENSE_KEY", away.key);
    let _ = stamped(&provider, &with(&away, "ID", "order-2"));
    let stamp = stamped(&provider, &report);
    let _ = site.gateway.cli().text(&["license", "revoke", &license.id]);
    let late = with(&report, "ID", "order-3");
    refused(&provider, &late, 403, "ERROR_LICENSE_REVOKED");
    assert_eq!(stamped(&provider, &report), stamp, "what was stamped stays");
    let charged = || {
        let calls = site.gateway.calls(&[]);
        let charged = calls.iter().filter(|call| call["outcome"] != "refused");
        charged.count()
    };
    assert_eq!(charged(), 2);
}

#[test]
fn bad_input_names_the_field_and_is_not_recorded() {
    let site = site();
    let provider = Apifew::of_app(&site.gateway, "api");
    let license = site.gateway.license(&["--remaining", "1"]);
    let base = report(&license, Some("order-1"));
    for (field, value, code) in [
        ("USER_LICENSE_KEY", json!(1), "ERROR_FIELD_INVALID"),
        ("API_URL", json!("a/b"), "ERROR_FIELD_INVALID"),
        ("API_URL", json!("/a/../b"), "ERROR_PATH_AMBIGUOUS"),
        ("API_URL", json!("x".repeat(8_193)), "ERROR_FIELD_INVALID"),
        ("API_METHOD", json!("BREW"), "ERROR_FIELD_INVALID"),
        ("REQUEST_STATUS_CODE", json!("200"), "ERROR_FIELD_INVALID"),
        ("REQUEST_STATUS_CODE", json!(99), "ERROR_FIELD_INVALID"),
        ("REQUEST_STATUS_CODE", json!(600), "ERROR_FIELD_INVALID"),
        ("ID", json!(""), "ERROR_FIELD_INVALID"),
        ("ID", json!(7), "ERROR_FIELD_INVALID"),
        ("ID", json!("x".repeat(256)), "ERROR_FIELD_INVALID"),
        ("ID", json!("a\nb"), "ERROR_FIELD_INVALID"),
        ("EXTRA", json!(1), "ERROR_FIELD_UNKNOWN"),
    ] {
        let refused = provider.ask(STAMP, &with(&base, field, value.clone()));
        assert_eq!(apifew::error(&refused, 400), code, "{field} {value}");
        assert_eq!(refused.json()["data"]["field"], field, "{value}");
    }
    for field in [
        "USER_LICENSE_KEY",
        "API_URL",
        "API_METHOD",
        "REQUEST_STATUS_CODE",
    ] {
        let mut report = base.clone();
        let _ = report.as_object_mut().expect("an object").remove(field);
        let refused = provider.ask(STAMP, &report);
        assert_eq!(apifew::error(&refused, 400), "ERROR_FIELD_MISSING");
        assert_eq!(refused.json()["data"]["field"], field);
    }
    let get = apifew::send(&site.gateway, Request::get(STAMP));
    assert_eq!(apifew::error(&get, 405), "ERROR_METHOD_NOT_ALLOWED");
    assert_eq!(site.gateway.calls(&[]).len(), 0);
    assert_eq!(left(&site.gateway, &license), 1);
}

/// Reports that were sent, and the stamps that came back.
#[derive(Default)]
struct Reports {
    sent: Mutex<HashSet<String>>,
    stamps: Mutex<HashMap<String, Value>>,
    answered: AtomicUsize,
}

impl Reports {
    /// Reports one call after the other until the gate is gone.
    fn send(&self, control: SocketAddr, key: &str, license: &License, name: &str) {
        let Ok(mut connection) = Connection::open(control) else {
            return;
        };
        for number in 0.. {
            let id = format!("{name}-{number}");
            let body = report(license, Some(&id)).to_string();
            let request = Request::post(STAMP, body.as_bytes()).header("Apifew-Key", key);
            self.sent.lock().expect("no panic").insert(id.clone());
            match connection.call(&request) {
                Ok(response) if response.complete => {
                    assert_eq!(response.status, 200, "{}", response.text());
                    let data = apifew::result(&response)["data"].clone();
                    self.stamps.lock().expect("no panic").insert(id, data);
                    self.answered.fetch_add(1, Ordering::Relaxed);
                }
                Ok(_) | Err(client::NoResponse::Closed) => return,
                Err(error) => panic!("{error:?}"),
            }
        }
    }
}

/// Kills the gate under reports, some rounds long: what was answered is kept (G1), and what was not is completed by a retry
/// of the same report, as one call (G2).
fn stamps_through_kill_9(durability: &str) {
    const ROUNDS: usize = 5;
    let mut site = Site::with(binary!(), |upstream| {
        config(upstream).durability(durability)
    });
    let license = site.gateway.license(&["--remaining", "1000000"]);
    let key = Apifew::of_app(&site.gateway, "api").key;
    let mut known: HashMap<String, Value> = HashMap::new();
    for round in 0..ROUNDS {
        let reports = Reports::default();
        let control = site.gateway.control_addr();
        std::thread::scope(|scope| {
            let (reports, key, license) = (&reports, &key, &license);
            for worker in 0..8 {
                let name = format!("{round}-{worker}");
                scope.spawn(move || reports.send(control, key, license, &name));
            }
            let moment = 20 + 37 * round;
            let answered = || reports.answered.load(Ordering::Relaxed);
            let reached = wait_for(test_timeout(), || (answered() >= moment).then_some(()));
            site.gateway.kill9();
            assert!(reached.is_some(), "{} of {moment}", answered());
        });
        site.gateway.restart();
        let stamps = reports.stamps.into_inner().expect("no panic");
        let ids = |calls: &[Value]| -> Vec<String> {
            let id = |call: &Value| call["call_id"].as_str().expect("an id").to_owned();
            calls.iter().map(id).collect()
        };
        let kept: HashSet<String> = ids(&site.gateway.calls(&[])).into_iter().collect();
        for (id, stamp) in &stamps {
            let call = stamp["call_id"].as_str().expect("an id");
            assert!(kept.contains(call), "{id} was answered and is lost");
        }
        let sent = reports.sent.into_inner().expect("no panic");
        let provider = Apifew::with_secret(&site.gateway, &key);
        for id in sent {
            let stamp = stamped(&provider, &report(&license, Some(&id)));
            if let Some(first) = stamps.get(&id) {
                assert_eq!(stamp, *first, "{id}");
            }
            known.insert(id, stamp);
        }
        let calls = ids(&site.gateway.wait_for_calls(known.len()));
        let expected: HashSet<&str> = known
            .values()
            .map(|stamp| stamp["call_id"].as_str().expect("an id"))
            .collect();
        assert_eq!(calls.len(), known.len(), "round {round}");
        assert!(calls.iter().all(|call| expected.contains(call.as_str())));
        assert_eq!(expected.len(), known.len());
        assert_books_are_right(&site.gateway);
    }
    assert_eq!(
        left(&site.gateway, &license),
        1_000_000 - known.len(),
        "each was charged once"
    );
    let keys = jwks(&site.gateway);
    for (id, stamp) in &known {
        let said = verified(stamp["stamp"].as_str().expect("a stamp"), &keys);
        let said = said.expect("a right signature");
        assert_eq!(
            (&said["id"], &said["call_id"]),
            (&json!(id), &stamp["call_id"])
        );
    }
}

#[test]
fn a_report_that_a_crash_broke_off_is_completed_by_its_retry() {
    stamps_through_kill_9("disk");
}

#[test]
fn a_report_that_a_crash_broke_off_is_completed_by_its_retry_without_waiting_for_the_disk() {
    stamps_through_kill_9("process");
}

#[test]
fn refusals_of_the_last_second_are_in_the_books_after_a_clean_end() {
    const REFUSED: usize = 20;
    let mut site = site();
    let license = site.gateway.license(&["--permission", "GET /dear"]);
    {
        let provider = Apifew::of_app(&site.gateway, "api");
        for number in 0..REFUSED {
            let report = report(&license, Some(&format!("order-{number}")));
            let answer = provider.ask(STAMP, &report);
            assert_eq!(apifew::error(&answer, 403), "ERROR_ROUTE_NOT_PERMITTED");
        }
    }
    assert_eq!(site.gateway.stop().code(), Some(0));
    site.gateway.restart();
    let usage = site.gateway.cli().json(&["usage", "--by", "outcome"]);
    assert_eq!(
        (&usage[0]["outcome"], &usage[0]["calls"]),
        (&json!("refused"), &json!(REFUSED)),
        "{usage}"
    );
}
