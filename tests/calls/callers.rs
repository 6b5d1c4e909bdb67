//! What callers may do with their connection while a call is under way, and what it costs them.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::client::{Connection, Request};
use testkit::{App, Config, License, Site, assert_eventually, binary};

/// How long the gate keeps a connection that is of no use, and some patience.
const SOON: Duration = Duration::from_secs(4);

fn open(site: &Site, bytes: &[u8]) -> Connection {
    let mut connection = site.gateway.connect();
    connection.send(bytes).expect("the gate reads");
    connection
}

fn get(license: &License, path: &str) -> Vec<u8> {
    Request::get(path).key(&license.key).bytes()
}

fn status(connection: &mut Connection) -> u16 {
    let answer = connection.read_response("GET").expect("an answer");
    assert!(answer.complete);
    answer.status
}

fn with_route(lines: &[&str]) -> Site {
    Site::with(binary!(), |upstream| {
        Config::default().app(App::new("api", upstream).route("/", lines))
    })
}

fn assert_ended(record: &Value, status: u64, outcome: &str, billable: bool) {
    assert_eq!(record["status"], status, "{record}");
    assert_eq!(record["outcome"], outcome, "{record}");
    assert_eq!(record["billable"], billable, "{record}");
}

#[test]
fn requests_that_do_not_wait_for_answers_are_answered_in_their_order() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let codes = [201, 404, 200, 500];
    let all: Vec<u8> = codes
        .iter()
        .flat_map(|code| get(&license, &format!("/status/{code}")))
        .collect();
    let mut connection = open(&site, &all);
    assert_eq!(codes.map(|_| status(&mut connection)), codes);
    // One after the other, each while the one before is under way; a body in between.
    let mut connection = open(&site, &get(&license, "/hold"));
    site.upstream.wait_for_served(5);
    let post = Request::post("/echo", b"body").key(&license.key);
    connection.send(&post.bytes()).expect("the gate reads");
    connection
        .send(&get(&license, "/status/201"))
        .expect("the gate reads");
    let refused = Request::get("/").key("no such key").bytes();
    connection.send(&refused).expect("the gate reads");
    assert!(!connection.has_bytes());
    site.upstream.release();
    assert_eq!(status(&mut connection), 200);
    let echo = connection.read_response("POST").expect("an answer");
    assert_eq!(echo.json()["body"], "body");
    assert_eq!(status(&mut connection), 201);
    assert_eq!(status(&mut connection), 401);
    site.assert_clean(&[], &[]);
}

/// The folder of a client, whose package `deploy/setup.sh test` installs.
const UNDICI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/clients/undici");

#[test]
fn undici_is_answered_in_order_while_it_pipelines() {
    let installed = Path::new(UNDICI).join("node_modules/undici");
    assert!(installed.is_dir(), "run deploy/setup.sh test first");
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let mut client = Command::new("node")
        .arg("client.mjs")
        .current_dir(UNDICI)
        .env("BASE_URL", format!("http://{}", site.gateway.addr()))
        .env("KEY", &license.key)
        .stdout(Stdio::piped())
        .spawn()
        .expect("node is installed");
    let mut lines = BufReader::new(client.stdout.take().expect("a pipe")).lines();
    let mut line = || lines.next().expect("a line").expect("text");
    assert_eq!(line(), "sent");
    site.upstream.wait_for_served(2);
    site.upstream.release();
    for (path, status, length) in [
        ("/status/200", 200, 1),
        ("/hold", 200, 1),
        ("/status/404", 404, 1),
        ("/bytes/70000", 200, 70_000),
        ("/status/201", 201, 1),
    ] {
        let answer: Value = serde_json::from_str(&line()).expect("JSON");
        assert_eq!(answer["path"], path, "{answer}");
        assert_eq!(answer["status"], status, "{answer}");
        assert!(answer["length"].as_u64() >= Some(length), "{answer}");
        let record = site
            .gateway
            .record(answer["call_id"].as_str().expect("an id"));
        assert_ended(&record, status, "delivered", status < 300);
    }
    assert!(client.wait().expect("node ends").success());
    // One record for each, and nothing sent twice.
    assert_eq!(site.gateway.wait_for_calls(5).len(), 5);
    assert_eq!(site.upstream.served_count(), 5);
    site.assert_clean(&[], &[]);
}

