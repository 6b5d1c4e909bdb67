//! What the command line and the native API do with the things that protocols make: users, request tokens, sessions, keys.

use crate::support::apimw::{Pair, ask, bearer};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use testkit::client::{self, Request, Response};
use testkit::{Apifew, App, Config, Gateway, License, Site, apifew, assert_eventually, binary};

fn site() -> Site {
    Site::with(binary!(), |upstream| {
        let api = App::new("api", upstream).line("hosts = [\"api.test\"]");
        let shop = App::new("shop", upstream)
            .line("hosts = [\"shop.test\"]")
            .line("account = \"acme\"");
        Config::default().app(api).app(shop)
    })
}

fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
}

/// The actions of the audit log on a thing, with what they hide checked.
fn told(gateway: &Gateway, subject: &str, secrets: &[&str]) -> Vec<String> {
    let lines = gateway
        .cli()
        .text(&["audit", "--subject", subject, "--json"]);
    for secret in secrets {
        assert!(!lines.contains(secret), "{lines}");
    }
    let lines = lines.lines().map(|line| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        text(&line["action"]).to_owned()
    });
    lines.collect()
}

/// A request to the native API with a management key of another account.
fn as_stranger(gateway: &Gateway, method: &str, path: &str) -> Response {
    let stranger = gateway.cli().json(&["key", "create", "--account", "acme"]);
    let request = Request::with_body(method, &format!("/api/v1{path}"), b"{}");
    let request = bearer(request, text(&stranger["key"]));
    client::call(gateway.control_addr(), &request)
}

#[test]
fn users_are_made_shown_changed_and_forgotten() {
    let site = site();
    let gateway = &site.gateway;
    let cli = gateway.cli();
    let _account = cli.json(&["account", "create", "acme"]);
    let provider = Apifew::of_app(gateway, "api");
    let login = "ann@example.test";
    let body = json!({ "USER_LOGIN": login });
    let by_apifew = provider.result("/v2/app/user/create", &body);
    let listed = cli.json(&["user", "list", "--app", "api", "--login", login]);
    let id = text(&listed[0]["id"]).to_owned();
    assert_eq!(
        listed[0]["alias"], by_apifew["data"]["uid"],
        "one and the same"
    );
    let arguments = ["--first-name", "Ann", "--last-name", ""];
    let changed = cli.json(&[["user", "change", &id].as_slice(), &arguments].concat());
    assert_eq!(
        (&changed["first_name"], &changed["last_name"]),
        (&json!("Ann"), &json!(null))
    );
    let made = [
        "user",
        "create",
        "--app",
        "api",
        "--login",
        "bob@example.test",
    ];
    let other = cli.json(&made);
    assert_ne!(cli.run(&made).code, 0, "it is there already");
    assert_eq!(
        cli.json(&["user", "list", "--app", "api"])
            .as_array()
            .map(Vec::len),
        Some(2)
    );
    for (method, path) in [
        ("GET", format!("/users/{id}")),
        ("PATCH", format!("/users/{id}")),
        ("DELETE", format!("/users/{id}")),
    ] {
        assert_eq!(as_stranger(gateway, method, &path).status, 404, "{method}");
    }
    let page = as_stranger(gateway, "GET", "/users?app=api").json();
    assert_eq!(page["items"], json!([]));
    let [held, elsewhere] =
        ["api", "shop"].map(|app| cli.json(&["license", "create", "--app", app, "--user", login]));
    let holder = |license: &Value| {
        let shown = cli.json(&["license", "show", text(&license["id"])]);
        shown["user"].clone()
    };
    assert_eq!(holder(&held), login);
    assert!(cli.text(&["user", "forget", &id]).contains("forgotten"));
    assert_eq!(holder(&held), json!(null), "their licenses name nobody");
    assert_eq!(holder(&elsewhere), login, "somebody else, of another app");
    let call = Request::get("/").host("api.test").key(text(&held["key"]));
    assert_eq!(gateway.call(&call).status, 200, "and go on");
    assert_ne!(cli.run(&["user", "show", &id]).code, 0);
    let gone = provider.result("/v2/app/user", &body);
    assert_eq!(gone["error_msg"], "ERROR_USER_NOT_FOUND");
    assert_eq!(cli.json(&["user", "show", text(&other["id"])]), other);
    assert_eq!(
        told(gateway, &id, &["ann", "Ann"]),
        ["user.create", "user.change", "user.delete"]
    );
}

/// A request token of a license.
fn token(gateway: &Gateway, license: &License, path: &str) -> String {
    let body = json!({"USER_LICENSE_KEY": license.key, "API_URL": path, "API_METHOD": "GET"});
    let request = Request::post("/v1/token", body.to_string().as_bytes());
    let result = apifew::result(&apifew::send(gateway, request));
    text(&result["data"]["token"]).to_owned()
}

