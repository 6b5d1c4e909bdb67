//! Who follows the records by `GET /calls/closed` has each call once, as soon as it is closed.

#[path = "support/fleet.rs"]
mod fleet;

use std::fs::File;
use std::process::{Child, Command, Stdio};

use fleet::Fleet;
use serde_json::Value;
use testkit::{Gateway, License, Request, Site, assert_eventually, binary, client};

/// A program that keeps the calls that it read, and the cursor.
struct Follower {
    key: String,
    cursor: Option<String>,
    seen: Vec<String>,
}

impl Follower {
    fn new(gateway: &Gateway) -> Self {
        let key = gateway
            .cli()
            .json(&["key", "create", "--scope", "read:calls"]);
        Self {
            key: text(&key["key"]),
            cursor: None,
            seen: Vec::new(),
        }
    }

    /// Reads all that this gate shows now.
    fn look(&mut self, gateway: &Gateway) {
        loop {
            let mut target = "/api/v1/calls/closed?limit=3".to_owned();
            if let Some(cursor) = &self.cursor {
                target.push_str(&format!("&cursor={cursor}"));
            }
            let key = format!("Bearer {}", self.key);
            let request = Request::get(&target).header("Authorization", &key);
            let answer = client::call(gateway.control_addr(), &request);
            assert_eq!(answer.status, 200, "{}", answer.text());
            let page = answer.json();
            let items = page["items"].as_array().expect("a list");
            self.seen
                .extend(items.iter().map(|item| text(&item["call_id"])));
            self.cursor = Some(text(&page["next"]));
            if page["more"] == false {
                return;
            }
        }
    }

    fn has_once(&self, expected: &[String]) -> bool {
        let sorted = |ids: &[String]| {
            let mut ids = ids.to_vec();
            ids.sort();
            ids
        };
        sorted(&self.seen) == sorted(expected)
    }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value}"))
        .to_owned()
}

fn call(gateway: &Gateway, license: &License) -> String {
    let answer = gateway.call(&Request::get("/").key(&license.key));
    assert_eq!(answer.status, 200);
    answer.call_id().to_owned()
}

#[test]
fn a_stream_is_seen_when_it_ends_and_nothing_twice_through_a_crash_and_a_restart() {
    let mut site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let mut follower = Follower::new(&site.gateway);
    let request = Request::get("/hold-mid-body")
        .key(&license.key)
        .header("Connection", "close");
    let stream = site.gateway.open_stream(&request);
    let mut expected = vec![call(&site.gateway, &license)];
    assert_eventually!({
        follower.look(&site.gateway);
        follower.has_once(&expected)
    });
    site.upstream.release();
    let _whole = stream.read_to_end();
    let calls = site.gateway.wait_for_calls(2);
    expected = calls.iter().map(|call| text(&call["call_id"])).collect();
    assert_eventually!({
        follower.look(&site.gateway);
        follower.has_once(&expected)
    });

    let cut = site.gateway.open_stream(&request);
    expected.push(call(&site.gateway, &license));
    site.gateway.kill9();
    drop(cut);
    site.gateway.restart();
    let calls = site.gateway.wait_for_calls(4);
    assert_eq!(calls[2]["outcome"], "interrupted");
    expected.push(text(&calls[2]["call_id"]));
    expected.push(call(&site.gateway, &license));
    assert_eventually!({
        follower.look(&site.gateway);
        follower.has_once(&expected)
    });
    site.gateway.stop();
    site.gateway.restart();
    follower.look(&site.gateway);
    assert!(follower.has_once(&expected), "{:?}", follower.seen);
}

#[test]
fn each_call_of_a_fleet_is_seen_once_on_whichever_gate_is_asked() {
    let mut fleet = Fleet::start(2);
    let license = fleet.license(&[]);
    let mut follower = Follower::new(&fleet.gates[0]);
    let calls_before = |gate: &Gateway| -> Vec<String> {
        let calls = gate.calls(&[]);
        calls.iter().map(|call| text(&call["call_id"])).collect()
    };
    let mut expected = Vec::new();
    for gate in &fleet.gates {
        // Those that brought the license there.
        expected.extend(calls_before(gate));
    }
    for round in 0..6 {
        for gate in &fleet.gates {
            expected.push(call(gate, &license));
        }
        follower.look(&fleet.gates[round % 2]);
    }
    let shown = |follower: &mut Follower, gate: &Gateway| {
        follower.look(gate);
        follower.seen.len()
    };
    // What the second closed and has not sealed, only it shows.
    assert_eventually!(shown(&mut follower, &fleet.gates[0]) >= 6);
    let mut south = fleet.gates.pop().expect("the second");
    assert!(south.stop().success());
    assert_eventually!({
        follower.look(&fleet.gates[0]);
        follower.seen.len() >= expected.len()
    });
    follower.look(&fleet.gates[0]);
    assert!(follower.has_once(&expected), "{:?}", follower.seen);
}

/// `calls --follow` into a file, until the end of the test.
struct Printing(Child);

impl Drop for Printing {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_command_line_follows_calls_and_waits_for_a_gate_that_restarts() {
    let mut site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let before = call(&site.gateway, &license);
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("calls.jsonl");
    let output = File::create(&path).expect("a file");
    let child = Command::new(binary!())
        .arg("--config")
        .arg(site.gateway.config_path())
        .args(["calls", "--follow", "--json", "--license", &license.id])
        .stdout(output)
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let _printing = Printing(child);
    let printed = || -> Vec<String> {
        let mut lines = std::fs::read_to_string(&path).expect("text");
        // The last one may be half written.
        lines.truncate(lines.rfind('\n').map_or(0, |end| end + 1));
        let id = |line: &str| {
            let call: Value = serde_json::from_str(line).expect("JSON");
            text(&call["call_id"])
        };
        lines.lines().map(id).collect()
    };
    let mut made = Vec::new();
    assert_eventually!({
        made.push(call(&site.gateway, &license));
        !printed().is_empty()
    });
    site.gateway.kill9();
    site.gateway.restart();
    made.push(call(&site.gateway, &license));
    assert_eventually!(printed().last() == made.last());
    let printed = printed();
    assert!(!printed.contains(&before), "of the time before");
    // The first ones may have begun before the command did; of all others each is there once.
    let mut begun_since = made.iter().filter(|id| printed.contains(id));
    let first = begun_since.next().expect("there are some");
    let mut expected: Vec<_> = made.iter().skip_while(|id| *id != first).collect();
    let mut printed: Vec<_> = printed.iter().collect();
    expected.sort();
    printed.sort();
    assert_eq!(printed, expected);
}
