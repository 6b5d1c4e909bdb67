//! paywalls.net: a client that behaves as the published one does stands before a site, and asks a
//! real gate what to do with its visitors.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use testkit::{App, Config, Site, assert_eventually, binary};

const CLIENT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/clients/paywalls/client.mjs"
);
const GPTBOT: &str =
    "Mozilla/5.0 AppleWebKit/537.36 (compatible; GPTBot/1.2; +https://openai.com/gptbot)";
const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";

/// A gate whose account has a site, and the key of the site's edge.
struct Publisher {
    site: Site,
    key: String,
}

impl Publisher {
    fn start() -> Self {
        let site = Site::with(binary!(), |upstream| {
            let app = App::new("news", upstream).line("hosts = [\"news.test\"]");
            Config::default().app(app)
        });
        let made = site
            .gateway
            .cli()
            .json(&["key", "create", "--name", "edge"]);
        let key = made["key"].as_str().expect("a key").to_owned();
        Self { site, key }
    }

    fn rule(&self, more: &[&str]) {
        let mut arguments = vec!["agent", "set", "--operator", "OpenAI", "--agent", "GPTBot"];
        arguments.extend(more);
        let _set = self.site.gateway.cli().json(&arguments);
    }

    /// Sends visitors by one client, and returns what each comes to.
    fn visits(&self, visits: &[Value]) -> Vec<Value> {
        self.visits_with(&self.key, visits)
    }

    fn visits_with(&self, key: &str, visits: &[Value]) -> Vec<Value> {
        let address = self.site.gateway.control_addr();
        let mut client = Command::new("node")
            .arg(CLIENT)
            .env("PAYWALLS_CLOUD_API_HOST", format!("http://{address}"))
            .env("PAYWALLS_CLOUD_API_KEY", key)
            .env("PAYWALLS_PUBLISHER_ID", "default")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("node is installed");
        let mut input = client.stdin.take().expect("it is piped");
        for visit in visits {
            writeln!(input, "{visit}").expect("the client reads");
        }
        drop(input);
        let output = client.wait_with_output().expect("it ends");
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && complained.is_empty(),
            "{complained}"
        );
        let said = String::from_utf8(output.stdout).expect("text");
        let answers: Vec<Value> = said
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(answers.len(), visits.len(), "{said}");
        answers
    }

    /// Returns the records of accesses.
    fn records(&self) -> Vec<Value> {
        let calls = self.site.gateway.cli().json_lines(&["calls"]);
        calls
            .into_iter()
            .filter(|call| call["mode"] == "agent")
            .collect()
    }
}

fn visit(user_agent: &str, path: &str) -> Value {
    json!({ "url": format!("https://news.test{path}"),
            "headers": { "host": "news.test", "user-agent": user_agent, "cookie": "session=1" } })
}

#[test]
fn case_62_who_is_denied_gets_the_clients_answer_or_exactly_that_of_the_rule() {
    let publisher = Publisher::start();
    publisher.rule(&["--access", "deny"]);
    let answers = publisher.visits(&[visit(GPTBOT, "/a")]);
    let denied = &answers[0];
    assert_eq!(
        (&denied["status"], &denied["body"]),
        (&json!(402), &json!("Payment required.")),
        "{denied}"
    );
    assert_eq!(denied["headers"]["Content-Type"], "text/html");
    assert_eq!(denied["reason"], "usage_not_allowed");
    let page = publisher.site.gateway.data_dir().join("page.html");
    std::fs::write(&page, "<p>Ask us</p>").expect("a file");
    let page = page.to_str().expect("text");
    publisher.rule(&[
        "--access",
        "deny",
        "--response-code",
        "451",
        "--response-html",
        page,
    ]);
    let answers = publisher.visits(&[visit(GPTBOT, "/a")]);
    let denied = &answers[0];
    assert_eq!(
        (&denied["status"], &denied["body"]),
        (&json!(451), &json!("<p>Ask us</p>")),
        "{denied}"
    );
}

