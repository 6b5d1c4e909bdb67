//! `docs/configuration.md` tells of every section and key of the file, with the default that the
//! file has.

use config::{Config, DEFAULT_FILE};

const DOCUMENT: &str = include_str!("../../../docs/configuration.md");

/// Defaults that the file cannot show, since its sample needs a value there.
const SAMPLE: &[(&str, &str)] = &[
    ("[[plan]] name", "required"),
    ("[[plan]] price_per_unit", "`\"0\"`"),
    ("[[app]] name", "required"),
    ("[[app]] upstreams", "required"),
    ("[[app]] billable", "`[\"2xx\", \"101\", \"304\"]`"),
    ("[[app]] plan", "none"),
    ("[[app.route]] path", "required"),
];

/// Sections that are left out by default, with keys that have defaults.
const WHOLE_EXAMPLES: [&str; 2] = ["[app.health_check]", "[app.agents]"];

/// Returns every key of the file as `[section] key`, with the default that the document must state.
fn keys_of_the_file() -> Vec<(String, String)> {
    let mut section = "";
    let mut keys = Vec::new();
    for line in DEFAULT_FILE.lines() {
        let is_example = line.starts_with('#');
        let line = line.strip_prefix('#').unwrap_or(line);
        if line.starts_with('[') {
            section = line;
        } else if let Some((key, value)) =
            line.split_once(" = ").filter(|(key, _)| !key.contains(' '))
        {
            let name = format!("{section} {key}");
            let sample = SAMPLE.iter().find(|(sample, _)| *sample == name);
            // Some sections are examples as a whole: their keys have defaults.
            let default = match sample {
                Some((_, default)) => (*default).to_owned(),
                None if is_example && !WHOLE_EXAMPLES.contains(&section) => "none".to_owned(),
                None => format!("`{value}`"),
            };
            keys.push((name, default));
        }
    }
    keys
}

/// Returns every row of the document's tables, in the same form.
fn rows_of_the_document() -> Vec<(String, String)> {
    let mut section = String::new();
    let mut rows = Vec::new();
    for line in DOCUMENT.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            section = heading.trim_matches('`').to_owned();
        } else if let Some(row) = line.strip_prefix("| `") {
            let (key, rest) = row.split_once("` | ").expect("a key, then its default");
            let (default, text) = rest.split_once(" | ").expect("a default, then a sentence");
            assert!(text.ends_with(". |"), "`{key}` lacks a sentence");
            rows.push((format!("{section} {key}"), default.to_owned()));
        }
    }
    rows
}

#[test]
fn every_key_stands_in_the_document_with_its_default_and_in_the_same_order() {
    let keys = keys_of_the_file();
    assert!(keys.len() > 80, "only {} keys were found", keys.len());
    assert_eq!(rows_of_the_document(), keys);
}

/// Documents with pieces of the file. A piece without an app is read beside one.
const PIECES: &[(&str, &str)] = &[
    ("README.md", include_str!("../../../README.md")),
    (
        "docs/protocols/authforge.md",
        include_str!("../../../docs/protocols/authforge.md"),
    ),
    ("docs/redis.md", include_str!("../../../docs/redis.md")),
    ("docs/store.md", include_str!("../../../docs/store.md")),
    (
        "docs/webhooks.md",
        include_str!("../../../docs/webhooks.md"),
    ),
];

#[test]
fn every_piece_of_a_file_that_a_document_shows_is_one_that_can_be_read() {
    const APP: &str = "\n[[app]]\nname = \"api\"\nupstreams = [\"http://127.0.0.1:9000\"]\n";
    let environment = |name: &str| (name == "TALLYGATE_DB_PASSWORD").then(|| "secret".to_owned());
    for (document, text) in PIECES {
        let pieces: Vec<&str> = text.split("```toml\n").skip(1).collect();
        assert!(!pieces.is_empty(), "{document}");
        for piece in pieces {
            let (piece, _) = piece.split_once("```").expect("it ends");
            let app = if piece.contains("[[app]]") { "" } else { APP };
            let read = Config::parse(&format!("{app}{piece}"), document, environment);
            assert!(read.is_ok(), "{document}: {}", read.unwrap_err());
        }
    }
}
