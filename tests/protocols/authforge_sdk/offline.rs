//! Files by which software runs without a connection: those that it had made by itself, and those that its seller had made.

use std::fs;
use std::time::Duration;

use serde_json::json;
use testkit::License;
use testkit::clock::rfc3339_in;

use super::sdk::{Sdk, of_both};
use super::seller::{Seller, text};

of_both! {
    a_device_has_one_file_made_which_needs_no_gate_and_no_reset_frees_its_place;
    what_ends_or_counts_no_devices_is_not_activated_offline;
    a_file_that_the_seller_had_made_for_a_request_opens_that_device_alone;
}

fn a_device_has_one_file_made_which_needs_no_gate_and_no_reset_frees_its_place<S: Sdk>() {
    let mut seller = Seller::with(&["offline_activation = true"]);
    seller.credit(10);
    let license = seller.license(&[
        "--device-slots",
        "1",
        "--label",
        "order-7",
        "--variable",
        "tier=pro",
    ]);
    let folder = tempfile::tempdir().expect("a folder");
    let (path, again) = (
        folder.path().join("a.authforge"),
        folder.path().join("b.authforge"),
    );
    let (here, there) = (seller.installed("here"), seller.installed("there"));
    let mut sdk = S::start(&here);
    sdk.activate(&license.key, &path).expect("it may");
    assert!(sdk.is_authenticated());
    S::start(&here)
        .activate(&license.key, &again)
        .expect("it may");
    assert_eq!(
        fs::read(&path).expect("a file"),
        fs::read(&again).expect("a file")
    );
    assert_eq!(seller.credits_left(), 8);
    let mut other = S::start(&there);
    let refused = Err("offline_activation_limit_reached".into());
    assert_eq!(other.activate(&license.key, &again), refused);
    seller.put(&license, "reset-hwid");
    assert_eq!(other.activate(&license.key, &again), refused);
    assert_eq!(seller.credits_left(), 8);
    assert_eq!(other.login_from_file(&path), Err("hwid_mismatch".into()));
    seller.site.gateway.kill9();
    let mut without_secret = here;
    without_secret.app_secret = String::new();
    let opened = S::start(&without_secret)
        .login_from_file(&path)
        .expect("it needs no gate");
    for (field, value) in [
        ("licenseKey", json!(license.key)),
        ("appId", json!(seller.app_id)),
        ("expiresAt", json!(null)),
        ("hwid", json!({ "mode": "bound", "hwids": ["here"] })),
        ("label", json!("order-7")),
        ("licenseVariables", json!({ "tier": "pro" })),
    ] {
        assert_eq!(opened[field], value, "{field} of {opened}");
    }
    // One sign of the payload, which begins after the blank line, in place of another.
    let file = fs::read_to_string(&path).expect("text");
    let (head, rest) = file.split_once("\n\n").expect("headers");
    fs::write(&path, format!("{head}\n\nf{}", &rest[1..])).expect("it can be written");
    assert_eq!(sdk.login_from_file(&path), Err("bad_signature".into()));
}

fn what_ends_or_counts_no_devices_is_not_activated_offline<S: Sdk>() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("none.authforge");
    let refused = |seller: &Seller, license: &License| {
        let mut sdk = S::start(&seller.installed("here"));
        sdk.activate(&license.key, &path).expect_err("it may not")
    };
    let seller = Seller::with(&["offline_activation = true"]);
    let end = rfc3339_in(Duration::from_secs(86_400));
    let ends = seller.license(&["--device-slots", "1", "--expires-at", &end]);
    assert_eq!(
        refused(&seller, &ends),
        "offline_activation_requires_perpetual"
    );
    let unlimited = seller.license(&["--device-slots", "1", "--unlimited-devices"]);
    assert_eq!(
        refused(&seller, &unlimited),
        "offline_activation_requires_seats"
    );
    let revoked = seller.license(&["--device-slots", "1"]);
    seller.put(&revoked, "revoke");
    assert_eq!(refused(&seller, &revoked), "revoked");
    let seller = Seller::start();
    let license = seller.license(&["--device-slots", "1"]);
    assert_eq!(refused(&seller, &license), "offline_activation_disabled");
    assert!(!path.exists());
}

fn a_file_that_the_seller_had_made_for_a_request_opens_that_device_alone<S: Sdk>() {
    let seller = Seller::start();
    seller.credit(10);
    let license = seller.license(&["--device-slots", "1"]);
    let mut here = S::start(&seller.installed("here"));
    let files = format!("/v1/licenses/{}/offline-files", license.key);
    let end = rfc3339_in(Duration::from_secs(86_400));
    let made = seller.does(
        "POST",
        &files,
        Some(&json!({ "request": here.request(), "expiresAt": end })),
    );
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(text(&made["fileName"]));
    fs::write(&path, text(&made["file"])).expect("it can be written");
    let opened = here.login_from_file(&path).expect("it is for this device");
    assert_eq!(opened["jti"], made["jti"]);
    assert!(
        end.starts_with(&text(&opened["expiresAt"])[..19]),
        "{opened}"
    );
    let mut there = S::start(&seller.installed("there"));
    assert_eq!(there.login_from_file(&path), Err("hwid_mismatch".into()));
    assert_eq!(seller.credits_left(), 9);
    let listed = seller.does("GET", &files, None);
    assert!(listed.to_string().contains(&text(&made["jti"])), "{listed}");
    // A license file is no request, and whoever confuses them is told so.
    let confused = seller.ask("POST", &files, Some(&json!({ "request": made["file"] })));
    assert_eq!(
        (confused.status, &confused.json()["error"]),
        (400, &json!("bad_request"))
    );
    assert_eq!(seller.credits_left(), 9);
}