#[test]
fn case_63_without_a_decision_an_agent_is_denied_as_a_bad_gateway() {
    let publisher = Publisher::start();
    let made = publisher
        .site
        .gateway
        .cli()
        .json(&["key", "create", "--scope", "read:usage"]);
    let key = made["key"].as_str().expect("a key");
    let address = publisher.site.gateway.control_addr();
    // The reports fail as well, which a client only prints.
    let output = Command::new("sh")
        .args(["-c", "echo \"$VISIT\" | node \"$CLIENT\""])
        .env("VISIT", visit(GPTBOT, "/a").to_string())
        .env("CLIENT", CLIENT)
        .env("PAYWALLS_CLOUD_API_HOST", format!("http://{address}"))
        .env("PAYWALLS_CLOUD_API_KEY", key)
        .env("PAYWALLS_PUBLISHER_ID", "default")
        .output()
        .expect("node is installed");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (&answer["status"], &answer["reason"]),
        (&json!(502), &json!("unknown_error"))
    );
}

#[test]
fn case_64_people_cost_no_question_and_leave_no_report() {
    let publisher = Publisher::start();
    publisher.rule(&["--access", "deny"]);
    let answers = publisher.visits(&[
        visit(CHROME, "/a"),
        visit(CHROME, "/b"),
        visit(GPTBOT, "/c"),
    ]);
    assert_eq!(answers[0]["status"], 200);
    let lists = json!(["/api/filter/agents/metadata", "/pw/vai/metadata"]);
    assert_eq!(answers[0]["asked"], lists, "the lists, once");
    assert_eq!(answers[1]["asked"], json!([]));
    let questions = json!(["/api/filter/agents/auth", "/api/filter/access/logs"]);
    assert_eq!(answers[2]["asked"], questions);
    assert_eventually!(publisher.records().len() == 1);
}

#[test]
fn a_visit_of_an_agent_is_decided_on_reported_and_paid_by_its_token() {
    let publisher = Publisher::start();
    publisher.rule(&["--access", "token"]);
    let made = publisher.site.gateway.cli().json(&[
        "agent",
        "token",
        "create",
        "--operator",
        "OpenAI",
        "--agent",
        "GPTBot",
        "--app",
        "news",
        "--remaining",
        "5",
    ]);
    let token = made["token"].as_str().expect("a token");
    let mut paid = visit(GPTBOT, "/articles/1?x=y");
    paid["headers"]["authorization"] = json!(format!("Bearer {token}"));
    let mut wrong = visit(GPTBOT, "/articles/2");
    wrong["headers"]["authorization"] = json!("Basic agt_unknown");
    let answers = publisher.visits(&[visit(GPTBOT, "/articles/0"), paid, wrong]);
    let reasons: Vec<&Value> = answers.iter().map(|answer| &answer["reason"]).collect();
    assert_eq!(
        reasons,
        ["token_not_provided", "token_active", "token_not_found"]
    );
    let statuses: Vec<&Value> = answers.iter().map(|answer| &answer["status"]).collect();
    assert_eq!(statuses, [402, 200, 402]);
    assert_eventually!(publisher.records().len() == 3);
    let records = publisher.records();
    let of = |license: &Value| {
        records
            .iter()
            .filter(|record| record["license_id"] == *license)
            .count()
    };
    assert_eq!((of(&made["id"]), of(&Value::Null)), (1, 2), "{records:?}");
    let verified = publisher.site.gateway.cli().json(&["ledger", "verify"]);
    assert_eq!(
        (&verified["lost"], &verified["duplicated"]),
        (&json!(0), &json!(0))
    );
}

#[test]
fn a_page_reads_who_visits_through_the_sites_edge() {
    let publisher = Publisher::start();
    let signals = json!({ "X-PW-UA": "dpf=desktop/mac/chrome, ver=140+, browser, entropy=medium" });
    let page = json!({ "url": "https://news.test/pw/vai.json", "signals": signals,
                       "headers": { "host": "news.test", "origin": "https://www.news.test", "user-agent": CHROME } });
    let mut preflight = page.clone();
    preflight["method"] = json!("OPTIONS");
    let keys = json!({ "url": "https://news.test/pw/jwks.json", "headers": {} });
    let answers = publisher.visits(&[page, preflight, keys]);
    assert_eq!(
        answers[0]["headers"]["access-control-allow-origin"],
        "https://www.news.test"
    );
    let judged: Value =
        serde_json::from_str(answers[0]["body"].as_str().expect("text")).expect("JSON");
    assert_eq!(judged["dom"], "news.test");
    assert_eq!(answers[1]["status"], 204);
    assert!(
        answers[2]["body"]
            .to_string()
            .contains(judged["kid"].as_str().expect("a key"))
    );
}
