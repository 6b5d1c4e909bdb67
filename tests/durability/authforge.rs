//! Software that validates its license while the gate is killed: whatever moment it dies at, the
//! same request sent again gets an answer, and each costs once.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use serde_json::{Value, json};
use testkit::client::{Connection, Request};
use testkit::eventually::{test_timeout, wait_for};
use testkit::{App, Config, Gateway, binary};

use crate::{Random, rounds};

/// Programs that validate at once, each its own license.
const PROGRAMS: usize = 4;

/// The credentials of software.
struct Software {
    app_id: String,
    secret: String,
    keys: Vec<String>,
}

/// A validation that was sent, with the answer if one came.
struct Sent {
    body: String,
    answer: Option<String>,
}

fn post(addr: SocketAddr, body: &str) -> Option<(u16, String)> {
    let mut connection = Connection::open(addr).ok()?;
    let request = Request::post("/auth/validate", body.as_bytes());
    let response = connection.call(&request).ok()?;
    let text = response.text();
    // An answer that was cut is none.
    serde_json::from_str::<Value>(&text).ok()?;
    Some((response.status, text))
}

impl Software {
    fn of(gateway: &Gateway) -> Self {
        let credentials = gateway.cli().json(&["app", "credentials", "api"]);
        let text = |value: &Value, name: &str| value[name].as_str().expect(name).to_owned();
        let license = |_| {
            let slots = ["--key-format", "authforge", "--device-slots", "1"];
            gateway.license(&slots).key
        };
        Self {
            app_id: text(&credentials, "app_id"),
            secret: text(&credentials, "app_secret"),
            keys: (0..PROGRAMS).map(license).collect(),
        }
    }

    fn body(&self, program: usize, nonce: &str) -> String {
        json!({
            "appId": self.app_id,
            "appSecret": self.secret,
            "licenseKey": self.keys[program],
            "hwid": format!("device-{program}"),
            "nonce": nonce,
        })
        .to_string()
    }
}

/// Lets a program validate again and again until it is told to stop or the gate is gone.
fn run(
    software: Arc<Software>,
    addr: SocketAddr,
    program: usize,
    round: usize,
    answered: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
) -> JoinHandle<Vec<Sent>> {
    std::thread::spawn(move || {
        let mut sent = Vec::new();
        for number in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let body = software.body(program, &format!("{round}-{program}-{number}"));
            let answer = post(addr, &body);
            let gone = answer.is_none();
            if let Some((status, text)) = &answer {
                assert_eq!(*status, 200, "{text}");
                answered.fetch_add(1, Ordering::Relaxed);
            }
            let answer = answer.map(|(_, text)| text);
            sent.push(Sent { body, answer });
            if gone {
                break;
            }
        }
        sent
    })
}

#[test]
fn a_validation_that_is_sent_again_after_a_kill_9_gets_its_answer_and_costs_once() {
    let table = "[app.authforge]\nvalidate_limit = \"\"\nvalidate_limit_per_address = \"\"";
    let app = App::new("api", "http://127.0.0.1:9").table(table);
    let mut gateway = Gateway::start(binary!(), Config::default().app(app));
    let software = Arc::new(Software::of(&gateway));
    let mut random = Random::from_environment();
    let mut requests = HashSet::new();
    for round in 0..rounds() {
        let (answered, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let addr = gateway.control_addr();
        let programs: Vec<_> = (0..PROGRAMS)
            .map(|program| {
                let (answered, stop) = (Arc::clone(&answered), stop.clone());
                run(software.clone(), addr, program, round, answered, stop)
            })
            .collect();
        let moment = 1 + random.below(60);
        let reached = wait_for(test_timeout(), || {
            (answered.load(Ordering::Relaxed) >= moment).then_some(())
        });
        assert!(
            reached.is_some(),
            "round {round}: {moment} validations pass"
        );
        gateway.kill9();
        stop.store(true, Ordering::Relaxed);
        let sent: Vec<_> = programs
            .into_iter()
            .map(|program| program.join().expect("a program ends"))
            .collect();
        gateway.restart();
        let addr = gateway.control_addr();
        for sent in sent.iter().flatten() {
            // While the journal of the gate that died is read, the answer is that it cannot say.
            let again = wait_for(test_timeout(), || {
                let (status, text) = post(addr, &sent.body)?;
                assert!(
                    status == 200 || status == 503,
                    "round {round}: {status} {text}"
                );
                (status == 200).then_some(text)
            });
            let again = again.unwrap_or_else(|| panic!("round {round}: {}", sent.body));
            if let Some(first) = &sent.answer {
                assert_eq!(&again, first, "round {round}: {}", sent.body);
            }
            assert!(requests.insert(sent.body.clone()));
        }
    }
    let verified = gateway.verify();
    assert_eq!(
        (&verified["lost"], &verified["duplicated"]),
        (&json!(0), &json!(0))
    );
    let mut calls = gateway.calls(&[]);
    calls.retain(|call| call["mode"] == "verify" && call["status"] == 200);
    let ids: HashSet<_> = calls
        .iter()
        .map(|call| call["call_id"].to_string())
        .collect();
    assert_eq!(ids.len(), calls.len());
    assert_eq!(calls.len(), requests.len(), "each was recorded once");
}
