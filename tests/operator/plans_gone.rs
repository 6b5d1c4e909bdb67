//! A plan that licenses name cannot vanish from the file: neither the check nor a start takes that in silence.

use std::fs;

use testkit::client::Request;
use testkit::{App, Config, Gateway, Postgres, Upstream, assert_eventually, binary};

const PRO: &str = "[[plan]]\nname = \"pro\"\ncurrency = \"EUR\"\nprice_per_unit = \"0.01\"\nrate_limits = [\"3/1h\"]";
const OTHER: &str = "[[plan]]\nname = \"other\"\ncurrency = \"EUR\"\nprice_per_unit = \"1\"";

/// Renames the plan in the file of a gate.
fn rename(gateway: &Gateway, from: &str, to: &str) {
    let path = gateway.config_path();
    let text = fs::read_to_string(&path).expect("the file");
    fs::write(
        &path,
        text.replace(&format!("\"{from}\""), &format!("\"{to}\"")),
    )
    .expect("written");
}

fn assert_refused(mut gateway: Gateway) {
    let [first, second] = [(); 2].map(|()| gateway.license(&["--plan", "pro"]));
    let _own_plan = gateway.license(&[]);
    let call = |gateway: &Gateway| gateway.call(&Request::get("/").key(&first.key));
    assert_eq!(call(&gateway).status, 200);
    rename(&gateway, "pro", "premium");
    let lacks = "the file lacks the plan `pro`, which 2 licenses name: put it back as a `[[plan]]`";
    // While the gate serves, and when it is gone.
    let checked = gateway.cli().run(&["check"]);
    assert_eq!(checked.code, 78, "{checked:?}");
    assert!(
        checked.stderr.contains("gateway.toml:") && checked.stderr.contains(lacks),
        "{checked:?}"
    );
    gateway.kill9();
    for command in ["check", "run"] {
        let output = gateway.cli().run(&[command]);
        assert_eq!(output.code, 78, "{command}: {output:?}");
        assert!(output.stderr.contains(lacks), "{command}: {output:?}");
    }
    rename(&gateway, "premium", "pro");
    gateway.restart();
    assert_eq!(gateway.cli().run(&["check"]).code, 0);
    assert_eq!(call(&gateway).status, 200);
    // Once nobody names it, it may go.
    for license in [&first, &second] {
        let _changed = gateway.cli().text(&["license", "revoke", &license.id]);
    }
    rename(&gateway, "pro", "premium");
    assert_eq!(gateway.cli().run(&["check"]).code, 0);
}

fn config(upstream: &Upstream) -> Config {
    let app = App::new("api", &upstream.url()).line("plan = \"other\"");
    Config::default().table(PRO).table(OTHER).app(app)
}

#[test]
fn a_plan_that_licenses_name_cannot_be_renamed_on_sqlite() {
    let upstream = Upstream::start();
    assert_refused(Gateway::start(binary!(), config(&upstream)));
}

#[test]
fn a_plan_that_licenses_name_cannot_be_renamed_on_postgresql() {
    let (upstream, server) = (Upstream::start(), Postgres::shared());
    let store = format!("[store]\nurl = \"{}\"", server.schema());
    assert_refused(Gateway::start(binary!(), config(&upstream).table(&store)));
}

#[test]
fn a_gate_whose_file_lacks_a_plan_of_another_goes_by_its_last_revision_and_says_so() {
    let (upstream, server) = (Upstream::start(), Postgres::shared());
    let store = format!("[store]\nurl = \"{}\"", server.schema());
    let node = |name: &str| format!("node = \"{name}\"");
    let without = Config::new(&upstream.url())
        .table(&store)
        .server(&node("without"));
    let with = config(&upstream).table(&store).server(&node("with"));
    let (without, with) = (
        Gateway::start(binary!(), without),
        Gateway::start(binary!(), with),
    );
    assert!(without.metric("tallygate_plans_lacking", &[]) == 0.0);
    let license = with.license(&["--plan", "pro"]);
    let call = || without.call(&Request::get("/").key(&license.key)).status;
    // The first call waits for the revision: none is free, and none passes beyond its limits.
    assert_eq!([(); 4].map(|()| call()), [200, 200, 200, 429]);
    assert_eq!(without.metric("tallygate_plans_lacking", &[]), 1.0);
    assert_eventually!(
        without
            .log()
            .contains("licenses name a plan that this gate's file lacks")
    );
    let _shipped = without.cli().text(&["ledger", "ship"]);
    let usage = without.cli().text(&["usage", "--by", "plan", "--csv"]);
    let priced = usage.lines().find(|line| line.starts_with("pro,"));
    assert!(
        priced.is_some_and(|line| line.contains(",3,3,0.03,EUR")),
        "{usage}"
    );
}

