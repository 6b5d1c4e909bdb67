//! Kill -9 within requests with an idempotency key: who sends them again has what they asked for, once.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use serde_json::json;
use testkit::client::{Connection, Request, Response};
use testkit::eventually::{test_timeout, wait_for};
use testkit::{Config, Gateway, Upstream, binary};

use crate::Random;

/// The licenses of one request, so many that some gates die while they are made.
const LICENSES: usize = 1_000;
/// The longest time for which a gate lives on, in milliseconds: as long as a request takes.
const LONGEST_LIFE: usize = 250;
const ROUNDS: usize = 6;

/// Sends the request; `None`: its gate died.
fn send(addr: SocketAddr, bearer: &str, key: &str, body: &str) -> Option<Response> {
    let request = Request::post("/api/v1/licenses/bulk", body.as_bytes())
        .header("Authorization", bearer)
        .header("Content-Type", "application/json")
        .header("Idempotency-Key", key);
    Connection::open(addr).ok()?.call(&request).ok()
}

#[test]
fn a_request_whose_gate_died_within_it_is_done_once_when_it_is_sent_again() {
    let upstream = Upstream::start();
    let mut gateway = Gateway::start(binary!(), Config::new(&upstream.url()));
    let mut random = Random::from_environment();
    for round in 1..=ROUNDS {
        // Each with a key of its own, so that its audit log begins with the request.
        let manager = gateway.cli().json(&["key", "create"]);
        let bearer = format!("Bearer {}", manager["key"].as_str().expect("a key"));
        let key = format!("order-{round}");
        let body = json!({ "licenses": vec![json!({ "app": "api", "label": key }); LICENSES] });
        let body = body.to_string();
        let life = Duration::from_millis(random.below(LONGEST_LIFE) as u64);
        let addr = gateway.control_addr();
        thread::scope(|scope| {
            scope.spawn(|| send(addr, &bearer, &key, &body));
            thread::sleep(life);
            gateway.kill9();
        });
        gateway.restart();
        let answer = wait_for(test_timeout(), || {
            let answer = send(gateway.control_addr(), &bearer, &key, &body).expect("it lives");
            let code = (answer.status == 409).then(|| answer.json()["code"].clone());
            (code != Some(json!("idempotency_under_way"))).then_some(answer)
        });
        let answer = answer.expect("nobody is at it");
        // Unknown is only what may have been done; here it was.
        let is_unknown = answer.status == 409 && answer.json()["code"] == "idempotency_unknown";
        assert!(is_unknown || answer.status == 201, "{}", answer.text());
        let made = gateway.cli().json(&["license", "list"]);
        let made = made.as_array().expect("a list").iter();
        let count = made
            .filter(|license| license["label"] == key.as_str())
            .count();
        assert_eq!(count, LICENSES, "{life:?}, then {}", answer.status);
    }
}
