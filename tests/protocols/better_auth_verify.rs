//! better-auth: verifying a key, its order of checks, and what it takes.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::support::better_auth::{Keys, code, text};
use serde_json::{Value, json};
use testkit::eventually::{test_timeout, wait_for};
use testkit::{Load, Postgres, Redis, Request, assert_eventually};

#[test]
fn case_74_a_random_string_is_an_invalid_key() {
    let keys = Keys::start();
    let license = keys.site.gateway.license_of("api", &[]);
    let management = keys.owner.clone();
    let random = [
        "x".repeat(64),
        "nonsense".to_owned(),
        String::new(),
        "é".repeat(9),
        "x".repeat(9_000),
    ];
    // A license that is no API key, and a management key, are none either.
    for key in random.iter().chain([&license.key, &management]) {
        let verified = keys.verify(key);
        assert_eq!(code(&verified), Some("INVALID_API_KEY"), "{key}");
        assert_eq!(verified["error"]["message"], "Invalid API key.");
    }
}

/// A key that has ended, has nothing left and gives no leave for what is asked.
fn ended(keys: &Keys) -> Value {
    let arguments = [
        "--app",
        "api",
        "--expires-in",
        "1s",
        "--remaining",
        "0",
        "--permission",
        "a:b",
    ];
    let made = keys.issue(&arguments);
    let over = || code(&keys.verify(text(&made["key"]))) == Some("KEY_EXPIRED");
    assert_eventually!(over());
    made
}

#[test]
fn case_75_a_disabled_key_that_is_expired_and_used_up_too_is_disabled() {
    let keys = Keys::with(&["shortest_expiry = \"1s\""]);
    let made = ended(&keys);
    let key = text(&made["key"]);
    let off = json!({ "keyId": made["id"], "enabled": false });
    assert_eq!(keys.post("update", &off).status, 200);
    let wrong = json!({ "files": ["read"] });
    assert_eq!(
        code(&keys.verify_for(key, Some(wrong))),
        Some("KEY_DISABLED")
    );
    assert_eq!(code(&keys.verify(key)), Some("KEY_DISABLED"));
}

#[test]
fn case_76_an_expired_key_with_wrong_permissions_is_expired_and_its_history_is_kept() {
    let keys = Keys::with(&["shortest_expiry = \"1s\""]);
    let made = ended(&keys);
    let key = text(&made["key"]);
    let wrong = json!({ "files": ["read"] });
    for _ in 0..2 {
        let verified = keys.verify_for(key, Some(wrong.clone()));
        assert_eq!(code(&verified), Some("KEY_EXPIRED"));
    }
    assert_eq!(code(&keys.verify(key)), Some("KEY_EXPIRED"));
    assert_eq!(keys.show(&made)["id"], made["id"]);
}

#[test]
fn case_77_wrong_permissions_are_found_before_the_quota_and_take_nothing() {
    let keys = Keys::start();
    let empty = keys.issue(&[
        "--app",
        "api",
        "--remaining",
        "0",
        "--permission",
        "files:read",
    ]);
    let wrong = json!({ "files": ["delete"] });
    let verified = keys.verify_for(text(&empty["key"]), Some(wrong.clone()));
    assert_eq!(code(&verified), Some("KEY_NOT_FOUND"));
    let full = keys.issue(&[
        "--app",
        "api",
        "--remaining",
        "2",
        "--permission",
        "files:read",
    ]);
    for _ in 0..3 {
        let verified = keys.verify_for(text(&full["key"]), Some(wrong.clone()));
        assert_eq!(code(&verified), Some("KEY_NOT_FOUND"));
    }
    let record = keys.show(&full);
    assert_eq!(
        (&record["remaining"], &record["requestCount"]),
        (&json!(2), &json!(0))
    );
    assert!(record["lastRequest"].is_null());
}

