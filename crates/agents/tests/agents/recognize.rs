//! Who is recognized by a user agent, and who is not.

use agents::{KnownAgents, Recognizer};

fn recognizer() -> Recognizer {
    Recognizer::new(KnownAgents::shipped())
}

/// Returns the name of the agent that a user agent names.
fn named(recognizer: &Recognizer, user_agent: &str) -> Option<String> {
    let found = recognizer.recognize(user_agent.as_bytes());
    found.map(|agent| agent.agent.to_string())
}

/// User agents as the operators document them, or as they are seen.
const AGENTS: [(&str, &str); 12] = [
    (
        "GPTBot",
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.3; +https://openai.com/gptbot)",
    ),
    ("GPTBot", "gptbot"),
    (
        "ChatGPT-User",
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; ChatGPT-User/1.0; +https://openai.com/bot",
    ),
    (
        "OAI-SearchBot",
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; OAI-SearchBot/1.0; +https://openai.com/searchbot",
    ),
    (
        "ClaudeBot",
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ClaudeBot/1.0; +claudebot@anthropic.com)",
    ),
    (
        "Claude-User",
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; Claude-User/1.0; +Claude-User@anthropic.com)",
    ),
    (
        "Perplexity-User",
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; PerplexityUser/1.0; +https://perplexity.ai)",
    ),
    ("CCBot", "CCBot/2.0 (https://commoncrawl.org/faq/)"),
    (
        "Bytespider",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 11_0 like Mac OS X) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/40.0.3754.1902 Mobile Safari/537.36; Bytespider",
    ),
    (
        "meta-externalagent",
        "meta-externalagent/1.1 (+https://developers.facebook.com/docs/sharing/webmasters/crawler)",
    ),
    (
        "Applebot",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15 (Applebot/0.1; +http://www.apple.com/go/applebot)",
    ),
    (
        "Devin",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/137.0.0.0 Safari/537.36; Devin/1.0; +https://devin.ai",
    ),
];

/// User agents of people and of tools that are no AI agents, some with letters of agents in them.
const PEOPLE: [&str; 12] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:145.0) Gecko/20100101 Firefox/145.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 26_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 9; CUBOT_X18_Plus) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 13; MyGPTBot9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 12; Devin Phone) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "curl/8.5.0",
    "python-requests/2.32.3",
    "ChatGPT/1.2025.300 (iOS 26.1; iPhone17,1; build 1)",
    "",
    "-",
];

#[test]
fn agents_are_recognized_and_people_are_not() {
    let recognizer = recognizer();
    // Twice, the second time out of the cache.
    for _ in 0..2 {
        for (name, user_agent) in AGENTS {
            assert_eq!(
                named(&recognizer, user_agent).as_deref(),
                Some(name),
                "{user_agent}"
            );
        }
        for user_agent in PEOPLE {
            assert_eq!(named(&recognizer, user_agent), None, "{user_agent}");
        }
    }
}

#[test]
fn every_agent_that_ships_is_recognized_by_each_of_its_patterns() {
    let recognizer = recognizer();
    for agent in recognizer.known().all() {
        for pattern in &agent.patterns {
            let user_agent = format!(
                "Mozilla/5.0 (compatible; {pattern}; +{})",
                "https://example.com"
            );
            let found = recognizer.recognize(user_agent.to_uppercase().as_bytes());
            assert_eq!(found, Some(agent), "{pattern}");
        }
    }
}

#[test]
fn the_leftmost_longest_name_that_stands_by_itself_counts() {
    let recognizer = recognizer();
    for (user_agent, name) in [
        ("GoogleOther-Image/1.0", Some("GoogleOther-Image")),
        ("GoogleOther/1.0", Some("GoogleOther")),
        ("GoogleOther-Imagery", Some("GoogleOther")),
        ("GoogleOthers", None),
        ("YandexAdditionalBot/3.0", Some("YandexAdditionalBot")),
        ("ClaudeBot GPTBot", Some("ClaudeBot")),
        ("xClaudeBot GPTBot", Some("GPTBot")),
        ("GPTBot\u{e9} ", None),
        ("my_gptbot", None),
    ] {
        assert_eq!(
            named(&recognizer, user_agent).as_deref(),
            name,
            "{user_agent}"
        );
    }
}

#[test]
fn only_the_beginning_of_an_endless_user_agent_is_looked_at() {
    let recognizer = recognizer();
    let fill = Recognizer::MAX_BYTES - "GPTBot".len();
    let long = |before: usize, after: &str| format!("{}GPTBot{after}", " ".repeat(before));
    assert_eq!(named(&recognizer, &long(fill, &"x".repeat(65_536))), None);
    let behind = long(fill, &" ".repeat(65_536));
    assert_eq!(named(&recognizer, &behind).as_deref(), Some("GPTBot"));
    assert_eq!(named(&recognizer, &long(fill + 1, "")), None);
    assert_eq!(named(&recognizer, &"GPTBo".repeat(13_000)), None);
}

#[test]
fn what_was_recognized_before_a_reload_does_not_hold_after_it() {
    let before = recognizer();
    assert_eq!(named(&before, "GPTBot/1.3").as_deref(), Some("GPTBot"));
    let other = r#"[[agent]]
operator = "Example"
agent = "OtherBot"
purpose = "other"
page = "https://example.com/"
verify = "none"
patterns = ["OtherBot"]
vat = "OTHER"
act = "ACT-3"
"#;
    let after = Recognizer::new(KnownAgents::read("agents.toml", other).expect("valid"));
    assert_eq!(named(&after, "GPTBot/1.3"), None);
    assert_eq!(named(&before, "GPTBot/1.3").as_deref(), Some("GPTBot"));
}

#[test]
fn more_user_agents_than_a_thread_remembers_are_all_recognized() {
    let recognizer = recognizer();
    let agents: Vec<String> = (0..5_000).map(|n| format!("GPTBot/{n}")).collect();
    let people: Vec<String> = (0..5_000).map(|n| format!("Firefox/{n}")).collect();
    for _ in 0..2 {
        for (agent, person) in agents.iter().zip(&people) {
            assert_eq!(named(&recognizer, agent).as_deref(), Some("GPTBot"));
            assert_eq!(named(&recognizer, person), None);
        }
    }
}