#[test]
fn request_tokens_are_listed_and_one_that_nobody_used_is_ended() {
    let site = site();
    let gateway = &site.gateway;
    let cli = gateway.cli();
    let _account = cli.json(&["account", "create", "acme"]);
    let license = gateway.license_of("api", &["--remaining", "2"]);
    let (first, second) = (
        token(gateway, &license, "/a"),
        token(gateway, &license, "/b"),
    );
    let call = |path: &str, token: &str| {
        let request = Request::get(path).host("api.test");
        gateway.call(&request.header("Apifew-Request-Token", token))
    };
    assert_eq!(call("/b", &second).status, 200);
    let list = || cli.json(&["token", "list", "--license", &license.id]);
    let states = |listed: &Value| -> Vec<(String, String)> {
        let tokens = listed.as_array().expect("a list").iter();
        let state = |token: &Value| (text(&token["path"]).into(), text(&token["state"]).into());
        tokens.map(state).collect()
    };
    // The store is told of a use after its answer.
    let expected = [("/a", "issued"), ("/b", "consumed")].map(|(a, b)| (a.into(), b.into()));
    assert_eventually!(states(&list()) == expected);
    let listed = list();
    let id = text(&listed[0]["id"]);
    assert!(
        !listed.to_string().contains(&first),
        "its secret was shown once"
    );
    // Both units are spoken for until the token is ended.
    assert_eq!(
        gateway
            .call(&Request::get("/c").host("api.test").key(&license.key))
            .status,
        402
    );
    let path = format!("/tokens/{id}");
    assert_eq!(as_stranger(gateway, "GET", &path).status, 404);
    assert_eq!(
        as_stranger(gateway, "POST", &format!("{path}/end")).status,
        404
    );
    for _ in 0..2 {
        assert_eq!(cli.json(&["token", "end", id])["state"], "expired");
    }
    let refused = call("/a", &first);
    assert_eq!(refused.refusal_code().as_deref(), Some("token_invalid"));
    // The gate that found nothing left asks again before long.
    let paid = || {
        let request = Request::get("/c").host("api.test").key(&license.key);
        gateway.call(&request).status
    };
    assert_eventually!(paid() == 200);
    let used = text(&listed[1]["id"]);
    assert_eq!(cli.json(&["token", "end", used])["state"], "consumed");
    assert_eq!(told(gateway, id, &[&first]), ["token.end"], "once");
    assert_eq!(told(gateway, used, &[]), Vec::<String>::new());
}

#[test]
fn sessions_are_listed_and_ended_by_somebody_else_than_their_holder() {
    let site = site();
    let gateway = &site.gateway;
    let cli = gateway.cli();
    let _account = cli.json(&["account", "create", "acme"]);
    let pair = Pair::create(gateway, &["--app", "api"]);
    let (lost, kept) = (pair.log_in(gateway), pair.log_in(gateway));
    let call = |access: &str| {
        let request = bearer(Request::get("/echo").host("api.test"), access);
        gateway.call(&request).status
    };
    assert_eq!((call(&lost.access), call(&kept.access)), (200, 200));
    let listed = cli.json(&["session", "list", "--key", &pair.id]);
    assert_eq!(listed.as_array().map(Vec::len), Some(2));
    let id = text(&listed[0]["id"]);
    for secret in [&lost.access, &lost.refresh, &pair.secret] {
        assert!(!listed.to_string().contains(secret.as_str()));
    }
    let path = format!("/sessions/{id}");
    assert_eq!(as_stranger(gateway, "GET", &path).status, 404);
    assert_eq!(
        as_stranger(gateway, "POST", &format!("{path}/end")).status,
        404
    );
    for _ in 0..2 {
        assert!(cli.json(&["session", "end", id])["ended_at"].is_string());
    }
    assert_eq!(lost.me(gateway).refusal(), (401, "REVOKED_TOKEN"));
    assert_eq!(
        lost.refresh(gateway).refusal(),
        (401, "INVALID_REFRESH_TOKEN")
    );
    assert_eq!(call(&lost.access), 401, "at the gate, too");
    assert_eq!((kept.me(gateway).status, call(&kept.access)), (200, 200));
    let secrets = [lost.refresh.as_str(), pair.secret.as_str()];
    assert_eq!(
        told(gateway, id, &secrets),
        ["session.create", "session.end"],
        "ended once"
    );
}