#[test]
fn case_78_every_action_of_every_resource_that_is_asked_for_must_be_given() {
    let keys = Keys::start();
    let made = keys.issue(&[
        "--app",
        "api",
        "--permission",
        "files:read",
        "--permission",
        "files:write",
        "--no-rate-limit",
    ]);
    let key = text(&made["key"]);
    let given = json!({ "files": ["read", "write"] });
    assert_eq!(keys.show(&made)["permissions"], given);
    let passes = [
        json!({ "files": ["read"] }),
        json!({ "files": ["write", "read"] }),
    ];
    for asked in passes {
        let verified = keys.verify_for(key, Some(asked));
        assert_eq!(code(&verified), None);
        assert_eq!(verified["key"]["permissions"], given);
    }
    // Older clients send them as text.
    let text_form = json!(r#"{"files":["read"]}"#);
    assert_eq!(code(&keys.verify_for(key, Some(text_form))), None);
    let fails = [
        json!({ "files": ["delete"] }),
        json!({ "files": ["read", "delete"] }),
        json!({ "users": ["read"] }),
        json!({ "files": ["read"], "users": ["read"] }),
        json!({}),
        json!({ "files": [] }),
    ];
    let plain = keys.create(&json!({}));
    for asked in fails {
        let verified = keys.verify_for(key, Some(asked.clone()));
        assert_eq!(code(&verified), Some("KEY_NOT_FOUND"), "{asked}");
        // A key without permissions gives leave for nothing that is asked for.
        let verified = keys.verify_for(text(&plain["key"]), Some(asked));
        assert_eq!(code(&verified), Some("KEY_NOT_FOUND"));
    }
    assert_eq!(code(&keys.verify(key)), None);
}

#[test]
fn case_79_two_uses_leave_one_then_none_and_are_then_exceeded() {
    let keys = Keys::start();
    let made = keys.issue(&["--app", "api", "--remaining", "2"]);
    let key = text(&made["key"]);
    for left in [1, 0] {
        let verified = keys.verify(key);
        assert_eq!(code(&verified), None);
        assert_eq!(verified["key"]["remaining"], left);
    }
    for _ in 0..3 {
        let verified = keys.verify(key);
        assert_eq!(code(&verified), Some("USAGE_EXCEEDED"));
        assert_eq!(
            verified["error"]["message"],
            "API Key has reached its usage limit"
        );
    }
    assert_eq!(keys.show(&made)["remaining"], 0);
    let records = wait_for(test_timeout(), || {
        let calls = keys.site.gateway.calls(&["--license", text(&made["id"])]);
        let valid = calls
            .iter()
            .filter(|call| call["outcome"] == "delivered")
            .count();
        (valid == 2 && calls.len() > 2).then_some(calls)
    });
    let records = records.expect("two uses and a refusal are recorded");
    for call in &records {
        assert_eq!(
            (&call["mode"], &call["app"]),
            (&json!("verify"), &json!("api")),
            "{call}"
        );
    }
    let billable = records
        .iter()
        .filter(|call| call["billable"] == true)
        .count();
    assert_eq!(billable, 2);
}

#[test]
fn case_80_of_eight_parallel_verifications_of_the_last_use_one_is_valid() {
    let keys = Keys::start();
    for _ in 0..5 {
        let made = keys.issue(&["--app", "api", "--remaining", "1"]);
        let answers = at_once(8, || keys.verify(text(&made["key"])));
        assert_eq!(valid(&answers), 1);
        let exceeded = |answer: &&Value| answer["error"]["code"] == "USAGE_EXCEEDED";
        assert_eq!(answers.iter().filter(exceeded).count(), 7);
        assert_eq!(keys.show(&made)["remaining"], 0);
    }
    assert_eq!(keys.site.gateway.verify()["lost"], 0);
}

#[test]
fn case_83_a_refill_without_a_quota_changes_nothing() {
    let keys = Keys::start();
    let made = keys.issue(&["--app", "api", "--refill", "5/1s", "--no-rate-limit"]);
    assert!(made["remaining"].is_null());
    for _ in 0..12 {
        let verified = keys.verify(text(&made["key"]));
        assert_eq!(code(&verified), None);
        assert!(verified["key"]["remaining"].is_null());
    }
    let record = keys.show(&made);
    assert!(record["remaining"].is_null());
    assert_eq!(
        (&record["refillAmount"], &record["refillInterval"]),
        (&json!(5), &json!(1_000))
    );
}

#[test]
fn case_86_a_call_that_is_rate_limited_takes_nothing_of_the_quota_in_sqlite() {
    both_or_neither(&Keys::start());
}

#[test]
fn case_86_a_call_that_is_rate_limited_takes_nothing_of_the_quota_in_postgresql() {
    let server = Postgres::start();
    let store = server.database();
    let table = format!("[store]\nurl = \"{store}\"");
    both_or_neither(&Keys::configured(|config| config.table(&table)));
}

#[test]
fn case_86_a_call_that_is_rate_limited_takes_nothing_of_the_quota_in_postgresql_with_redis() {
    let (server, redis) = (Postgres::start(), Redis::start());
    let store = format!("[store]\nurl = \"{}\"", server.database());
    let cache = format!("[redis]\nurl = \"{}\"", redis.url());
    let keys = Keys::configured(|config| config.table(&store).table(&cache));
    assert_eventually!(keys.site.gateway.metric("tallygate_redis_up", &[]) == 1.0);
    both_or_neither(&keys);
}

/// Of the quota and the window of a key a use takes of both or of neither, also when both are used up.
fn both_or_neither(keys: &Keys) {
    let made = keys.issue(&["--app", "api", "--remaining", "9", "--rate-limit", "2/1d"]);
    let key = text(&made["key"]);
    for _ in 0..2 {
        assert_eq!(code(&keys.verify(key)), None);
    }
    for _ in 0..5 {
        assert_eq!(code(&keys.verify(key)), Some("RATE_LIMITED"));
    }
    let record = keys.show(&made);
    assert_eq!(
        (&record["remaining"], &record["requestCount"]),
        (&json!(7), &json!(2))
    );
    // A window that is counted in memory, and over all gates by Redis.
    let short = keys.issue(&["--app", "api", "--remaining", "9", "--rate-limit", "2/30m"]);
    let codes = (0..6).map(|_| code(&keys.verify(text(&short["key"]))).map(str::to_owned));
    let limited = codes
        .filter(|code| code.as_deref() == Some("RATE_LIMITED"))
        .count() as u64;
    assert!((2..=4).contains(&limited), "{limited}");
    assert_eq!(keys.show(&short)["remaining"], 9 - (6 - limited));
    // The other way round: a call that has no quota takes no place in the window.
    let poor = keys.issue(&["--app", "api", "--remaining", "0", "--rate-limit", "2/1d"]);
    for _ in 0..3 {
        assert_eq!(
            code(&keys.verify(text(&poor["key"]))),
            Some("USAGE_EXCEEDED")
        );
    }
    assert_eq!(keys.show(&poor)["requestCount"], 0);
    let both = keys.issue(&["--app", "api", "--remaining", "2", "--rate-limit", "2/1d"]);
    for _ in 0..2 {
        assert_eq!(code(&keys.verify(text(&both["key"]))), None);
    }
    assert_eq!(
        code(&keys.verify(text(&both["key"]))),
        Some("USAGE_EXCEEDED")
    );
}

#[test]
fn case_87_of_eight_parallel_verifications_for_the_last_place_of_a_window_one_passes() {
    let keys = Keys::start();
    for limit in ["2/1d", "2/30m"] {
        let made = keys.issue(&["--app", "api", "--rate-limit", limit]);
        let key = text(&made["key"]);
        assert_eq!(code(&keys.verify(key)), None);
        let answers = at_once(8, || keys.verify(key));
        assert_eq!(valid(&answers), 1, "{limit}");
        let limited = |answer: &&Value| answer["error"]["code"] == "RATE_LIMITED";
        assert_eq!(answers.iter().filter(limited).count(), 7);
        assert_eq!(keys.show(&made)["requestCount"], 2);
    }
}

/// Whatever is under way, what the owner did stands.
#[test]
fn case_91_a_key_that_is_switched_off_or_deleted_during_verifications_stays_so() {
    let mut keys = Keys::start();
    let made = ["update", "delete"].map(|end| ended_in_a_flood(&keys, end));
    // What the verifications leave behind is written at the end at the latest.
    assert!(keys.site.gateway.stop().success());
    keys.site.gateway.restart();
    let [disabled, deleted] = &made;
    let shown = keys.show(disabled);
    assert_eq!(shown["enabled"], false);
    assert!(shown["lastRequest"].is_string(), "it was written: {shown}");
    let path = format!("get?id={}", text(&deleted["id"]));
    assert_eq!(keys.get(&path).status, 404);
    let listed = keys.get("list").json();
    assert_eq!(listed["total"], 1, "{listed}");
    for (made, at_gate, verified) in [
        (disabled, "license_disabled", "KEY_DISABLED"),
        (deleted, "license_revoked", "INVALID_API_KEY"),
    ] {
        let key = text(&made["key"]);
        let refused = keys.call("api.test", key);
        assert_eq!(refused.refusal_code().as_deref(), Some(at_gate));
        assert_eq!(code(&keys.verify(key)), Some(verified));
    }
}

/// Ends a key in this way while others verify it all the time.
fn ended_in_a_flood(keys: &Keys, end: &str) -> Value {
    let made = keys.issue(&["--app", "api", "--no-rate-limit", "--remaining", "1000000"]);
    let (id, key) = (made["id"].clone(), text(&made["key"]).to_owned());
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut flood = Vec::new();
        for _ in 0..4 {
            flood.push(scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    keys.verify(&key);
                }
            }));
        }
        let body = match end {
            "update" => json!({ "keyId": id, "enabled": false }),
            _ => json!({ "keyId": id }),
        };
        assert_eventually!(keys.show(&made)["lastRequest"].is_string());
        assert_eq!(keys.post(end, &body).status, 200);
        let expected = if end == "update" {
            "KEY_DISABLED"
        } else {
            "INVALID_API_KEY"
        };
        // In force when the change returned, while others still verify.
        for _ in 0..20 {
            assert_eq!(code(&keys.verify(&key)), Some(expected));
        }
        stop.store(true, Ordering::Relaxed);
        for thread in flood {
            thread.join().expect("it verifies to its end");
        }
        assert_eq!(code(&keys.verify(&key)), Some(expected));
    });
    let shown = keys.get(&format!("get?id={}", text(&id)));
    if end == "update" {
        assert_eq!(shown.json()["enabled"], false);
    } else {
        assert_eq!(shown.status, 404);
    }
    made
}

