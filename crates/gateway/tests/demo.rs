//! Tests of the demo and the command line as a visitor meets them: the real binary, from outside.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

const BINARY: &str = env!("CARGO_BIN_EXE_tallygate");

/// A configuration with free ports; the sample API finds one itself, for the upstream is not on
/// this host.
const CONFIG: &str = r#"
[server]
listen = ["127.0.0.1:0"]
control = "127.0.0.1:0"
metrics = "127.0.0.1:0"

[[plan]]
name = "standard"
currency = "EUR"
price_per_unit = "0.01"

[[app]]
name = "sample"
upstreams = ["http://192.0.2.1:80"]
plan = "standard"
"#;

fn tallygate(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(BINARY)
        .args(arguments)
        .current_dir(folder)
        .env_remove("TALLYGATE_URL")
        .env_remove("TALLYGATE_KEY")
        .output()
        .expect("the binary starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Checks that the log complains of nothing but the sample API, which breaks off on purpose.
fn assert_calm(said: &str) {
    let other = said
        .lines()
        .find(|line| !line.contains("an upstream fails"));
    assert_eq!(other, None, "{said}");
}

#[test]
fn a_first_file_is_written_once_and_is_a_valid_one() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let written = tallygate(folder.path(), &["init"]);
    let shown = text(&written.stdout);
    assert_eq!(written.status.code(), Some(0), "{written:?}");
    assert!(
        shown.contains("tallygate check") && shown.contains("tallygate run"),
        "{shown}"
    );
    let file = fs::read_to_string(folder.path().join("gateway.toml")).expect("the file");
    let checked = tallygate(folder.path(), &["check"]);
    assert_eq!(
        text(&checked.stdout),
        "gateway.toml is valid\n",
        "{checked:?}"
    );

    let again = tallygate(folder.path(), &["init"]);
    assert_eq!(
        (again.status.code(), text(&again.stderr).as_str()),
        (
            Some(78),
            "tallygate: gateway.toml: there is a file of this name, which is left as it is: name another one with \
             `--config FILE`, or remove it first\n"
        )
    );
    let kept = fs::read_to_string(folder.path().join("gateway.toml")).expect("the file");
    assert_eq!(kept, file);
    let nowhere = tallygate(folder.path(), &["--config", "no/such.toml", "init"]);
    assert!(
        text(&nowhere.stderr).contains("no/such.toml: its folder does not exist: make it first")
    );
    let help = text(&tallygate(folder.path(), &["init", "--help"]).stdout);
    assert!(help.contains("Examples:\n  tallygate init"), "{help}");
}

#[test]
fn the_demo_needs_no_file_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let output = tallygate(folder.path(), &["demo", "--once"]);
    let (shown, said) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{shown}");
    assert_calm(&said);
    assert!(shown.contains("upstream_failed"), "{shown}");
    let left = fs::read_dir(folder.path()).expect("the folder").count();
    assert_eq!(left, 0, "a demo of nothing leaves nothing");
    // Who names a file means it.
    let named = tallygate(
        folder.path(),
        &["--config", "gateway.toml", "demo", "--once"],
    );
    assert_eq!(named.status.code(), Some(78), "{named:?}");
    assert!(
        text(&named.stderr).contains("there is no such file or folder"),
        "{named:?}"
    );
}

#[test]
fn the_tour_shows_calls_of_every_kind_their_records_and_the_bill() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    fs::write(folder.path().join("gateway.toml"), CONFIG).expect("written");
    let output = tallygate(folder.path(), &["demo", "--once"]);
    let (shown, said) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{shown}");
    assert_calm(&said);
    for expected in [
        "license_missing",
        "license_unknown",
        "route_not_permitted",
        "rate_limited, retry after",
        "200, broken off",
        "200, 5 parts, first after",
        "upstream_failed",
        "refused",
        "0.03  EUR",
    ] {
        assert!(
            shown.contains(expected),
            "`{expected}` is missing in:\n{shown}"
        );
    }
    let calls = shown
        .lines()
        .filter(|line| line.trim_start().starts_with("GET /"))
        .count();
    assert_eq!(calls, 12, "{shown}");
    assert!(!shown.contains('\x1b'), "no terminal, no style");
    // A tour can be made again on the same data.
    assert_eq!(
        tallygate(folder.path(), &["demo", "--once"]).status.code(),
        Some(0)
    );
    assert_eq!(
        tallygate(folder.path(), &["usage"]).status.code(),
        Some(69),
        "it has ended"
    );
}

#[test]
fn a_reader_that_leaves_early_ends_a_command_quietly() {
    let mut child = Command::new(BINARY)
        .args(["completions", "zsh"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(
        (output.status.code(), text(&output.stderr).as_str()),
        (Some(0), "")
    );
}

const README: &str = include_str!("../../../README.md");

/// Returns the lines of the README's first screen that are pasted in a second terminal, but for the
/// one that finds the binary.
fn second_terminal() -> String {
    let screen = README.split_once("In a second terminal").expect("a screen");
    let block = screen.1.split_once("```sh\n").expect("a block").1;
    let block = block.split_once("```").expect("its end").0;
    let lines = block.lines().filter(|line| !line.starts_with("PATH="));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_first_screen_of_the_readme_leads_to_a_metered_and_billed_call() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    fs::write(folder.path().join("gateway.toml"), CONFIG).expect("written");
    let mut demo = Command::new(BINARY)
        .arg("demo")
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let shown = BufReader::new(demo.stdout.take().expect("piped"));
    let mut gate = None;
    for line in shown.lines().map_while(Result::ok) {
        if let Some(address) = line.trim_start().strip_prefix("gate ") {
            gate = Some(address.trim().trim_start_matches("http://").to_owned());
        }
        if line.starts_with("Ctrl-C ends it") {
            break;
        }
    }
    let gate = gate.expect("it says where the gate is");
    let script = second_terminal().replace("127.0.0.1:8080", &gate);
    assert!(script.contains(&gate), "{script}");
    let path = std::env::var("PATH").expect("a search path");
    let binaries = Path::new(BINARY).parent().expect("a folder").display();
    let pasted = Command::new("sh")
        .args(["-euc", &script])
        .current_dir(folder.path())
        .env("PATH", format!("{binaries}:{path}"))
        .env_remove("TALLYGATE_URL")
        .env_remove("TALLYGATE_KEY")
        .output()
        .expect("there is a shell");
    let (said, complained) = (text(&pasted.stdout), text(&pasted.stderr));
    assert!(pasted.status.success(), "{said}\n{complained}");
    for expected in [
        "HTTP/1.1 200 OK",
        "HTTP/1.1 401 Unauthorized",
        "license_missing",
        "delivered",
        "0.01",
    ] {
        assert!(
            said.contains(expected),
            "`{expected}` is missing in:\n{said}\n{complained}"
        );
    }
    // A tour beside it has data of its own.
    let used = || text(&tallygate(folder.path(), &["usage"]).stdout);
    let before = used();
    let tour = tallygate(folder.path(), &["demo", "--once"]);
    assert_eq!(tour.status.code(), Some(0));
    assert_calm(&text(&tour.stderr));
    assert!(text(&tour.stdout).contains("0.03  EUR"));
    assert_eq!(used(), before);
    let told = Command::new("kill")
        .args(["-INT", &demo.id().to_string()])
        .status();
    assert!(told.expect("there is kill").success());
    assert_eq!(demo.wait().expect("it ends").code(), Some(0));
}
