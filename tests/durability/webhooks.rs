//! Kill -9 between a change and its delivery, and between a delivery and its note: every event arrives, and what arrives twice has
//! the same id. On SQLite and PostgreSQL, with one gate and with three.

use std::collections::{HashMap, HashSet};

use testkit::{Config, Gateway, Received, Receiver, Upstream, assert_eventually, binary};

use crate::support::fleet::Fleet;
use crate::{Random, rounds};

/// A short time-out: the next gate may deliver when it is over.
const HERE: &str = "[control]\nallow_private_webhook_targets = true\nallow_plain_webhook_targets = true\n\
    [webhooks]\ntimeout = \"1s\"\n";
/// The licenses that are made in a round.
const LICENSES: usize = 2;
/// The most rounds, however long an audit is.
const MOST_ROUNDS: usize = 200;

/// Returns the ids of the messages about each license, by type, in the order of arrival.
fn told(received: &[Received]) -> HashMap<String, Vec<(String, String)>> {
    let mut told: HashMap<String, Vec<(String, String)>> = HashMap::new();
    for got in received {
        let body = got.json();
        let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
        let id = got.header("webhook-id").expect("an id").to_owned();
        let about = told.entry(text(&body["data"]["license_id"])).or_default();
        about.push((text(&body["type"]), id));
    }
    told
}

fn is_told(about: &[(String, String)]) -> bool {
    let types: HashSet<_> = about.iter().map(|(kind, _)| kind.as_str()).collect();
    types == HashSet::from(["license.created", "license.disabled"])
}

/// Lets one of the gates die in each round, and starts it again.
fn kill_9_rounds(gates: &mut [Gateway]) {
    let receiver = Receiver::start();
    let url = receiver.url("/");
    let _ = gates[0].cli().json(&["webhook", "create", "--url", &url]);
    let mut random = Random::from_environment();
    let mut changed = HashSet::new();
    for round in 0..rounds().min(MOST_ROUNDS) {
        let before = receiver.count();
        for _ in 0..LICENSES {
            let gate = &gates[random.below(gates.len())];
            let id = gate.license(&[]).id;
            let _ = gate.cli().text(&["license", "disable", &id]);
            changed.insert(id);
        }
        // In every other round a gate dies as soon as something of it arrives, before that can be noted.
        if round % 2 == 1 {
            receiver.wait_for(before + 1 + random.below(LICENSES));
        }
        let dies = &mut gates[random.below(gates.len())];
        dies.kill9();
        dies.restart();
    }
    assert_eventually!({
        let told = told(&receiver.received());
        let is_told = |id: &String| told.get(id).is_some_and(|about| is_told(about));
        changed.iter().all(is_told)
    });
    let told = told(&receiver.received());
    assert_eq!(told.len(), changed.len(), "of others nothing is told");
    for about in told.values() {
        let ids: HashSet<_> = about.iter().collect();
        assert_eq!(ids.len(), 2, "the same event has the same id: {about:?}");
        let types: Vec<_> = about.iter().map(|(kind, _)| kind.as_str()).collect();
        let last_created = types.iter().rposition(|kind| *kind == "license.created");
        let first_disabled = types.iter().position(|kind| *kind == "license.disabled");
        assert!(last_created < first_disabled, "in their order: {about:?}");
    }
}

#[test]
fn kill_9_of_a_gate_with_sqlite_loses_no_event_of_a_webhook() {
    let upstream = Upstream::start();
    let config = Config::new(&upstream.url()).table(HERE);
    kill_9_rounds(&mut [Gateway::start(binary!(), config)]);
}

#[test]
fn kill_9_of_a_gate_with_postgresql_loses_no_event_of_a_webhook() {
    kill_9_rounds(&mut Fleet::with(1, |config| config.table(HERE)).gates);
}

#[test]
fn kill_9_of_one_of_three_gates_loses_no_event_of_a_webhook() {
    kill_9_rounds(&mut Fleet::with(3, |config| config.table(HERE)).gates);
}