/// On the gate that is asked: at once, for verifications and for calls.
#[test]
fn case_92_a_cached_key_that_is_switched_off_is_refused_at_once_and_let_in_again() {
    let keys = Keys::start();
    let made = keys.issue(&["--app", "api", "--no-rate-limit"]);
    let key = text(&made["key"]);
    for _ in 0..3 {
        assert_eq!(code(&keys.verify(key)), None);
        assert_eq!(keys.call("api.test", key).status, 200);
        let off = json!({ "keyId": made["id"], "enabled": false });
        assert_eq!(keys.post("update", &off).status, 200);
        assert_eq!(code(&keys.verify(key)), Some("KEY_DISABLED"));
        let refused = keys.call("api.test", key);
        assert_eq!(refused.refusal_code().as_deref(), Some("license_disabled"));
        let on = json!({ "keyId": made["id"], "enabled": true });
        assert_eq!(keys.post("update", &on).json()["enabled"], true);
    }
    assert_eq!(code(&keys.verify(key)), None);
}

/// With sudden death in the place of a lost cache: counters come back from the store.
#[test]
fn case_93_no_counter_is_lower_after_sudden_death() {
    let mut keys = Keys::start();
    let made = keys.issue(&["--app", "api", "--remaining", "9", "--rate-limit", "5/1d"]);
    let key = text(&made["key"]).to_owned();
    for _ in 0..3 {
        assert_eq!(code(&keys.verify(&key)), None);
    }
    keys.site.gateway.kill9();
    keys.site.gateway.restart();
    let record = keys.show(&made);
    assert_eq!(
        (&record["remaining"], &record["requestCount"]),
        (&json!(6), &json!(3))
    );
    for _ in 0..2 {
        assert_eq!(code(&keys.verify(&key)), None);
    }
    assert_eq!(code(&keys.verify(&key)), Some("RATE_LIMITED"));
    let verify = keys.site.gateway.verify();
    assert_eq!(
        (&verify["lost"], &verify["duplicated"]),
        (&json!(0), &json!(0))
    );
}

