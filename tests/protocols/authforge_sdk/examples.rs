//! The examples of AuthForge's guide for integrations, in JavaScript, Python and Go, with another base URL and key.

use std::process::Command;

use serde_json::{Value, json};
use testkit::Receiver;

use super::programs::{Running, are_installed, parse, program, run};
use super::python_sdk::PythonSdk;
use super::sdk::Sdk;
use super::seller::{APP, Seller, text};

#[test]
fn the_guide_s_javascript_makes_shows_resets_and_lists_licenses_and_reads_refusals() {
    are_installed();
    let seller = Seller::start();
    let bound = seller.license(&["--device-slots", "1"]);
    let device = seller.installed("here");
    PythonSdk::start(&device)
        .validate(&bound.key)
        .expect("it may");
    let mut node = program(&seller, &["node", "seller.mjs"]);
    node.env("BOUND_KEY", &bound.key);
    let said = run(node);
    let steps: Vec<(String, Value)> = said
        .lines()
        .map(parse)
        .map(|line| (text(&line["step"]), line["result"].clone()))
        .collect();
    let shown = |devices: &str, expires: &str, label: Value| json!({ "status": "active", "expires": expires, "devices": devices, "label": label });
    let expected = [
        (
            "check",
            json!([
                shown("0/1", "never", json!("order-1")),
                shown("0/5", "never", json!("order-2"))
            ]),
        ),
        ("unknown", Value::Null),
        ("reset", json!([true, shown("0/1", "never", Value::Null)])),
        (
            "list",
            json!({ "pages": [200, 200, 53], "distinct": 453, "hasAll": true }),
        ),
        (
            "refused",
            json!({ "foreign": "forbidden", "many": "bad_request", "key": "invalid_api_key" }),
        ),
        ("burst", json!({ "failed": [], "waited": true })),
    ];
    for (step, result) in expected {
        let found = steps.iter().find(|(name, _)| name == step);
        assert_eq!(found.map(|(_, own)| own), Some(&result), "{step}");
    }
    let bulk = &steps
        .iter()
        .find(|(name, _)| name == "bulk")
        .expect("a step")
        .1;
    assert_eq!(
        (&bulk["count"], &bulk["shape"]),
        (&json!(50), &json!(true)),
        "{bulk}"
    );
    assert!(
        text(&bulk["expires"]).starts_with("2037-01-01T00:00:00"),
        "{bulk}"
    );
    assert_eq!(bulk["label"], "Reseller batch #42");
    let enterprise = text(&steps[0].1["enterprise"]);
    let variables = seller.does("GET", &format!("/v1/licenses/{enterprise}/variables"), None);
    assert_eq!(variables, json!({ "plan": "enterprise", "export": true }));
}

#[test]
fn the_guide_s_python_makes_licenses_and_is_told_what_it_may_not() {
    let seller = Seller::start();
    let said = parse(&run(program(&seller, &[&testkit::python(), "seller.py"])));
    assert_eq!(said["refused"], 403);
    let licenses = said["licenses"].as_array().expect("licenses");
    assert_eq!(licenses.len(), 3);
    for license in licenses {
        let shown = seller.does(
            "GET",
            &format!("/v1/licenses/{}", text(&license["licenseKey"])),
            None,
        );
        for field in [
            "licenseKey",
            "appId",
            "status",
            "expiresAt",
            "maxHwidSlots",
            "label",
            "createdAt",
        ] {
            assert_eq!(shown[field], license[field], "{field}");
        }
        assert_eq!(
            (&shown["maxHwidSlots"], &shown["label"]),
            (&json!(2), &json!("order-3"))
        );
    }
}

#[test]
fn the_guide_s_go_makes_licenses() {
    if Command::new("go").arg("version").output().is_err() {
        eprintln!("skipped: `go` is not installed (Debian's package golang-go)");
        return;
    }
    let seller = Seller::start();
    let mut go = program(&seller, &["go", "run", "seller.go"]);
    // Nothing is fetched: the program needs the standard library alone.
    go.env("GOFLAGS", "-mod=mod")
        .env("GOPROXY", "off")
        .env("GO111MODULE", "off");
    let said = run(go);
    let licenses: Vec<Vec<&str>> = said.lines().map(|line| line.split(' ').collect()).collect();
    assert_eq!(licenses.len(), 2, "{said}");
    for license in licenses {
        assert_eq!(license[1..], ["active", "true", "1"], "{said}");
        assert_eq!(
            seller.does("GET", &format!("/v1/licenses/{}", license[0]), None)["status"],
            "active"
        );
    }
}

#[test]
fn the_guide_s_receiver_of_webhooks_is_told_of_a_new_device_and_of_a_validation() {
    let seller = Seller::configured(&[], |config| {
        config.table(
            "[control]\nallow_private_webhook_targets = true\nallow_plain_webhook_targets = true",
        )
    });
    are_installed();
    let mut receiver = Running::start(program(&seller, &["node", "webhook.mjs"]));
    let port = parse(&receiver.line())["port"].clone();
    let url = format!("http://127.0.0.1:{port}/webhooks/authforge");
    let made = seller.site.gateway.cli().json(&[
        "webhook",
        "create",
        "--app",
        APP,
        "--form",
        "authforge",
        "--event",
        "license.validated",
        "--event",
        "license.hwid_bound",
        "--url",
        &url,
    ]);
    let beside = Receiver::start();
    let _ = seller.site.gateway.cli().json(&[
        "webhook",
        "create",
        "--app",
        APP,
        "--form",
        "authforge",
        "--event",
        "license.validated",
        "--event",
        "license.deleted",
        "--url",
        &beside.url("/"),
    ]);
    receiver.tell(&text(&made["secret"]));
    assert_eq!(parse(&receiver.line()), json!({ "ready": true }));
    let made = seller.does(
        "POST",
        "/v1/licenses",
        Some(&json!({ "appId": seller.app_id })),
    );
    let key = text(&made["licenses"][0]["licenseKey"]);
    PythonSdk::start(&seller.installed("here"))
        .validate(&key)
        .expect("it may");
    // Changes of licenses and records of the ledger are told in no order between them.
    let mut told = [parse(&receiver.line()), parse(&receiver.line())];
    told.sort_by_key(|line| line["seen"].is_string());
    assert_eq!(
        told,
        [
            json!({ "bound": key, "device": "here" }),
            json!({ "seen": key }),
        ]
    );
    let validated = beside.wait_for(1)[0].json();
    let data =
        json!({ "licenseKey": key, "appId": seller.app_id, "status": "active", "hwid": "here" });
    assert_eq!(validated["data"], data);
    // Its key is told although no copy stays with a license that is gone.
    let path = format!("/v1/licenses/{key}");
    let _ = seller.does("DELETE", &path, None);
    let deleted = beside.wait_for(2)[1].json();
    assert_eq!(deleted["event"], "license.deleted");
    assert_eq!(deleted["data"]["licenseKey"], json!(key));
}
