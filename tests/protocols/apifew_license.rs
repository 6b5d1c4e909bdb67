//! apifew: license checks and users, over the control listener.

use serde_json::{Value, json};
use testkit::client::Request;
use testkit::{Apifew, License};
use testkit::{App, Config, Gateway, Upstream, apifew, assert_eventually, binary};

const CHECK: &str = "/v1/app/user/license/check";

/// Two apps of one account, one of another, and a plan with features.
fn gate() -> (Gateway, Upstream) {
    let upstream = Upstream::start();
    let plan = "[[plan]]\nname = \"monthly_10\"\ncurrency = \"EUR\"\nprice_per_unit = \"0.01\"\n\
                features = [\"read_report\", \"download_report\"]";
    let app = |name: &str| App::new(name, &upstream.url());
    let config = Config::default()
        .app(
            app("api")
                .line("hosts = [\"api.test\"]")
                .line("plan = \"monthly_10\""),
        )
        .app(app("other").line("hosts = [\"other.test\"]"))
        .app(
            app("foreign")
                .line("hosts = [\"foreign.test\"]")
                .line("account = \"acme\""),
        )
        .table(plan);
    let gateway = Gateway::start(binary!(), config);
    let _ = gateway.cli().json(&["account", "create", "acme"]);
    (gateway, upstream)
}

fn checked(provider: &Apifew<'_>, license: &License) -> Value {
    provider.result(CHECK, &json!({"LICENSE_KEY": license.key}))
}

#[test]
fn case_01_a_valid_license_is_ok_with_username_and_alias() {
    let (gateway, _upstream) = gate();
    let provider = Apifew::of_app(&gateway, "api");
    let license = gateway.license(&["--user", "zoe@example.com", "--remaining", "3"]);
    let result = checked(&provider, &license);
    let data = &result["data"];
    assert_eq!(data["license_ok"], true);
    assert_eq!(data["username"], "zoe@example.com");
    let alias = data["alias_uid"].as_str().expect("an alias");
    assert_eq!(alias.len(), 16);
    assert!(
        alias.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{alias}"
    );
    assert_eq!(result["error_msg"], "");

    // A license without a user has a holder all the same.
    let nobody = gateway.license(&[]);
    let data = checked(&provider, &nobody)["data"].clone();
    assert_eq!(
        (&data["license_ok"], &data["username"]),
        (&true.into(), &"".into())
    );
    assert_ne!(data["alias_uid"], alias);
    assert_eq!(gateway.calls(&[]).len(), 0, "a check is no call");
}

#[test]
fn case_01_the_provider_key_counts_wherever_apifew_ever_put_it() {
    let (gateway, _upstream) = gate();
    let key = Apifew::of_app(&gateway, "api").key;
    let license = gateway.license(&[]);
    let ask = |header: Option<(&str, &str)>, field: Option<&str>| {
        let mut body = json!({"LICENSE_KEY": license.key});
        if let Some(field) = field {
            body["APIFEW_KEY"] = field.into();
        }
        let mut request = Request::post(CHECK, body.to_string().as_bytes());
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        apifew::send(&gateway, request)
    };
    let places = [
        ask(None, Some(&key)),
        ask(Some(("Apifew-Key", &key)), None),
        ask(Some(("apifew-app-secret-key", &key)), None),
        ask(Some(("Apifew-Key", &key)), Some(&key)),
    ];
    for response in places {
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(apifew::result(&response)["data"]["license_ok"], true);
    }
    let two = ask(Some(("Apifew-Key", "another")), Some(&key));
    assert_eq!(apifew::error(&two, 400), "ERROR_FIELD_INVALID");
    assert_eq!(two.json()["data"]["field"], "APIFEW_KEY");
    assert_eq!(apifew::error(&ask(None, None), 401), "ERROR_KEY_MISSING");
}

#[test]
fn case_02_an_unknown_license_is_answered_without_any_user() {
    let (gateway, _upstream) = gate();
    let provider = Apifew::of_app(&gateway, "api");
    for unknown in [
        "12345678-aaaa-bbbb-cccc-1234567890abcdef",
        "tg_mistyped",
        "x",
        &"x".repeat(400),
    ] {
        let result = provider.result(CHECK, &json!({"LICENSE_KEY": unknown}));
        assert_eq!(result["data"], json!({"license_ok": false}));
        assert_eq!(result["error_msg"], "ERROR_LICENSE_UNKNOWN");
    }
}

