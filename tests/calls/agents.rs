//! AI agents at the gate: who is one, what the policy says of it, and the order of policy and license.

use std::fs;

use serde_json::Value;
use testkit::client::{Request, Response};
use testkit::{App, Config, Gateway, Site, assert_eventually, binary};

/// What GPTBot calls itself.
const AGENT: &str = "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.3; +https://openai.com/gptbot)";
/// What a browser of people calls itself.
const PERSON: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";

/// A site with an open route and one that wants a license, and these terms for agents.
fn site(terms: &str) -> Site {
    site_with(terms, &[])
}

fn site_with(terms: &str, lines: &[&str]) -> Site {
    Site::with(binary!(), |upstream| {
        let app = App::new("api", upstream)
            .route("/open", &["access = \"open\""])
            .route("/paid", &[])
            .table(&format!("[app.agents]\n{terms}"));
        let app = lines.iter().fold(app, |app, line| app.line(line));
        Config::default().app(app)
    })
}

fn by(user_agent: &str, path: &str) -> Request {
    Request::get(path).header("User-Agent", user_agent)
}

/// Sets a rule for GPTBot.
fn set(gateway: &Gateway, arguments: &[&str]) {
    let rule = ["agent", "set", "--operator", "OpenAI", "--agent", "GPTBot"];
    let _ = gateway.cli().text(&[&rule, arguments].concat());
}

/// Checks a refusal of an agent: its status, code and reason, and that nothing came to the upstream.
fn refused(
    site: &Site,
    request: &Request,
    status: u16,
    code: &str,
    reason: Option<&str>,
) -> Response {
    let before = site.upstream.served_count();
    let response = site.gateway.call(request);
    assert_eq!(
        (response.status, response.refusal_code().as_deref()),
        (status, Some(code)),
        "{response:?}"
    );
    let told = response.json();
    assert_eq!(told["reason"].as_str(), reason, "{told}");
    assert_eq!(site.upstream.served_count(), before, "{response:?}");
    response
}

/// Returns mode and license of the record of a call.
fn recorded(site: &Site, response: &Response) -> (String, Value) {
    let record = site.gateway.record(response.call_id());
    (
        record["mode"].as_str().expect("a mode").to_owned(),
        record["license_id"].clone(),
    )
}

#[test]
fn an_agent_is_let_in_or_sent_away_by_its_rule_and_recorded() {
    let site = site("");
    set(&site.gateway, &["--access", "allow"]);
    let let_in = site.gateway.call(&by(AGENT, "/open"));
    assert_eq!(let_in.status, 200, "{let_in:?}");
    assert_eq!(recorded(&site, &let_in), ("agent".to_owned(), Value::Null));
    set(&site.gateway, &["--access", "deny"]);
    let sent_away = refused(
        &site,
        &by(AGENT, "/open"),
        403,
        "agent_denied",
        Some("usage_not_allowed"),
    );
    assert!(
        sent_away
            .header("accept-signature")
            .is_some_and(|asked| asked.contains("web-bot-auth"))
    );
    assert_eq!(
        recorded(&site, &sent_away),
        ("agent".to_owned(), Value::Null)
    );
    for (decision, count) in [("allowed", 1.0), ("denied", 1.0)] {
        let labels = ["app=\"api\"", &format!("decision=\"{decision}\"")];
        let counted = || {
            site.gateway
                .metric("tallygate_agent_decisions_total", &labels)
        };
        assert_eventually!(counted() == count, "{decision} is {}", counted());
    }
    assert_eq!(site.gateway.verify()["lost"], 0);
}

