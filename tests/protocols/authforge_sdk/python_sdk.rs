//! The package `authforge-sdk` for Python, in a process of its own.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::sdk::{Installation, Said, Sdk};

/// The program that drives the package.
const PROGRAM: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/clients/authforge/sdk.py"
);

/// A copy of the software that is written in Python. It ends with this.
pub(super) struct PythonSdk {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl PythonSdk {
    fn call(&mut self, command: &[Value]) -> Said {
        writeln!(self.commands, "{}", Value::from(command)).expect("the program reads");
        let mut line = String::new();
        let _length = self.answers.read_line(&mut line).expect("it answers");
        let mut answer: Value = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("{command:?}: {error} in {line:?}"));
        match answer["code"].take() {
            Value::Null => Ok(answer["ok"].take()),
            code => Err(code.as_str().expect("a code").to_owned()),
        }
    }

    fn must(&mut self, command: &[Value]) -> Value {
        let said = self.call(command);
        said.unwrap_or_else(|code| panic!("{command:?}: {code}"))
    }
}

impl Sdk for PythonSdk {
    const REPEATS_WHEN_CUT: bool = false;
    const BEATS: u64 = 10;

    fn start(installation: &Installation) -> Self {
        let mut settings = json!({
            "app_id": installation.app_id,
            "app_secret": installation.app_secret,
            "public_key": installation.public_key,
            "api_base_url": installation.base_url,
            "hwid_override": installation.device,
            "ttl_seconds": installation.ttl,
            "online_heartbeat": installation.heartbeats,
            "interval": 0.2,
        });
        if let Some(seconds) = installation.timeout {
            settings["request_timeout"] = seconds.into();
        }
        let mut child = Command::new(testkit::python())
            .args([PROGRAM, &settings.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("run deploy/setup.sh test first");
        Self {
            commands: child.stdin.take().expect("it is piped"),
            answers: BufReader::new(child.stdout.take().expect("it is piped")),
            child,
        }
    }

    fn login(&mut self, key: &str) -> Said {
        self.call(&["login".into(), key.into()])
    }

    fn validate(&mut self, key: &str) -> Said {
        self.call(&["validate".into(), key.into()])
    }

    fn session(&mut self) -> Value {
        self.must(&["session".into()])
    }

    fn is_authenticated(&mut self) -> bool {
        self.must(&["is_authenticated".into()]) == true
    }

    fn told(&mut self) -> Vec<String> {
        serde_json::from_value(self.must(&["told".into()])).expect("codes")
    }

    fn ban(&mut self, key: Option<&str>, revoke: bool) -> Result<(), String> {
        self.call(&["ban".into(), key.into(), revoke.into()])
            .map(drop)
    }

    fn activate(&mut self, key: &str, path: &Path) -> Result<(), String> {
        let path = path.to_string_lossy().into_owned();
        self.call(&["activate".into(), key.into(), path.into()])
            .map(drop)
    }

    fn login_from_file(&mut self, path: &Path) -> Said {
        let path = path.to_string_lossy().into_owned();
        self.call(&["login_from_file".into(), path.into()])
    }

    fn request(&mut self) -> String {
        super::seller::text(&self.must(&["request".into()]))
    }
}

impl Drop for PythonSdk {
    fn drop(&mut self) {
        // A program that has ended by itself needs no end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
