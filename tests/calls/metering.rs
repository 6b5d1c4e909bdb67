//! How every way for a call to end is recorded: outcome, status and whether it is billed.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;
use testkit::client::{Connection, Request, Response};
use testkit::{App, Config, License, Site, Upstream, assert_eventually, binary};

/// Calls with a license and gives the answer with its closed record.
fn metered(site: &Site, license: &License, request: Request) -> (Response, Value) {
    let response = site.gateway.call(&request.key(&license.key));
    let record = site.gateway.record(response.call_id());
    (response, record)
}

/// The only record there is, once there is one.
fn only_record(site: &Site) -> Value {
    site.gateway.wait_for_calls(1).remove(0)
}

fn send(site: &Site, license: &License, request: Request) -> Connection {
    let mut connection = site.gateway.connect();
    connection
        .send(&request.key(&license.key).bytes())
        .expect("the gate reads");
    connection
}

fn assert_ended(record: &Value, status: u64, outcome: &str, billable: bool) {
    assert_eq!(record["status"], status, "{record}");
    assert_eq!(record["outcome"], outcome, "{record}");
    assert_eq!(record["billable"], billable, "{record}");
}

#[test]
fn a_good_call_is_recorded_with_everything_a_bill_needs() {
    let site = Site::with(binary!(), |upstream| {
        let routed = App::new("api", upstream)
            .route("/paid", &["methods = [\"GET\"]"])
            .route("/other", &[]);
        Config::default().app(routed)
    });
    let license = site.gateway.license(&[]);
    let (response, record) = metered(&site, &license, Request::get("/paid/bytes/250?secret=1"));

    assert_eq!((response.status, response.body.len()), (200, 250));
    assert_ended(&record, 200, "delivered", true);
    let expected = [
        ("license_id", license.id.as_str()),
        ("app", "api"),
        ("route", "/paid"),
        ("method", "GET"),
    ];
    for (field, value) in expected {
        assert_eq!(record[field], value, "{record}");
    }
    assert_eq!(
        (&record["mode"], &record["units"], &record["attempts"]),
        (&"proxy".into(), &1.into(), &1.into())
    );
    assert_eq!(record["response_bytes"], 250);
    assert!(
        record["duration_us"].as_u64() >= record["upstream_us"].as_u64(),
        "{record}"
    );
    assert!(
        record["started_at"]
            .as_str()
            .is_some_and(|at| at.ends_with('Z')),
        "{record}"
    );
    assert_eq!(
        site.upstream.served()[0].call_id.as_deref(),
        Some(response.call_id())
    );
    site.assert_clean(&[], &[]);
}

#[test]
fn every_success_is_billed_and_every_status_is_recorded() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    for status in [201, 204, 206, 301, 304, 404, 500] {
        let (response, record) =
            metered(&site, &license, Request::get(&format!("/status/{status}")));
        assert_eq!(u64::from(response.status), status);
        let billed = matches!(status, 200..=299 | 304);
        assert_ended(&record, status, "delivered", billed);
    }
    assert_eq!(site.gateway.calls(&[]).len(), 7);
    let usage = site.gateway.cli().json(&["usage", "--by", "license"]);
    assert_eq!(
        (&usage[0]["calls"], &usage[0]["billable_calls"]),
        (&7.into(), &4.into())
    );
}

#[test]
fn no_choice_of_the_caller_makes_calls_free_and_uncounted() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&["--remaining", "4"]);
    for status in [201, 204, 206, 304] {
        let (_, record) = metered(&site, &license, Request::get(&format!("/status/{status}")));
        assert_ended(&record, status, "delivered", true);
    }
    let refused = site
        .gateway
        .call(&Request::get("/status/206").key(&license.key));
    assert_eq!(refused.status, 402);
}

#[test]
fn the_statuses_that_an_app_bills_can_be_chosen() {
    let site = Site::with(binary!(), |upstream| {
        Config::default().app(App::new("api", upstream).line("billable = [\"200\", \"404\"]"))
    });
    let license = site.gateway.license(&[]);
    let (_, found) = metered(&site, &license, Request::get("/status/404"));
    let (_, created) = metered(&site, &license, Request::get("/status/201"));
    assert_ended(&found, 404, "delivered", true);
    assert_ended(&created, 201, "delivered", false);
}

#[test]
fn bodies_of_every_framing_are_delivered_and_counted() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    for (path, bytes) in [
        ("/stream/5/100/1", 500),
        ("/until-close/300", 300),
        ("/slow-body/40/1", 40),
        ("/bytes/0", 0),
    ] {
        let (response, record) = metered(&site, &license, Request::get(path));
        assert!(response.complete, "{path}");
        assert_eq!(response.body.len(), bytes, "{path}");
        assert_ended(&record, 200, "delivered", true);
        assert_eq!(record["response_bytes"], bytes, "{path}");
    }
}

