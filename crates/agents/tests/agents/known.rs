//! The file of known agents: what ships, and what a file of the same form may not hold.

use agents::{Act, DirectoryUrl, KnownAgents, Vat, Verifiable};

const ONE: &str = r#"[[agent]]
operator = "OpenAI"
agent = "GPTBot"
purpose = "training"
page = "https://platform.openai.com/docs/bots"
verify = "addresses"
patterns = ["GPTBot"]
vat = "AI_AGENT"
act = "ACT-1"
"#;

/// Returns the message for a file in which one line of [`ONE`] is another.
fn refused(line: &str, instead: &str) -> String {
    assert!(ONE.contains(line), "{line}");
    let text = ONE.replace(line, instead);
    let error = KnownAgents::read("agents.toml", &text).expect_err(instead);
    error.to_string()
}

#[test]
fn at_least_sixty_agents_ship_under_the_names_that_their_operators_use() {
    let known = KnownAgents::shipped();
    assert!(known.all().len() >= 60, "{}", known.all().len());
    for (operator, agent) in [
        ("OpenAI", "GPTBot"),
        ("openai", "chatgpt-user"),
        ("Anthropic", "ClaudeBot"),
        ("Google", "Google-Agent"),
        ("Perplexity", "PerplexityBot"),
    ] {
        let (operator, agent) = (
            operator.parse().expect("valid"),
            agent.parse().expect("valid"),
        );
        let found = known.find(&operator, &agent).expect("known");
        assert!(found.page.starts_with("https://"));
        assert!(!found.patterns.is_empty());
    }
    let nobody = known.find(
        &"Anthropic".parse().expect("valid"),
        &"GPTBot".parse().expect("valid"),
    );
    assert_eq!(nobody, None);
}

#[test]
fn agents_that_sign_are_found_by_their_directory() {
    let known = KnownAgents::shipped();
    let directory = DirectoryUrl::of_origin("https://chatgpt.com").expect("an origin");
    let names: Vec<&str> = known
        .of_directory(&directory)
        .map(|agent| agent.agent.as_str())
        .collect();
    assert_eq!(names, ["ChatGPT Agent"]);
    let signing = known
        .all()
        .iter()
        .filter(|agent| agent.verifiable == Verifiable::Signature);
    assert!(signing.clone().count() >= 2);
    assert!(signing.into_iter().all(|agent| agent.directory.is_some()));
}