#[test]
fn case_03_a_wrong_app_key_learns_nothing_about_a_license() {
    let (gateway, _upstream) = gate();
    let license = gateway.license(&["--user", "zoe"]);
    let ended = gateway.cli().json(&["key", "create"]);
    let _ = gateway
        .cli()
        .run(&["key", "revoke", ended["id"].as_str().expect("an id")]);
    let pair = gateway.cli().json(&["key", "create", "--pair"]);
    let text = |json: &Value, field: &str| json[field].as_str().expect("text").to_owned();
    let mut answers = Vec::new();
    for key in [
        "12345678-aaaa-bbbb-cccc-1234567890abcdef".to_owned(),
        text(&ended, "key"),
        text(&pair, "key"),
        text(&pair, "secret"),
        license.key.clone(),
    ] {
        for asked in [license.key.as_str(), "12345678-aaaa-bbbb-cccc-000000000000"] {
            let body = json!({"APIFEW_KEY": key, "LICENSE_KEY": asked}).to_string();
            let response = apifew::send(&gateway, Request::post(CHECK, body.as_bytes()));
            assert_eq!(apifew::error(&response, 401), "ERROR_KEY_UNKNOWN");
            answers.push(response.text());
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "all alike: {answers:?}");
    assert!(!answers[0].contains("zoe") && !answers[0].contains("license"));
}

#[test]
fn case_04_a_license_of_another_app_is_as_unknown_as_any_text() {
    let (gateway, _upstream) = gate();
    let provider = Apifew::of_app(&gateway, "api");
    let foreign = Apifew::with_key(&gateway, &["--account", "acme"]);
    let own = gateway.license_of("api", &["--user", "zoe"]);
    let other = gateway.license_of("other", &["--user", "zoe"]);
    let unknown = provider.result(CHECK, &json!({"LICENSE_KEY": "nothing-of-ours"}));
    assert_eq!(checked(&provider, &other), unknown);
    assert_eq!(checked(&foreign, &own), unknown);
    // A key for all apps of the account sees both.
    let whole = Apifew::with_key(&gateway, &[]);
    for license in [&own, &other] {
        assert_eq!(checked(&whole, license)["data"]["license_ok"], true);
    }
}

#[test]
fn case_05_an_alias_differs_per_app_and_is_stable_within_one() {
    let (mut gateway, _upstream) = gate();
    let whole = Apifew::with_key(&gateway, &[]).key;
    let user = ["--user", "zoe@example.com"];
    let first = gateway.license_of("api", &user);
    let second = gateway.license_of("api", &user);
    let elsewhere = gateway.license_of("other", &user);
    let stranger = gateway.license_of("api", &["--user", "ada@example.com"]);
    let alias = |gateway: &Gateway, license: &License| {
        let provider = Apifew::with_key(gateway, &[]);
        checked(&provider, license)["data"]["alias_uid"].clone()
    };
    let known = alias(&gateway, &first);
    assert_eq!(alias(&gateway, &second), known);
    assert_ne!(alias(&gateway, &elsewhere), known);
    assert_ne!(alias(&gateway, &stranger), known);
    // Making the user does not change it, and neither does a new start.
    let body = json!({"USER_LOGIN": "zoe@example.com", "APP_NAME": "api"}).to_string();
    let create = Request::post("/v2/app/user/create", body.as_bytes());
    let made = apifew::send(&gateway, create.header("Apifew-Key", &whole));
    assert_eq!(apifew::result(&made)["data"]["uid"], known);
    assert_eq!(gateway.stop().code(), Some(0));
    gateway.restart();
    assert_eq!(alias(&gateway, &first), known);
}

#[test]
fn a_license_that_may_not_be_used_says_why_at_once() {
    let (gateway, _upstream) = gate();
    let provider = Apifew::of_app(&gateway, "api");
    let license = gateway.license(&["--user", "zoe", "--allow-ip", "192.0.2.0/24"]);
    let refused = |code: &str| {
        let result = checked(&provider, &license);
        assert_eq!(result["data"], json!({"license_ok": false}));
        assert_eq!(result["error_msg"], code);
    };
    // Where its holder may call from is no matter to the app that asks.
    assert_eq!(checked(&provider, &license)["data"]["license_ok"], true);
    let change = |word: &str| gateway.cli().text(&["license", word, &license.id]);
    let _ = change("disable");
    refused("ERROR_LICENSE_DISABLED");
    let _ = change("enable");
    assert_eq!(checked(&provider, &license)["data"]["license_ok"], true);
    let _ = change("revoke");
    refused("ERROR_LICENSE_REVOKED");
    let end = testkit::clock::rfc3339_in(std::time::Duration::from_secs(1));
    let soon = gateway.license(&["--expires-at", &end]);
    assert_eventually!(checked(&provider, &soon)["error_msg"] == "ERROR_LICENSE_EXPIRED");
}

#[test]
fn users_are_made_shown_with_their_license_and_changed() {
    let (gateway, _upstream) = gate();
    let provider = Apifew::of_app(&gateway, "api");
    let login = json!({"USER_LOGIN": "john.smith@example.com"});
    let nobody = provider.result("/v2/app/user", &login);
    assert_eq!(nobody["error_msg"], "ERROR_USER_NOT_FOUND");
    assert_eq!(nobody["data"], Value::Null);

    let made = provider.result("/v2/app/user/create", &login);
    assert_eq!(made["success_msg"], "INFO_APP_USER_CREATED");
    let uid = made["data"]["uid"].clone();
    assert_eq!(uid.as_str().map(str::len), Some(16));
    let again = provider.ask("/v2/app/user/create", &login);
    assert_eq!(apifew::error(&again, 409), "ERROR_USER_EXISTS");

    let shown = provider.result("/v2/app/user", &login)["data"].clone();
    let without = json!({
        "login": "john.smith@example.com", "uid": uid, "app": "api", "license_key": "",
        "pricing_fullname": "", "license_role": "", "license_features": [], "license_active": false,
        "license_status": "none", "name_first": "", "name_last": "",
    });
    assert_eq!(shown, without);

    let names =
        json!({"USER_LOGIN": "john.smith@example.com", "NAME_FIRST": "John", "NAME_LAST": "Smith"});
    let changed = provider.result("/v2/app/user/update", &names);
    assert_eq!(changed["success_msg"], "INFO_APP_USER_UPDATED");
    assert_eq!(changed["data"]["uid"], uid);
    let license = gateway.license(&["--user", "john.smith@example.com"]);
    let shown = provider.result("/v2/app/user", &login)["data"].clone();
    for (field, value) in [
        ("name_first", json!("John")),
        ("name_last", json!("Smith")),
        ("license_active", json!(true)),
        ("license_status", json!("subscribed")),
        ("license_role", json!("normal_user")),
        (
            "license_features",
            json!(["read_report", "download_report"]),
        ),
    ] {
        assert_eq!(shown[field], value, "{field} of {shown}");
    }
    let pricing = shown["pricing_fullname"].as_str().expect("text");
    assert!(pricing.starts_with("monthly_10 rev."), "{pricing}");

    // One name is taken away, the other stays; the newest license that may be used is the one that shows.
    let less = json!({"USER_LOGIN": "john.smith@example.com", "NAME_FIRST": null});
    let _ = provider.result("/v2/app/user/update", &less);
    let _ = gateway.cli().text(&["license", "revoke", &license.id]);
    let shown = provider.result("/v2/app/user", &login)["data"].clone();
    assert_eq!(
        (&shown["name_first"], &shown["name_last"]),
        (&"".into(), &"Smith".into())
    );
    assert_eq!(
        (&shown["license_active"], &shown["license_status"]),
        (&false.into(), &"revoked".into())
    );
    let _newer = gateway.license(&["--user", "john.smith@example.com"]);
    let shown = provider.result("/v2/app/user", &login)["data"].clone();
    assert_eq!(shown["license_status"], "subscribed");

    let stranger = provider.ask("/v2/app/user/update", &json!({"USER_LOGIN": "nobody"}));
    assert_eq!(apifew::error(&stranger, 404), "ERROR_USER_NOT_FOUND");
}

#[test]
fn a_key_for_several_apps_says_which_and_sees_only_its_own() {
    let (gateway, _upstream) = gate();
    let whole = Apifew::with_key(&gateway, &[]);
    let login = json!({"USER_LOGIN": "zoe"});
    let unsaid = whole.ask("/v2/app/user/create", &login);
    assert_eq!(apifew::error(&unsaid, 400), "ERROR_FIELD_MISSING");
    assert_eq!(unsaid.json()["data"]["field"], "APP_NAME");
    for (app, status) in [
        ("other.test", 200),
        ("other", 409),
        ("foreign", 404),
        ("none", 404),
    ] {
        let body = json!({"USER_LOGIN": "zoe", "APP_NAME": app});
        assert_eq!(
            whole.ask("/v2/app/user/create", &body).status,
            status,
            "{app}"
        );
    }
    let narrow = Apifew::of_app(&gateway, "api");
    let elsewhere = narrow.ask(
        "/v2/app/user",
        &json!({"USER_LOGIN": "zoe", "APP_NAME": "other"}),
    );
    assert_eq!(apifew::error(&elsewhere, 404), "ERROR_APP_NOT_FOUND");
    assert_eq!(
        narrow.result("/v2/app/user", &login)["error_msg"],
        "ERROR_USER_NOT_FOUND"
    );

    let reader = Apifew::with_key(&gateway, &["--app", "api", "--scope", "read:licenses"]);
    let refused = reader.ask("/v2/app/user/create", &login);
    assert_eq!(apifew::error(&refused, 403), "ERROR_KEY_SCOPE");
    let license = gateway.license(&[]);
    let holder = Apifew::with_key(&gateway, &["--license", &license.id]);
    let refused = holder.ask("/v2/app/user/create", &login);
    assert_eq!(apifew::error(&refused, 403), "ERROR_KEY_SCOPE");
    assert_eq!(checked(&holder, &license)["data"]["license_ok"], true);
}

#[test]
fn twenty_parallel_creations_of_one_user_make_one() {
    let (gateway, _upstream) = gate();
    let provider = Apifew::of_app(&gateway, "api");
    let login = json!({"USER_LOGIN": "zoe"});
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let create = || provider.ask("/v2/app/user/create", &login).status;
        let threads: Vec<_> = (0..20).map(|_| scope.spawn(create)).collect();
        let join =
            |thread: std::thread::ScopedJoinHandle<'_, u16>| thread.join().expect("no panic");
        threads.into_iter().map(join).collect()
    });
    let made = statuses.iter().filter(|status| **status == 200).count();
    let refused = statuses.iter().filter(|status| **status == 409).count();
    assert_eq!((made, refused), (1, 19), "{statuses:?}");
}

