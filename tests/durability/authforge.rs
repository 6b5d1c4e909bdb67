//! Software that validates its license, or has its offline file made, while the gate is killed:
//! whatever moment it dies at, the same request sent again gets an answer, and each costs once.

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

/// A request that was sent, with the answer if one came.
struct Sent {
    body: String,
    answer: Option<String>,
}

fn post(addr: SocketAddr, path: &str, body: &str) -> Option<(u16, String)> {
    let mut connection = Connection::open(addr).ok()?;
    let request = Request::post(path, body.as_bytes());
    let response = connection.call(&request).ok()?;
    let text = response.text();
    // An answer that was cut is none.
    serde_json::from_str::<Value>(&text).ok()?;
    Some((response.status, text))
}

impl Software {
    fn of(gateway: &Gateway, slots: &str) -> Self {
        let credentials = gateway.cli().json(&["app", "credentials", "api"]);
        let text = |value: &Value, name: &str| value[name].as_str().expect(name).to_owned();
        let license = |_| {
            let slots = ["--key-format", "authforge", "--device-slots", slots];
            gateway.license(&slots).key
        };
        Self {
            app_id: text(&credentials, "app_id"),
            secret: text(&credentials, "app_secret"),
            keys: (0..PROGRAMS).map(license).collect(),
        }
    }

    fn body(&self, program: usize, device: &str, nonce: &str) -> String {
        json!({
            "appId": self.app_id,
            "appSecret": self.secret,
            "licenseKey": self.keys[program],
            "hwid": device,
            "nonce": nonce,
        })
        .to_string()
    }
}

/// Lets a program send requests until they end, it is told to stop, or the gate is gone.
fn run(
    (addr, path): (SocketAddr, &'static str),
    bodies: impl Iterator<Item = String> + Send + 'static,
    answered: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
) -> JoinHandle<Vec<Sent>> {
    std::thread::spawn(move || {
        let mut sent = Vec::new();
        for body in bodies {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let answer = post(addr, path, &body);
            let gone = answer.is_none();
            if let Some((status, text)) = &answer {
                assert!([200, 201].contains(status), "{text}");
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

/// Waits for so many answers of programs, kills the gate, and returns what they sent.
fn killed(
    gateway: &mut Gateway,
    programs: Vec<JoinHandle<Vec<Sent>>>,
    moment: usize,
    (answered, stop): (Arc<AtomicUsize>, Arc<AtomicBool>),
) -> Vec<Sent> {
    let reached = wait_for(test_timeout(), || {
        (answered.load(Ordering::Relaxed) >= moment).then_some(())
    });
    assert!(reached.is_some(), "{moment} requests are answered");
    gateway.kill9();
    stop.store(true, Ordering::Relaxed);
    let ended = programs.into_iter().map(|program| program.join());
    ended
        .flat_map(|sent| sent.expect("a program ends"))
        .collect()
}

/// Returns the answer to a request that is sent again after a restart. While the journal of the gate
/// that died is read, the answer is that it cannot say.
fn again(addr: SocketAddr, path: &str, body: &str) -> String {
    let again = wait_for(test_timeout(), || {
        let (status, text) = post(addr, path, body)?;
        assert!([200, 201, 503].contains(&status), "{status} {text}");
        (status != 503).then_some(text)
    });
    again.unwrap_or_else(|| panic!("{body}"))
}

/// Checks that the ledger has so many records of validations with this status, each once.
fn assert_recorded(gateway: &Gateway, status: u16, count: usize) {
    let verified = gateway.verify();
    assert_eq!(
        (&verified["lost"], &verified["duplicated"]),
        (&json!(0), &json!(0))
    );
    let mut calls = gateway.calls(&[]);
    calls.retain(|call| call["mode"] == "verify" && call["status"] == status);
    let ids: HashSet<_> = calls
        .iter()
        .map(|call| call["call_id"].to_string())
        .collect();
    assert_eq!(ids.len(), calls.len());
    assert_eq!(calls.len(), count, "each was recorded once");
}

#[test]
fn a_validation_that_is_sent_again_after_a_kill_9_gets_its_answer_and_costs_once() {
    const PATH: &str = "/auth/validate";
    let table = "[app.authforge]\nvalidate_limit = \"\"\nvalidate_limit_per_address = \"\"";
    let app = App::new("api", "http://127.0.0.1:9").table(table);
    let mut gateway = Gateway::start(binary!(), Config::default().app(app));
    let software = Arc::new(Software::of(&gateway, "1"));
    let mut random = Random::from_environment();
    let mut requests = HashSet::new();
    for round in 0..rounds() {
        let (answered, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let addr = gateway.control_addr();
        let program = |program: usize| {
            let software = Arc::clone(&software);
            let bodies = (0..).map(move |number| {
                let nonce = format!("{round}-{program}-{number}");
                software.body(program, &format!("device-{program}"), &nonce)
            });
            run((addr, PATH), bodies, Arc::clone(&answered), stop.clone())
        };
        let programs = (0..PROGRAMS).map(program).collect();
        let moment = 1 + random.below(60);
        let sent = killed(&mut gateway, programs, moment, (answered, stop));
        gateway.restart();
        for sent in &sent {
            let again = again(gateway.control_addr(), PATH, &sent.body);
            if let Some(first) = &sent.answer {
                assert_eq!(&again, first, "round {round}: {}", sent.body);
            }
            assert!(requests.insert(sent.body.clone()));
        }
    }
    assert_recorded(&gateway, 200, requests.len());
}

#[test]
fn a_device_whose_activation_met_a_kill_9_gets_its_file_and_costs_once() {
    const PATH: &str = "/auth/offline/activate";
    let table = "[app.authforge]\nvalidate_limit = \"\"\nvalidate_limit_per_address = \"\"\noffline_activation = true";
    let app = App::new("api", "http://127.0.0.1:9").table(table);
    let mut gateway = Gateway::start(binary!(), Config::default().app(app));
    let mut random = Random::from_environment();
    let mut devices = 0;
    for round in 0..rounds() {
        // No license has more files made than it has slots.
        let software = Arc::new(Software::of(&gateway, "16"));
        let (answered, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let addr = gateway.control_addr();
        let program = |program: usize| {
            let software = Arc::clone(&software);
            let bodies = (0..16).map(move |number| {
                let device = format!("{program}-{number}");
                software.body(program, &device, &device)
            });
            run((addr, PATH), bodies, Arc::clone(&answered), stop.clone())
        };
        let programs = (0..PROGRAMS).map(program).collect();
        let moment = 1 + random.below(60);
        let sent = killed(&mut gateway, programs, moment, (answered, stop));
        gateway.restart();
        let file = |answer: &str| {
            let answer: Value = serde_json::from_str(answer).expect("JSON");
            answer["file"].clone()
        };
        for sent in &sent {
            let addr = gateway.control_addr();
            let made = file(&again(addr, PATH, &sent.body));
            if let Some(first) = &sent.answer {
                assert_eq!(made, file(first), "round {round}: {}", sent.body);
            }
            assert_eq!(made, file(&again(addr, PATH, &sent.body)));
        }
        devices += sent.len();
    }
    assert_recorded(&gateway, 201, devices);
}