#[test]
fn a_denied_agent_stays_out_with_a_good_license_which_opens_for_all_others() {
    let site = site("default = \"allow\"");
    let license = site.gateway.license(&[]);
    let paid = |user_agent| by(user_agent, "/paid").key(&license.key);
    assert_eq!(site.gateway.call(&paid(PERSON)).status, 200);
    // No rule asks it to pay: its license does, as anybody's.
    let customer = site.gateway.call(&paid(AGENT));
    assert_eq!(customer.status, 200, "{customer:?}");
    assert_eq!(
        recorded(&site, &customer),
        ("proxy".to_owned(), Value::from(license.id.as_str()))
    );
    set(&site.gateway, &["--access", "pay", "--price", "USD 0.01"]);
    assert_eq!(
        site.gateway.call(&paid(AGENT)).status,
        200,
        "a good license is a customer"
    );
    set(&site.gateway, &["--access", "deny"]);
    let _ = refused(
        &site,
        &paid(AGENT),
        403,
        "agent_denied",
        Some("usage_not_allowed"),
    );
    assert_eq!(site.gateway.call(&paid(PERSON)).status, 200);
}

#[test]
fn a_policy_opens_what_wants_a_license_only_where_it_says_so() {
    let site = site("");
    for access in [
        &["--access", "allow"][..],
        &["--access", "pay", "--price", "USD 0.01"],
        &["--access", "token"],
    ] {
        set(&site.gateway, access);
        let refused = site.gateway.call(&by(AGENT, "/paid"));
        assert_eq!(
            refused.refusal_code().as_deref(),
            Some("license_missing"),
            "{access:?}: {refused:?}"
        );
    }
    set(
        &site.gateway,
        &["--access", "allow", "--instead-of-license"],
    );
    let let_in = site.gateway.call(&by(AGENT, "/paid"));
    assert_eq!(let_in.status, 200, "{let_in:?}");
    assert_eq!(recorded(&site, &let_in), ("agent".to_owned(), Value::Null));
    set(
        &site.gateway,
        &[
            "--access",
            "pay",
            "--price",
            "USD 0.01",
            "--instead-of-license",
        ],
    );
    let asked = refused(
        &site,
        &by(AGENT, "/paid"),
        402,
        "payment_required",
        Some("token_not_provided"),
    );
    assert_eq!(asked.header("crawler-price"), Some("USD 0.01"));
    let person = site.gateway.call(&by(PERSON, "/paid"));
    assert_eq!(person.refusal_code().as_deref(), Some("license_missing"));
}

#[test]
fn a_price_is_asked_on_an_open_route_and_an_offer_of_nobody_does_not_count() {
    let site = site("");
    set(&site.gateway, &["--access", "pay", "--price", "USD 0.01"]);
    let open = || by(AGENT, "/open");
    let asked = refused(
        &site,
        &open(),
        402,
        "payment_required",
        Some("token_not_provided"),
    );
    assert_eq!(asked.header("crawler-price"), Some("USD 0.01"));
    assert_eq!(asked.header("crawler-error"), None);
    for (header, value, status, error) in [
        ("crawler-max-price", "USD 1", 402, "StrongAuthRequired"),
        ("crawler-exact-price", "USD 0.01", 402, "StrongAuthRequired"),
        ("crawler-max-price", "much", 400, "InvalidCrawlerPriceValue"),
        (
            "crawler-max-price",
            "USD -1",
            400,
            "InvalidCrawlerPriceValue",
        ),
    ] {
        let answer = site.gateway.call(&open().header(header, value));
        assert_eq!(
            (answer.status, answer.header("crawler-error")),
            (status, Some(error)),
            "{value}: {answer:?}"
        );
    }
    let both = open()
        .header("crawler-max-price", "USD 1")
        .header("crawler-exact-price", "USD 1");
    let answer = site.gateway.call(&both);
    assert_eq!(
        (answer.status, answer.header("crawler-error")),
        (400, Some("ConflictingPriceHeaders"))
    );
    // Who has a license is a customer, and who has a bad one is not.
    let license = site.gateway.license(&[]);
    let customer = site.gateway.call(&open().key(&license.key));
    assert_eq!(customer.status, 200, "{customer:?}");
    assert_eq!(recorded(&site, &customer).1, license.id.as_str());
    let _ = refused(
        &site,
        &open().key("no-such-key"),
        402,
        "payment_required",
        Some("token_not_provided"),
    );
    let served = site.upstream.served_count();
    assert_eq!(site.gateway.call(&by(PERSON, "/open")).status, 200);
    assert_eq!(site.upstream.served_count(), served + 1);
}

