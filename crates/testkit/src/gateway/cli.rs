//! The command line of the real binary, connected to one gate.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The command line with a gate's configuration.
#[derive(Debug)]
pub struct Cli<'a> {
    binary: &'a Path,
    config: PathBuf,
    environment: Vec<(String, String)>,
}

/// The output of a command.
#[derive(Clone, Debug)]
pub struct CliOutput {
    /// The exit code; -1 when a signal ended the command.
    pub code: i32,
    /// The standard output.
    pub stdout: String,
    /// The standard error.
    pub stderr: String,
}

/// A license as `license create --json` shows it.
#[derive(Clone, Debug)]
pub struct License {
    /// The id.
    pub id: String,
    /// The key, which is shown only now.
    pub key: String,
    /// The whole object.
    pub json: Value,
}

impl<'a> Cli<'a> {
    /// Makes a command line of a binary with a configuration, which need not exist.
    #[must_use]
    pub fn new(binary: &'a Path, config: PathBuf) -> Self {
        Self {
            binary,
            config,
            environment: Vec::new(),
        }
    }

    /// Sets an environment variable for the command.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// When the binary cannot be started.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> CliOutput {
        let output = Command::new(self.binary)
            .arg("--config")
            .arg(&self.config)
            .args(arguments)
            .env_remove("TALLYGATE_URL")
            .env_remove("TALLYGATE_KEY")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .output()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", self.binary.display()));
        CliOutput {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs a command that must succeed, and returns its standard output.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn text(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.code, 0, "{arguments:?} failed: {output:?}");
        output.stdout
    }

    /// Runs a command with `--json` and returns the value that it prints.
    ///
    /// # Panics
    /// When it fails or prints something else.
    #[must_use]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let text = self.text(&with_json(arguments));
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error} in {text:?}"))
    }

    /// Runs a command with `--json` that prints one object a line, and returns the objects.
    ///
    /// # Panics
    /// When it fails or prints something else.
    #[must_use]
    pub fn json_lines(&self, arguments: &[&str]) -> Vec<Value> {
        let text = self.text(&with_json(arguments));
        let parse =
            |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
        text.lines()
            .filter(|line| !line.is_empty())
            .map(parse)
            .collect()
    }
}

impl License {
    /// Reads a license from the output of a command.
    ///
    /// # Panics
    /// When `id` or `key` is missing.
    #[must_use]
    pub fn of(json: Value) -> Self {
        let field = |name: &str| {
            json[name]
                .as_str()
                .unwrap_or_else(|| panic!("no {name} in {json}"))
                .to_owned()
        };
        Self {
            id: field("id"),
            key: field("key"),
            json,
        }
    }
}

fn with_json<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    arguments.iter().copied().chain(["--json"]).collect()
}