#[test]
fn a_head_request_and_an_informational_answer_are_ordinary_calls() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let (head, record) = metered(&site, &license, Request::new("HEAD", "/bytes/500"));
    assert_eq!(
        (head.header("content-length"), head.body.len()),
        (Some("500"), 0)
    );
    assert_ended(&record, 200, "delivered", true);

    let (informed, record) = metered(&site, &license, Request::get("/informational/103"));
    assert_eq!(
        (informed.status, informed.informational.as_slice()),
        (200, &[103][..])
    );
    assert_ended(&record, 200, "delivered", true);
    assert_eq!(site.gateway.calls(&[]).len(), 2);
}

#[test]
fn a_stream_reaches_the_caller_as_it_comes() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let mut connection = send(&site, &license, Request::get("/hold-mid-body"));
    // The upstream sends the second half only when told: the first must not wait for it.
    assert_eq!(connection.read_head().expect("a head").status(), Some(200));
    assert_eq!(
        connection.read_exactly(1000).expect("half a body").len(),
        1000
    );
    site.upstream.release();
    assert_eq!(
        connection.read_exactly(1000).expect("the other half").len(),
        1000
    );
    assert_ended(&only_record(&site), 200, "delivered", true);
}

#[test]
fn a_request_body_reaches_the_upstream_and_is_counted() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let (response, record) = metered(&site, &license, Request::post("/echo", &[b'y'; 3000]));
    assert_eq!(response.json()["body"].as_str().map(str::len), Some(3000));
    assert_eq!(record["request_bytes"], 3000);

    let mut chunked = send(
        &site,
        &license,
        Request::new("POST", "/echo").header("Transfer-Encoding", "chunked"),
    );
    chunked
        .send(b"3\r\nabc\r\n0\r\n\r\n")
        .expect("the gate reads");
    assert_eq!(
        chunked.read_response("POST").expect("an answer").json()["body"],
        "abc"
    );
}

#[test]
fn an_answer_that_breaks_off_is_recorded_as_the_upstreams_failure_and_is_free() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    for path in ["/reset-mid-body", "/close-mid-body", "/cut-chunked"] {
        let (response, record) = metered(&site, &license, Request::get(path));
        assert!(!response.complete, "{path} looks whole to the caller");
        assert_ended(&record, 200, "upstream_failed", false);
    }
}

#[test]
fn an_upstream_that_gives_no_head_is_a_502_and_is_free() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    for path in [
        "/reset-before-head",
        "/close-before-head",
        "/close-mid-head",
        "/garbage",
    ] {
        let (response, record) = metered(&site, &license, Request::post(path, b"x"));
        assert_eq!(response.status, 502, "{path}");
        let code = match path {
            "/garbage" => "upstream_invalid",
            _ => "upstream_unreachable",
        };
        assert_eq!(response.refusal_code().as_deref(), Some(code), "{path}");
        assert_ended(&record, 502, "upstream_failed", false);
    }
    // Once each: a body that may have been sent is never sent again.
    assert_eq!(site.upstream.served_count(), 4);
}

#[test]
fn an_upstream_that_is_not_there_is_a_502_and_is_free() {
    let nowhere = testkit::port::Port::take();
    let site = Site::with(binary!(), |_| {
        Config::new(&format!("http://{}", nowhere.addr()))
    });
    let license = site.gateway.license(&[]);
    let (response, record) = metered(&site, &license, Request::get("/"));
    assert_eq!(
        response.refusal_code().as_deref(),
        Some("upstream_unreachable")
    );
    assert_ended(&record, 502, "upstream_failed", false);
    site.assert_clean(&[], &[]);
}

#[test]
fn an_upstream_that_takes_too_long_is_a_504_and_is_free() {
    let site = Site::with(binary!(), |upstream| {
        Config::default().app(App::new("api", upstream).line("read_timeout = \"300ms\""))
    });
    let license = site.gateway.license(&[]);
    let (response, record) = metered(&site, &license, Request::get("/hang"));
    assert_eq!(
        (response.status, response.refusal_code().as_deref()),
        (504, Some("upstream_timeout"))
    );
    assert_ended(&record, 504, "upstream_failed", false);
    // The head is out: all that can be done is to end the connection.
    let (cut, record) = metered(&site, &license, Request::get("/hold-mid-body"));
    assert!(!cut.complete);
    assert_ended(&record, 200, "upstream_failed", false);
    assert_eq!(site.upstream.served_count(), 2);
}