#[test]
fn a_license_is_given_one_more_key_and_one_of_them_is_ended() {
    let site = site();
    let gateway = &site.gateway;
    let cli = gateway.cli();
    let license = gateway.license_of("api", &[]);
    let added = cli.json(&["license", "add-key", &license.id, "--key-format", "uuid"]);
    let (first, second) = (license.key.as_str(), text(&added["key"]));
    let call = |key: &str| {
        gateway
            .call(&Request::get("/").host("api.test").key(key))
            .status
    };
    assert_eq!((call(first), call(second)), (200, 200));
    let credentials = added["credentials"].as_array().expect("credentials");
    assert_eq!(credentials.len(), 2);
    let id = text(&credentials[0]["id"]);
    let _ended = cli.json(&["license", "end-key", &license.id, id]);
    assert_eq!((call(first), call(second)), (403, 200));
    let strange = [
        "license",
        "end-key",
        &license.id,
        "crd_0198c0de0198c0de0198c0de0198c0de",
    ];
    assert_ne!(cli.run(&strange).code, 0);
    assert_eq!(
        told(gateway, &license.id, &[first, second]),
        ["license.create", "credential.create"]
    );
    assert_eq!(told(gateway, id, &[first, second]), ["credential.revoke"]);
}

#[test]
fn the_keys_and_sessions_of_an_account_that_is_switched_off_are_refused_at_once() {
    let site = site();
    let gateway = &site.gateway;
    let cli = gateway.cli();
    let _account = cli.json(&["account", "create", "acme"]);
    let key = cli.json(&["key", "create", "--account", "acme"]);
    let pair = Pair::create(gateway, &["--account", "acme", "--app", "shop"]);
    let other = cli.json(&["key", "create"]);
    let license = gateway.license_of("shop", &[]);
    let session = pair.log_in(gateway);
    let list = |key: &Value| {
        let request = bearer(Request::get("/api/v1/licenses"), text(&key["key"]));
        client::call(gateway.control_addr(), &request).status
    };
    let as_provider = |key: &Value| {
        let body = json!({ "USER_LOGIN": "ann" });
        Apifew::with_secret(gateway, text(&key["key"])).ask("/v2/app/user", &body)
    };
    let call = || {
        let request = Request::get("/").host("shop.test").key(&license.key);
        gateway.call(&request).status
    };
    assert_eq!((list(&key), list(&other)), (200, 200));
    assert_eq!((session.me(gateway).status, call()), (200, 200));
    for path in ["/accounts/acme/disable", "/accounts/acme/enable"] {
        assert_eq!(as_stranger(gateway, "POST", path).status, 403, "{path}");
    }
    for _ in 0..2 {
        let off = cli.json(&["account", "disable", "acme"]);
        assert!(off["disabled_at"].is_string(), "{off}");
        assert_eq!(list(&key), 401);
        assert_eq!(as_provider(&key).status, 401);
        assert_eq!(session.me(gateway).refusal(), (401, "REVOKED_TOKEN"));
        let refused = session.refresh(gateway);
        assert_eq!(refused.refusal(), (401, "INVALID_REFRESH_TOKEN"));
        let refused = ask(gateway, &pair.request());
        assert_eq!(refused.refusal(), (401, "INVALID_CREDENTIALS"));
        assert_eq!(list(&other), 200, "another account's");
        assert_eq!(call(), 200, "its licenses stay");
    }
    let on = cli.json(&["account", "enable", "acme"]);
    assert_eq!(on["disabled_at"], json!(null));
    assert_eq!((list(&key), session.me(gateway).status), (200, 200));
    assert_eq!(
        told(gateway, "acme", &[]),
        ["account.create", "account.disable", "account.enable"],
        "each once"
    );
    assert_ne!(cli.run(&["account", "disable", "nobody"]).code, 0);
}

/// Stamps are calls of one way of spending; pages of them neither skip nor repeat while others come in.
#[test]
fn stamps_are_listed_by_pages_while_calls_come_in() {
    let site = site();
    let gateway = &site.gateway;
    let _account = gateway.cli().json(&["account", "create", "acme"]);
    let provider = Apifew::of_app(gateway, "api");
    let license = gateway.license_of("api", &[]);
    let stamp = || {
        let report = json!({"USER_LICENSE_KEY": license.key, "API_URL": "/a", "API_METHOD": "GET",
            "REQUEST_STATUS_CODE": 200});
        let stamped = provider.result("/v1/stamp", &report);
        text(&stamped["data"]["call_id"]).to_owned()
    };
    let call = || {
        let request = Request::get("/").host("api.test").key(&license.key);
        assert_eq!(gateway.call(&request).status, 200);
    };
    let mut stamped = Vec::new();
    for _ in 0..5 {
        call();
        stamped.push(stamp());
    }
    let key = gateway.cli().json(&["key", "create"]);
    let page = |parameters: &str| {
        let path = format!("/api/v1/stamps?limit=2{parameters}");
        let request = bearer(Request::get(&path), text(&key["key"]));
        let answer = client::call(gateway.control_addr(), &request);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = page(&cursor);
        for item in page["items"].as_array().expect("a list") {
            assert_eq!(
                (&item["mode"], &item["license_id"]),
                (&json!("stamp"), &json!(license.id))
            );
            seen.push(text(&item["call_id"]).to_owned());
        }
        if seen.len() == 2 {
            call();
            stamped.push(stamp());
        }
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, stamped);
    let none = page("&app=shop");
    assert_eq!(none["items"], json!([]));
    let strange = as_stranger(gateway, "GET", "/stamps").json();
    assert_eq!(strange["items"], json!([]), "another account sees none");
}