#[test]
fn a_burst_of_requests_is_taken_as_fast_as_it_is_answered() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let mut connection = open(&site, &get(&license, "/hold"));
    site.upstream.wait_for_served(1);
    // More than is read ahead.
    let one = Request::get("/").header("X-Filler", &"x".repeat(2_000));
    let burst: Vec<u8> = (0..100)
        .flat_map(|_| one.clone().key(&license.key).bytes())
        .collect();
    connection.send(&burst).expect("the kernel takes it");
    site.upstream.release();
    for _ in 0..=100 {
        assert_eq!(status(&mut connection), 200);
    }
    // Whoever leaves with requests under way is noticed as anybody.
    let mut connection = open(&site, &get(&license, "/hold"));
    site.upstream.wait_for_served(102);
    connection
        .send(&get(&license, "/"))
        .expect("the gate reads");
    connection.reset();
    let record = &site.gateway.wait_for_calls(102)[101];
    assert_ended(record, 0, "client_gone", false);
}

#[test]
fn an_empty_line_after_a_request_belongs_to_nothing() {
    let site = Site::with(binary!(), |upstream| {
        Config::new(upstream).server("head_timeout = \"1s\"")
    });
    let license = site.gateway.license(&[]);
    let post = Request::post("/delay/100", b"old browsers").key(&license.key);
    let mut connection = open(&site, &post.bytes());
    site.upstream.wait_for_served(1);
    for wait in [0, 1_500] {
        connection.send(b"\r\n").expect("the gate reads");
        let answer = connection.read_response("POST").expect("an answer");
        assert_eq!(answer.status, 200);
        // Not the beginning of a head that never comes.
        std::thread::sleep(Duration::from_millis(wait));
        let mut together = post.bytes();
        together.extend_from_slice(b"\r\n");
        connection.send(&together).expect("the gate reads");
    }
    let answer = connection.read_response("POST").expect("an answer");
    assert_eq!(answer.status, 200);
}

#[test]
fn who_says_that_he_sends_nothing_more_gets_his_answer() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&["--remaining", "2"]);
    for path in ["/hold", "/hold-mid-body"] {
        let served = site.upstream.served_count();
        let mut connection = open(&site, &get(&license, path));
        site.upstream.wait_for_served(served + 1);
        connection.half_close();
        std::thread::sleep(Duration::from_millis(100));
        site.upstream.release();
        let answer = connection.read_response("GET").expect("an answer");
        assert!(answer.status == 200 && answer.complete, "{path}");
        assert!(connection.is_closed_by_peer());
        let record = site.gateway.record(answer.call_id());
        assert_ended(&record, 200, "delivered", true);
    }
    // With the request as well, as `nc -N` does. The upstream waits, or the answer might begin before the end is read.
    let license = site.gateway.license(&[]);
    let served = site.upstream.served_count();
    let mut connection = open(&site, &get(&license, "/hold"));
    connection.half_close();
    site.upstream.wait_for_served(served + 1);
    std::thread::sleep(Duration::from_millis(100));
    site.upstream.release();
    let answer = connection.read_response("GET").expect("an answer");
    assert_eq!(answer.header("connection"), Some("close"));
    site.assert_clean(&[], &[]);
}

