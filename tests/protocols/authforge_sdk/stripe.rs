//! The program of the documentation that grants a license for each checkout that Stripe says is paid.

use std::fs;
use std::path::Path;

use serde_json::json;
use testkit::Request;

use super::programs::{Running, are_installed, parse, program, run};
use super::python_sdk::PythonSdk;
use super::sdk::Sdk;
use super::seller::{APP, Seller, text};

const SECRET: &str = "whsec_test_of_the_documentation";

/// Lets Stripe tell of a checkout. Returns the status of the answer.
fn told(seller: &Seller, port: &str, secret: &str, event: [&str; 3]) -> String {
    let mut stripe = program(seller, &["node", "stripe_event.mjs"]);
    stripe
        .args(event)
        .env("URL", format!("http://127.0.0.1:{port}/webhooks/stripe"))
        .env("STRIPE_WEBHOOK_SECRET", secret);
    run(stripe).trim().to_owned()
}

fn granting(seller: &Seller, done: &Path) -> (Running, String) {
    let mut grant = program(seller, &["node", "grant.mjs"]);
    grant
        .env("STRIPE_API_KEY", "sk_test_none")
        .env("STRIPE_WEBHOOK_SECRET", SECRET)
        .env("DONE", done);
    let mut running = Running::start(grant);
    let port = running.line();
    (running, port)
}

#[test]
fn the_program_of_the_documentation_is_the_one_that_runs_here() {
    let told = include_str!("../../../docs/protocols/authforge.md");
    let program = include_str!("../../clients/authforge/grant.mjs");
    assert!(told.contains(&format!("```js\n{program}```\n")));
}

#[test]
fn each_paid_checkout_of_stripe_grants_one_license_with_the_features_of_its_plan() {
    are_installed();
    let seller = Seller::start();
    let folder = tempfile::tempdir().expect("a folder");
    let (mut grant, port) = granting(&seller, folder.path());
    let told = |event: [&str; 3]| told(&seller, &port, SECRET, event);
    assert_eq!(told(["evt_1", "pro", "paid"]), "200");
    let first = parse(&grant.line());
    assert_eq!(first["to"], "buyer@example.com");
    // Said again it does nothing. Where it could not be noted that it was done, it gives the same license again.
    assert_eq!(told(["evt_1", "pro", "paid"]), "200");
    fs::remove_file(folder.path().join("evt_1")).expect("it was noted");
    assert_eq!(told(["evt_1", "pro", "paid"]), "200");
    assert_eq!(parse(&grant.line()), first);
    assert_eq!(told(["evt_2", "basic", "unpaid"]), "200");
    assert_eq!(told(["evt_3", "basic", "paid"]), "200");
    let third = parse(&grant.line());
    let forged = self::told(
        &seller,
        &port,
        "whsec_of_somebody_else",
        ["evt_4", "pro", "paid"],
    );
    assert_eq!(forged, "400");
    let licenses = seller
        .site
        .gateway
        .cli()
        .json(&["license", "list", "--app", APP]);
    let labels: Vec<String> = licenses
        .as_array()
        .expect("licenses")
        .iter()
        .map(|license| text(&license["label"]))
        .collect();
    assert_eq!(labels, ["cs_test_evt_1", "cs_test_evt_3"]);
    let mut sdk = PythonSdk::start(&seller.installed("here"));
    let session = sdk.login(&text(&first["key"])).expect("it may");
    assert_eq!(
        session["licenseVariables"],
        json!({ "license_features": "export, reports" })
    );
    assert_eq!(session["maxHwidSlots"], 5);
    // The same licenses open the gate, each what its features let it.
    let call = |path: &str, key: &serde_json::Value| {
        seller
            .site
            .gateway
            .call(&Request::get(path).key(&text(key)))
            .status
    };
    assert_eq!(call("/export", &first["key"]), 200);
    assert_eq!(call("/", &third["key"]), 200);
    assert_eq!(call("/export", &third["key"]), 403);
}
