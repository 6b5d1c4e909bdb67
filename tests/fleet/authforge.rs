//! Software that validates its licenses at three gates of one store: an answer that was lost at one
//! is given by another, slots hold together, and what was decided at one is in force at all.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};
use testkit::client::{self, Connection, Request, Response};
use testkit::eventually::{test_timeout, wait_for};
use testkit::{App, Config, assert_eventually};

use crate::support::fleet::Fleet;

/// Three gates with an app whose software is sold, and its seller.
struct Software {
    fleet: Fleet,
    app_id: String,
    secret: String,
    seller: String,
}

impl Software {
    fn start() -> Self {
        let table = "[app.authforge]\nvalidate_limit = \"\"\nvalidate_limit_per_address = \"\"\nheartbeat_limit = \"\"\noffline_activation = true";
        let fleet = Fleet::serving(3, |upstream| {
            Config::default().app(App::new("api", upstream).table(table))
        });
        let text = |value: &Value, name: &str| value[name].as_str().expect(name).to_owned();
        let cli = fleet.gates[0].cli();
        let credentials = cli.json(&["app", "credentials", "api"]);
        let seller = text(&cli.json(&["key", "create"]), "key");
        Self {
            app_id: text(&credentials, "app_id"),
            secret: text(&credentials, "app_secret"),
            seller,
            fleet,
        }
    }

    fn license(&self, slots: u8) -> String {
        let body = json!({ "appId": self.app_id, "maxHwidSlots": slots });
        let made = self.sell(0, "POST", "/v1/licenses", &body);
        assert_eq!(made.status, 201, "{}", made.text());
        let key = made.json()["licenses"][0]["licenseKey"].clone();
        key.as_str().expect("a key").to_owned()
    }

    fn sell(&self, gate: usize, method: &str, path: &str, body: &Value) -> Response {
        let body = body.to_string();
        let bearer = format!("Bearer {}", self.seller);
        let request = Request::with_body(method, path, body.as_bytes());
        let request = request.header("Authorization", &bearer);
        client::call(self.fleet.gates[gate].control_addr(), &request)
    }

    fn body(&self, key: &str, device: &str, nonce: &str) -> Value {
        json!({
            "appId": self.app_id,
            "appSecret": self.secret,
            "licenseKey": key,
            "hwid": device,
            "nonce": nonce,
        })
    }

    /// The answer of a gate; asked again where the store of a busy machine did not answer in time.
    fn validate(&self, gate: usize, body: &Value) -> Response {
        self.ask(gate, "/auth/validate", body)
    }

    fn ask(&self, gate: usize, path: &str, body: &Value) -> Response {
        let text = body.to_string();
        let answered = wait_for(test_timeout(), || {
            let request = Request::post(path, text.as_bytes());
            let answer = client::call(self.fleet.gates[gate].control_addr(), &request);
            (answer.status != 503).then_some(answer)
        });
        answered.expect("the store answers at last")
    }

    fn code(&self, gate: usize, body: &Value) -> String {
        let answer = self.validate(gate, body).json();
        answer["error"].as_str().unwrap_or("none").to_owned()
    }
}

#[test]
fn an_answer_that_was_lost_at_one_gate_is_given_by_another_and_costs_once() {
    let software = Software::start();
    let key = software.license(1);
    for round in 0..10 {
        let body = software.body(&key, "a", &format!("nonce-{round}"));
        let first = software.validate(round % 3, &body);
        assert_eq!(first.status, 200, "{}", first.text());
        for gate in 0..3 {
            let again = software.validate(gate, &body);
            assert_eq!(
                (again.status, again.text()),
                (200, first.text()),
                "gate {gate}"
            );
        }
        let mut other = body;
        other["ttlSeconds"] = json!(3_600);
        assert_eq!(software.code((round + 1) % 3, &other), "replay_detected");
    }
    let verified = software.fleet.gates[0].verify();
    assert_eq!(
        (&verified["lost"], &verified["duplicated"]),
        (&json!(0), &json!(0))
    );
    let calls = || {
        let all = software.fleet.gates.iter().flat_map(|gate| gate.calls(&[]));
        all.map(|call| call["call_id"].to_string())
            .collect::<HashSet<_>>()
    };
    assert_eventually!(calls().len() == 10);
}

/// The validations that a gate had claimed when it was killed are told apart from those that it had
/// not by nobody: all of them are answered by another gate, although the dead one does not come back.
#[test]
fn a_validation_that_was_cut_off_by_the_death_of_its_gate_is_answered_by_another() {
    let mut software = Software::start();
    let key = software.license(1);
    let addr = software.fleet.gates[0].control_addr();
    let answered = Arc::new(AtomicUsize::new(0));
    let program = |program: usize| {
        let body = software.body(&key, "a", "");
        let answered = Arc::clone(&answered);
        thread::spawn(move || {
            for number in 0.. {
                let mut body = body.clone();
                body["nonce"] = json!(format!("{program}-{number}"));
                let text = body.to_string();
                let request = Request::post("/auth/validate", text.as_bytes());
                let connection = Connection::open(addr).ok();
                let answer = connection.and_then(|mut connection| connection.call(&request).ok());
                if answer.is_none_or(|answer| answer.status != 200) {
                    return body;
                }
                answered.fetch_add(1, Ordering::Relaxed);
            }
            body
        })
    };
    let programs: Vec<_> = (0..8).map(program).collect();
    assert_eventually!(answered.load(Ordering::Relaxed) >= 40);
    software.fleet.gates[0].kill9();
    for program in programs {
        let lost = program.join().expect("a program ends");
        let answer = software.validate(1, &lost);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let again = software.validate(2, &lost);
        assert_eq!((again.status, again.text()), (200, answer.text()));
    }
}

