//! Webhooks of a fleet: one gate at a time delivers, and its death or its stop moves the work.

use std::collections::HashSet;

use testkit::eventually::{test_timeout, wait_for};
use testkit::{Gateway, Receiver, Request, Upstream, assert_eventually};

use crate::support::fleet::Fleet;

const HERE: &str = "[control]\nallow_private_webhook_targets = true\nallow_plain_webhook_targets = true\n\
    [webhooks]\ntimeout = \"1s\"\n";
/// The rounds in which the gate that delivers is killed.
const ROUNDS: usize = 5;

fn delivered(gate: &Gateway) -> f64 {
    gate.metric(
        "tallygate_webhook_deliveries_total",
        &["result=\"delivered\""],
    )
}

fn start() -> (Fleet, Receiver) {
    let receiver = Receiver::start();
    let fleet = Fleet::with(3, |config| config.table(HERE));
    let create = ["webhook", "create", "--url", &receiver.url("/")];
    let _ = fleet.gates[0].cli().json(&create);
    (fleet, receiver)
}

/// Returns the licenses that the receiver was told of, and how many ids the messages have.
fn told(receiver: &Receiver) -> (HashSet<String>, usize) {
    let received = receiver.received();
    let license =
        |got: &testkit::Received| got.json()["data"]["license_id"].as_str().map(str::to_owned);
    let ids: HashSet<_> = received
        .iter()
        .map(|got| got.header("webhook-id").map(str::to_owned))
        .collect();
    (received.iter().filter_map(license).collect(), ids.len())
}

#[test]
fn changes_of_every_gate_are_told_once_by_the_one_that_delivers() {
    let (fleet, receiver) = start();
    let mut made = HashSet::new();
    for number in 0..30 {
        made.insert(fleet.gates[number % 3].license(&[]).id);
    }
    receiver.wait_for(30);
    assert_eventually!(fleet.gates.iter().map(delivered).sum::<f64>() == 30.0);
    let at_work = fleet
        .gates
        .iter()
        .filter(|gate| delivered(gate) > 0.0)
        .count();
    assert_eq!(at_work, 1, "one at a time");
    assert_eq!((told(&receiver).0, receiver.count()), (made, 30));
}

#[test]
fn the_death_of_the_gate_that_delivers_loses_nothing_and_moves_the_work() {
    let (mut fleet, receiver) = start();
    let mut made = HashSet::new();
    for _ in 0..ROUNDS {
        let before: Vec<f64> = fleet.gates.iter().map(delivered).collect();
        made.insert(fleet.gates[0].license(&[]).id);
        assert_eventually!(told(&receiver).0.len() == made.len());
        let works = |(gate, before): (&Gateway, &f64)| delivered(gate) > *before;
        assert_eventually!(fleet.gates.iter().zip(&before).any(works));
        let at_work = fleet
            .gates
            .iter()
            .zip(&before)
            .position(works)
            .expect("one works");
        made.insert(fleet.gates[(at_work + 1) % 3].license(&[]).id);
        fleet.gates[at_work].kill9();
        made.insert(fleet.gates[(at_work + 1) % 3].license(&[]).id);
        assert_eventually!(told(&receiver).0.len() == made.len());
        fleet.gates[at_work].restart();
    }
    let (licenses, ids) = told(&receiver);
    assert_eq!(
        (licenses, ids),
        (made.clone(), made.len()),
        "what comes twice has the same id"
    );
}

#[test]
fn three_gates_tell_one_upstream_once_and_one_that_is_gone_has_no_say() {
    let (mut fleet, receiver) = start();
    let license = fleet.license(&[]);
    let call = |gate: &Gateway| gate.call(&Request::get("/").key(&license.key)).status;
    // The gate that dies may not have noted what it delivered last: that comes again, with its id.
    let told = || -> Vec<String> {
        let mut ids = HashSet::new();
        let all = receiver.received();
        let new = all
            .iter()
            .filter(|got| ids.insert(got.header("webhook-id").map(str::to_owned)));
        let kinds = new.filter_map(|got| got.json()["type"].as_str().map(str::to_owned));
        kinds.filter(|kind| kind.starts_with("upstream.")).collect()
    };
    let upstream = std::mem::replace(&mut fleet.upstream, Upstream::start());
    let address = upstream.addr();
    let _ = upstream.stop();
    // Each of them finds it down before any finds it up.
    let seen = |fleet: &Fleet| {
        let count = "SELECT count(*) FROM upstreams_down";
        fleet.server.psql("test_0", count)
    };
    assert_eventually!({
        fleet
            .gates
            .iter()
            .for_each(|gate| assert_eq!(call(gate), 502));
        seen(&fleet) == "3"
    });
    assert_eventually!(told() == ["upstream.down"]);
    fleet.gates[0].kill9();
    let _back = Upstream::builder().port(address.port()).start();
    assert_eventually!({
        for gate in &fleet.gates[1..] {
            let _ = call(gate);
        }
        ["0", "1"].contains(&seen(&fleet).as_str())
    });
    // The last of them is dead.
    let both = ["upstream.down", "upstream.up"];
    let done = wait_for(test_timeout(), || (told() == both).then_some(()));
    assert!(
        done.is_some(),
        "{:?}, {} find it down",
        told(),
        seen(&fleet)
    );
    assert_eq!(seen(&fleet), "0");
}
