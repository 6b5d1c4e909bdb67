//! Sessions: how they begin, how heartbeats prolong them, and what ends them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use testkit::clock::rfc3339_in;
use testkit::{FaultProxy, assert_eventually};

use super::sdk::{Sdk, of_both};
use super::seller::{Seller, text};

of_both! {
    a_login_gets_what_the_seller_said_and_binds_its_device;
    a_session_lasts_as_asked_within_an_hour_and_a_week;
    heartbeats_prolong_a_session_each_tenth_costs_and_a_revocation_ends_it;
    a_session_ends_at_its_end_and_the_license_with_it;
    software_can_ban_its_device_and_with_a_session_its_license;
    software_that_is_switched_off_validates_nothing;
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("later than 1970").as_secs()
}

/// The part of a session token that the package for Python reads.
fn token(session: &Value) -> Value {
    let token = text(&session["sessionToken"]);
    let (body, _) = token.split_once('.').expect("two parts");
    let json = URL_SAFE_NO_PAD.decode(body).expect("base64url");
    serde_json::from_slice(&json).expect("JSON")
}

/// The seconds that a session lasts from now on, by what was signed, which the token repeats.
fn lasts(session: &Value) -> u64 {
    let ends = session["expiresIn"].as_u64().expect("a whole number");
    assert_eq!(token(session)["exp"], ends, "{session}");
    ends - now()
}

fn a_login_gets_what_the_seller_said_and_binds_its_device<S: Sdk>() {
    let seller = Seller::start();
    let path = format!("/v1/apps/{}/variables", seller.app_id);
    seller.does("PUT", &path, Some(&json!({ "theme": "dark" })));
    let end = rfc3339_in(Duration::from_secs(30 * 86_400));
    let license = seller.license(&[
        "--device-slots",
        "2",
        "--label",
        "order-7",
        "--expires-at",
        &end,
        "--variable",
        "tier=pro",
        "--variable",
        "seats=5",
    ]);
    let copy = |device: &str| S::start(&seller.installed(device));
    let mut first = copy("first");
    let session = first.login(&license.key).expect("it may");
    assert!(first.is_authenticated());
    for (field, value) in [
        ("licenseLabel", json!("order-7")),
        ("maxHwidSlots", json!(2)),
        ("hwidCount", json!(1)),
        ("appVariables", json!({ "theme": "dark" })),
        ("licenseVariables", json!({ "tier": "pro", "seats": 5 })),
    ] {
        assert_eq!(session[field], value, "{field} of {session}");
    }
    assert!(
        end.starts_with(&text(&session["licenseExpiresAt"])[..19]),
        "{session}"
    );
    assert!((86_340..=86_400).contains(&lasts(&session)), "{session}");
    // People write keys as they like.
    let typed = format!("  {} ", license.key.replace('-', ""));
    assert_eq!(
        copy("second").validate(&typed).expect("it may")["hwidCount"],
        2
    );
    assert_eq!(
        copy("third").validate(&license.key),
        Err("hwid_mismatch".into())
    );
    assert_eq!(
        first.validate(&license.key).expect("it may")["hwidCount"],
        2
    );
    assert_eq!(seller.devices(&license), ["first", "second"]);
    for key in ["AAAA-BBBB-CCCC-DDDD", "TEST-KEY0-0000-0001", "x"] {
        assert_eq!(first.validate(key), Err("invalid_key".into()), "{key}");
    }
    let mut other = seller.installed("first");
    other.app_secret = "wrong".to_owned();
    assert_eq!(
        S::start(&other).validate(&license.key),
        Err("invalid_app".into())
    );
    let mut other = seller.installed("first");
    other.public_key = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=".to_owned();
    let unsigned = S::start(&other)
        .validate(&license.key)
        .expect_err("another key signs");
    assert!(unsigned.starts_with("signature"), "{unsigned}");
}

fn a_session_lasts_as_asked_within_an_hour_and_a_week<S: Sdk>() {
    let seller = Seller::start();
    let license = seller.license(&["--device-slots", "1"]);
    for (asked, given) in [(1, 3_600), (7_200, 7_200), (99_999_999, 604_800)] {
        let mut installation = seller.installed("here");
        installation.ttl = Some(asked);
        let session = S::start(&installation)
            .validate(&license.key)
            .expect("it may");
        assert_eq!(session["licenseExpiresAt"], Value::Null);
        let lasts = lasts(&session);
        assert!((given - 60..=given).contains(&lasts), "{asked}: {lasts}");
    }
}