#[test]
fn bad_input_is_a_result_object_that_names_the_field_and_nothing_is_written() {
    let (gateway, _upstream) = gate();
    let provider = Apifew::of_app(&gateway, "api");
    let long = "x".repeat(201);
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    let create = "/v2/app/user/create";
    let update = "/v2/app/user/update";
    let cases: Vec<(&str, Vec<u8>, &str, &str)> = vec![
        (CHECK, b"{}".to_vec(), "LICENSE_KEY", "ERROR_FIELD_MISSING"),
        (CHECK, b"".to_vec(), "LICENSE_KEY", "ERROR_FIELD_MISSING"),
        (
            CHECK,
            br#"{"LICENSE_KEY":1}"#.to_vec(),
            "LICENSE_KEY",
            "ERROR_FIELD_INVALID",
        ),
        (
            CHECK,
            br#"{"LICENSE_KEY":""}"#.to_vec(),
            "LICENSE_KEY",
            "ERROR_FIELD_INVALID",
        ),
        (
            CHECK,
            br#"{"LICENSE_KEY":null}"#.to_vec(),
            "LICENSE_KEY",
            "ERROR_FIELD_INVALID",
        ),
        (
            CHECK,
            b"{\"LICENSE_KEY\":\"\xff\"}".to_vec(),
            "LICENSE_KEY",
            "ERROR_BODY_NOT_UTF8",
        ),
        (
            CHECK,
            br#"{"LICENSE_KEY":"x","X":1}"#.to_vec(),
            "X",
            "ERROR_FIELD_UNKNOWN",
        ),
        (
            CHECK,
            br#"{"LICENSE_KEY":"x","APIFEW_KEY":[]}"#.to_vec(),
            "APIFEW_KEY",
            "ERROR_FIELD_INVALID",
        ),
        (
            CHECK,
            br#"{"LICENSE_KEY":"x","LICENSE_KEY":"y"}"#.to_vec(),
            "LICENSE_KEY",
            "ERROR_FIELD_UNKNOWN",
        ),
        (
            CHECK,
            format!(r#"{{"LICENSE_KEY":{deep}}}"#).into_bytes(),
            "LICENSE_KEY",
            "ERROR_FIELD_INVALID",
        ),
        (
            create,
            br#"{"USER_LOGIN":""}"#.to_vec(),
            "USER_LOGIN",
            "ERROR_FIELD_INVALID",
        ),
        (
            create,
            format!(r#"{{"USER_LOGIN":"{long}"}}"#).into_bytes(),
            "USER_LOGIN",
            "ERROR_FIELD_INVALID",
        ),
        (
            create,
            br#"{"USER_LOGIN":"a\u0000"}"#.to_vec(),
            "USER_LOGIN",
            "ERROR_FIELD_INVALID",
        ),
        (
            create,
            br#"{"USER_LOGIN":"a","NAME_FIRST":7}"#.to_vec(),
            "NAME_FIRST",
            "ERROR_FIELD_INVALID",
        ),
        (
            create,
            br#"{"USER_LOGIN":"a","APP_NAME":{}}"#.to_vec(),
            "APP_NAME",
            "ERROR_FIELD_INVALID",
        ),
        (
            update,
            br#"{"USER_LOGIN":"a","NAME_LAST":""}"#.to_vec(),
            "NAME_LAST",
            "ERROR_FIELD_INVALID",
        ),
        (
            update,
            br#"{"USER_LOGIN":"a","NAME_LAST":[1]}"#.to_vec(),
            "NAME_LAST",
            "ERROR_FIELD_INVALID",
        ),
        (
            "/v2/app/user",
            br#"{"USER_LOGIN":{}}"#.to_vec(),
            "USER_LOGIN",
            "ERROR_FIELD_INVALID",
        ),
        (
            "/v2/app/user",
            br#"{"login":"a"}"#.to_vec(),
            "login",
            "ERROR_FIELD_UNKNOWN",
        ),
    ];
    for (path, body, field, code) in cases {
        let request = Request::post(path, &body).header("Apifew-Key", &provider.key);
        let response = apifew::send(&gateway, request);
        assert_eq!(
            apifew::error(&response, 400),
            code,
            "{path} {}",
            response.text()
        );
        assert_eq!(
            response.json()["data"]["field"],
            field,
            "{path} {}",
            response.text()
        );
    }
    for (body, status, code) in [
        (b"hello".to_vec(), 400, "ERROR_BODY_MALFORMED"),
        (br#"["a"]"#.to_vec(), 400, "ERROR_FIELD_INVALID"),
        (vec![b' '; (1 << 20) + 1], 413, "ERROR_BODY_TOO_LARGE"),
    ] {
        let request = Request::post(CHECK, &body).header("Apifew-Key", &provider.key);
        assert_eq!(
            apifew::error(&apifew::send(&gateway, request), status),
            code
        );
    }
    let wrong = apifew::send(&gateway, Request::get(CHECK));
    assert_eq!(apifew::error(&wrong, 405), "ERROR_METHOD_NOT_ALLOWED");
    let nobody = provider.result("/v2/app/user", &json!({"USER_LOGIN": "a"}));
    assert_eq!(nobody["error_msg"], "ERROR_USER_NOT_FOUND");
}

#[test]
fn a_store_that_is_gone_is_unavailable_and_never_an_unknown_license() {
    let (gateway, _upstream) = gate();
    let provider = Apifew::of_app(&gateway, "api");
    let warm = gateway.license(&["--user", "zoe"]);
    let cold = gateway.license(&[]);
    assert_eq!(checked(&provider, &warm)["data"]["license_ok"], true);
    for file in ["licenses.db", "licenses.db-wal", "licenses.db-shm"] {
        let _ = std::fs::remove_file(gateway.data_dir().join(file));
    }
    // The key of the provider is known for a moment only: then nobody can be told from anybody.
    assert_eventually!({
        let body = json!({"LICENSE_KEY": cold.key});
        let response = provider.ask(CHECK, &body);
        assert!([200, 503].contains(&response.status), "{}", response.text());
        assert_ne!(
            apifew::result(&response)["error_msg"],
            "ERROR_LICENSE_UNKNOWN"
        );
        response.status == 503 && response.header("retry-after").is_some()
    });
}
