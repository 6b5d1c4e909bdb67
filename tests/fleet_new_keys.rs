//! A good key is never 401: on any gate, from the moment that its creation or rotation was answered.

#[path = "support/fleet.rs"]
mod fleet;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use fleet::{Fleet, config};
use model::{Credential, KeyFormat};
use testkit::eventually::{patience, wait_for};
use testkit::{
    Config, Connection, FaultProxy, Gateway, Load, Postgres, Redis, Request, Upstream,
    assert_eventually, binary,
};

/// How many make keys at once.
const MAKERS: usize = 8;

/// Three gates, the two others of which are called with what the first one makes.
struct Gates {
    gates: Vec<Gateway>,
    management: String,
}

impl Gates {
    fn of(gates: Vec<Gateway>) -> Self {
        let key = gates[0].cli().json(&["key", "create"]);
        let management = key["key"].as_str().expect("a key").to_owned();
        Self { gates, management }
    }

    /// A connection to the control plane of the first gate.
    fn control(&self) -> Maker {
        Maker {
            connection: Connection::open(self.gates[0].control_addr()).expect("a connection"),
            authorization: format!("Bearer {}", self.management),
        }
    }

    /// Asks the others, each on a connection of its own.
    fn others(&self) -> Vec<Connection> {
        let open = |gate: &Gateway| Connection::open(gate.addr()).expect("a connection");
        self.gates[1..].iter().map(open).collect()
    }
}

struct Maker {
    connection: Connection,
    authorization: String,
}

impl Maker {
    fn post(&mut self, path: &str, body: &str) -> serde_json::Value {
        let request = Request::post(path, body.as_bytes())
            .header("Authorization", &self.authorization)
            .header("Content-Type", "application/json");
        let answer = self.connection.call(&request).expect("an answer");
        assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
        answer.json()
    }

    /// The id and the key of a new license.
    fn license(&mut self) -> (String, String) {
        let made = self.post("/api/v1/licenses", r#"{"app":"api"}"#);
        (text(&made, "id"), text(&made, "key"))
    }
}

fn text(value: &serde_json::Value, field: &str) -> String {
    value[field].as_str().expect("a text").to_owned()
}

fn status(connection: &mut Connection, key: &str) -> u16 {
    let answer = connection.call(&Request::get("/").key(key));
    answer.expect("an answer").status
}

/// The status of a call that is made again where the gate had no time to hear of the key, as on a machine with much else to
/// do: 503 is the honest answer then.
fn status_in_time(connection: &mut Connection, key: &str) -> u16 {
    let told = || Some(status(connection, key)).filter(|status| *status != 503);
    wait_for(patience(), told).expect("not 503 for ever")
}

/// Ends the flood however the test ends.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Well-formed keys that nobody has, one after the other without a pause, until it is told to stop.
fn flood(addr: SocketAddr, stop: &AtomicBool, refused: &AtomicUsize) {
    let mut connection = Connection::open(addr).expect("a connection");
    while !stop.load(Ordering::Relaxed) {
        let key = Credential::generate(KeyFormat::Tallygate);
        let answer = connection.call(&Request::get("/").key(key.expose()));
        let status = answer.expect("an answer").status;
        assert!(matches!(status, 401 | 503), "{status}");
        refused.fetch_add(1, Ordering::Relaxed);
    }
}

/// Makes keys and rotates some of them, and calls the other gates with each at once.
fn make_and_rotate(gates: &Gates, created: usize, rotated: usize) {
    let (mut maker, mut others) = (gates.control(), gates.others());
    for number in 0..created {
        let (id, former) = maker.license();
        for other in &mut others {
            assert_eq!(status_in_time(other, &former), 200, "a fresh key");
        }
        if number >= rotated {
            continue;
        }
        let path = format!("/api/v1/licenses/{id}/rotate");
        let key = text(&maker.post(&path, r#"{"overlap":"1h"}"#), "key");
        for other in &mut others {
            assert_eq!(status_in_time(other, &key), 200, "the new key");
            assert_eq!(status_in_time(other, &former), 200, "in its overlap");
        }
        let key = text(&maker.post(&path, r#"{"overlap":"1s"}"#), "key");
        for other in &mut others {
            assert_eq!(status_in_time(other, &key), 200, "a short overlap");
        }
    }
}

/// Makes keys and rotates them under load, and calls the other gates with each of them at once.
fn assert_never_unknown(gates: &Gates, created: usize, rotated: usize) {
    let mut maker = gates.control();
    let (_, known) = maker.license();
    let load = |gate: &Gateway| {
        let known = known.clone();
        Load::new(gate.addr(), 4, move |_, _| {
            Request::get("/delay/2").key(&known)
        })
        .start()
    };
    let loads: Vec<_> = gates.gates.iter().map(load).collect();
    let (stop, refused) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for gate in &gates.gates[1..] {
            scope.spawn(|| flood(gate.addr(), &stop, &refused));
        }
        let _stop = Stop(&stop);
        std::thread::scope(|scope| {
            for _ in 0..MAKERS {
                scope.spawn(|| make_and_rotate(gates, created / MAKERS, rotated / MAKERS));
            }
        });
    });
    assert!(refused.into_inner() > 20, "a flood ran beside it");
    let seen: Vec<_> = loads.into_iter().flat_map(|load| load.stop()).collect();
    let refused = |call: &&testkit::Seen| !matches!(call.status, Some(200 | 503));
    assert_eq!(seen.iter().find(refused), None);
}

#[test]
fn fresh_and_rotated_keys_pass_on_the_other_gates_at_once() {
    let fleet = Fleet::start(3);
    let Fleet { gates, .. } = fleet;
    assert_never_unknown(&Gates::of(gates), 1_000, 200);
}

#[test]
fn fresh_and_rotated_keys_pass_on_the_other_gates_at_once_without_redis() {
    let (server, upstream) = (Postgres::start(), Upstream::start());
    let store = format!("[store]\nurl = \"{}\"", server.database());
    let start = |node: &str| {
        let config = Config::new(&upstream.url());
        Gateway::start(
            binary!(),
            config.server(&format!("node = \"{node}\"")).table(&store),
        )
    };
    let gates = ["north", "south", "west"].map(start).into();
    assert_never_unknown(&Gates::of(gates), 200, 50);
}

#[test]
fn a_key_that_a_gate_cut_off_from_the_store_does_not_know_is_503_and_never_401() {
    let (server, redis, upstream) = (Postgres::start(), Redis::start(), Upstream::start());
    let way = FaultProxy::before(server.addr());
    let direct = server.database();
    let by_way = direct.replace(&server.addr().to_string(), &way.addr().to_string());
    let start = |node: &str, store: &str| {
        let config = config(&upstream.url(), store, &redis.url(), node);
        Gateway::start(binary!(), config)
    };
    let gates = vec![start("north", &direct), start("south", &by_way)];
    let gates = Gates::of(gates);
    let (mut maker, mut other) = (gates.control(), gates.others().remove(0));
    let (_, known) = maker.license();
    assert_eq!(status_in_time(&mut other, &known), 200);
    way.cut();
    let mut seen = Vec::new();
    for _ in 0..5 {
        let (_, key) = maker.license();
        let answer = other.call(&Request::get("/").key(&key)).expect("an answer");
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert_eq!(answer.header("retry-after"), Some("1"));
        seen.push(key);
        assert_eq!(
            status(&mut other, &known),
            200,
            "known keys pass for their grace"
        );
    }
    way.heal();
    for key in seen {
        assert_eventually!(status(&mut other, &key) == 200);
    }
}
