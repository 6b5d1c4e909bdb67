//! better-auth on three gates that share a store and a Redis: counters hold together, and what one was told all know.

use std::sync::Barrier;
use std::thread;

use crate::support::better_auth::{self, text};
use crate::support::bounds::{self, each_way, one_within};
use crate::support::fleet::Fleet;
use serde_json::{Value, json};
use testkit::client::{self, Request};
use testkit::eventually::{test_timeout, wait_for};
use testkit::{Gateway, assert_eventually};

/// Three gates, and who owns the keys.
struct Owned {
    fleet: Fleet,
    owner: String,
}

impl Owned {
    fn start() -> Self {
        let fleet = Fleet::serving(3, better_auth::config);
        let owner = fleet.gates[0].cli().json(&["key", "create"]);
        let owner = text(&owner["key"]).to_owned();
        Self { fleet, owner }
    }

    fn gates(&self) -> &[Gateway] {
        &self.fleet.gates
    }

    /// A key that every gate knows, and none has used.
    fn issue(&self, arguments: &[&str]) -> Value {
        let mut all = vec!["apikey", "create", "--app", "api"];
        all.extend_from_slice(arguments);
        let made = self.gates()[0].cli().json(&all);
        // Wrong permissions are found before anything is taken.
        let strange = json!({ "key": made["key"], "permissions": { "nothing": ["at all"] } });
        for gate in 0..3 {
            let known = || self.ask(gate, &strange)["error"]["code"] == "KEY_NOT_FOUND";
            assert_eventually!(known());
        }
        made
    }

    /// A verification; asked again where the store of a busy machine did not answer in time.
    fn ask(&self, gate: usize, body: &Value) -> Value {
        let answered = wait_for(test_timeout(), || self.ask_once(gate, body));
        answered.expect("the store answers at last")
    }

    /// `None`: 503.
    fn ask_once(&self, gate: usize, body: &Value) -> Option<Value> {
        let body = body.to_string();
        let request = Request::post("/api/auth/api-key/verify", body.as_bytes())
            .header("Authorization", &format!("Bearer {}", self.owner));
        let response = client::call(self.gates()[gate].control_addr(), &request);
        if response.status == 503 {
            return None;
        }
        assert_eq!(response.status, 200, "{}", response.text());
        Some(response.json())
    }

    fn code(&self, gate: usize, key: &str) -> Option<String> {
        better_auth::code(&self.ask(gate, &json!({ "key": key }))).map(str::to_owned)
    }

    /// The status of a call through a gate.
    fn call(&self, gate: usize, key: &str) -> Option<u16> {
        let request = Request::get("/").host("api.test").header("x-api-key", key);
        bounds::status(&self.gates()[gate], &request)
    }

    fn shown(&self, gate: usize, key: &Value) -> Value {
        let id = text(&key["id"]);
        self.gates()[gate].cli().json(&["apikey", "show", id])
    }

    /// What is left of a key and how often it was used, as a gate knows it.
    fn counters(&self, gate: usize, key: &Value) -> (u64, u64) {
        let shown = self.shown(gate, key);
        let left = shown["remaining"].as_u64().unwrap_or(u64::MAX);
        (left, shown["request_count"].as_u64().expect("a number"))
    }

    /// Verifies on all gates at one moment, so many times on each; how many were valid.
    fn at_once(&self, times: usize, key: &str) -> usize {
        let barrier = Barrier::new(times * 3);
        let verify = |gate: usize| {
            barrier.wait();
            usize::from(self.code(gate, key).is_none())
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..times * 3)
                .map(|number| scope.spawn(move || verify(number % 3)))
                .collect();
            let valid = threads
                .into_iter()
                .map(|thread| thread.join().expect("it answers"));
            valid.sum()
        })
    }
}

#[test]
fn case_80_the_last_use_is_given_once_on_all_gates() {
    let owned = Owned::start();
    let made = owned.issue(&["--remaining", "1", "--no-rate-limit"]);
    assert_eq!(owned.at_once(4, text(&made["key"])), 1);
    assert_eq!(owned.shown(1, &made)["remaining"], 0);
}

#[test]
fn case_87_the_last_place_of_a_window_is_given_once_on_all_gates() {
    let owned = Owned::start();
    let made = owned.issue(&["--rate-limit", "2/1d"]);
    let key = text(&made["key"]);
    assert_eq!(owned.code(0, key), None);
    assert_eq!(owned.at_once(4, key), 1);
    assert_eq!(owned.shown(1, &made)["request_count"], 2);
}