#[test]
fn who_has_gone_when_his_answer_comes_did_not_get_it() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let connection = open(&site, &get(&license, "/hold"));
    site.upstream.wait_for_served(1);
    // No half-close, but the gate cannot tell until it writes.
    drop(connection);
    std::thread::sleep(Duration::from_millis(100));
    assert!(site.gateway.calls(&[]).is_empty(), "it goes on");
    site.upstream.release();
    assert_ended(&site.gateway.wait_for_calls(1)[0], 200, "client_gone", true);
    // A reset is leaving, also after the end was said, and costs as leaving does.
    let connection = open(&site, &get(&license, "/hold"));
    site.upstream.wait_for_served(2);
    connection.half_close();
    std::thread::sleep(Duration::from_millis(100));
    connection.reset();
    let record = &site.gateway.wait_for_calls(2)[1];
    assert_ended(record, 0, "client_gone", false);
    site.assert_clean(&[], &[]);
}

#[test]
fn a_route_may_take_the_end_of_sending_for_leaving() {
    let site = with_route(&["half_close = \"leave\""]);
    let license = site.gateway.license(&["--remaining", "1"]);
    let connection = open(&site, &get(&license, "/hold"));
    site.upstream.wait_for_served(1);
    connection.half_close();
    let record = &site.gateway.wait_for_calls(1)[0];
    assert_ended(record, 0, "client_gone", false);
    drop(connection);
    let refused = site.gateway.call(&Request::get("/").key(&license.key));
    assert_eq!(refused.status, 402, "it cost what leaving costs");
}

#[test]
fn a_route_that_finishes_does_not_mind_a_reset() {
    let site = with_route(&["on_client_gone = \"finish\""]);
    let license = site.gateway.license(&[]);
    let connection = open(&site, &get(&license, "/hold"));
    site.upstream.wait_for_served(1);
    connection.reset();
    std::thread::sleep(Duration::from_millis(100));
    site.upstream.release();
    assert_eventually!(site.upstream.served()[0].complete);
    let record = &site.gateway.wait_for_calls(1)[0];
    assert_eq!(record["status"], 200, "{record}");
}

#[test]
fn who_stops_within_his_request_is_to_blame_for_what_breaks() {
    let site = Site::with(binary!(), |upstream| {
        let app = App::new("api", upstream).line("read_timeout = \"500ms\"");
        Config::default().app(app)
    });
    let license = site.gateway.license(&["--remaining", "20"]);
    let begin = |target: &str| {
        let head = Request::new("POST", target)
            .header("Content-Length", "1000")
            .key(&license.key);
        let served = site.upstream.served_count();
        let mut connection = open(&site, &head.bytes());
        connection.send(b"the beginning").expect("the gate reads");
        site.upstream.wait_for_served(served + 1);
        connection
    };
    // The upstream has answered half and waits: its silence is not counted while the caller owes more.
    let mut connection = begin("/early-hold-mid-body");
    let head = connection.read_head().expect("a head");
    std::thread::sleep(Duration::from_millis(1_200));
    assert!(site.gateway.calls(&[]).is_empty(), "the caller may go on");
    connection.reset();
    let call_id = head.header("tallygate-call-id").expect("a call id");
    let record = site.gateway.record(call_id);
    assert_ended(&record, 200, "client_gone", true);
    // It has enough of waiting, and breaks off.
    let mut connection = begin("/early-hold-mid-body");
    let head = connection.read_head().expect("a head");
    std::thread::sleep(Duration::from_millis(1_200));
    site.upstream.disconnect_all();
    let call_id = head.header("tallygate-call-id").expect("a call id");
    assert_ended(&site.gateway.record(call_id), 200, "client_gone", true);
    // Without an answer too, it costs as leaving does: the unit stays spent.
    let connection = begin("/echo");
    std::thread::sleep(Duration::from_millis(1_200));
    site.upstream.disconnect_all();
    let record = &site.gateway.wait_for_calls(3)[2];
    assert_ended(record, 0, "client_gone", false);
    assert_eq!(connection.read_some().expect("it is closed"), b"");
    // A byte now and then is no better than none.
    let mut connection = begin("/early-hold-mid-body");
    let head = connection.read_head().expect("a head");
    for _ in 0..6 {
        std::thread::sleep(Duration::from_millis(400));
        connection.send(b"y").expect("the gate reads");
    }
    std::thread::sleep(Duration::from_millis(50));
    site.upstream.disconnect_all();
    let call_id = head.header("tallygate-call-id").expect("a call id");
    assert_ended(&site.gateway.record(call_id), 200, "client_gone", true);
    // An upstream that breaks off while a caller sends is to blame itself.
    let mut connection = begin("/early-hold-mid-body");
    let head = connection.read_head().expect("a head");
    connection.send(&[b'y'; 900]).expect("the gate reads");
    site.upstream.disconnect_all();
    let call_id = head.header("tallygate-call-id").expect("a call id");
    assert_ended(&site.gateway.record(call_id), 200, "upstream_failed", false);
}

