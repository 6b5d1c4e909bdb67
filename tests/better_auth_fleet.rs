//! better-auth on three gates that share a store: counters hold together, and what one was told all know.

#[path = "support/better_auth.rs"]
mod better_auth;

use std::sync::Barrier;
use std::thread;

use better_auth::{config, text};
use serde_json::{Value, json};
use testkit::client::{self, Request};
use testkit::{Gateway, Postgres, Upstream, assert_eventually, binary};

/// Three gates on one store.
struct Fleet {
    gates: Vec<Gateway>,
    owner: String,
    _upstream: Upstream,
    _server: Postgres,
}

impl Fleet {
    fn start() -> Self {
        let server = Postgres::start();
        let (store, upstream) = (server.database(), Upstream::start());
        let gate = |node: &str| {
            let config = config(&upstream.url())
                .server(&format!("node = \"{node}\""))
                .table(&format!("[store]\nurl = \"{store}\""));
            Gateway::prepare(binary!(), config)
        };
        let mut gates: Vec<Gateway> = ["north", "south", "west"].map(gate).into();
        gates.iter_mut().for_each(Gateway::launch);
        gates.iter_mut().for_each(Gateway::wait_until_ready);
        let owner = gates[0].cli().json(&["key", "create"]);
        Self {
            owner: text(&owner["key"]).to_owned(),
            gates,
            _upstream: upstream,
            _server: server,
        }
    }

    fn issue(&self, arguments: &[&str]) -> Value {
        let mut all = vec!["apikey", "create", "--app", "api"];
        all.extend_from_slice(arguments);
        self.gates[0].cli().json(&all)
    }

    fn verify(&self, gate: usize, key: &str) -> Value {
        let body = json!({ "key": key }).to_string();
        let request = Request::post("/api/auth/api-key/verify", body.as_bytes())
            .header("Authorization", &format!("Bearer {}", self.owner));
        let response = client::call(self.gates[gate].control_addr(), &request);
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()
    }

    fn code(&self, gate: usize, key: &str) -> Option<String> {
        better_auth::code(&self.verify(gate, key)).map(str::to_owned)
    }

    fn shown(&self, gate: usize, key: &Value) -> Value {
        self.gates[gate]
            .cli()
            .json(&["apikey", "show", text(&key["id"])])
    }

    /// Verifies on all gates at one moment, so many times on each; how many were valid.
    fn at_once(&self, times: usize, key: &str) -> usize {
        let barrier = Barrier::new(times * self.gates.len());
        let verify = |gate: usize| {
            barrier.wait();
            usize::from(self.code(gate, key).is_none())
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..times * self.gates.len())
                .map(|number| scope.spawn(move || verify(number % 3)))
                .collect();
            let valid = threads
                .into_iter()
                .map(|thread| thread.join().expect("it answers"));
            valid.sum()
        })
    }
}

/// Cases 80 and 87 on three gates.
#[test]
fn the_last_use_and_the_last_place_of_a_window_are_given_once_on_all_gates() {
    let fleet = Fleet::start();
    for arguments in [
        ["--remaining", "1", "--no-rate-limit"].as_slice(),
        &["--rate-limit", "1/1d"],
    ] {
        let made = fleet.issue(arguments);
        let key = text(&made["key"]);
        // All have heard of the key before they are asked together.
        let strange = json!({ "nothing": ["at all"] });
        for gate in 0..3 {
            let known = || {
                let body = json!({ "key": key, "permissions": strange }).to_string();
                let request = Request::post("/api/auth/api-key/verify", body.as_bytes())
                    .header("Authorization", &format!("Bearer {}", fleet.owner));
                let answer = client::call(fleet.gates[gate].control_addr(), &request).json();
                answer["error"]["code"] == "KEY_NOT_FOUND"
            };
            assert_eventually!(known());
        }
        assert_eq!(fleet.at_once(4, key), 1, "{arguments:?}");
        let shown = fleet.shown(1, &made);
        if arguments[0] == "--remaining" {
            assert_eq!(shown["remaining"], 0);
        } else {
            assert_eq!(shown["request_count"], 1);
        }
    }
}

/// Case 92: at once on the gate that was told, and within the stated bound on the others.
#[test]
fn a_cached_key_that_is_switched_off_is_refused_by_every_gate() {
    let fleet = Fleet::start();
    let made = fleet.issue(&["--no-rate-limit"]);
    let key = text(&made["key"]);
    for gate in 0..3 {
        assert_eventually!(fleet.code(gate, key).is_none());
    }
    let cli = fleet.gates[0].cli();
    for (switch, expected) in [("--disable", Some("KEY_DISABLED")), ("--enable", None)] {
        let _changed = cli.json(&["apikey", "update", text(&made["id"]), switch]);
        assert_eq!(fleet.code(0, key).as_deref(), expected);
        for gate in [1, 2] {
            assert_eventually!(fleet.code(gate, key).as_deref() == expected);
        }
    }
    let _deleted = cli.text(&["apikey", "delete", text(&made["id"])]);
    for gate in 0..3 {
        assert_eventually!(fleet.code(gate, key).as_deref() == Some("INVALID_API_KEY"));
    }
}

/// Case 93: a gate that dies suddenly takes no use of a key with it.
#[test]
fn no_counter_of_a_fleet_is_lower_after_the_death_of_a_gate() {
    let mut fleet = Fleet::start();
    let made = fleet.issue(&["--remaining", "100", "--rate-limit", "50/1d"]);
    let key = text(&made["key"]);
    let mut used = 0;
    for gate in 0..3 {
        assert_eventually!(fleet.code(gate, key).is_none());
        for _ in 0..4 {
            assert_eq!(fleet.code(gate, key), None);
        }
        used += 5;
    }
    fleet.gates[2].kill9();
    fleet.gates[2].restart();
    // What the dead gate had leased is spent or free again once its journal was read.
    let counters = |gate: usize| {
        let shown = fleet.shown(gate, &made);
        (shown["remaining"].as_u64(), shown["request_count"].as_u64())
    };
    for _ in 0..20 {
        let (remaining, count) = counters(2);
        assert!(
            remaining <= Some(100 - used) && count >= Some(used),
            "{remaining:?} {count:?}"
        );
    }
    let verify = fleet.gates[2].verify();
    assert_eq!(
        (&verify["lost"], &verify["duplicated"]),
        (&json!(0), &json!(0))
    );
}