/// At once on the gate that was told; on the others within 100 ms by a message, and within 2 s where that is lost.
#[test]
fn case_92_a_cached_key_that_is_switched_off_is_refused_by_every_gate_within_the_bound() {
    let owned = Owned::start();
    let in_use = || {
        let made = owned.issue(&["--no-rate-limit"]);
        for gate in 0..3 {
            assert_eventually!(owned.code(gate, text(&made["key"])).is_none());
            assert_eventually!(owned.call(gate, text(&made["key"])) == Some(200));
        }
        made
    };
    let all = |made: &Value, code: Option<&str>, status: u16| {
        let key = text(&made["key"]);
        (0..3).all(|gate| {
            owned.call(gate, key) == Some(status) && owned.code(gate, key).as_deref() == code
        })
    };
    let tell = |made: &Value, arguments: &[&str], code: Option<&str>, status: u16| {
        let mut told = vec!["apikey", arguments[0], text(&made["id"])];
        told.extend_from_slice(&arguments[1..]);
        let _told = owned.gates()[0].cli().text(&told);
        let key = text(&made["key"]);
        assert_eq!(owned.code(0, key).as_deref(), code, "at once");
        assert_eq!(owned.call(0, key), Some(status), "at once");
    };
    each_way(&owned.fleet, |bound| {
        let off = |made: &Value| tell(made, &["update", "--disable"], Some("KEY_DISABLED"), 403);
        let is_off = |made: &Value| all(made, Some("KEY_DISABLED"), 403);
        one_within(bound, in_use, off, is_off);
        let disabled = || {
            let made = in_use();
            off(&made);
            assert_eventually!(is_off(&made));
            made
        };
        let on = |made: &Value| tell(made, &["update", "--enable"], None, 200);
        one_within(bound, disabled, on, |made| all(made, None, 200));
        let gone = |made: &Value| tell(made, &["delete"], Some("INVALID_API_KEY"), 403);
        one_within(bound, in_use, gone, |made| {
            all(made, Some("INVALID_API_KEY"), 403)
        });
    });
}

/// Redis forgets all it had, by a command and by its death; the counts are those of the store.
#[test]
fn case_93_keys_and_counters_outlive_a_redis_that_lost_its_data() {
    let mut owned = Owned::start();
    let counted = owned.issue(&["--remaining", "120", "--no-rate-limit"]);
    let windowed = owned.issue(&["--remaining", "500", "--rate-limit", "120/1d"]);
    let short = owned.issue(&["--rate-limit", "20/30m"]);
    let key = |made: &Value| text(&made["key"]).to_owned();
    let (counted_key, windowed_key, short_key) = (key(&counted), key(&windowed), key(&short));
    let mut used = 0;
    let mut use_all = |owned: &Owned| {
        for gate in 0..3 {
            assert_eq!(owned.code(gate, &counted_key), None);
            assert_eq!(owned.code(gate, &windowed_key), None);
            used += 1;
        }
        // On one gate, which counts it by itself and tells the others through Redis.
        assert_eq!(owned.code(0, &short_key), None);
        used
    };
    let check = |owned: &Owned, used: u64| {
        for gate in 0..3 {
            let (left, _) = owned.counters(gate, &counted);
            assert!(left <= 120 - used, "{left} after {used} on {gate}");
            let (left, count) = owned.counters(gate, &windowed);
            assert!(left <= 500 - used, "{left} after {used} on {gate}");
            assert!(count >= used, "{count} after {used} on {gate}");
        }
        let (_, count) = owned.counters(0, &short);
        assert!(count >= used / 3, "{count} after {used}");
    };
    let used = use_all(&owned);
    check(&owned, used);
    owned.fleet.redis.flush();
    check(&owned, used);
    let used = use_all(&owned);
    check(&owned, used);
    owned.fleet.redis.kill();
    assert_eventually!(owned.fleet.redis_is(false));
    let used = use_all(&owned);
    check(&owned, used);
    owned.fleet.redis.restart();
    owned.fleet.redis.flush();
    assert_eventually!(owned.fleet.redis_is(true));
    let used = use_all(&owned);
    check(&owned, used);
    // A gate that starts with nothing in memory and nothing in Redis has it all from the store.
    owned.fleet.gates[2].kill9();
    owned.fleet.gates[2].restart();
    check(&owned, used);
    assert_eventually!(owned.fleet.redis_is(true));
    let used = use_all(&owned);
    check(&owned, used);
    until_refused(&owned, &counted_key, 120 - used, "USAGE_EXCEEDED");
    until_refused(&owned, &windowed_key, 120 - used, "RATE_LIMITED");
    let passed = (0..20).take_while(|_| owned.code(0, &short_key).is_none());
    assert_eq!(passed.count() as u64, 20 - used / 3);
    for gate in owned.gates() {
        let verify = gate.verify();
        assert_eq!(
            (&verify["lost"], &verify["duplicated"]),
            (&json!(0), &json!(0))
        );
    }
}

/// Uses up a key: exactly so many uses are left to all gates together, and then each refuses with this code.
fn until_refused(owned: &Owned, key: &str, left: u64, code: &str) {
    let mut valid = 0;
    let mut round = || {
        for gate in 0..3 {
            // 503 says that others were lent what this one has not.
            let asked = || owned.ask_once(gate, &json!({ "key": key }));
            while asked().is_some_and(|answer| better_auth::code(&answer).is_none()) {
                valid += 1;
            }
        }
        valid
    };
    // What one gate was lent and has not used comes back to the others while they are asked.
    assert_eventually!(round() >= left);
    assert_eq!(round(), left, "{code}");
    for gate in 0..3 {
        assert_eq!(owned.code(gate, key).as_deref(), Some(code));
    }
}