#[test]
fn a_wrong_field_is_named_with_file_and_line_and_what_would_work() {
    for (line, instead, expected) in [
        (
            r#"purpose = "training""#,
            r#"purpose = "train""#,
            "agents.toml:4: `purpose` cannot be `train`: write one of training, search",
        ),
        (
            r#"purpose = "training""#,
            "",
            "agents.toml:1: `purpose` is missing",
        ),
        (
            r#"agent = "GPTBot""#,
            r#"agent = """#,
            "agents.toml:3: `agent`: `` is not the name of an agent",
        ),
        (
            r#"operator = "OpenAI""#,
            "operator = 5",
            "agents.toml:2: `operator` must be a text in quotes",
        ),
        (
            "https://platform",
            "http://platform",
            "agents.toml:5: `page` must be an https URL",
        ),
        (
            r#""addresses""#,
            r#""ip""#,
            "agents.toml:6: `verify` cannot be `ip`: write one of signature, addresses, names, none",
        ),
        (
            r#"verify = "addresses""#,
            r#"verify = "signature""#,
            "agents.toml:1: `directory` and `verify",
        ),
        (
            r#"verify = "addresses""#,
            "verify = \"signature\"\ndirectory = \"http://x.example\"",
            "agents.toml:7: `directory`: it is not https",
        ),
        (
            r#"["GPTBot"]"#,
            "[]",
            "agents.toml:7: `patterns` has 0 texts: write 1 to 20",
        ),
        (
            r#"["GPTBot"]"#,
            r#"["GB"]"#,
            "agents.toml:7: `patterns`: `GB` must be 3 to 64",
        ),
        (
            r#"["GPTBot"]"#,
            r#"["safari"]"#,
            "agents.toml:7: `patterns`: `safari` stands in the user agents of people",
        ),
        (
            r#"["GPTBot"]"#,
            r#"["GPTBot", "gptbot"]"#,
            "agents.toml:7: `patterns`: `gptbot` stands here a second time",
        ),
        (
            r#""AI_AGENT""#,
            r#""ai""#,
            "agents.toml:8: `vat` cannot be `ai`",
        ),
        (
            r#""AI_AGENT""#,
            r#""HUMAN""#,
            "agents.toml:8: `vat` cannot be `HUMAN`: write one of AI_AGENT, SHARING, OTHER",
        ),
        (
            r#""ACT-1""#,
            r#""ACT-9""#,
            "agents.toml:9: `act` cannot be `ACT-9`: write one of ACT-1, ACT-2, ACT-3",
        ),
        (
            "vat =",
            "vta =",
            "agents.toml:8: `vta` is not known here: an agent has operator, agent",
        ),
        (
            "[[agent]]",
            "[[agents]]",
            "agents.toml:1: `agents` is not known here",
        ),
        (
            "[[agent]]",
            "[agent]",
            "agents.toml:1: `agent` must be tables",
        ),
        (
            r#"agent = "GPTBot""#,
            "agent = GPTBot",
            "agents.toml:3: this is no TOML",
        ),
    ] {
        let message = refused(line, instead);
        assert!(
            message.starts_with(expected),
            "{message}\ninstead of {expected}"
        );
    }
    let none = KnownAgents::read("agents.toml", "").expect_err("empty");
    assert!(none.to_string().contains("there is no agent"), "{none}");
}

#[test]
fn an_agent_is_one_of_ai_and_as_sure_as_it_can_be_verified_unless_it_says_otherwise() {
    let read = |text: &str| {
        let known = KnownAgents::read("agents.toml", text).expect("valid");
        (known.all()[0].vat, known.all()[0].act)
    };
    let without = ONE.replace("vat = \"AI_AGENT\"\nact = \"ACT-1\"\n", "");
    assert_eq!(read(&without), (Vat::AiAgent, Act::High));
    let unsure = without.replace("\"addresses\"", "\"none\"");
    assert_eq!(read(&unsure), (Vat::AiAgent, Act::Medium));
    let other = ONE.replace("AI_AGENT", "SHARING").replace("ACT-1", "ACT-3");
    assert_eq!(read(&other), (Vat::Sharing, Act::Low));
}

#[test]
fn two_agents_may_share_neither_their_names_nor_a_pattern() {
    let second = |agent: &str, pattern: &str| {
        let other = ONE
            .replace(r#"agent = "GPTBot""#, &format!("agent = \"{agent}\""))
            .replace(r#"["GPTBot"]"#, &format!("[\"{pattern}\"]"));
        KnownAgents::read("agents.toml", &format!("{ONE}\n{other}"))
    };
    assert_eq!(
        second("OtherBot", "OtherBot")
            .expect("distinct")
            .all()
            .len(),
        2
    );
    let name = second("gptbot", "OtherBot").expect_err("the same name");
    assert_eq!(name.line, 11);
    assert!(
        name.message
            .contains("gptbot of OpenAI stands here a second time"),
        "{name}"
    );
    let pattern = second("OtherBot", "GPTBOT").expect_err("the same pattern");
    assert_eq!(pattern.line, 17);
}

#[test]
fn a_file_is_bounded() {
    let large = "#".repeat(KnownAgents::MAX_FILE_BYTES + 1);
    let error = KnownAgents::read("agents.toml", &large).expect_err("large");
    assert!(
        error
            .to_string()
            .starts_with("agents.toml:1: the file has 1048577 bytes")
    );
    let many = "[[agent]]\n".repeat(KnownAgents::MAX_AGENTS + 1);
    let error = KnownAgents::read("agents.toml", &many).expect_err("many");
    assert!(
        error.to_string().contains("there are 2001 agents"),
        "{error}"
    );
}
