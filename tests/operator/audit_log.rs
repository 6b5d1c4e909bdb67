//! The audit log: who did what, when and from where, whichever way they came; append-only, and without secrets.

use rusqlite::Connection;
use serde_json::{Value, json};
use testkit::client::{Request, Response};
use testkit::{Apifew, App, Config, Gateway, Site, apifew, assert_eventually, binary};

use crate::support::apimw::{Pair, ask, refresh_request};

const PLAN: &str = "[[plan]]\nname = \"main\"\ncurrency = \"EUR\"\nprice_per_unit = \"0.01\"\nfeatures = [\"ip_allow_list\"]";

fn site() -> Site {
    Site::with(binary!(), |upstream| {
        let api = App::new("api", upstream)
            .line("plan = \"main\"")
            .route("/", &[]);
        Config::default().app(api).table(PLAN)
    })
}

fn lines(gateway: &Gateway, arguments: &[&str]) -> Vec<Value> {
    let mut all = vec!["audit"];
    all.extend_from_slice(arguments);
    gateway.cli().json_lines(&all)
}

fn actions(lines: &[Value]) -> Vec<&str> {
    let action = lines.iter().map(|line| line["action"].as_str());
    action.map(|action| action.expect("an action")).collect()
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// A request to the control listener with a management key.
fn with_key(gateway: &Gateway, key: &str, method: &str, path: &str, body: &Value) -> Response {
    let request = Request::with_body(method, path, body.to_string().as_bytes());
    let request = request.header("Authorization", &format!("Bearer {key}"));
    apifew::send(gateway, request)
}

/// What holds for every line: a time, who, and nothing of these secrets.
fn assert_told(lines: &[Value], actor: &str, address: &Value, secrets: &[&str]) {
    for line in lines {
        let at = line["at"].as_str().expect("a time");
        assert!(at.starts_with("20") && at.ends_with('Z'), "{line}");
        assert_eq!(line["actor"], actor, "{line}");
        assert_eq!(line["address"], *address, "{line}");
        assert_eq!(line["count"], 1, "{line}");
    }
    let all = json!(lines).to_string();
    for secret in secrets {
        assert!(!all.contains(secret), "a secret is in {all}");
    }
}

#[test]
fn case_45_the_life_of_a_management_key_and_a_denied_log_in_are_one_line_each() {
    let site = site();
    let cli = site.gateway.cli();
    let made = cli.json(&["key", "create", "--pair", "--name", "robot"]);
    let id = text(&made["id"]);
    let _ = cli.json(&["key", "change", &id, "--allow-ip", "127.0.0.0/8"]);
    let rotated = cli.json(&["key", "rotate", &id]);
    let new = text(&rotated["id"]);
    for _ in 0..2 {
        let _ = cli.json(&["key", "revoke", &new]);
    }
    let mut life = lines(&site.gateway, &["--subject", &id]);
    life.extend(lines(&site.gateway, &["--subject", &new]));
    assert_eq!(
        actions(&life),
        ["key.create", "key.change", "key.rotate", "key.revoke"]
    );
    let secrets = [
        &made["key"],
        &made["secret"],
        &rotated["key"],
        &rotated["secret"],
    ];
    let secrets: Vec<String> = secrets.into_iter().map(text).collect();
    let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
    assert_told(&life, "operator", &Value::Null, &secrets);
    assert_eq!(life[0]["before"], Value::Null);
    assert_eq!(life[0]["after"]["name"], "robot");
    assert_eq!(life[1]["before"], json!({"allow_ips": []}));
    assert_eq!(life[1]["after"], json!({"allow_ips": ["127.0.0.0/8"]}));
    assert_eq!(life[2]["after"]["id"], new, "what came in its place");
    assert_eq!(life[3]["before"], json!({"revoked_at": null}));
    assert!(life[3]["after"]["revoked_at"].is_string());

    let guess = with_key(
        &site.gateway,
        &secrets[0].replace('a', "b"),
        "GET",
        "/api/v1/usage",
        &json!({}),
    );
    assert_eq!(guess.status, 401);
    assert_eventually!(!lines(&site.gateway, &["--action", "login.denied"]).is_empty());
    let denied = lines(&site.gateway, &["--action", "login.denied"]);
    assert_eq!(denied.len(), 1);
    assert_told(&denied, "unknown", &"127.0.0.1".into(), &secrets);

    let table = cli.text(&["audit", "--subject", &id]);
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!(rows.len(), 4, "{table}");
    assert!(rows[0].contains("ACTOR") && rows[0].contains("CHANGE"));
    assert!(rows[2].contains("allow_ips=[\"127.0.0.0/8\"]"), "{table}");
}

#[test]
fn every_way_in_leaves_its_lines() {
    let site = site();
    let gateway = &site.gateway;
    let provider = Apifew::of_app(gateway, "api");
    let key = provider.key.as_str();
    let provider_id = text(&lines(gateway, &["--action", "key.create"])[0]["subject"]);
    let here = Value::from("127.0.0.1");

    // The native API.
    let license = with_key(
        gateway,
        key,
        "POST",
        "/api/v1/licenses",
        &json!({"app": "api"}),
    )
    .json();
    let path = format!("/api/v1/licenses/{}", text(&license["id"]));
    let patched = with_key(gateway, key, "PATCH", &path, &json!({"label": "x"}));
    assert_eq!(patched.status, 200, "{}", patched.text());
    let rotate = format!("{path}/rotate");
    let rotated = with_key(gateway, key, "POST", &rotate, &json!({})).json();
    let revoke = format!("{path}/revoke");
    assert_eq!(
        with_key(gateway, key, "POST", &revoke, &json!({})).status,
        200
    );
    // apifew's users.
    for path in ["/v2/app/user/create", "/v2/app/user/update"] {
        let _ = provider.result(
            path,
            &json!({"USER_LOGIN": "ada@example.org", "NAME_FIRST": "Ada"}),
        );
    }
    // better-auth's keys.
    let auth = |path: &str, body: &Value| {
        let path = format!("/api/auth/api-key/{path}");
        let answer = with_key(gateway, key, "POST", &path, body);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    };
    let made = auth("create", &json!({"name": "first"}));
    let _ = auth("update", &json!({"keyId": made["id"], "name": "second"}));
    let _ = auth("delete", &json!({"keyId": made["id"]}));

    let by_provider = lines(gateway, &["--actor", &provider_id]);
    assert_eq!(
        actions(&by_provider),
        [
            "license.create",
            "license.change",
            "license.rotate",
            "license.revoke",
            "user.create",
            "user.change",
            "api-key.create",
            "api-key.change",
            "api-key.delete",
        ]
    );
    let secrets = [
        text(&license["key"]),
        text(&rotated["key"]),
        text(&made["key"]),
    ];
    let mut secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
    secrets.extend([key, "ada@example.org", "Ada"]);
    assert_told(&by_provider, &provider_id, &here, &secrets);
    assert_eq!(by_provider[7]["before"]["name"], "first");
    assert_eq!(by_provider[7]["after"]["name"], "second");
}

#[test]
fn log_ins_refreshes_replays_and_ends_of_sessions_are_told() {
    let site = site();
    let gateway = &site.gateway;
    let pair = Pair::create(gateway, &["--app", "api"]);
    let first = pair.log_in(gateway);
    let second = first.refresh(gateway).tokens();
    let third = pair.log_in(gateway);
    let end = Request::post("/v1/auth/revoke", b"");
    let end = end.header("Authorization", &format!("Bearer {}", third.access));
    assert_eq!(ask(gateway, &end).status, 200);
    let told = lines(gateway, &["--actor", &pair.id]);
    assert_eq!(
        actions(&told),
        [
            "license.create",
            "session.create",
            "session.refresh",
            "session.create",
            "session.end"
        ]
    );
    let secrets = [&pair.secret, &first.access, &first.refresh, &second.refresh];
    let secrets: Vec<&str> = secrets.into_iter().map(String::as_str).collect();
    assert_told(&told, &pair.id, &"127.0.0.1".into(), &secrets);
    assert_eq!(told[1]["subject"], told[2]["subject"]);
    assert_eq!(told[3]["subject"], told[4]["subject"]);

    // Whoever replays a refresh token cannot be told from its thief.
    let replayed = ask(gateway, &refresh_request(&first.refresh));
    assert_eq!(replayed.status, 401);
    let replay = lines(gateway, &["--action", "session.replay"]);
    assert_eq!(replay.len(), 1);
    assert_told(&replay, "unknown", &"127.0.0.1".into(), &secrets);
    assert_eq!(replay[0]["subject"], told[1]["subject"]);
    assert_eq!(replay[0]["after"]["key"], pair.id);

    // The right secret from a wrong address is a denied log-in of that key.
    let _ = gateway
        .cli()
        .json(&["key", "change", &pair.id, "--allow-ip", "192.0.2.0/24"]);
    assert_eq!(ask(gateway, &pair.request()).status, 403);
    let denied = || {
        let denied = lines(gateway, &["--action", "login.denied", "--actor", &pair.id]);
        denied.first().map(|line| line["address"].clone())
    };
    assert_eventually!(denied() == Some("127.0.0.1".into()));
}

#[test]
fn nobody_changes_or_deletes_a_line() {
    let mut site = site();
    let _ = site.gateway.license(&[]);
    let before = lines(&site.gateway, &[]);
    assert_eq!(actions(&before), ["license.create"]);
    let path = site.gateway.data_dir().join("licenses.db");
    let _ = site.gateway.stop();
    let store = Connection::open(path).expect("the store");
    for statement in ["DELETE FROM audit", "UPDATE audit SET action = 'nothing'"] {
        let refused = store.execute(statement, []);
        assert!(refused.is_err(), "{statement}: {refused:?}");
    }
    drop(store);
    site.gateway.restart();
    assert_eq!(lines(&site.gateway, &[]), before);
}
