//! Kill -9 between a change and its delivery, and between a delivery and its note: every event arrives, and what arrives twice has
//! the same id.

use std::collections::{HashMap, HashSet};

use testkit::{Config, Gateway, Received, Receiver, Upstream, assert_eventually, binary};

use crate::{Random, rounds};

const HERE: &str = "[control]\nallow_private_webhook_targets = true\nallow_plain_webhook_targets = true\n\
    [webhooks]\ntimeout = \"2s\"\n";
/// The licenses that are made in a round.
const LICENSES: usize = 4;

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

#[test]
fn every_change_is_told_although_the_gate_dies_before_or_after_the_delivery() {
    let (upstream, receiver) = (Upstream::start(), Receiver::start());
    let config = Config::new(&upstream.url()).table(HERE);
    let mut gateway = Gateway::start(binary!(), config);
    let url = receiver.url("/");
    let _ = gateway.cli().json(&["webhook", "create", "--url", &url]);
    let mut random = Random::from_environment();
    let mut changed = HashSet::new();
    for round in 0..rounds() {
        let before = receiver.count();
        for _ in 0..LICENSES {
            let id = gateway.license(&[]).id;
            let _ = gateway.cli().text(&["license", "disable", &id]);
            changed.insert(id);
        }
        // In every other round the gate dies as soon as something of it arrives, before that can be noted.
        if round % 2 == 1 {
            receiver.wait_for(before + 1 + random.below(LICENSES));
        }
        gateway.kill9();
        gateway.restart();
    }
    let is_told = |id: &String, told: &HashMap<String, Vec<(String, String)>>| {
        let about = told.get(id);
        about.is_some_and(|all| {
            let types: HashSet<_> = all.iter().map(|(kind, _)| kind.as_str()).collect();
            types == HashSet::from(["license.created", "license.disabled"])
        })
    };
    assert_eventually!({
        let told = told(&receiver.received());
        changed.iter().all(|id| is_told(id, &told))
    });
    let told = told(&receiver.received());
    assert_eq!(told.len(), changed.len(), "of others nothing is told");
    for about in told.values() {
        let ids: HashSet<_> = about.iter().collect();
        assert_eq!(ids.len(), 2, "the same event has the same id: {about:?}");
        let last_created = about
            .iter()
            .rposition(|(kind, _)| kind == "license.created");
        let first_disabled = about
            .iter()
            .position(|(kind, _)| kind == "license.disabled");
        assert!(last_created < first_disabled, "in their order: {about:?}");
    }
}
