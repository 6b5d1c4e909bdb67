//! The messages about bad files, word by word: what is wrong, where, and what is allowed.
//!
//! The files in `bad_files` hold cases of a `=== name`, the bad file, a line `---`, and the messages
//! without the bad file's name.

use config::Config;

const CASES: [&str; 3] = [
    include_str!("bad_files/syntax.txt"),
    include_str!("bad_files/process.txt"),
    include_str!("bad_files/plans_and_apps.txt"),
];

/// Returns the messages for a file, one a line.
fn messages(text: &str) -> String {
    match Config::parse(text, "bad.toml", |_| None) {
        Ok(_) => "no problem was found\n".to_owned(),
        Err(errors) => {
            let lines = errors.to_string().replace("bad.toml:", "");
            format!("{lines}\n")
        }
    }
}

#[test]
fn every_bad_file_is_refused_with_these_words() {
    let cases: Vec<&str> = CASES
        .iter()
        .flat_map(|cases| cases.split("=== ").skip(1))
        .collect();
    assert!(cases.len() >= 40, "only {} cases were found", cases.len());
    let mut different = String::new();
    for case in cases {
        let (name, rest) = case.split_once('\n').expect("a name is a line");
        let (text, expected) = rest.split_once("---\n").expect("a case has messages");
        let found = messages(text);
        if found != expected {
            different.push_str(&format!("=== {name}\n{text}---\n{found}"));
        }
    }
    assert!(
        different.is_empty(),
        "these cases have other messages now:\n{different}"
    );
}

#[test]
fn a_message_names_the_file() {
    let errors = Config::parse("threads = 1", "/etc/tallygate/gateway.toml", |_| None)
        .expect_err("unknown key");
    let first = errors.iter().next().expect("one problem");
    assert_eq!((first.line, first.column), (1, 1));
    assert!(
        first
            .to_string()
            .starts_with("/etc/tallygate/gateway.toml:1:1: ")
    );
    assert_eq!(
        errors.clone().into_iter().count(),
        errors.to_string().lines().count()
    );
}

#[test]
fn many_problems_are_counted_and_not_all_listed() {
    let text: String = (0..500).map(|number| format!("a{number} = 1\n")).collect();
    let errors = Config::parse(&text, "bad.toml", |_| None).expect_err("unknown keys");
    assert_eq!(errors.iter().count(), 50);
    assert!(errors.to_string().ends_with("(and 451 more problems)"));
}
