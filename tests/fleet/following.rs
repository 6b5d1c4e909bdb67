//! Who follows the records by `GET /calls/closed` has each call once, as soon as it is closed.

use std::fs::File;
use std::process::{Child, Command};

use crate::support::fleet::Fleet;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use testkit::{
    Config, FaultProxy, Gateway, License, Load, Postgres, Request, Site, assert_eventually, binary,
    client,
};

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

/// `calls --follow` of one license into files, until the end of the test.
struct Printing {
    child: Child,
    folder: TempDir,
}

impl Printing {
    fn start(gateway: &Gateway, license: &License, more: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let file = |name: &str| File::create(folder.path().join(name)).expect("a file");
        let child = Command::new(binary!())
            .arg("--config")
            .arg(gateway.config_path())
            .args(["calls", "--follow", "--json", "--license", &license.id])
            .args(more)
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .expect("started");
        Self { child, folder }
    }

    /// The ids of the calls that it has printed, in its order.
    fn calls(&self) -> Vec<String> {
        let mut lines = self.text("stdout");
        // The last one may be half written.
        lines.truncate(lines.rfind('\n').map_or(0, |end| end + 1));
        let id = |line: &str| {
            let call: Value = serde_json::from_str(line).expect("JSON");
            text(&call["call_id"])
        };
        lines.lines().map(id).collect()
    }

    /// What it has said beside them.
    fn said(&self) -> String {
        self.text("stderr")
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).expect("text")
    }

    /// Sends it a signal: one that stops it where it is, or lets it go on.
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it lives");
    }
}

impl Drop for Printing {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_command_line_follows_calls_and_waits_for_a_gate_that_restarts() {
    let mut site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let before = call(&site.gateway, &license);
    let printing = Printing::start(&site.gateway, &license, &[]);
    let mut made = Vec::new();
    assert_eventually!({
        made.push(call(&site.gateway, &license));
        !printing.calls().is_empty()
    });
    site.gateway.kill9();
    site.gateway.restart();
    made.push(call(&site.gateway, &license));
    assert_eventually!(printing.calls().last() == made.last());
    let printed = printing.calls();
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

/// Stopped and started on the same ports and store with calls under way, at last by a start that takes long: the command looks
/// for the gate while there is none, and while there is one that does not answer yet.
#[test]
fn the_command_line_prints_each_call_once_through_stops_and_starts_of_its_gate() {
    let server = Postgres::start();
    let way = FaultProxy::before(server.addr());
    let direct = server.database();
    let store = direct.replace(&server.addr().to_string(), &way.addr().to_string());
    let mut site = Site::with(binary!(), |upstream| {
        let store = format!("[store]\nurl = \"{store}\"\nconnect_timeout = \"1m\"");
        Config::new(upstream).table(&store)
    });
    let license = site.gateway.license(&[]);
    let since = testkit::clock::rfc3339_now();
    let mut printing = Printing::start(&site.gateway, &license, &["--from", &since]);
    let key = license.key.clone();
    let load = Load::new(site.gateway.addr(), 2, move |_, _| {
        Request::get("/delay/5").key(&key)
    })
    .start();
    // It is followed, and not only listed.
    let goes_on = |printing: &Printing| {
        let before = printing.calls().len();
        assert_eventually!(printing.calls().len() > before);
    };
    goes_on(&printing);
    for _ in 0..2 {
        assert!(site.gateway.stop().success());
        assert_eventually!(printing.said().contains("no gate is running"));
        site.gateway.restart();
        goes_on(&printing);
    }
    // Where it is while the gate ends, it next looks for one that is starting.
    printing.signal(Signal::STOP);
    assert!(site.gateway.stop().success());
    way.silence();
    site.gateway.launch();
    let is_there = || site.gateway.scrape("/healthz").is_some();
    assert_eventually!(is_there());
    printing.signal(Signal::CONT);
    assert_eventually!(printing.said().contains("is starting"));
    assert!(!site.gateway.is_ready());
    way.heal();
    site.gateway.wait_until_ready();
    goes_on(&printing);

    let seen = load.stop();
    let answered: Vec<_> = seen.into_iter().filter_map(|call| call.call_id).collect();
    let mut recorded = Vec::new();
    assert_eventually!({
        let calls = site.gateway.calls(&["--license", &license.id]);
        recorded = calls.iter().map(|call| text(&call["call_id"])).collect();
        answered.iter().all(|id| recorded.contains(id))
    });
    assert_eventually!(printing.calls().len() >= recorded.len());
    let mut printed = printing.calls();
    printed.sort();
    recorded.sort();
    assert_eq!(printed, recorded);
    let ended = printing.child.try_wait().expect("a child of ours");
    assert_eq!(ended, None, "{}", printing.said());
}