fn heartbeats_prolong_a_session_each_tenth_costs_and_a_revocation_ends_it<S: Sdk>() {
    let seller = Seller::start();
    seller.credit(100);
    let license = seller.license(&["--device-slots", "1", "--variable", "tier=pro"]);
    let proxy = FaultProxy::before(seller.site.gateway.control_addr());
    let mut installation = seller.installed_behind(proxy.addr(), "here");
    (installation.heartbeats, installation.ttl) = (true, Some(7_200));
    let mut sdk = S::start(&installation);
    let begun = sdk.login(&license.key).expect("it may");
    let beats = |session: &Value| token(session)["n"].as_u64().expect("a count");
    assert_eq!(beats(&begun), 0);
    assert_eventually!(beats(&sdk.session()) >= S::BEATS);
    let prolonged = sdk.session();
    assert!(prolonged["expiresIn"].as_u64() >= begun["expiresIn"].as_u64());
    assert!((7_140..=7_200).contains(&lasts(&prolonged)), "{prolonged}");
    for field in [
        "licenseVariables",
        "appVariables",
        "maxHwidSlots",
        "hwidCount",
    ] {
        assert_eq!(prolonged[field], begun[field], "{field}");
    }
    let cli = seller.site.gateway.cli();
    let _disabled = cli.json(&["license", "disable", &license.id]);
    assert_eventually!(!sdk.told().is_empty());
    assert_eq!(sdk.told(), ["revoked"]);
    assert!(!sdk.is_authenticated());
    // The log-in was no heartbeat, and the refused one does not count.
    let beaten = proxy.connections() - 2;
    assert!(beaten >= S::BEATS);
    assert_eq!(seller.credits_left(), 100 - 1 - beaten / 10);
    assert_eq!(sdk.login(&license.key), Err("revoked".into()));
    let _enabled = cli.json(&["license", "enable", &license.id]);
    sdk.login(&license.key).expect("it may again");
}

fn a_session_ends_at_its_end_and_the_license_with_it<S: Sdk>() {
    let seller = Seller::start();
    let mut sdk = S::start(&seller.installed("here"));
    // It runs now, so that little of the license's life is over when it logs in. The crate looks after ten seconds.
    assert!(!sdk.is_authenticated());
    let license = seller.license(&["--expires-at", &rfc3339_in(Duration::from_secs(8))]);
    let session = sdk.login(&license.key).expect("it may");
    assert!(lasts(&session) <= 8, "{session}");
    assert_eventually!(!sdk.told().is_empty());
    assert_eq!(sdk.told(), ["session_expired"]);
    assert!(!sdk.is_authenticated());
    // Sessions end with whole seconds, licenses a part of one later.
    assert_eventually!(sdk.login(&license.key) == Err("expired".into()));
    let cli = seller.site.gateway.cli();
    let _extended = cli.json(&["license", "extend", &license.id, "--by", "1d"]);
    sdk.login(&license.key).expect("it may again");
}

fn software_can_ban_its_device_and_with_a_session_its_license<S: Sdk>() {
    let seller = Seller::start();
    let (license, other) = (seller.license(&[]), seller.license(&[]));
    let mut cracked = S::start(&seller.installed("cracked"));
    // The SDK asks for no revocation where there is no session.
    cracked.ban(Some(&license.key), true).expect("it may");
    assert_eq!(cracked.login(&license.key), Err("blocked".into()));
    let mut second = S::start(&seller.installed("second"));
    second
        .login(&license.key)
        .expect("the license is as it was");
    second.ban(None, true).expect("it may");
    assert_eq!(second.validate(&other.key), Err("blocked".into()));
    let mut third = S::start(&seller.installed("third"));
    assert_eq!(third.validate(&license.key), Err("revoked".into()));
    third.validate(&other.key).expect("it is not banned");
}

fn software_that_is_switched_off_validates_nothing<S: Sdk>() {
    let seller = Seller::start();
    let license = seller.license(&[]);
    let mut sdk = S::start(&seller.installed("here"));
    let path = format!("/v1/apps/{}", seller.app_id);
    seller.does("PUT", &path, Some(&json!({ "enabled": false })));
    assert_eq!(sdk.login(&license.key), Err("app_disabled".into()));
    seller.does("PUT", &path, Some(&json!({ "enabled": true })));
    sdk.login(&license.key).expect("it is on again");
}
