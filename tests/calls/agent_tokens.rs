//! Tokens of agents at the gate: licenses that an agent shows, and what is charged to them.

use std::process::Command;

use serde_json::Value;
use testkit::client::{Request, Response};
use testkit::{App, Config, Gateway, Site, assert_eventually, binary};

const AGENT: &str = "Mozilla/5.0 (compatible; GPTBot/1.3; +https://openai.com/gptbot)";
const OTHER: &str = "Mozilla/5.0 (compatible; ClaudeBot/1.0; +claudebot@anthropic.com)";

/// A site whose agents need a token on an open route, with a plan of a cent a unit.
fn site(access: &[&str]) -> Site {
    let site = Site::with(binary!(), |upstream| {
        let app = App::new("api", upstream)
            .line("plan = \"cents\"")
            .route("/open", &["access = \"open\""])
            .route("/paid", &[])
            .table("[app.agents]");
        let plan = "[[plan]]\nname = \"cents\"\ncurrency = \"USD\"\nprice_per_unit = \"0.01\"";
        Config::default().table(plan).app(app)
    });
    let rule = ["agent", "set", "--access"];
    let _ = site.gateway.cli().text(&[&rule, access].concat());
    site
}

/// A token as the command line shows it.
struct Token {
    id: String,
    secret: String,
}

fn token(gateway: &Gateway, more: &[&str]) -> Token {
    let create = [
        "agent",
        "token",
        "create",
        "--operator",
        "OpenAI",
        "--app",
        "api",
    ];
    let made = gateway.cli().json(&[&create, more].concat());
    let text = |field: &str| made[field].as_str().expect("text").to_owned();
    Token {
        id: text("id"),
        secret: text("token"),
    }
}

/// Returns the time so many seconds from now.
fn in_seconds(seconds: u32) -> String {
    let output = Command::new("date")
        .args(["-u", "-d", &format!("+{seconds} seconds"), "+%FT%TZ"])
        .output()
        .expect("date runs");
    let text = String::from_utf8(output.stdout).expect("text");
    text.trim().to_owned()
}

fn with(user_agent: &str, path: &str, secret: &str) -> Request {
    Request::get(path)
        .header("User-Agent", user_agent)
        .header("Authorization", &format!("Bearer {secret}"))
}

fn told(response: &Response) -> (u16, Value, Value) {
    if response.status == 200 {
        return (200, Value::Null, Value::Null);
    }
    let body = response.json();
    (
        response.status,
        body["code"].clone(),
        body["reason"].clone(),
    )
}

#[test]
fn a_token_opens_while_it_lives_for_its_own_agent_alone_and_is_kept_from_the_upstream() {
    let site = site(&["token"]);
    let gateway = &site.gateway;
    let without = gateway.call(&Request::get("/open").header("User-Agent", AGENT));
    let denied = |reason: &str| (403, "agent_denied".into(), reason.into());
    assert_eq!(told(&without), denied("token_not_provided"));
    let live = token(gateway, &["--agent", "GPTBot"]);
    let let_in = gateway.call(&with(AGENT, "/open", &live.secret));
    assert_eq!(let_in.status, 200, "{let_in:?}");
    let record = gateway.record(let_in.call_id());
    assert_eq!(
        (&record["mode"], &record["license_id"]),
        (&"agent".into(), &live.id.clone().into())
    );
    let served = site.upstream.served();
    let mut headers = served.last().expect("one call").headers.iter();
    assert!(
        !headers.any(|(_, value)| value.contains("agt_")),
        "{served:?}"
    );
    let unknown = format!("agt_{}", "A".repeat(43));
    for (user_agent, secret, reason) in [
        (AGENT, &unknown, "token_not_found"),
        (OTHER, &live.secret, "token_not_found"),
    ] {
        assert_eq!(
            told(&gateway.call(&with(user_agent, "/open", secret))),
            denied(reason)
        );
    }
    // It is a license: its agent needs no other, and to people it is nothing.
    assert_eq!(
        gateway.call(&with(AGENT, "/paid", &live.secret)).status,
        200
    );
    let person = gateway.call(&with("curl/8.5.0", "/paid", &live.secret));
    assert_eq!(
        (person.status, person.refusal_code().as_deref()),
        (401, Some("license_unknown"))
    );
    let _ = gateway.cli().text(&["license", "disable", &live.id]);
    assert_eq!(
        told(&gateway.call(&with(AGENT, "/open", &live.secret))),
        denied("token_disabled")
    );
    let ending = token(gateway, &["--expires-at", &in_seconds(2)]);
    let ended = || told(&gateway.call(&with(AGENT, "/open", &ending.secret)));
    assert_eventually!(ended() == denied("token_expired"), "{:?}", ended());
}