#[test]
fn the_answer_of_a_rule_is_given_as_it_stands() {
    let site = site("");
    let folder = tempfile::tempdir().expect("a folder");
    let page = folder.path().join("page.html");
    fs::write(&page, "<p>Buy a license</p>").expect("it can be written");
    let page = page.to_str().expect("it is text");
    set(
        &site.gateway,
        &[
            "--access",
            "deny",
            "--response-code",
            "451",
            "--response-html",
            page,
        ],
    );
    let answer = site.gateway.call(&by(AGENT, "/open"));
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (451, "<p>Buy a license</p>"),
        "{answer:?}"
    );
    assert_eq!(
        answer.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(recorded(&site, &answer).0, "agent");
}

#[test]
fn nobody_else_is_touched_and_nothing_of_a_user_agent_is_kept() {
    let site = site("default = \"deny\"\nunknown = \"deny\"");
    let served = site.upstream.served_count();
    let long = format!("{PERSON} {}", "x".repeat(60_000));
    let within_a_word = PERSON.replace("Chrome", "MyGPTBotFan");
    for user_agent in [
        PERSON,
        &within_a_word,
        "curl/8.5.0",
        "SomeBot/1.0",
        "",
        &long,
    ] {
        let answer = site.gateway.call(&by(user_agent, "/open"));
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(recorded(&site, &answer).0, "proxy");
    }
    assert_eq!(site.gateway.call(&Request::get("/open")).status, 200);
    assert_eq!(site.upstream.served_count(), served + 7);
    let _ = refused(
        &site,
        &by(AGENT, "/open"),
        403,
        "agent_denied",
        Some("usage_not_allowed"),
    );
    let hidden = format!("{} GPTBot/1.0", "x".repeat(60_000));
    assert_eq!(
        site.gateway.call(&by(&hidden, "/open")).status,
        200,
        "only the beginning is looked at"
    );
    assert!(!site.gateway.log().contains("GPTBot"));
    let metrics = site.gateway.scrape("/metrics").expect("metrics").text();
    assert!(metrics.contains("decision=\"denied\"") && !metrics.contains("GPTBot"));
}

#[test]
fn an_app_without_terms_for_agents_takes_them_for_callers_like_others() {
    let site = Site::with(binary!(), |upstream| {
        let app = App::new("api", upstream).route("/open", &["access = \"open\""]);
        Config::default().app(app)
    });
    set(&site.gateway, &["--access", "deny"]);
    let answer = site.gateway.call(&by(AGENT, "/open"));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(recorded(&site, &answer).0, "proxy");
}