#[test]
fn a_call_may_go_on_without_its_caller() {
    let site = Site::with(binary!(), |upstream| {
        Config::default()
            .app(App::new("api", upstream).route("/", &["on_client_gone = \"finish\""]))
    });
    let license = site.gateway.license(&[]);
    let connection = send(&site, &license, Request::get("/hold"));
    site.upstream.wait_for_served(1);
    connection.half_close();
    site.upstream.release();
    assert_eventually!(site.upstream.served()[0].complete);
    drop(connection);
    let record = only_record(&site);
    assert_eq!(record["status"], 200, "{record}");
}

#[test]
fn the_outcomes_that_an_app_bills_can_be_chosen() {
    let site = Site::with(binary!(), |upstream| {
        let line = "billable_outcomes = [\"delivered\", \"upstream_failed\"]";
        Config::default().app(App::new("api", upstream).line(line))
    });
    let license = site.gateway.license(&[]);
    let (_, record) = metered(&site, &license, Request::get("/close-mid-body"));
    assert_ended(&record, 200, "upstream_failed", true);
    let mut connection = send(&site, &license, Request::get("/hold-mid-body"));
    let head = connection.read_head().expect("a head");
    connection.reset();
    let gone = site
        .gateway
        .record(head.header("tallygate-call-id").expect("a call id"));
    assert_ended(&gone, 200, "client_gone", false);
}

#[test]
fn a_caller_who_leaves_before_the_answer_is_recorded_and_not_billed() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let connection = send(&site, &license, Request::get("/hold"));
    site.upstream.wait_for_served(1);
    connection.reset();
    let record = only_record(&site);
    assert_eq!(
        (&record["outcome"], &record["billable"]),
        (&"client_gone".into(), &false.into()),
        "{record}"
    );
    assert_eq!(
        site.upstream.served()[0].call_id.as_deref(),
        record["call_id"].as_str()
    );
    site.assert_clean(&[], &[]);
}

#[test]
fn a_caller_who_leaves_within_the_body_is_billed() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let mut connection = send(&site, &license, Request::get("/hold-mid-body"));
    assert_eq!(connection.read_head().expect("a head").status(), Some(200));
    connection.reset();
    assert_ended(&only_record(&site), 200, "client_gone", true);
}

#[test]
fn a_caller_who_resets_a_big_download_is_billed() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let mut connection = send(&site, &license, Request::get("/bytes/200000000"));
    assert_eq!(connection.read_head().expect("a head").status(), Some(200));
    // Bytes are waiting unread: closing now resets the connection.
    drop(connection);
    let record = only_record(&site);
    assert_ended(&record, 200, "client_gone", true);
    assert!(
        record["response_bytes"].as_u64() < Some(200_000_000),
        "{record}"
    );
}

#[test]
fn an_answer_before_the_body_has_ended_is_passed_on_whole() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let request = Request::new("POST", "/early-413").header("Content-Length", "100000000");
    let mut connection = send(&site, &license, request);
    let response = connection
        .read_response("POST")
        .expect("the upstream's early answer");
    assert_eq!(
        (response.status, response.text().as_str()),
        (413, "too large\n")
    );
    drop(connection);
    assert_ended(&only_record(&site), 413, "delivered", false);
}

#[test]
fn a_stale_pooled_connection_costs_the_caller_nothing_and_makes_one_record() {
    let upstream = Upstream::builder().close_after(1).start();
    let site = Site::before(binary!(), upstream, Config::new);
    let license = site.gateway.license(&[]);
    let mut connection = site.gateway.connect();
    for _ in 0..20 {
        let response = connection
            .call(&Request::get("/").key(&license.key))
            .expect("an answer");
        assert_eq!(response.status, 200);
    }
    assert_eq!(site.gateway.wait_for_calls(20).len(), 20);
    site.assert_clean(&[], &[]);
}

#[test]
fn test_mode_is_recorded_and_never_billed() {
    let plan = "[[plan]]\nname = \"pro\"\ncurrency = \"EUR\"\nprice_per_unit = \"0.01\"";
    let site = Site::with(binary!(), |upstream| {
        Config::default().table(plan).app(
            App::new("api", upstream)
                .line("plan = \"pro\"")
                .line("mode = \"test\""),
        )
    });
    let license = site.gateway.license(&[]);
    let (_, record) = metered(&site, &license, Request::get("/"));
    assert_ended(&record, 200, "delivered", false);
    let usage = site.gateway.cli().json(&["usage", "--by", "license"]);
    assert_eq!(
        (&usage[0]["calls"], &usage[0]["billable_calls"]),
        (&1.into(), &0.into()),
        "{usage}"
    );
}

