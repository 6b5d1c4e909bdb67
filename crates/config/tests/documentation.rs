//! `docs/configuration.md` tells of every section and key of the file, with the default that the
//! file has.

use config::DEFAULT_FILE;

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
            // A health check is an example as a whole: its keys have defaults.
            let default = match sample {
                Some((_, default)) => (*default).to_owned(),
                None if is_example && section != "[app.health_check]" => "none".to_owned(),
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