#[test]
fn verifications_and_calls_at_the_gate_draw_on_the_same_balance() {
    let keys = Keys::start();
    let made = keys.issue(&["--app", "api", "--remaining", "40", "--no-rate-limit"]);
    let (key, owner) = (text(&made["key"]).to_owned(), keys.owner.clone());
    let at_gate = key.clone();
    let gate = Load::new(keys.site.gateway.addr(), 8, move |_, _| {
        Request::get("/")
            .host("api.test")
            .header("x-api-key", &at_gate)
    });
    let body = json!({ "key": key }).to_string();
    let over_http = Load::new(keys.site.gateway.control_addr(), 8, move |_, _| {
        Request::post("/api/auth/api-key/verify", body.as_bytes())
            .header("Authorization", &format!("Bearer {owner}"))
    });
    let (called, verified) = thread::scope(|scope| {
        let called = scope.spawn(|| gate.calls_per_connection(5).run());
        let verified = over_http.calls_per_connection(5).run();
        (called.join().expect("it ends"), verified)
    });
    let passed = called.iter().filter(|one| one.status == Some(200)).count();
    assert_eq!(
        verified
            .iter()
            .filter(|one| one.status == Some(200))
            .count(),
        40
    );
    assert_eq!(keys.show(&made)["remaining"], 0);
    let delivered = || {
        let calls = keys.site.gateway.calls(&["--license", text(&made["id"])]);
        let of = |mode: &str| {
            let of = |call: &&Value| call["mode"] == mode && call["outcome"] == "delivered";
            calls.iter().filter(of).count()
        };
        (of("proxy"), of("verify"))
    };
    assert_eventually!(delivered() == (passed, 40 - passed));
    assert_eq!(keys.call("api.test", &key).status, 402);
    assert_eq!(code(&keys.verify(&key)), Some("USAGE_EXCEEDED"));
}