#[test]
fn the_credentials_of_an_app_are_made_and_shown_once() {
    let site = site();
    let gateway = &site.gateway;
    let cli = gateway.cli();
    let _account = cli.json(&["account", "create", "acme"]);
    let first = cli.json(&["app", "credentials", "api"]);
    let second = cli.json(&["app", "credentials", "api", "--overlap", "2h"]);
    let (one, two) = (text(&first["app_secret"]), text(&second["app_secret"]));
    assert_ne!(one, two, "a new one each time");
    for field in ["app", "app_id", "public_key"] {
        assert_eq!(first[field], second[field], "{field}");
    }
    assert!(text(&first["app_id"]).starts_with("app_"));
    let public_key = STANDARD
        .decode(text(&first["public_key"]))
        .expect("standard base64");
    assert_eq!(public_key.len(), 32);
    assert_eq!(first["former_until"], Value::Null, "there was none before");
    assert!(text(&second["former_until"]) > text(&second["created_at"]));
    let other = cli.json(&["app", "credentials", "shop"]);
    for field in ["app_id", "public_key", "app_secret"] {
        assert_ne!(other[field], first[field], "{field}");
    }

    let key = cli.json(&["key", "create"]);
    let show = Request::get("/api/v1/apps/api/credentials");
    let shown = client::call(gateway.control_addr(), &bearer(show, text(&key["key"])));
    let shown = shown.json();
    assert_eq!(shown["app_id"], first["app_id"]);
    assert!(shown.get("app_secret").is_none(), "{shown}");
    let stranger = as_stranger(gateway, "POST", "/apps/api/credentials");
    assert_eq!(stranger.status, 404, "{}", stranger.text());
    let reader = cli.json(&["key", "create", "--scope", "read:keys"]);
    let renew = Request::post("/api/v1/apps/api/credentials", b"{}");
    let refused = client::call(gateway.control_addr(), &bearer(renew, text(&reader["key"])));
    assert_eq!(refused.status, 403, "{}", refused.text());
    let both = br#"{"overlap":"1h","at_once":true}"#;
    let renew = Request::post("/api/v1/apps/api/credentials", both);
    let refused = client::call(gateway.control_addr(), &bearer(renew, text(&key["key"])));
    assert_eq!(refused.json()["field"], "at_once", "{}", refused.text());
    assert_eq!(cli.run(&["app", "credentials", "nowhere"]).code, 1);

    let at_once = cli.json(&["app", "credentials", "api", "--at-once"]);
    assert_eq!(at_once["former_until"], Value::Null, "those before ended");
    let three = text(&at_once["app_secret"]);
    let lines = told(gateway, "api", &[one, two, three]);
    assert_eq!(lines, ["app-secret.create"; 3]);
    for secret in [one, two, three] {
        let call = Request::get("/").host("api.test").key(secret);
        assert_eq!(gateway.call(&call).status, 401, "it opens no gate");
    }
    let table = cli.text(&["app", "credentials", "api"]);
    assert!(
        table.contains("app_secret") && table.contains("public_key"),
        "{table}"
    );
}

#[test]
fn a_management_key_is_shown_by_its_id() {
    let site = site();
    let made = site.gateway.cli().json(&["key", "create", "--name", "ci"]);
    let shown = site.gateway.cli().json(&["key", "show", text(&made["id"])]);
    assert_eq!((&shown["name"], shown.get("key")), (&json!("ci"), None));
}

#[test]
fn setting_a_balance_is_not_adding_to_it() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&["--remaining", "5"]);
    for (number, says) in [
        ("+1000", "adds nothing"),
        ("1e6", "a whole number in digits"),
    ] {
        let argument = format!("--remaining={number}");
        let refused = site
            .gateway
            .cli()
            .run(&["license", "extend", &license.id, &argument]);
        assert_eq!(refused.code, 2, "{number}");
        assert!(refused.stderr.contains(says), "{}", refused.stderr);
    }
    let shown = site.gateway.cli().json(&["license", "show", &license.id]);
    assert_eq!(shown["remaining"], 5);
}