#[test]
fn a_price_is_charged_to_the_license_of_the_token_and_said() {
    let site = site(&["pay", "--price", "USD 0.05"]);
    let gateway = &site.gateway;
    let paying = token(gateway, &["--remaining", "15"]);
    let call = || with(AGENT, "/open", &paying.secret);
    let paid = gateway.call(&call());
    assert_eq!(
        (paid.status, paid.header("crawler-charged")),
        (200, Some("USD 0.05")),
        "{paid:?}"
    );
    let offered = gateway.call(&call().header("crawler-max-price", "USD 0.10"));
    assert_eq!(
        (offered.status, offered.header("crawler-charged")),
        (200, Some("USD 0.05"))
    );
    for (header, value, error) in [
        ("crawler-max-price", "USD 0.01", "InvalidCrawlerMaxPrice"),
        (
            "crawler-exact-price",
            "USD 0.06",
            "InvalidCrawlerExactPrice",
        ),
        ("crawler-max-price", "EUR 1", "InvalidCrawlerMaxPrice"),
    ] {
        let refused = gateway.call(&call().header(header, value));
        assert_eq!(
            (refused.status, refused.header("crawler-error")),
            (402, Some(error)),
            "{refused:?}"
        );
        assert_eq!(refused.header("crawler-price"), Some("USD 0.05"));
        assert_eq!(refused.header("crawler-charged"), None);
    }
    let failed = gateway.call(&with(AGENT, "/open/status/500", &paying.secret));
    assert_eq!(
        (failed.status, failed.header("crawler-charged")),
        (500, None),
        "what fails is not charged"
    );
    // What failed gave its five units back: one more call is paid, and no other.
    let empty = || gateway.call(&call());
    assert_eventually!(empty().status == 402, "{:?}", empty());
    assert_eq!(empty().refusal_code().as_deref(), Some("quota_exhausted"));
    let usage = || gateway.cli().json(&["usage", "--license", &paying.id]);
    assert_eventually!(usage()[0]["amount"] == "0.15", "{}", usage());
    assert_eq!(usage()[0]["units"], 15, "{}", usage());
}

#[test]
fn another_license_pays_where_the_token_names_one_and_a_price_that_no_units_make_is_refused() {
    let site = site(&["pay", "--price", "USD 0.02"]);
    let gateway = &site.gateway;
    let payer = gateway.license(&["--remaining", "4"]);
    let paying = token(gateway, &["--payer", &payer.id]);
    for _ in 0..2 {
        let paid = gateway.call(&with(AGENT, "/open", &paying.secret));
        assert_eq!(paid.status, 200, "{paid:?}");
        assert_eq!(
            gateway.record(paid.call_id())["license_id"],
            payer.id.as_str()
        );
    }
    let empty = gateway.call(&with(AGENT, "/open", &paying.secret));
    assert_eq!(
        empty.refusal_code().as_deref(),
        Some("quota_exhausted"),
        "{empty:?}"
    );
    let _ = gateway
        .cli()
        .text(&["agent", "set", "--access", "pay", "--price", "USD 0.015"]);
    let odd = gateway.call(&with(AGENT, "/open", &token(gateway, &[]).secret));
    assert_eq!(
        (odd.status, odd.header("crawler-error")),
        (402, Some("PaymentFailed")),
        "{odd:?}"
    );
}
