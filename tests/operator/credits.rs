//! Credits and debits by the command line: of an account, and of a license that calls.

use serde_json::{Value, json};
use testkit::client::Request;
use testkit::{Gateway, Site, binary};

/// Returns the units that moved and those that are left, as the command says.
fn moved(gateway: &Gateway, arguments: &[&str]) -> (Value, Value) {
    let said = gateway
        .cli()
        .json(&[arguments, &["--reason", "a test"]].concat());
    (said["units"].clone(), said["balance"]["remaining"].clone())
}

#[test]
fn an_account_is_unlimited_until_it_is_credited_and_a_change_under_a_key_is_made_once() {
    let site = Site::start(binary!());
    let gateway = &site.gateway;
    let shown = || gateway.cli().json(&["account", "show", "default"]);
    assert_eq!(shown()["balance"], json!(null));
    assert!(
        gateway
            .cli()
            .text(&["account", "list"])
            .contains("unlimited")
    );
    let credit = [
        "account",
        "credit",
        "default",
        "--units",
        "5",
        "--key",
        "invoice-1",
    ];
    for _ in 0..2 {
        assert_eq!(moved(gateway, &credit), (json!(5), json!(5)));
    }
    assert_eq!(shown()["balance"]["remaining"], json!(5));
    let debit = ["account", "debit", "default", "--units", "3"];
    assert_eq!(moved(gateway, &debit), (json!(3), json!(2)));
    assert_eq!(moved(gateway, &debit), (json!(2), json!(0)));
    let again = ["account", "credit", "default", "--units", "7"];
    assert_eq!(moved(gateway, &again), (json!(7), json!(7)));
    // The wallet is no license that anybody sees.
    assert_eq!(gateway.cli().json(&["license", "list"]), json!([]));
    let lines = gateway
        .cli()
        .text(&["audit", "--subject", "default", "--json"]);
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let told = lines
        .iter()
        .map(|line| (line["action"].clone(), line["after"]["units"].clone()));
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            (json!("account.credit"), json!(5)),
            (json!("account.debit"), json!(3)),
            (json!("account.debit"), json!(3)),
            (json!("account.credit"), json!(7)),
        ]
    );
    let unknown = gateway.cli().run(&[
        "account", "credit", "nobody", "--units", "1", "--reason", "a test",
    ]);
    assert_eq!(unknown.code, 1, "{unknown:?}");
    let nothing = gateway.cli().run(&[
        "account", "credit", "default", "--units", "0", "--reason", "a test",
    ]);
    assert_ne!(nothing.code, 0, "{nothing:?}");
}

#[test]
fn five_credited_units_are_five_calls_and_the_sixth_is_refused() {
    let site = Site::start(binary!());
    let gateway = &site.gateway;
    let license = gateway.license(&["--remaining", "0"]);
    let call = || gateway.call(&Request::get("/").key(&license.key)).status;
    assert_eq!(call(), 402);
    let credit = ["license", "credit", &license.id, "--units", "5"];
    assert_eq!(moved(gateway, &credit), (json!(5), json!(5)));
    for _ in 0..5 {
        assert_eq!(call(), 200);
    }
    assert_eq!(call(), 402);
    let credit = ["license", "credit", &license.id, "--units", "4"];
    assert_eq!(moved(gateway, &credit).0, json!(4));
    assert_eq!(call(), 200);
    let debit = ["license", "debit", &license.id, "--units", "9"];
    assert_eq!(moved(gateway, &debit), (json!(3), json!(0)));
    assert_eq!(call(), 402);
    let verified = gateway.verify();
    assert_eq!(verified["clean"], json!(true), "{verified}");
}