#[test]
fn a_caller_who_rightly_holds_back_his_body_is_not_waited_for() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let expecting = |target: &str, key: &str| {
        let request = Request::new("POST", target)
            .header("Content-Length", "1000")
            .header("Expect", "100-continue");
        request.key(key).bytes()
    };
    let no = "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n";
    let with_words = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno";
    let early = |answer| testkit::raw_answer(answer).replace("/raw", "/early-raw");
    let cases = [
        (early(no), license.key.as_str(), 417),
        (early(with_words), &license.key, 401),
        ("/".to_owned(), "no such key", 401),
    ];
    for (target, key, expected) in cases {
        let mut connection = open(&site, &expecting(&target, key));
        let begun = Instant::now();
        let answer = connection.read_response("POST").expect("an answer");
        assert_eq!(answer.status, expected);
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(connection.is_closed_by_peer(), "{expected}");
        assert!(begun.elapsed() < SOON, "{expected}: {:?}", begun.elapsed());
    }
    for record in site.gateway.wait_for_calls(2) {
        assert_eq!(record["outcome"], "delivered", "{record}");
    }
    // Who is told to go on goes on.
    let mut connection = open(&site, &expecting("/echo", &license.key));
    let go_on = connection.read_head().expect("a head");
    assert_eq!(go_on.status(), Some(100));
    connection.send(&[b'x'; 1_000]).expect("the gate reads");
    let answer = connection.read_response("POST").expect("an answer");
    assert_eq!(answer.status, 200);
}

#[test]
fn an_answer_to_a_body_that_still_comes_is_read_whole() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let request = Request::post("/", &[b'x'; 1_000_000]).key("no such key");
    for _ in 0..20 {
        let mut connection = site.gateway.connect();
        connection.send(&request.bytes()).expect("it is heard out");
        let answer = connection.read_response("POST").expect("no reset");
        assert_eq!(answer.status, 401);
    }
    let good = site.gateway.call(&Request::get("/").key(&license.key));
    assert_eq!(good.status, 200);
}

#[test]
fn several_lines_of_connection_are_one_list() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&["--rate-limit", "3/1h"]);
    let with = |options: &[&str]| {
        let request = Request::get("/").key(&license.key);
        let add = |request: Request, option: &&str| request.header("Connection", option);
        let head = options.iter().fold(request, add).bytes();
        let mut connection = open(&site, &head);
        let answer = connection.read_response("GET").expect("an answer");
        (answer, connection)
    };
    // More options than the framework takes are refused before anything is taken or reached.
    for option in ["close", "keep-alive"] {
        let (answer, _) = with(&[option; 10]);
        assert_eq!(answer.status, 400, "{option}");
        assert_eq!(answer.refusal_code().as_deref(), Some("request_malformed"));
    }
    assert!(site.upstream.served().is_empty());
    // Whoever says anywhere that he takes no other answer gets no other.
    for options in [
        ["keep-alive", "close"],
        ["X-Own", "close"],
        ["close", "keep-alive"],
    ] {
        let (answer, connection) = with(&options);
        assert_eq!(answer.status, 200, "{options:?}");
        assert_eq!(answer.header("connection"), Some("close"), "{options:?}");
        assert!(connection.read_to_end().is_empty());
    }
    assert_eq!(site.gateway.wait_for_calls(3).len(), 3);
}