#[test]
fn an_app_that_licenses_name_and_the_file_lacks_is_told_of() {
    let upstream = Upstream::start();
    let config = config(&upstream)
        .app(App::new("second", &upstream.url()).line("hosts = [\"second.test\"]"));
    let mut gateway = Gateway::start(binary!(), config);
    let created = gateway
        .cli()
        .json(&["license", "create", "--app", "second"]);
    let id = created["id"].as_str().expect("an id").to_owned();
    rename(&gateway, "second", "third");
    let lacks =
        "the file lacks the app `second`, which 1 license names: their keys open nothing here";
    let checked = gateway.cli().run(&["check"]);
    assert_eq!(checked.code, 0, "another gate may serve it: {checked:?}");
    assert!(checked.stderr.contains(lacks), "{checked:?}");
    gateway.kill9();
    gateway.restart();
    assert_eventually!(gateway.log().contains(lacks));
    let _revoked = gateway.cli().text(&["license", "revoke", &id]);
    let checked = gateway.cli().run(&["check"]);
    assert!(!checked.stderr.contains("lacks"), "{checked:?}");
}

#[test]
fn an_app_that_lost_its_plan_is_told_of() {
    let upstream = Upstream::start();
    let mut gateway = Gateway::start(binary!(), config(&upstream));
    let _license = gateway.license(&[]);
    let warned =
        "app `api` has no `plan`, and 1 license of it names none either: its calls cost nothing";
    let checked = gateway.cli().run(&["check"]);
    assert!(!checked.stderr.contains(warned), "{checked:?}");
    let path = gateway.config_path();
    let text = fs::read_to_string(&path).expect("the file");
    fs::write(&path, text.replace("plan = \"other\"", "")).expect("written");
    let checked = gateway.cli().run(&["check"]);
    assert_eq!(checked.code, 0, "{checked:?}");
    assert!(checked.stderr.contains(warned), "{checked:?}");
    gateway.kill9();
    gateway.restart();
    assert_eventually!(gateway.log().contains(warned));
}

#[test]
fn a_store_of_a_newer_version_is_refused_by_the_check_as_by_a_start() {
    let upstream = Upstream::start();
    let mut gateway = Gateway::start(binary!(), config(&upstream));
    gateway.kill9();
    let store = gateway.data_dir().join("licenses.db");
    let connection = rusqlite::Connection::open(store).expect("a database");
    let newer = connection.pragma_update(None, "user_version", 99);
    newer.expect("written");
    drop(connection);
    for command in ["check", "run"] {
        let output = gateway.cli().run(&[command]);
        assert_eq!(output.code, 78, "{command}: {output:?}");
        assert!(
            output.stderr.contains("use a newer tallygate"),
            "{output:?}"
        );
    }
}

/// A plan that the file of one gate lacks is learnt from the store, whether or not that takes writes just then: no call is refused
/// for want of it.
fn assert_learnt_while_the_store_takes_no_writes(is_known: bool, expected: [u16; 4]) {
    let (upstream, server) = (Upstream::start(), Postgres::start());
    let store = format!("[store]\nurl = \"{}\"", server.database());
    let node = |name: &str| format!("node = \"{name}\"");
    let without = Config::new(&upstream.url())
        .table(&store)
        .server(&node("without"));
    let with = config(&upstream).table(&store).server(&node("with"));
    let with = Gateway::start(binary!(), with);
    let without = Gateway::start(binary!(), without);
    let license = with.license(&["--plan", "pro"]);
    if !is_known {
        let _forgotten = server.psql(
            "test_0",
            "DELETE FROM plan_revisions WHERE terms LIKE '%\"pro\"%'",
        );
    }
    let held = server.hold_transaction("test_0", "LOCK TABLE plan_revisions IN EXCLUSIVE MODE");
    let call = || without.call(&Request::get("/").key(&license.key)).status;
    assert_eq!([(); 4].map(|()| call()), expected);
    assert_eq!(without.metric("tallygate_plans_lacking", &[]), 1.0);
    drop(held);
    assert_eq!(call(), expected[3]);
    assert_eq!(without.metric("tallygate_plans_lacking", &[]), 1.0);
}

#[test]
fn a_plan_of_another_gate_is_learnt_while_the_store_takes_no_writes() {
    assert_learnt_while_the_store_takes_no_writes(true, [200, 200, 200, 429]);
}

#[test]
fn a_plan_that_never_was_is_known_for_that_while_the_store_takes_no_writes() {
    assert_learnt_while_the_store_takes_no_writes(false, [200; 4]);
}
