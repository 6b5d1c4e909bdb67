//! The programs of sellers in `tests/clients/authforge`.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use super::seller::{Seller, text};

/// The folder of the programs, whose packages `deploy/setup.sh test` installs.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/clients/authforge");

/// Fails where the packages of the programs are missing.
pub(super) fn are_installed() {
    let installed = Path::new(FOLDER).join("node_modules/stripe");
    assert!(installed.is_dir(), "run deploy/setup.sh test first");
}

/// Returns a program of the folder, with what it is told of the seller.
pub(super) fn program(seller: &Seller, command: &[&str]) -> Command {
    let cli = seller.site.gateway.cli();
    let other = cli.json(&["app", "credentials", "other"]);
    let mut program = Command::new(command[0]);
    let url = format!("http://{}", seller.site.gateway.control_addr());
    program
        .args(&command[1..])
        .current_dir(FOLDER)
        .env("BASE_URL", &url)
        .env("AUTHFORGE_API_KEY", &seller.api_key)
        .env("TALLYGATE_URL", url)
        .env("TALLYGATE_KEY", &seller.api_key)
        .env("APP_ID", &seller.app_id)
        .env("FOREIGN_APP_ID", text(&other["app_id"]));
    program
}

/// Runs a program to its end, which must be a good one. Returns what it says.
pub(super) fn run(mut program: Command) -> String {
    let output = program
        .output()
        .unwrap_or_else(|error| panic!("{program:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
    said
}

/// Reads a line of JSON.
pub(super) fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"))
}

/// A program that runs until this is dropped.
pub(super) struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    pub(super) fn start(mut program: Command) -> Self {
        let mut child = program
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program:?}: {error}"));
        let lines = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, lines }
    }

    /// Waits for the next line.
    pub(super) fn line(&mut self) -> String {
        let mut line = String::new();
        let length = self.lines.read_line(&mut line).expect("it speaks");
        assert!(length > 0, "the program has ended");
        line.trim_end().to_owned()
    }

    /// Writes a line to its standard input.
    pub(super) fn tell(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().expect("it is piped");
        writeln!(input, "{line}").expect("it reads");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended by itself needs no end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
