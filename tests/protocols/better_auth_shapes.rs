//! better-auth: the shapes of answers, and what `compat = "strict"` repeats.

use crate::support::better_auth::{Keys, code, text};
use serde_json::{Value, json};
use testkit::assert_eventually;

fn fields(record: &Value) -> Vec<&str> {
    let mut fields: Vec<&str> = record
        .as_object()
        .expect("a record")
        .keys()
        .map(String::as_str)
        .collect();
    fields.sort_unstable();
    fields
}

const CURRENT: [&str; 22] = [
    "configId",
    "createdAt",
    "enabled",
    "expiresAt",
    "id",
    "lastRefillAt",
    "lastRequest",
    "metadata",
    "name",
    "permissions",
    "prefix",
    "rateLimitEnabled",
    "rateLimitMax",
    "rateLimitTimeWindow",
    "referenceId",
    "refillAmount",
    "refillInterval",
    "remaining",
    "requestCount",
    "start",
    "updatedAt",
    "userId",
];

#[test]
fn the_current_shape_is_what_version_1_7_sends_and_a_user_id() {
    let keys = Keys::start();
    let made = keys.create(&json!({ "expiresIn": 100_000 }));
    let mut with_key = CURRENT.to_vec();
    with_key.push("key");
    with_key.sort_unstable();
    assert_eq!(fields(&made), with_key);
    let defaults = json!({
        "configId": "default", "referenceId": "default", "userId": "default", "enabled": true,
        "rateLimitEnabled": true, "rateLimitMax": 10, "rateLimitTimeWindow": 86_400_000, "requestCount": 0,
        "name": null, "prefix": null, "remaining": null, "refillAmount": null, "refillInterval": null,
        "lastRefillAt": null, "lastRequest": null, "metadata": null, "permissions": null,
    });
    for (field, value) in defaults.as_object().expect("an object") {
        assert_eq!(&made[field], value, "{field}");
    }
    for field in ["createdAt", "updatedAt", "expiresAt"] {
        let time = text(&made[field]);
        assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
    }
    let verified = keys.verify(text(&made["key"]));
    let update = json!({ "keyId": made["id"], "name": "n" });
    let list = keys.get("list").json();
    let records = [
        keys.show(&made),
        keys.post("update", &update).json(),
        list["apiKeys"][0].clone(),
        verified["key"].clone(),
    ];
    for record in &records {
        assert_eq!(fields(record), CURRENT);
        assert!(record["updatedAt"].as_str() >= made["updatedAt"].as_str());
    }
    assert_eq!(fields(&verified), ["error", "key", "valid"]);
    assert_eq!(fields(&list), ["apiKeys", "total"]);
    assert_eq!(records[3]["requestCount"], 1);
}

#[test]
fn the_seed_shape_is_a_bare_list_with_permissions_as_text() {
    let keys = Keys::with(&["shape = \"seed\""]);
    let made = keys.issue(&["--app", "api", "--permission", "files:read"]);
    let list = keys.get("list").json();
    let first = &list.as_array().expect("a bare list")[0];
    let update = json!({ "keyId": made["id"], "name": "n" });
    let expected = r#"{"files":["read"]}"#;
    let newer = ["configId", "referenceId"];
    let seed: Vec<_> = CURRENT
        .into_iter()
        .filter(|field| !newer.contains(field))
        .collect();
    for record in [
        first,
        &keys.show(&made),
        &keys.post("update", &update).json(),
    ] {
        assert_eq!(record["permissions"], expected);
        assert_eq!(fields(record), seed);
    }
    let created = keys.create(&json!({}));
    assert!(created["permissions"].is_null() && created["key"].is_string());
    assert_eq!(code(&keys.verify(text(&made["key"]))), None);
}

/// What a client of the original could depend on: a key that has ended, or has nothing left, is gone after it was said so.
#[test]
fn a_strict_gate_forgets_a_key_once_it_said_that_it_is_over() {
    let keys = Keys::with(&["compat = \"strict\"", "shortest_expiry = \"1s\""]);
    let spent = keys.issue(&["--app", "api", "--remaining", "1"]);
    let key = text(&spent["key"]);
    assert_eq!(code(&keys.verify(key)), None);
    assert_eq!(code(&keys.verify(key)), Some("USAGE_EXCEEDED"));
    assert_eq!(code(&keys.verify(key)), Some("INVALID_API_KEY"));
    let refilled = keys.issue(&["--app", "api", "--remaining", "0", "--refill", "1/1d"]);
    for _ in 0..2 {
        assert_eq!(
            code(&keys.verify(text(&refilled["key"]))),
            Some("USAGE_EXCEEDED")
        );
    }
    let ended = keys.issue(&["--app", "api", "--expires-in", "1s"]);
    let key = text(&ended["key"]);
    // Sweeps may come first.
    assert_eventually!(matches!(
        code(&keys.verify(key)),
        Some("KEY_EXPIRED" | "INVALID_API_KEY")
    ));
    assert_eq!(code(&keys.verify(key)), Some("INVALID_API_KEY"));
}

/// The compatible mode: windows end by idleness, and say how long that takes.
#[test]
fn case_85_a_strict_gate_counts_windows_from_the_last_accepted_call() {
    let keys = Keys::with(&["compat = \"strict\""]);
    let made = keys.issue(&["--app", "api", "--rate-limit", "2/1h"]);
    assert_eq!(made["rate_limit"], "2/1h,idle");
    let key = text(&made["key"]);
    for count in 1..=2 {
        let verified = keys.verify(key);
        assert_eq!(code(&verified), None);
        assert_eq!(verified["key"]["requestCount"], count);
    }
    let denied = keys.verify(key);
    assert_eq!(code(&denied), Some("RATE_LIMITED"));
    let wait = denied["error"]["details"]["tryAgainIn"]
        .as_u64()
        .expect("a number");
    // A window by the clock would end at the hour: this one takes its whole length from the last call.
    assert!((3_000_000..=3_600_000).contains(&wait), "{wait}");
    assert_eq!(keys.show(&made)["rateLimitTimeWindow"], 3_600_000);
}
