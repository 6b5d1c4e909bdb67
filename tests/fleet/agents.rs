//! Rules on AI agents in a fleet: in force on the gate where they were set when the command returns,
//! and soon on all others.

use serde_json::Value;
use testkit::{Gateway, assert_eventually};

use crate::support::fleet::Fleet;

const GPTBOT: &str = "Mozilla/5.0 (compatible; GPTBot/1.2; +https://openai.com/gptbot)";

fn decided(gate: &Gateway) -> (Value, Value) {
    let test = ["agent", "test", "--user-agent", GPTBOT, "--path", "/news"];
    let mut decided = gate.cli().json(&test);
    (decided["access"].take(), decided["reason"].take())
}

fn set(gate: &Gateway, more: &[&str]) -> Value {
    let rule = ["agent", "set", "--operator", "openai", "--agent", "gptbot"];
    gate.cli().json(&[&rule, more].concat())
}

#[test]
fn a_rule_is_in_force_where_it_was_set_at_once_and_soon_on_all_gates() {
    let fleet = Fleet::start(3);
    let everywhere = |access: &str, reason: &str| {
        let expected = (Value::from(access), Value::from(reason));
        fleet.gates.iter().all(|gate| decided(gate) == expected)
    };
    assert!(everywhere("allow", "usage_allowed"));
    for round in 0..3 {
        let gate = &fleet.gates[round];
        let denied = set(gate, &["--access", "deny"]);
        assert_eq!(decided(gate).0, "deny");
        assert_eventually!(everywhere("deny", "usage_not_allowed"));
        let paid = set(gate, &["--access", "pay", "--price", "0.01"]);
        assert_eq!(paid["id"], denied["id"]);
        assert_eq!(decided(gate).0, "pay");
        assert_eventually!(everywhere("pay", "token_not_provided"));
        // Another gate than the one that set it removes it.
        let other = &fleet.gates[(round + 1) % 3];
        let id = paid["id"].as_str().expect("an id");
        let removed = other.cli().json(&["agent", "remove", id]);
        assert_eq!(removed["id"], paid["id"]);
        assert_eq!(decided(other).0, "allow");
        assert_eventually!(everywhere("allow", "usage_allowed"));
    }
    assert_eq!(
        fleet.gates[0].cli().json(&["agent", "list"]),
        Value::Array(vec![])
    );
}
