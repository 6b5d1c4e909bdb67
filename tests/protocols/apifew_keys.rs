//! apifew's clients see the key of a user's license again where the app says so: sealed in the store, and noted when shown.

use std::fs;

use serde_json::{Value, json};
use testkit::{
    Apifew, App, Config, Gateway, License, Postgres, Upstream, assert_eventually, binary,
};

const USER: &str = "zoe@example.com";

/// An app that shows keys again, and one that does not.
fn config(upstream: &Upstream) -> Config {
    let app = |name: &str| {
        let hosts = format!("hosts = [\"{name}.test\"]");
        App::new(name, &upstream.url()).line(&hosts)
    };
    let api = app("api").line("key_recovery = true");
    Config::default().app(api).app(app("other"))
}

/// What `/v2/app/user` shows of the user's license.
fn shown(provider: &Apifew<'_>) -> Value {
    let user = provider.result("/v2/app/user", &json!({ "USER_LOGIN": USER }));
    user["data"]["license_key"].clone()
}

fn showings(gateway: &Gateway) -> Vec<Value> {
    let action = ["audit", "--action", "credential.show"];
    gateway.cli().json_lines(&action)
}

/// Shows the key of a license in every state that it has, and gives those keys that must lie nowhere in the clear.
fn life_of_a_key(gateway: &Gateway) -> Vec<String> {
    let cli = gateway.cli();
    let provider = Apifew::of_app(gateway, "api");
    let first = gateway.license(&["--user", USER, "--key-format", "apifew"]);
    assert_eq!(shown(&provider), first.key);

    let reader = ["--app", "api", "--scope", "read:licenses"];
    let reader = Apifew::with_key(gateway, &reader);
    assert_eq!(
        shown(&reader),
        "",
        "to read about a license is not to have it"
    );
    let elsewhere = gateway.license_of("other", &["--user", USER]);
    let other = Apifew::of_app(gateway, "other");
    assert_eq!(shown(&other), "", "the other app did not ask for it");

    let rotated = License::of(cli.json(&["license", "rotate", &first.id]));
    assert_eq!(shown(&provider), rotated.key);
    let listed = cli.text(&["license", "show", &first.id, "--json"]);
    assert!(!listed.contains(&rotated.key), "nothing else shows it");
    let _ = cli.text(&["keyring", "rotate"]);
    assert_eq!(shown(&provider), rotated.key);

    let last = rotated.json["credentials"]
        .as_array()
        .expect("a list")
        .last()
        .cloned();
    let last = last.expect("a credential")["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let _ = cli.text(&["license", "end-key", &first.id, &last]);
    assert_eq!(shown(&provider), "", "a key that opens nothing");
    let imported = [
        "license",
        "add-key",
        &first.id,
        "--key",
        "an-imported-key-01",
    ];
    let _ = cli.text(&imported);
    assert_eq!(shown(&provider), "an-imported-key-01");
    vec![
        first.key,
        elsewhere.key,
        rotated.key,
        "an-imported-key-01".to_owned(),
    ]
}

#[test]
fn a_key_is_shown_again_where_the_app_says_so_and_lies_in_no_file_in_the_clear() {
    let upstream = Upstream::start();
    let mut gateway = Gateway::start(
        binary!(),
        config(&upstream).table("[log]\nlevel = \"trace\""),
    );
    let keys = life_of_a_key(&gateway);
    let lines = showings(&gateway);
    assert!(lines.len() >= 3, "{lines:?}");
    for line in &lines {
        assert!(
            line["actor"].as_str().expect("who").starts_with("mgk_"),
            "{line}"
        );
        assert!(
            line["subject"].as_str().expect("what").starts_with("crd_"),
            "{line}"
        );
        assert_eq!(line["address"], "127.0.0.1", "{line}");
    }
    // The user is forgotten: nothing of theirs is kept.
    let provider = Apifew::of_app(&gateway, "api");
    let _ = provider.result("/v2/app/user/create", &json!({ "USER_LOGIN": USER }));
    let list = ["user", "list", "--app", "api", "--login", USER];
    let user = gateway.cli().json(&list)[0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let store = gateway.data_dir().join("licenses.db");
    let kept = || {
        let store = rusqlite::Connection::open(&store).expect("the store opens");
        let sql = "SELECT count(*) FROM credentials WHERE sealed IS NOT NULL";
        store
            .query_row(sql, [], |row| row.get::<_, i64>(0))
            .expect("an answer")
    };
    assert_eq!(kept(), 1);
    let _ = gateway.cli().text(&["user", "forget", &user]);
    assert_eq!(kept(), 0);
    assert_eq!(gateway.stop().code(), Some(0));
    for entry in fs::read_dir(gateway.data_dir())
        .expect("a folder")
        .flatten()
    {
        let bytes = fs::read(entry.path()).unwrap_or_default();
        for key in &keys {
            let holds = bytes.windows(key.len()).any(|part| part == key.as_bytes());
            assert!(!holds, "{key} is in {}", entry.path().display());
        }
    }
    let log = gateway.log();
    assert!(
        keys.iter().all(|key| !log.contains(key)),
        "a key is in the log"
    );
}

#[test]
fn keys_are_shown_again_on_postgresql_with_a_secret_and_without_one() {
    let (server, upstream) = (Postgres::shared(), Upstream::start());
    for secret in ["secret = \"of the operator\"", ""] {
        let url = server.database();
        let store = format!("[store]\nurl = \"{url}\"");
        let gateway = Gateway::start(binary!(), config(&upstream).server(secret).table(&store));
        let keys = life_of_a_key(&gateway);
        let database = url.rsplit('/').next().expect("a name");
        let dump = server.psql(
            database,
            "SELECT c::text, encode(sealed, 'escape') FROM credentials c",
        );
        for key in &keys {
            assert!(!dump.contains(key), "{key} is in {dump}");
        }
        let kept = "SELECT count(*) FROM credentials WHERE sealed IS NOT NULL";
        assert_eq!(server.psql(database, kept).trim(), "1");
        assert_eventually!(!showings(&gateway).is_empty());
    }
}

#[test]
fn key_recovery_belongs_to_an_app_and_is_refused_by_its_name_anywhere_else() {
    let upstream = Upstream::start();
    let refused = |config: Config| {
        let gateway = Gateway::prepare(binary!(), config);
        let checked = gateway.cli().run(&["check"]);
        assert_eq!(checked.code, 78, "{checked:?}");
        assert!(checked.stderr.contains("key_recovery"), "{checked:?}");
    };
    let app = || App::new("api", &upstream.url());
    refused(Config::default().app(app()).server("key_recovery = true"));
    refused(Config::default().app(app().route("/", &["key_recovery = true"])));
    refused(Config::default().app(app().line("key_recovery = \"yes\"")));
    let plan = "[[plan]]\nname = \"p\"\ncurrency = \"EUR\"\nkey_recovery = true";
    refused(Config::default().app(app()).table(plan));
    refused(
        Config::default()
            .app(app())
            .table("[better_auth]\nkey_recovery = true"),
    );
}
