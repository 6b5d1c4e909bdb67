//! What the command line and the native API do with the things that protocols make: users, request tokens, sessions, keys.

#[path = "support/apimw.rs"]
mod apimw;

use apimw::{Pair, bearer};
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
    assert!(cli.text(&["user", "forget", &id]).contains("forgotten"));
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
    let listed = cli.json(&["token", "list", "--license", &license.id]);
    let states: Vec<_> = listed
        .as_array()
        .expect("a list")
        .iter()
        .map(|token| (text(&token["path"]), text(&token["state"])))
        .collect();
    assert_eq!(states, [("/a", "issued"), ("/b", "consumed")]);
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
fn a_management_key_is_shown_by_its_id() {
    let site = site();
    let made = site.gateway.cli().json(&["key", "create", "--name", "ci"]);
    let shown = site.gateway.cli().json(&["key", "show", text(&made["id"])]);
    assert_eq!((&shown["name"], shown.get("key")), (&json!("ci"), None));
}
