//! APIMW, and the accounts whose keys it takes, on three gates that share a store and a Redis.

use crate::support::apimw::{Pair, Tokens, bearer};
use crate::support::bounds::{self, each_way, one_within};
use crate::support::fleet::Fleet;
use testkit::{Gateway, Request, assert_eventually};

fn status(gate: &Gateway, tokens: &Tokens) -> Option<u16> {
    bounds::status(gate, &bearer(Request::get("/echo"), &tokens.access))
}

/// Two generations of tokens of one family, in use on every gate.
fn family(fleet: &Fleet) -> [Tokens; 2] {
    let gates = &fleet.gates;
    let pair = Pair::create(&gates[0], &["--app", "api"]);
    let first = pair.log_in(&gates[0]);
    let second = first.refresh(&gates[1]).tokens();
    for gate in gates {
        for tokens in [&first, &second] {
            assert_eq!(tokens.me(gate).status, 200);
            assert_eventually!(status(gate, tokens) == Some(200));
        }
    }
    [first, second]
}

/// On the control listener of every node when the revocation returns; at the gate of the node that made it then too, and
/// at those of the others within the bound of every change.
#[test]
fn case_38_a_token_that_one_node_revokes_is_dead_at_once_on_all_three() {
    let fleet = Fleet::start(3);
    let gates = &fleet.gates;
    let revoke = |family: &[Tokens; 2]| {
        let [first, second] = family;
        assert_eq!(second.revoke(&gates[2]).status, 200);
        for tokens in [first, second] {
            assert_eq!(status(&gates[2], tokens), Some(401));
        }
    };
    let is_dead = |family: &[Tokens; 2]| {
        let dead = |gate: &Gateway| {
            family
                .iter()
                .all(|tokens| status(gate, tokens) == Some(401))
        };
        gates.iter().all(dead)
    };
    each_way(&fleet, |bound| {
        one_within(bound, || family(&fleet), revoke, is_dead);
    });
    // Nobody waits here: each node is asked once.
    let family = family(&fleet);
    revoke(&family);
    for gate in gates {
        for tokens in &family {
            assert_eq!(tokens.me(gate).refusal(), (401, "REVOKED_TOKEN"));
            let refused = tokens.refresh(gate);
            assert_eq!(refused.refusal(), (401, "INVALID_REFRESH_TOKEN"));
        }
    }
}

/// By the control listener of every node: of the one that switched it off when the command returns, of the others within the
/// bound of every change; so is one that is switched on again.
#[test]
fn an_account_that_one_node_switches_off_is_refused_by_all_three() {
    let fleet = Fleet::start(3);
    let gates = &fleet.gates;
    let cli = gates[2].cli();
    let _account = cli.json(&["account", "create", "acme"]);
    let key = cli.json(&["key", "create", "--account", "acme"]);
    let key = key["key"].as_str().expect("a key");
    let list = bearer(Request::get("/api/v1/licenses"), key);
    let answers = |gate: &Gateway, status: u16| {
        let answer = testkit::client::call(gate.control_addr(), &list);
        answer.status == status
    };
    let all = |status: u16| gates.iter().all(|gate| answers(gate, status));
    let told = |word: &str, status: u16| {
        let _account = gates[2].cli().json(&["account", word, "acme"]);
        assert!(answers(&gates[2], status), "at once where it is told");
    };
    each_way(&fleet, |bound| {
        let on = || {
            assert_eventually!(all(200));
        };
        one_within(bound, on, |()| told("disable", 401), |()| all(401));
        let off = || {
            told("disable", 401);
            assert_eventually!(all(401));
        };
        one_within(bound, off, |()| told("enable", 200), |()| all(200));
    });
}
