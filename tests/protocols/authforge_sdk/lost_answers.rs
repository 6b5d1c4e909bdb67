//! Answers that are lost on their way, and the two meanings of 429.

use std::thread;
use std::time::{Duration, Instant};

use testkit::{FaultProxy, Loss, assert_eventually};

use super::sdk::{Sdk, of_both};
use super::seller::{Seller, text};

of_both! {
    a_request_whose_answer_is_lost_is_repeated_and_costs_once;
    a_request_whose_gate_is_killed_before_the_answer_arrives_costs_once;
    too_many_requests_are_tried_again_and_missing_credits_are_not;
}

/// Loses an answer to a first validation by a device, does something, and lets the SDK's repetition through.
fn lost<S: Sdk>(timeout: u64, meanwhile: impl FnOnce(&mut Seller)) {
    let mut seller = Seller::start();
    seller.credit(10);
    let license = seller.license(&["--device-slots", "1"]);
    let proxy = FaultProxy::before(seller.site.gateway.control_addr());
    let mut installation = seller.installed_behind(proxy.addr(), "here");
    let how = if S::REPEATS_WHEN_CUT {
        Loss::Cut
    } else {
        installation.timeout = Some(timeout);
        Loss::Silence
    };
    let mut sdk = S::start(&installation);
    proxy.lose_next_answer(how);
    let session = thread::scope(|scope| {
        let asked = scope.spawn(|| sdk.validate(&license.key));
        assert_eventually!(proxy.lost() == 1);
        meanwhile(&mut seller);
        proxy.heal();
        asked.join().expect("no panic").expect("it may")
    });
    assert_eq!(proxy.connections(), 2, "the SDK did not ask once more");
    assert_eq!(session["hwidCount"], 1);
    assert_eq!(seller.devices(&license), ["here"]);
    assert_eq!(seller.credits_left(), 9);
    let records = seller.site.gateway.wait_for_calls(1);
    assert_eq!(text(&records[0]["call_id"]), text(&session["requestId"]));
    sdk.validate(&license.key).expect("it may");
    assert_eq!(seller.credits_left(), 8);
}

fn a_request_whose_answer_is_lost_is_repeated_and_costs_once<S: Sdk>() {
    lost::<S>(2, |_| ());
}

fn a_request_whose_gate_is_killed_before_the_answer_arrives_costs_once<S: Sdk>() {
    lost::<S>(6, |seller| {
        seller.site.gateway.kill9();
        seller.site.gateway.restart();
    });
}

fn too_many_requests_are_tried_again_and_missing_credits_are_not<S: Sdk>() {
    let seller = Seller::with(&["validate_limit = \"4/1h\"", "burn_cap = \"2/1h\""]);
    seller.credit(1);
    let license = seller.license(&["--device-slots", "1"]);
    let mut sdk = S::start(&seller.installed("here"));
    // An SDK that tries again does so after two and after five seconds, each time with another nonce.
    let mut tries_again = |said: Result<(), &str>| {
        let begun = Instant::now();
        let result = sdk.validate(&license.key).map(drop);
        assert_eq!(result, said.map_err(str::to_owned));
        begun.elapsed() >= Duration::from_secs(7)
    };
    assert!(!tries_again(Ok(())));
    assert!(!tries_again(Err("no_credits")));
    seller.credit(5);
    assert!(!tries_again(Ok(())));
    assert!(!tries_again(Err("app_burn_cap_reached")));
    assert!(tries_again(Err("rate_limited")));
    assert_eq!(seller.credits_left(), 4);
}
