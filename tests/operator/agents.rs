//! `tallygate agent`: rules on AI agents, what they decide, and tokens of agents.

use std::fs;

use serde_json::{Value, json};
use testkit::client::{self, Request};
use testkit::{CliOutput, Gateway, Site, binary};

fn run(gateway: &Gateway, arguments: &[&str]) -> CliOutput {
    gateway.cli().run(&[&["agent"], arguments].concat())
}

fn done(gateway: &Gateway, arguments: &[&str]) -> Value {
    gateway.cli().json(&[&["agent"], arguments].concat())
}

#[test]
fn a_rule_is_set_listed_asked_about_and_removed() {
    let site = Site::start(binary!());
    let gateway = &site.gateway;
    let page = gateway.config_path().with_file_name("sorry.html");
    fs::write(&page, "<p>Sorry</p>").expect("the folder takes files");
    let page = page.display().to_string();
    let news = [
        "set",
        "--operator",
        "OpenAI",
        "--agent",
        "GPTBot",
        "--path",
        "/news",
        "--verified",
    ];
    let pay = [
        "--access",
        "pay",
        "--price",
        "USD 0.01",
        "--instead-of-license",
    ];
    let answer = ["--response-code", "402", "--response-html", &page];
    let rule = done(gateway, &[&news[..], &pay, &answer].concat());
    assert_eq!(rule["price"], "USD 0.01");
    assert_eq!(rule["verification"], "verified");
    assert_eq!(
        rule["answer"],
        json!({ "code": 402, "html": "<p>Sorry</p>" })
    );
    assert_eq!(rule["instead_of_license"], true);
    let all = done(
        gateway,
        &["set", "--purpose", "training", "--access", "deny"],
    );
    let listed = done(gateway, &["list"]);
    assert_eq!(listed, json!([rule, all]));
    let table = run(gateway, &["list"]).stdout;
    assert!(
        table.contains("pay USD 0.01") && table.contains("training"),
        "{table}"
    );

    let user_agent = "Mozilla/5.0 (compatible; GPTBot/1.2)";
    let test = ["test", "--user-agent", user_agent, "--path", "/news/today"];
    let denied = done(gateway, &test);
    assert_eq!(denied["access"], "deny");
    assert_eq!(denied["rule"]["id"], all["id"]);
    let asked = done(gateway, &[&test[..], &["--verified"]].concat());
    assert_eq!(
        (&asked["access"], &asked["price"]),
        (&json!("pay"), &json!("USD 0.01"))
    );
    let shown = run(gateway, &test);
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(
        shown.stdout.contains("usage_not_allowed"),
        "{}",
        shown.stdout
    );

    let id = all["id"].as_str().expect("an id");
    assert_eq!(done(gateway, &["remove", id]), json!({ "id": id }));
    assert_eq!(run(gateway, &["remove", id]).code, 1);
    assert_eq!(done(gateway, &test)["access"], "allow");
    let known = run(gateway, &["known"]).stdout;
    assert!(
        known.lines().count() > 60 && known.contains("ClaudeBot"),
        "{known}"
    );
}

#[test]
fn what_cannot_be_meant_is_refused_by_its_name_and_leaves_nothing() {
    let site = Site::start(binary!());
    let gateway = &site.gateway;
    let large = gateway.config_path().with_file_name("large.html");
    fs::write(&large, "x".repeat(65_537)).expect("the folder takes files");
    let large = large.display().to_string();
    for (arguments, words) in [
        (&["--access", "pay", "--price", "-1"][..], "a price of -1"),
        (&["--access", "pay"], "price"),
        (
            &["--access", "deny", "--path", "news"],
            "`news` is not a path",
        ),
        (
            &["--access", "deny", "--app", "nothing"],
            "no app `nothing`",
        ),
        (
            &["--access", "deny", "--purpose", "spying"],
            "use one of training",
        ),
        (&["--access", "maybe"], "use one of allow, deny, token, pay"),
        (
            &["--access", "deny", "--response-code", "200"],
            "300 to 599",
        ),
        (
            &["--access", "deny", "--response-html", &large],
            "more than 65536 bytes",
        ),
        (
            &["--access", "deny", "--response-html", "nowhere.html"],
            "cannot be read",
        ),
    ] {
        let output = run(
            gateway,
            &[&["set", "--agent", "GPTBot"], arguments].concat(),
        );
        assert_ne!(output.code, 0, "{output:?}");
        assert!(output.stderr.contains(words), "{words}: {output:?}");
    }
    assert_eq!(done(gateway, &["list"]), json!([]));
}

#[test]
fn a_token_is_shown_once_opens_nothing_for_others_and_ends() {
    let site = Site::start(binary!());
    let gateway = &site.gateway;
    let create = [
        "token",
        "create",
        "--operator",
        "OpenAI",
        "--agent",
        "GPTBot",
        "--remaining",
        "10",
    ];
    let token = done(gateway, &create);
    let secret = token["token"].as_str().expect("a token");
    assert!(secret.starts_with("agt_"), "{secret}");
    // Shown as the key of a license by anybody it is the key of none.
    let answer = client::call(gateway.addr(), &Request::get("/").key(secret));
    assert_eq!(answer.status, 401, "{}", answer.text());
    let mut kept = token.clone();
    kept.as_object_mut().expect("an object").remove("token");
    assert_eq!(done(gateway, &["token", "list"]), json!([kept]));
    let id = token["id"].as_str().expect("an id");
    let license = gateway.cli().json(&["license", "show", id]);
    assert_eq!(
        license["agent"],
        json!({ "operator": "OpenAI", "agent": "GPTBot" })
    );
    let revoked = done(gateway, &["token", "revoke", id]);
    assert_eq!(revoked["status"], "revoked");
    assert_eq!(
        done(gateway, &["token", "list", "--status", "active"]),
        json!([])
    );
}