#[test]
fn a_key_opens_the_app_of_its_maker_or_every_app_of_the_account() {
    let keys = Keys::start();
    let every = keys.create(&json!({}));
    let every = text(&every["key"]);
    assert_eq!(keys.call("api.test", every).status, 200);
    assert_eq!(keys.call("docs.test", every).status, 200);
    assert_eq!(keys.call("shop.test", every).status, 401);
    let narrow = keys.owner(&["--app", "docs"]);
    let made = keys.ask(Some(&narrow), "POST", "create", b"{}").json();
    let docs = text(&made["key"]);
    assert_eq!(keys.call("docs.test", docs).status, 200);
    assert_eq!(keys.call("api.test", docs).status, 401);
    assert_eq!(
        code(&keys.verify(docs)),
        None,
        "the whole account may verify it"
    );
    assert_eq!(made["userId"], "default");
}

#[test]
fn the_command_line_does_all_that_can_be_done_with_keys() {
    let keys = Keys::start();
    let cli = keys.site.gateway.cli();
    let made = cli.json(&[
        "apikey",
        "create",
        "--app",
        "api",
        "--name",
        "ci",
        "--prefix",
        "ci_",
        "--remaining",
        "3",
        "--refill",
        "3/1d",
        "--rate-limit",
        "9/1h",
        "--permission",
        "files:read",
    ]);
    let (id, key) = (text(&made["id"]), text(&made["key"]));
    assert!(key.starts_with("ci_") && made["start"] == key[..6]);
    let verified = cli.json(&["apikey", "verify", key, "--permission", "files:read"]);
    assert_eq!(
        (&verified["valid"], &verified["key"]["remaining"]),
        (&json!(true), &json!(2))
    );
    let refused = cli.run(&[
        "apikey",
        "verify",
        key,
        "--permission",
        "files:write",
        "--json",
    ]);
    assert_eq!(refused.code, 1);
    assert!(refused.stdout.contains("not_permitted"), "{refused:?}");
    let changed = cli.json(&[
        "apikey",
        "update",
        id,
        "--name",
        "build",
        "--disable",
        "--remaining",
        "7",
    ]);
    assert_eq!(
        (&changed["name"], &changed["enabled"]),
        (&json!("build"), &json!(false))
    );
    let shown = cli.json(&["apikey", "show", id]);
    assert_eq!(
        (&shown["remaining"], &shown["request_count"]),
        (&json!(7), &json!(1))
    );
    assert!(shown.get("key").is_none());
    let listed = cli.json(&["apikey", "list", "--app", "api"]);
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
    assert!(cli.text(&["apikey", "list"]).contains("ci_"));
    assert!(
        !cli.text(&["key", "list"]).contains(id),
        "no management key"
    );
    assert!(cli.text(&["apikey", "delete", id]).contains("deleted"));
    assert!(
        cli.text(&["apikey", "delete", "--expired"])
            .starts_with("0 ")
    );
    assert_ne!(cli.run(&["apikey", "show", id]).code, 0);
}

/// Verifies from threads that begin at one moment.
fn at_once(count: usize, verify: impl Fn() -> Value + Sync) -> Vec<Value> {
    let barrier = Barrier::new(count);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    verify()
                })
            })
            .collect();
        let answers = threads
            .into_iter()
            .map(|thread| thread.join().expect("it answers"));
        answers.collect()
    })
}

fn valid(answers: &[Value]) -> usize {
    answers
        .iter()
        .filter(|answer| code(answer).is_none())
        .count()
}
