//! better-auth: API keys are made, shown, changed and deleted as the plugin's clients expect.

use crate::support::better_auth::{self, Keys, is, refusal, text};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use testkit::client::{self, Request, Response};

#[test]
fn case_68_a_client_that_sets_any_server_only_field_is_refused() {
    let keys = Keys::start();
    let fields = [
        ("remaining", json!(5)),
        ("refillAmount", json!(5)),
        ("refillInterval", json!(1_000)),
        ("rateLimitTimeWindow", json!(1_000)),
        ("rateLimitMax", json!(5)),
        ("rateLimitEnabled", json!(false)),
        ("permissions", json!({"files": ["read"]})),
    ];
    let key = keys.create(&json!({}));
    for (field, value) in fields {
        let created = keys.post("create", &json!({ field: value }));
        assert_eq!(
            refusal(&created),
            is(400, "SERVER_ONLY_PROPERTY"),
            "{field}"
        );
        let changed = json!({ "keyId": key["id"], field: value });
        let changed = keys.post("update", &changed);
        assert_eq!(
            refusal(&changed),
            is(400, "SERVER_ONLY_PROPERTY"),
            "{field}"
        );
    }
    assert_eq!(keys.get("list").json()["total"], 1);
    // Who owns a key is told by who asks.
    let other = keys.post("create", &json!({ "userId": "somebody" }));
    assert_eq!(refusal(&other), is(401, "UNAUTHORIZED_SESSION"));
    // An absent quota may be said, as the original does.
    keys.create(&json!({ "remaining": null }));
}