#[test]
fn a_bill_is_units_times_price() {
    let plan = "[[plan]]\nname = \"pro\"\ncurrency = \"EUR\"\nprice_per_unit = \"0.01\"";
    let site = Site::with(binary!(), |upstream| {
        let app = App::new("api", upstream)
            .line("plan = \"pro\"")
            .route("/dear", &["units = 5"])
            .route("/", &[]);
        Config::default().table(plan).app(app)
    });
    let license = site.gateway.license(&[]);
    for path in ["/dear", "/cheap", "/cheap", "/status/500"] {
        let _ = metered(&site, &license, Request::get(path));
    }
    let usage = site
        .gateway
        .cli()
        .json(&["usage", "--license", &license.id, "--by", "license"]);
    let row = &usage[0];
    assert_eq!(row["license_id"], license.id, "{usage}");
    assert_eq!(
        (&row["calls"], &row["billable_calls"]),
        (&4.into(), &3.into()),
        "{usage}"
    );
    let amount: f64 = row["amount"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .expect("a decimal string");
    assert!((amount - 0.07).abs() < 1e-9, "{usage}");
    assert_eq!(row["currency"], "EUR");
}

#[test]
fn units_come_from_the_upstreams_header_within_their_bound() {
    let site = Site::with(binary!(), |upstream| {
        let lines = ["units_header = \"X-Units\"", "units_max = 10"];
        Config::default().app(App::new("api", upstream).route("/units", &lines))
    });
    let license = site.gateway.license(&["--remaining", "100"]);
    for (path, units) in [("/units/7", 7), ("/units/10", 10), ("/units/999", 10)] {
        let (response, record) = metered(&site, &license, Request::get(path));
        assert_eq!(response.header("x-units"), None, "the header is ours alone");
        assert_eq!(record["units"], units, "{path}: {record}");
    }
    for (path, units, reason) in [
        ("/units/4.0", 4, None),
        ("/units/1e1", 10, None),
        ("/units/many", 1, Some("not_a_number")),
        ("/units/-1", 1, Some("negative")),
        ("/units/5,5", 1, Some("several")),
    ] {
        let (_, record) = metered(&site, &license, Request::get(path));
        assert_eq!(record["units"], units, "{path}: {record}");
        let said = record["units_unreadable"].as_str();
        assert_eq!(said, reason, "{path}: {record}");
    }
    // 27 by good numbers, 14 by good ones in other spellings, 3 by what could not be read.
    assert_eventually!({
        let shown = site.gateway.cli().json(&["license", "show", &license.id]);
        shown["remaining"] == 56
    });
    let log = site.gateway.log();
    let lines = log.matches("the units that an upstream named cannot be read");
    assert_eq!(lines.count(), 1, "one line a minute: {log}");
}

/// What JavaScript reads in a JSON text, by an expression over `read`.
fn read_by_node(json: &str, expression: &str) -> String {
    let script = format!(
        "const read = JSON.parse(require('fs').readFileSync(0, 'utf8')); console.log(String({expression}))"
    );
    let mut node = Command::new("node")
        .args(["-e", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node is installed");
    let mut input = node.stdin.take().expect("a pipe");
    input.write_all(json.as_bytes()).expect("node reads");
    drop(input);
    let output = node.wait_with_output().expect("node ends");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn numbers_that_javascript_rounds_are_refused_or_text_too() {
    const LARGEST: &str = "9007199254740991";
    let site = Site::with(binary!(), |upstream| {
        let lines = [
            "units_header = \"X-Units\"",
            &format!("units_max = {LARGEST}"),
        ];
        Config::default().app(App::new("api", upstream).route("/units", &lines))
    });
    let cli = site.gateway.cli();
    for (option, value) in [
        ("--remaining", "9007199254740992"),
        ("--refill", "9007199254740992/1h"),
    ] {
        let refused = cli.run(&["license", "create", "--app", "api", option, value]);
        assert_ne!(refused.code, 0, "{option}: {refused:?}");
        let told = format!("must be at most {LARGEST}");
        assert!(refused.stderr.contains(&told), "{option}: {refused:?}");
    }

    let full = site.gateway.license(&["--remaining", LARGEST]);
    let shown = cli.text(&["license", "show", &full.id, "--json"]);
    assert_eq!(read_by_node(&shown, "read.remaining"), LARGEST);
    assert_eq!(read_by_node(&shown, "read.remaining_text"), "undefined");

    let license = site.gateway.license(&[]);
    for units in [LARGEST, "9007199254740993", "4"] {
        let (_, record) = metered(&site, &license, Request::get(&format!("/units/{units}")));
        let taken = units.min(LARGEST);
        assert_eq!(record["units"].to_string(), taken, "{record}");
    }
    let usage = cli.text(&["usage", "--license", &license.id, "--json"]);
    let both = "read[0].units + ' ' + BigInt(read[0].units_text ?? read[0].units)";
    assert_eq!(
        read_by_node(&usage, both),
        "18014398509481984 18014398509481986"
    );
}