#[test]
fn who_poses_as_an_agent_in_the_query_is_one_in_test_mode_alone() {
    let live = site("unknown = \"deny\"");
    for query in ["user-agent=bot", "user-agent=GPTBot"] {
        let answer = live.gateway.call(&by(PERSON, &format!("/open?{query}")));
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let test = site_with("unknown = \"deny\"", &["mode = \"test\""]);
    let posed = |query: &str| by(PERSON, &format!("/open?{query}"));
    let _ = refused(
        &test,
        &posed("a=b&user-agent=bot"),
        403,
        "agent_denied",
        Some("user_agent_unrecognized"),
    );
    assert_eq!(test.gateway.call(&posed("user-agent=Firefox")).status, 200);
    assert_eq!(
        test.gateway.call(&posed("user-agent=GPTBot")).status,
        200,
        "it is known, and no rule concerns it"
    );
    set(&test.gateway, &["--access", "deny"]);
    let _ = refused(
        &test,
        &posed("user-agent=GPTBot/1.0"),
        403,
        "agent_denied",
        Some("usage_not_allowed"),
    );
}

#[test]
fn a_rule_for_a_path_is_not_evaded_by_writing_it_otherwise() {
    let site = site("");
    set(
        &site.gateway,
        &["--access", "deny", "--path", "/open/secret"],
    );
    assert_eq!(site.gateway.call(&by(AGENT, "/open/other")).status, 200);
    for path in ["/open/secret", "/open/secret/a", "/open/%73ecret"] {
        let _ = refused(
            &site,
            &by(AGENT, path),
            403,
            "agent_denied",
            Some("usage_not_allowed"),
        );
    }
    for path in ["/open/a/../secret", "/open//secret", "/open/secret%2Fa"] {
        let _ = refused(&site, &by(AGENT, path), 400, "path_ambiguous", None);
    }
}

#[test]
fn a_flood_of_refused_agents_is_folded_and_counted_whole() {
    let site = site("default = \"deny\"");
    let mut connection = site.gateway.connect();
    for _ in 0..500 {
        assert_eq!(
            connection
                .call(&by(AGENT, "/open"))
                .expect("an answer")
                .status,
            403
        );
    }
    let usage = || {
        let by = ["usage", "--by", "outcome,mode"];
        site.gateway.cli().json(&by)
    };
    let refused = || {
        let rows = usage();
        let rows = rows.as_array().expect("rows");
        let row = rows.iter().find(|row| row["outcome"] == "refused")?;
        assert_eq!(row["mode"], "agent");
        row["calls"].as_u64()
    };
    assert_eventually!(refused() == Some(500), "{}", usage());
    let records = site.gateway.calls(&[]).len();
    assert!(records < 100, "{records} records");
}

/// A list with one agent, which has this word in its user agent.
fn list(word: &str) -> String {
    format!(
        "[[agent]]\noperator = \"Acme\"\nagent = \"AcmeBot\"\npurpose = \"data\"\npage = \"https://acme.example/\"\n\
         verify = \"none\"\npatterns = [\"{word}\"]\n"
    )
}

#[test]
fn a_bad_list_leaves_the_good_one_in_force_and_a_good_one_replaces_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("agents.toml");
    fs::write(&file, list("AcmeBot")).expect("it can be written");
    let site = Site::with(binary!(), |upstream| {
        let app = App::new("api", upstream)
            .route("/open", &["access = \"open\""])
            .table("[app.agents]\ndefault = \"deny\"");
        let named = format!("known_agents = {:?}", file.to_str().expect("text"));
        Config::default().server(&named).app(app)
    });
    let status = |user_agent| site.gateway.call(&by(user_agent, "/open")).status;
    assert_eq!((status("AcmeBot/1.0"), status(AGENT)), (403, 200));
    fs::write(&file, "[[agent]]\noperator = 7\n").expect("it can be written");
    assert_eventually!(
        site.gateway.log().contains("agents.toml:1:"),
        "{}",
        site.gateway.log()
    );
    assert_eq!(status("AcmeBot/1.0"), 403);
    fs::remove_file(&file).expect("it is there");
    assert_eventually!(
        site.gateway.log().matches("stays as it was").count() == 2,
        "{}",
        site.gateway.log()
    );
    assert_eq!(status("AcmeBot/1.0"), 403);
    fs::write(&file, list("AcmeReader")).expect("it can be written");
    assert_eventually!(
        status("AcmeReader/1.0") == 403,
        "the new list is not in force"
    );
    assert_eq!(status("AcmeBot/1.0"), 200);
}

#[test]
fn a_bad_list_is_refused_at_the_start_with_its_line() {
    let mut gateway = Gateway::prepare(binary!(), Config::new("http://127.0.0.1:9"));
    let file = gateway.config_path().with_file_name("agents.toml");
    fs::write(&file, "[[agent]]\nname = \"x\"\n").expect("it can be written");
    gateway.configure(Config::new("http://127.0.0.1:9").server("known_agents = \"agents.toml\""));
    let checked = gateway.cli().run(&["check"]);
    assert_eq!(checked.code, 78, "{checked:?}");
    assert!(checked.stderr.contains("agents.toml:2: "), "{checked:?}");
}