#[test]
fn case_69_the_key_is_shown_once_and_the_store_holds_only_its_keyed_hash() {
    let mut keys = Keys::start();
    let made = keys.create(&json!({ "name": "first" }));
    let key = text(&made["key"]).to_owned();
    assert_eq!(key.len(), 64);
    assert!(key.bytes().all(|b| b.is_ascii_alphabetic()));
    let update = json!({ "keyId": made["id"], "name": "second" });
    let answers = [
        keys.get(&format!("get?id={}", text(&made["id"]))),
        keys.get("list"),
        keys.post("update", &update),
        keys.post("verify", &json!({ "key": key })),
    ];
    for answer in &answers {
        assert_eq!(answer.status, 200);
        assert!(!answer.text().contains(&key), "{}", answer.text());
    }
    assert!(answers[0].json().get("key").is_none());
    keys.site.gateway.stop();
    // Neither the key nor its plain SHA-256, however written (the original keeps it in base64url), is on the disk.
    let digest = sha256(key.as_bytes());
    let hexadecimal: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let secrets: [Vec<u8>; 6] = [
        key.clone().into_bytes(),
        digest.clone(),
        URL_SAFE_NO_PAD.encode(&digest).into_bytes(),
        STANDARD_NO_PAD.encode(&digest).into_bytes(),
        hexadecimal.to_uppercase().into_bytes(),
        hexadecimal.into_bytes(),
    ];
    let mut files = vec![keys.site.gateway.data_dir()];
    let mut looked_at = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(
                std::fs::read_dir(path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
            continue;
        }
        if !path.is_file() {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let holds = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        for secret in &secrets {
            assert!(!holds(secret), "{}", path.display());
        }
        looked_at += 1;
    }
    assert!(looked_at > 3);
    assert!(!keys.site.gateway.log().contains(&key));
    // What is kept is a hash under a key of the store: the same text is kept otherwise in another store.
    let kept = kept_hashes(&keys);
    assert_eq!(kept.len(), 1, "one credential");
    assert!(kept[0].len() == 32 && kept[0] != digest);
    let mut other = Keys::start();
    let import = ["license", "create", "--app", "api", "--key", &key];
    let _imported = other.site.gateway.cli().json(&import);
    other.site.gateway.stop();
    let imported = kept_hashes(&other);
    assert_eq!(imported.len(), 1);
    assert!(imported[0].len() == 32 && imported[0] != kept[0]);
}

/// The hashes of all credentials in the store of a gate.
fn kept_hashes(keys: &Keys) -> Vec<Vec<u8>> {
    let mut folders = vec![keys.site.gateway.data_dir()];
    while let Some(folder) = folders.pop() {
        let file = folder.join("licenses.db");
        if file.exists() {
            let store = rusqlite::Connection::open(file).expect("opens");
            let mut rows = store.prepare("SELECT hash FROM credentials").expect("SQL");
            let hashes = rows.query_map([], |row| row.get(0)).expect("rows");
            return hashes.map(|hash| hash.expect("bytes")).collect();
        }
        let entries = std::fs::read_dir(folder).expect("a folder");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        folders.extend(paths.filter(|path| path.is_dir()));
    }
    panic!("there is no licenses.db");
}

#[test]
fn case_70_a_prefix_stands_before_the_key_and_in_its_first_six_characters() {
    let keys = Keys::start();
    let made = keys.create(&json!({ "prefix": "pk_" }));
    let key = text(&made["key"]);
    assert!(key.starts_with("pk_") && key.len() == 67, "{key}");
    for record in [&made, &keys.show(&made)] {
        assert_eq!(record["start"], key[..6]);
        assert_eq!(record["prefix"], "pk_");
    }
    let long = "p".repeat(32);
    let made = keys.create(&json!({ "prefix": long }));
    assert_eq!(made["start"], "pppppp");
    assert_eq!(better_auth::code(&keys.verify(text(&made["key"]))), None);
}

#[test]
fn case_71_a_name_or_a_prefix_outside_its_limits_is_refused() {
    let keys = Keys::start();
    let (short, long) = ("", "x".repeat(33));
    for name in [short, &long] {
        let created = keys.post("create", &json!({ "name": name }));
        assert_eq!(refusal(&created), is(400, "INVALID_NAME_LENGTH"));
    }
    let created = keys.post("create", &json!({ "prefix": long }));
    assert_eq!(refusal(&created), is(400, "INVALID_PREFIX_LENGTH"));
    for prefix in ["a b", "", "é", "tg_"] {
        let created = keys.post("create", &json!({ "prefix": prefix }));
        assert_eq!(refusal(&created), is(400, "VALIDATION_ERROR"), "{prefix}");
        assert!(created.text().contains("prefix"), "{}", created.text());
    }
    let made = keys.create(&json!({ "name": "n".repeat(32), "prefix": "p".repeat(32) }));
    let update = json!({ "keyId": made["id"], "name": long });
    let changed = keys.post("update", &update);
    assert_eq!(refusal(&changed), is(400, "INVALID_NAME_LENGTH"));
    assert_eq!(keys.show(&made)["name"], "n".repeat(32));
}

/// Over HTTP and where the fields may be set.
#[test]
fn case_72_half_a_refill_is_refused() {
    let keys = Keys::start();
    let halves = [
        (json!({ "refillAmount": 5 }), "refill_interval"),
        (json!({ "refillInterval": 1_000 }), "refill_amount"),
    ];
    for (half, missing) in halves {
        assert_eq!(keys.post("create", &half).status, 400);
        let made = native(&keys, "POST", "/api/v1/keys", &half);
        assert_eq!(made.status, 400, "{}", made.text());
        assert_eq!(made.json()["field"], missing);
        let made = keys.issue(&[]);
        let path = format!("/api/v1/keys/{}", text(&made["id"]));
        assert_eq!(native(&keys, "PATCH", &path, &half).status, 400);
    }
}

#[test]
fn case_73_a_key_ends_after_a_day_at_the_soonest_and_a_year_at_the_latest() {
    let keys = Keys::start();
    const DAY: u64 = 86_400;
    let made = keys.create(&json!({ "expiresIn": DAY }));
    let edges = [
        (DAY - 1, "EXPIRES_IN_IS_TOO_SMALL"),
        (365 * DAY + 1, "EXPIRES_IN_IS_TOO_LARGE"),
    ];
    for (seconds, expected) in edges {
        let created = keys.post("create", &json!({ "expiresIn": seconds }));
        assert_eq!(refusal(&created), is(400, expected));
        let update = json!({ "keyId": made["id"], "expiresIn": seconds });
        assert_eq!(refusal(&keys.post("update", &update)), is(400, expected));
    }
    keys.create(&json!({ "expiresIn": 365 * DAY }));
    assert!(keys.show(&made)["expiresAt"].is_string());
    let cleared = keys.post("update", &json!({ "keyId": made["id"], "expiresIn": null }));
    assert_eq!(
        (cleared.status, &cleared.json()["expiresAt"]),
        (200, &Value::Null)
    );
    let never = keys.create(&json!({ "expiresIn": null }));
    assert!(never["expiresAt"].is_null());
}

#[test]
fn case_88_a_new_name_leaves_what_was_used_as_it_is() {
    let keys = Keys::start();
    let made = keys.issue(&["--app", "api", "--remaining", "5"]);
    let key = text(&made["key"]);
    for _ in 0..2 {
        assert_eq!(better_auth::code(&keys.verify(key)), None);
    }
    let before = keys.show(&made);
    assert_eq!(
        (&before["remaining"], &before["requestCount"]),
        (&json!(3), &json!(2))
    );
    assert!(before["lastRequest"].is_string());
    let update = json!({ "keyId": made["id"], "name": "new" });
    let after = keys.post("update", &update);
    assert_eq!(after.status, 200, "{}", after.text());
    let after = after.json();
    assert_eq!(after["name"], "new");
    for field in ["lastRequest", "remaining", "requestCount"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    let nothing = keys.post("update", &json!({ "keyId": made["id"] }));
    assert_eq!(refusal(&nothing), is(400, "NO_VALUES_TO_UPDATE"));
}

#[test]
fn case_89_another_owners_key_is_not_found() {
    let keys = Keys::start();
    let made = keys.create(&json!({}));
    let (id, key) = (text(&made["id"]), text(&made["key"]));
    let strangers = [
        keys.owner(&["--account", "acme"]),
        keys.owner(&["--app", "docs"]),
    ];
    for stranger in &strangers {
        let ask = |method: &str, path: &str, body: &Value| {
            keys.ask(Some(stranger), method, path, body.to_string().as_bytes())
        };
        let get = ask("GET", &format!("get?id={id}"), &json!({}));
        let update = ask("POST", "update", &json!({ "keyId": id, "name": "mine" }));
        let delete = ask("POST", "delete", &json!({ "keyId": id }));
        for answer in [get, update, delete] {
            assert_eq!(refusal(&answer), is(404, "KEY_NOT_FOUND"));
        }
        assert_eq!(ask("GET", "list", &json!({})).json()["total"], 0);
    }
    // A key of every app opens that of a narrow owner, who may verify it; it opens nothing of another account.
    let ask = |owner: &str| {
        let body = json!({ "key": key }).to_string();
        keys.ask(Some(owner), "POST", "verify", body.as_bytes())
            .json()
    };
    assert_eq!(
        better_auth::code(&ask(&strangers[0])),
        Some("INVALID_API_KEY")
    );
    assert_eq!(better_auth::code(&ask(&strangers[1])), None);
    for unknown in ["lic_00000000000000000000000000000000", "nonsense", "%00"] {
        let answer = keys.get(&format!("get?id={unknown}"));
        assert_eq!(refusal(&answer), is(404, "KEY_NOT_FOUND"), "{unknown}");
    }
}

#[test]
fn case_90_a_list_is_cut_sorted_and_counted_as_asked() {
    let keys = Keys::start();
    let made: Vec<Value> = (0..5)
        .map(|n| keys.create(&json!({ "name": format!("n{}", (n * 3) % 5) })))
        .collect();
    let ids = |list: &Value| -> Vec<String> {
        let keys = list["apiKeys"].as_array().expect("a list");
        keys.iter().map(|key| text(&key["id"]).to_owned()).collect()
    };
    let own = |order: &[usize]| -> Vec<String> {
        order
            .iter()
            .map(|at| text(&made[*at]["id"]).to_owned())
            .collect()
    };
    let newest = keys
        .get("list?limit=2&offset=1&sortBy=createdAt&sortDirection=desc")
        .json();
    assert_eq!(ids(&newest), own(&[3, 2]));
    assert_eq!(newest["total"], 5);
    assert_eq!(
        (&newest["limit"], &newest["offset"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(
        ids(&keys.get("list?sortBy=name").json()),
        own(&[0, 2, 4, 1, 3])
    );
    let past = keys.get("list?offset=5").json();
    assert_eq!((ids(&past).len(), &past["total"]), (0, &json!(5)));
    assert_eq!(ids(&keys.get("list?limit=0").json()), own(&[]));
    let all = keys.get("list").json();
    assert_eq!(ids(&all).len(), 5);
    assert!(all.get("limit").is_none());
    assert_eq!(keys.get("list?configId=other").json()["total"], 0);
    assert_eq!(keys.get("list?configId=default").json()["total"], 5);
    let wrong = [
        ("limit=-1", "limit"),
        ("limit=x", "limit"),
        ("offset=1.5", "offset"),
        ("sortBy=colour", "sortBy"),
        ("sortDirection=up", "sortDirection"),
        ("colour=red", "colour"),
        ("limit=1&limit=2", "limit"),
    ];
    for (query, field) in wrong {
        let answer = keys.get(&format!("list?{query}"));
        assert_eq!(refusal(&answer), is(400, "VALIDATION_ERROR"), "{query}");
        assert!(answer.text().contains(field), "{}", answer.text());
    }
    let organization = keys.get("list?organizationId=o");
    assert_eq!(
        refusal(&organization),
        is(400, "ORGANIZATION_PLUGIN_REQUIRED")
    );
}

#[test]
fn a_deleted_key_is_gone_and_opens_nothing() {
    let keys = Keys::start();
    let made = keys.create(&json!({}));
    let key = text(&made["key"]);
    assert_eq!(better_auth::code(&keys.verify(key)), None);
    let deleted = keys.post("delete", &json!({ "keyId": made["id"] }));
    assert_eq!(
        (deleted.status, deleted.json()),
        (200, json!({ "success": true }))
    );
    assert_eq!(
        better_auth::code(&keys.verify(key)),
        Some("INVALID_API_KEY")
    );
    assert_eq!(keys.call("api.test", key).status, 403);
    let again = keys.post("delete", &json!({ "keyId": made["id"] }));
    assert_eq!(refusal(&again), is(404, "KEY_NOT_FOUND"));
    assert_eq!(keys.get("list").json()["total"], 0);
    let swept = keys.post("delete-all-expired-api-keys", &json!({}));
    assert_eq!(
        (swept.status, swept.json()),
        (200, json!({ "success": true, "error": null }))
    );
}

#[test]
fn whoever_has_no_management_key_or_a_narrow_one_is_refused() {
    let keys = Keys::start();
    let made = keys.create(&json!({}));
    let id = text(&made["id"]);
    let body = json!({ "keyId": id, "name": "x" }).to_string();
    let get = format!("get?id={id}");
    let asked = [
        ("POST", "create", "{}"),
        ("POST", "update", &body),
        ("POST", "delete", &body),
        ("GET", &get, ""),
        ("GET", "list", ""),
        ("POST", "verify", "{\"key\":\"k\"}"),
        ("POST", "delete-all-expired-api-keys", ""),
    ];
    let reader = keys.owner(&["--scope", "read:licenses"]);
    let nobody = keys.owner(&["--scope", "read:usage"]);
    for (method, path, body) in asked {
        for owner in [None, Some("wrong"), Some(text(&made["key"]))] {
            let answer = keys.ask(owner, method, path, body.as_bytes());
            assert_eq!(refusal(&answer), is(401, "UNAUTHORIZED_SESSION"), "{path}");
        }
        let denied = keys.ask(Some(&nobody), method, path, body.as_bytes());
        let code = "INSUFFICIENT_API_KEY_PERMISSIONS";
        assert_eq!(refusal(&denied), is(403, code), "{path}");
        let reads = method == "GET" || path == "verify";
        let read = keys.ask(Some(&reader), method, path, body.as_bytes());
        assert_eq!(read.status == 200, reads, "{path}: {}", read.text());
    }
    assert_eq!(keys.ask(None, "PUT", "create", b"").status, 405);
}

#[test]
fn metadata_are_kept_where_the_configuration_says_so() {
    let keys = Keys::start();
    let data = json!({ "team": "a", "deep": [1, { "b": null }] });
    let off = keys.post("create", &json!({ "metadata": data }));
    assert_eq!(refusal(&off), is(400, "METADATA_DISABLED"));
    let made = keys.create(&json!({}));
    let ignored = json!({ "keyId": made["id"], "name": "n", "metadata": data });
    assert!(keys.post("update", &ignored).json()["metadata"].is_null());
    let only = json!({ "keyId": made["id"], "metadata": data });
    assert_eq!(
        refusal(&keys.post("update", &only)),
        is(400, "NO_VALUES_TO_UPDATE")
    );

    let keys = Keys::with(&["metadata = true"]);
    let made = keys.create(&json!({ "metadata": data }));
    assert_eq!(made["metadata"], data);
    assert_eq!(keys.show(&made)["metadata"], data);
    assert_eq!(keys.verify(text(&made["key"]))["key"]["metadata"], data);
    let other = json!({ "keyId": made["id"], "metadata": { "c": 1 } });
    assert_eq!(
        keys.post("update", &other).json()["metadata"],
        json!({ "c": 1 })
    );
    for wrong in [json!("text"), json!(7), json!(true), json!([1])] {
        let created = keys.post("create", &json!({ "metadata": wrong }));
        assert_eq!(
            refusal(&created),
            is(400, "INVALID_METADATA_TYPE"),
            "{wrong}"
        );
    }
    let large = json!({ "metadata": { "a": "x".repeat(5_000) } });
    assert_eq!(
        refusal(&keys.post("create", &large)),
        is(400, "VALIDATION_ERROR")
    );
}

#[test]
fn what_cannot_be_read_is_refused_by_the_name_of_its_field_and_leaves_nothing() {
    let keys = Keys::start();
    let made = keys.create(&json!({ "name": "kept" }));
    let id = text(&made["id"]);
    let create = [
        (
            "name",
            vec![json!(1), json!(null), json!({}), json!("x\u{0}")],
        ),
        (
            "expiresIn",
            vec![json!("1"), json!(0), json!(-1), json!(0.5), json!([])],
        ),
        ("prefix", vec![json!(1), json!(null), json!("a b")]),
        ("userId", vec![json!(null), json!({}), json!([])]),
        ("configId", vec![json!(1), json!(null)]),
        ("organizationId", vec![json!({})]),
        ("remaining", vec![json!("5"), json!(-1), json!({})]),
        ("refillAmount", vec![json!(0), json!("5"), json!(null)]),
        ("refillInterval", vec![json!("1h"), json!(null)]),
        ("rateLimitTimeWindow", vec![json!("1h"), json!(null)]),
        ("rateLimitMax", vec![json!("5"), json!(null)]),
        (
            "rateLimitEnabled",
            vec![json!("yes"), json!(null), json!(1)],
        ),
        (
            "permissions",
            vec![json!("x"), json!([]), json!({"a": "b"}), json!({"a": [1]})],
        ),
        ("colour", vec![json!("red")]),
    ];
    for (field, values) in create {
        for value in values {
            assert_wrong(&keys, "create", &json!({ field: value }), field);
        }
    }
    let update = [
        ("keyId", vec![json!(1), json!(null)]),
        ("name", vec![json!(1), json!(null)]),
        ("enabled", vec![json!("yes"), json!(null), json!(0)]),
        ("expiresIn", vec![json!("1"), json!(0)]),
        ("remaining", vec![json!(0), json!(null)]),
        ("refillAmount", vec![json!("5")]),
        ("refillInterval", vec![json!("5")]),
        ("rateLimitEnabled", vec![json!(1)]),
        ("rateLimitTimeWindow", vec![json!(null)]),
        ("rateLimitMax", vec![json!(null)]),
        ("permissions", vec![json!(7)]),
        ("metadata2", vec![json!({})]),
    ];
    for (field, values) in update {
        for value in values {
            let mut body = json!({ "keyId": id, "name": "changed" });
            body[field] = value;
            assert_wrong(&keys, "update", &body, field);
        }
    }
    for body in [json!({}), json!({ "key": 7 }), json!({ "key": null })] {
        assert_wrong(&keys, "verify", &body, "key");
    }
    for permissions in [json!(null), json!(7), json!({ "a": null })] {
        let body = json!({ "key": "k", "permissions": permissions });
        assert_wrong(&keys, "verify", &body, "permissions");
    }
    assert_wrong(&keys, "delete", &json!({}), "keyId");
    assert_wrong(
        &keys,
        "delete-all-expired-api-keys",
        &json!({ "all": 1 }),
        "all",
    );
    let deep = format!("{{\"name\":{}", "[".repeat(10_000));
    let long = format!("{{\"name\":\"{}\"}}", "x".repeat(100_000));
    let raw: [(&[u8], u16); 7] = [
        (b"", 200),
        (b"{", 400),
        (b"[]", 400),
        (b"\xff\xfe", 400),
        (b"{\"name\":\"\xff\"}", 400),
        (deep.as_bytes(), 400),
        (long.as_bytes(), 413),
    ];
    for (body, status) in raw {
        let answer = keys.ask(Some(&keys.owner), "POST", "create", body);
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.json().is_object());
    }
    assert_eq!(keys.show(&made)["name"], "kept");
    // The first, and the one of an empty body.
    assert_eq!(keys.get("list").json()["total"], 2);
    assert_eq!(refusal(&keys.get("get")), is(400, "VALIDATION_ERROR"));
}

/// The owner may come with an access token in the place of the key that it was exchanged for.
#[test]
fn an_access_token_is_as_good_as_its_key_until_it_is_revoked() {
    let keys = Keys::start();
    let pair = keys
        .site
        .gateway
        .cli()
        .json(&["key", "create", "--pair", "--app", "docs"]);
    let log_in = json!({ "api_key": pair["key"], "api_secret": pair["secret"] }).to_string();
    let control = keys.site.gateway.control_addr();
    let answer = client::call(control, &Request::post("/v1/auth/token", log_in.as_bytes()));
    let token = text(&answer.json()["data"]["access_token"]).to_owned();
    let ask = |method: &str, path: &str, body: &Value| {
        keys.ask(Some(&token), method, path, body.to_string().as_bytes())
    };
    let made = ask("POST", "create", &json!({ "name": "by token" })).json();
    assert_eq!(ask("GET", "list", &json!({})).json()["total"], 1);
    let verified = ask("POST", "verify", &json!({ "key": made["key"] })).json();
    assert_eq!(better_auth::code(&verified), None);
    // It is a key of the pair's app, as one made with a key of that app would be.
    assert_eq!(keys.call("docs.test", text(&made["key"])).status, 200);
    assert_eq!(keys.call("api.test", text(&made["key"])).status, 401);
    let revoke =
        Request::post("/v1/auth/revoke", b"").header("Authorization", &format!("Bearer {token}"));
    assert_eq!(client::call(control, &revoke).status, 200);
    let refused = ask("GET", "list", &json!({}));
    assert_eq!(refusal(&refused), is(401, "UNAUTHORIZED_SESSION"));
    assert_eq!(keys.get("list").json()["total"], 1);
}

fn assert_wrong(keys: &Keys, path: &str, body: &Value, field: &str) {
    let answer = keys.post(path, body);
    let (status, code) = refusal(&answer);
    let expected = matches!(code.as_str(), "VALIDATION_ERROR" | "INVALID_NAME_LENGTH");
    assert!(status == 400 && expected, "{body}: {}", answer.text());
    let named = answer.text().contains(field) || code == "INVALID_NAME_LENGTH";
    assert!(named, "{body}: {}", answer.text());
}

fn native(keys: &Keys, method: &str, path: &str, body: &Value) -> Response {
    let request = Request::with_body(method, path, body.to_string().as_bytes())
        .header("Authorization", &format!("Bearer {}", keys.owner));
    client::call(keys.site.gateway.control_addr(), &request)
}

/// SHA-256 by the system's own tool, so that the test depends on none of ours.
fn sha256(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let mut tool = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sha256sum");
    tool.stdin
        .take()
        .expect("a pipe")
        .write_all(bytes)
        .expect("written");
    let output = tool.wait_with_output().expect("it ends").stdout;
    let hex = String::from_utf8(output).expect("text");
    (0..32)
        .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hexadecimal"))
        .collect()
}
