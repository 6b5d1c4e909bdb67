//! The file at the root of the project says the defaults, and nothing but the defaults.

use config::{
    Apimw, App, BetterAuth, Cache, Config, Control, DEFAULT_FILE, Journal, Ledger, Log, Redis,
    Server, Store,
};

/// Keys that the file has to state because they have no default: names, references to names, and a
/// price to show a bill with.
const SAMPLE: &[&str] = &["name", "upstreams", "plan", "price_per_unit", "path"];

fn parse(text: &str) -> Result<Config, config::Errors> {
    Config::parse(text, "gateway.toml", |name| {
        Some(format!("value-of-{name}"))
    })
}

/// Returns the lines that are keys, with the number of each.
fn key_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let key = |line: &'_ str| line.split_once(" = ").map(|(key, _)| key.to_owned());
    let is_key = move |line: &str| {
        key(line).is_some_and(|key| {
            key.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        })
    };
    text.lines()
        .enumerate()
        .filter(move |(_, line)| is_key(line))
}

fn without_line(text: &str, number: usize) -> String {
    let kept = text
        .lines()
        .enumerate()
        .filter(|(other, _)| *other != number);
    kept.map(|(_, line)| format!("{line}\n")).collect()
}

/// Returns the file with the keys that have no default turned on.
fn with_examples() -> String {
    let on = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') && !rest.is_empty() => format!("{rest}\n"),
        _ => format!("{line}\n"),
    };
    DEFAULT_FILE.lines().map(on).collect()
}

#[test]
fn the_file_says_the_defaults_of_every_section() {
    let config = Config::default();
    assert_eq!(config.server, Server::default());
    assert_eq!(config.log, Log::default());
    assert_eq!(config.store, Store::default());
    assert_eq!(config.redis, Redis::default());
    assert_eq!(config.journal, Journal::default());
    assert_eq!(config.ledger, Ledger::default());
    assert_eq!(config.control, Control::default());
    assert_eq!(config.apimw, Apimw::default());
    assert_eq!(config.better_auth, BetterAuth::default());
    assert_eq!(config.cache, Cache::default());
    assert_eq!(config.plan_revisions().len(), 1);
    assert!(config.app(&"sample".parse().unwrap()).is_some());
    assert_eq!(
        config.ledger_directory(),
        std::path::Path::new("data/ledger")
    );
}

#[test]
fn leaving_out_any_key_changes_nothing() {
    let lines: Vec<_> = key_lines(DEFAULT_FILE).collect();
    assert!(lines.len() > 60, "only {} keys were found", lines.len());
    for (number, line) in lines {
        if SAMPLE.contains(&line.split(' ').next().unwrap()) {
            continue;
        }
        let config = parse(&without_line(DEFAULT_FILE, number)).expect(line);
        assert_eq!(config, Config::default(), "without `{line}`");
    }
}

#[test]
fn a_file_of_one_app_has_the_documented_defaults() {
    let text = "[[plan]]\nname = \"standard\"\nprice_per_unit = \"0.01\"\n\
                [[app]]\nname = \"sample\"\nupstreams = [\"http://127.0.0.1:9000\"]\nplan = \"standard\"";
    let config = parse(text).expect("valid");
    let App { routes, .. } = &Config::default().apps[0];
    assert_eq!(
        config.apps[0].served_routes(),
        *routes,
        "without routes an app serves every path as the sample does"
    );
    let mut with_route = config;
    with_route.apps[0].routes.clone_from(routes);
    assert_eq!(with_route, Config::default());
}

#[test]
fn every_example_is_valid_once_it_is_turned_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.toml");
    std::fs::write(&path, with_examples()).unwrap();
    let config = Config::load(&path, |_| Some("hunter2".to_owned())).expect("valid");
    assert!(config.apps[0].health_check.is_some());
    assert_eq!(config.apps[0].inject_headers[0].1, "Bearer hunter2");
    assert_eq!(config.apps[0].routes[0].reserved_units(), 100);
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn the_keys_of_sections_that_are_left_out_stand_at_their_defaults() {
    let text = with_examples();
    let whole = parse(&text).expect("valid");
    let at = |title: &str| text.lines().position(|line| line == title).expect(title);
    for (from, to, count) in [
        ("[app.health_check]", "[app.outage]", 5),
        ("[app.agents]", "[app.inject_headers]", 5),
    ] {
        let lines = at(from)..at(to);
        let keys: Vec<_> = key_lines(&text)
            .filter(|(number, _)| lines.contains(number))
            .collect();
        assert_eq!(keys.len(), count, "{from}");
        for (number, line) in keys {
            let config = parse(&without_line(&text, number)).expect(line);
            assert_eq!(config, whole, "without `{line}`");
        }
    }
    assert_eq!(whole.apps[0].agents, Some(config::Agents::default()));
}

#[test]
fn every_key_has_a_sentence_before_it() {
    let lines: Vec<&str> = DEFAULT_FILE.lines().collect();
    for (number, line) in with_examples().lines().enumerate() {
        let is_key =
            line.contains(" = ") && !line.starts_with('#') && !line.starts_with("Authorization");
        let sentence = lines[number.saturating_sub(1)];
        assert!(
            !is_key || (sentence.starts_with("# ") && sentence.ends_with('.')),
            "`{line}` lacks a sentence"
        );
    }
}