#[test]
fn a_file_that_one_gate_made_is_given_by_another_and_costs_once() {
    let software = Software::start();
    let cli = software.fleet.gates[0].cli();
    let credited = cli.json(&[
        "account", "credit", "default", "--units", "20", "--reason", "a test",
    ]);
    assert_eq!(credited["units"], 20);
    let key = software.license(2);
    let activate = |gate: usize, device: &str, nonce: &str| {
        let body = software.body(&key, device, nonce);
        software.ask(gate, "/auth/offline/activate", &body)
    };
    let first = activate(0, "a", "first");
    assert_eq!(first.status, 201, "{}", first.text());
    for gate in 0..3 {
        let again = activate(gate, "a", &format!("again {gate}"));
        assert_eq!(again.status, 200, "{}", again.text());
        assert_eq!(again.json()["file"], first.json()["file"], "gate {gate}");
    }
    let answers: Vec<_> = thread::scope(|scope| {
        let activate = &activate;
        let tries: Vec<_> = (0..6)
            .map(|number| {
                scope.spawn(move || activate(number % 3, "b", &format!("at once {number}")))
            })
            .collect();
        let answers = tries.into_iter().map(|one| one.join().expect("an answer"));
        answers.collect()
    });
    let new = answers.iter().filter(|answer| answer.status == 201);
    assert!(new.count() <= 1);
    let files = answers
        .iter()
        .map(|answer| answer.json()["file"].to_string());
    assert_eq!(files.collect::<HashSet<_>>().len(), 1);
    let paid = || {
        let all = software.fleet.gates.iter().flat_map(|gate| gate.calls(&[]));
        let units = |call: &Value| call["units"].as_u64().expect("units");
        let all: HashMap<_, _> = all
            .map(|call| (call["call_id"].to_string(), units(&call)))
            .collect();
        (all.len(), all.values().sum::<u64>())
    };
    assert_eventually!(paid() == (2, 4));
    let verified = software.fleet.gates[0].verify();
    assert_eq!(
        (&verified["lost"], &verified["duplicated"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(paid(), (2, 4), "of two devices");
}

#[test]
fn devices_that_come_to_three_gates_at_once_take_no_more_slots_than_there_are() {
    let software = Software::start();
    let key = software.license(2);
    let answers: Vec<_> = thread::scope(|scope| {
        let tries: Vec<_> = (0..12)
            .map(|number| {
                let (software, key) = (&software, &key);
                scope.spawn(move || {
                    let name = format!("new-{number}");
                    software.code(number % 3, &software.body(key, &name, &name))
                })
            })
            .collect();
        tries
            .into_iter()
            .map(|one| one.join().expect("an answer"))
            .collect()
    });
    let passed = answers.iter().filter(|code| *code == "none").count();
    let full = answers
        .iter()
        .filter(|code| *code == "hwid_mismatch")
        .count();
    assert_eq!((passed, full), (2, 10), "{answers:?}");
}

#[test]
fn what_a_seller_decides_at_one_gate_is_in_force_at_all() {
    let software = Software::start();
    let key = software.license(3);
    let mut number = 0;
    let mut code = |gate: usize| {
        number += 1;
        software.code(gate, &software.body(&key, "a", &format!("nonce-{number}")))
    };
    for gate in 0..3 {
        assert_eq!(code(gate), "none");
    }
    let app = format!("/v1/apps/{}", software.app_id);
    let switch = |on: bool| {
        software
            .sell(1, "PUT", &app, &json!({ "enabled": on }))
            .status
    };
    assert_eq!(switch(false), 200);
    assert_eq!(code(1), "app_disabled", "at once where it was decided");
    for gate in [0, 2] {
        assert_eventually!(code(gate) == "app_disabled");
    }
    assert_eq!(switch(true), 200);
    assert_eq!(code(1), "none");
    let block = json!({ "type": "hwid", "value": "a" });
    let blocked = software.sell(2, "POST", &format!("{app}/security/blacklist"), &block);
    assert_eq!(blocked.status, 201, "{}", blocked.text());
    assert_eq!(code(2), "blocked");
    for gate in [0, 1] {
        assert_eventually!(code(gate) == "blocked");
    }
    // A new secret is taken by every gate, and the one before by none once its overlap is over.
    let renewed = software.fleet.gates[0]
        .cli()
        .json(&["app", "credentials", "api"]);
    let mut body = software.body(&key, "b", "with the new secret");
    body["appSecret"] = renewed["app_secret"].clone();
    assert_eventually!(software.code(2, &body) == "none");
}
