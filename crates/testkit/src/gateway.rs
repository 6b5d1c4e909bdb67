//! The real binary in a process group of its own, with its configuration and data.

mod cli;
mod metrics;
mod process;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

pub use self::cli::{Cli, CliOutput, License};
use self::process::Process;
use crate::client::{self, Connection, Request, Response};
use crate::config::{Config, Endpoints};
use crate::eventually::{test_timeout, wait_for};
use crate::port::Port;

/// A gate with a configuration, a data folder and ports of its own, running or not.
///
/// When it is dropped, its process is killed. Its folder stays only if the test is failing, and is
/// named then.
#[derive(Debug)]
pub struct Gateway {
    binary: PathBuf,
    config: Config,
    folder: TempDir,
    listen: Port,
    control: Port,
    metrics: Port,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    process: Option<Process>,
}

impl Gateway {
    /// Writes the configuration, starts the binary and waits until the gate is ready.
    ///
    /// # Panics
    /// When the gate does not become ready in time.
    #[must_use]
    pub fn start(binary: &str, config: Config) -> Self {
        let mut gateway = Self::prepare(binary, config);
        gateway.restart();
        gateway
    }

    /// Prepares a gate as [`start`](Self::start) does, but does not start it.
    ///
    /// # Panics
    /// When the configuration cannot be written.
    #[must_use]
    pub fn prepare(binary: &str, config: Config) -> Self {
        let gateway = Self {
            binary: PathBuf::from(binary),
            config,
            folder: tempfile::Builder::new()
                .prefix("tallygate-")
                .tempdir()
                .expect("a temporary folder can be made"),
            listen: Port::take(),
            control: Port::take(),
            metrics: Port::take(),
            arguments: Vec::new(),
            environment: Vec::new(),
            process: None,
        };
        gateway.write_config();
        gateway
    }

    /// Sets an environment variable for later starts.
    pub fn env(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Adds an argument after `run` for later starts.
    pub fn argument(&mut self, argument: &str) {
        self.arguments.push(argument.to_owned());
    }

    /// Replaces the configuration on disk. A running gate does not notice.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn configure(&mut self, config: Config) {
        self.config = config;
        self.write_config();
    }

    /// Starts the binary on the same ports and data, and waits until the gate is ready.
    ///
    /// # Panics
    /// When the gate runs already or does not become ready in time.
    pub fn restart(&mut self) {
        self.launch();
        self.wait_until_ready();
    }

    /// Starts the binary and waits for nothing.
    ///
    /// # Panics
    /// When the gate runs already or cannot be started.
    pub fn launch(&mut self) {
        assert!(self.process.is_none(), "the gate runs already");
        let mut arguments = vec![
            "--config".to_owned(),
            self.config_path().to_string_lossy().into_owned(),
            "run".into(),
        ];
        arguments.extend_from_slice(&self.arguments);
        let process = Process::start(
            &self.binary,
            &arguments,
            &self.environment,
            self.folder.path(),
        );
        self.process = Some(process);
    }

    /// Waits until `/readyz` of the metrics listener says 200.
    ///
    /// # Panics
    /// When it does not in time, or the process ends.
    pub fn wait_until_ready(&mut self) {
        let ready = wait_for(test_timeout(), || {
            if let Some(status) = self.process.as_mut().and_then(Process::exited) {
                self.process = None;
                panic!(
                    "the gate ended with {status} instead of becoming ready:\n{}",
                    self.log_tail()
                );
            }
            self.is_ready().then_some(())
        });
        assert!(
            ready.is_some(),
            "the gate did not become ready within {:?}:\n{}",
            test_timeout(),
            self.log_tail()
        );
    }

    /// Returns whether `/readyz` says 200 now.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.scrape("/readyz")
            .is_some_and(|response| response.status == 200)
    }

    /// Kills the whole process group with SIGKILL and reaps it.
    ///
    /// # Panics
    /// When it is not running.
    pub fn kill9(&mut self) {
        self.process.take().expect("the gate runs").kill();
    }

    /// Stops the gate where it is (SIGSTOP), as if its machine stood still.
    ///
    /// # Panics
    /// When it is not running.
    pub fn pause(&self) {
        self.process.as_ref().expect("the gate runs").hold(true);
    }

    /// Lets a paused gate go on.
    ///
    /// # Panics
    /// When it is not running.
    pub fn resume(&self) {
        self.process.as_ref().expect("the gate runs").hold(false);
    }

    /// Sends SIGTERM to the gate.
    ///
    /// # Panics
    /// When it is not running.
    pub fn terminate(&self) {
        self.signal("SIGTERM");
    }

    /// Sends SIGINT to the gate, as Ctrl-C does.
    ///
    /// # Panics
    /// When it is not running.
    pub fn interrupt(&self) {
        self.signal("SIGINT");
    }

    /// Sends a signal to the gate, by its name: SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1 or
    /// SIGUSR2.
    ///
    /// # Panics
    /// When it is not running, or for another name.
    pub fn signal(&self, name: &str) {
        self.process.as_ref().expect("the gate runs").signal(name);
    }

    /// Waits until the gate ends by itself.
    ///
    /// # Panics
    /// When the gate does not end within that time, or does not run.
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        let process = self.process.as_mut().expect("the gate runs");
        let status = wait_for(within, || process.exited());
        let Some(status) = status else {
            panic!(
                "the gate did not end within {within:?}:\n{}",
                self.log_tail()
            );
        };
        self.process = None;
        status
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn stop(&mut self) -> ExitStatus {
        self.terminate();
        self.wait(test_timeout())
    }

    /// Returns whether the process runs.
    pub fn is_running(&mut self) -> bool {
        self.process
            .as_mut()
            .is_some_and(|process| process.exited().is_none())
    }

    /// Returns the id of the process.
    ///
    /// # Panics
    /// When it is not running.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("the gate runs").id()
    }

    /// Returns the address that callers connect to.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.listen.addr()
    }

    /// Returns the address of the control plane.
    #[must_use]
    pub fn control_addr(&self) -> SocketAddr {
        self.control.addr()
    }

    /// Returns the address of metrics and probes.
    #[must_use]
    pub fn metrics_addr(&self) -> SocketAddr {
        self.metrics.addr()
    }

    /// Returns the path of the configuration.
    #[must_use]
    pub fn config_path(&self) -> PathBuf {
        self.folder.path().join("gateway.toml")
    }

    /// Returns the folder of the gate's data.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Returns the command line for this gate.
    #[must_use]
    pub fn cli(&self) -> Cli<'_> {
        Cli::new(&self.binary, self.config_path())
    }

    /// Creates a license of the first app, with further arguments of `license create`.
    ///
    /// # Panics
    /// When that fails.
    #[must_use]
    pub fn license(&self, arguments: &[&str]) -> License {
        self.license_of(self.config.first_app(), arguments)
    }

    /// Creates a license of that app, with further arguments of `license create`.
    ///
    /// # Panics
    /// When that fails.
    #[must_use]
    pub fn license_of(&self, app: &str, arguments: &[&str]) -> License {
        let mut all = vec!["license", "create", "--app", app];
        all.extend_from_slice(arguments);
        License::of(self.cli().json(&all))
    }

    /// Opens a connection to the data plane.
    ///
    /// # Panics
    /// When it is refused.
    #[must_use]
    pub fn connect(&self) -> Connection {
        Connection::open(self.addr())
            .unwrap_or_else(|error| panic!("cannot connect to the gate: {error}"))
    }

    /// Opens a stream and reads half of its answer; the request is for `hold-mid-body` of the
    /// upstream. [`Upstream::release`](crate::Upstream::release) lets the other half go.
    ///
    /// # Panics
    /// When the answer is not 200, or ends before.
    #[must_use]
    pub fn open_stream(&self, request: &Request) -> Connection {
        let mut connection = self.connect();
        connection.send(&request.bytes()).expect("the gate reads");
        assert_eq!(connection.read_head().expect("a head").status(), Some(200));
        connection.read_half();
        connection
    }

    /// Sends one request on a connection of its own.
    ///
    /// # Panics
    /// When no response comes, or it lacks its call id.
    #[must_use]
    pub fn call(&self, request: &Request) -> Response {
        let response = client::call(self.addr(), request);
        let _present = response.call_id();
        response
    }

    /// Returns all records, oldest first, with further arguments of `calls`.
    ///
    /// # Panics
    /// When the command fails.
    #[must_use]
    pub fn calls(&self, arguments: &[&str]) -> Vec<Value> {
        let mut all = vec!["calls"];
        all.extend_from_slice(arguments);
        self.cli().json_lines(&all)
    }

    /// Waits until so many calls are recorded and closed, and returns them.
    ///
    /// # Panics
    /// When there are more, or not as many in time.
    #[must_use]
    pub fn wait_for_calls(&self, count: usize) -> Vec<Value> {
        let mut last = Vec::new();
        let found = wait_for(test_timeout(), || {
            last = self.calls(&[]);
            (last.len() >= count).then_some(())
        });
        assert!(
            found.is_some() && last.len() == count,
            "expected {count} records, found {}: {last:#?}",
            last.len()
        );
        last
    }

    /// Waits for the closed record of a call, of which there must be exactly one.
    ///
    /// # Panics
    /// When there is none in time, or more than one.
    #[must_use]
    pub fn record(&self, call_id: &str) -> Value {
        let found = wait_for(test_timeout(), || {
            let mut calls = self.calls(&[]);
            calls.retain(|call| call["call_id"] == call_id);
            (!calls.is_empty()).then_some(calls)
        });
        let mut records =
            found.unwrap_or_else(|| panic!("no record of call {call_id}:\n{}", self.log_tail()));
        assert_eq!(
            records.len(),
            1,
            "more than one record of call {call_id}: {records:#?}"
        );
        records.remove(0)
    }

    /// Returns the result of `ledger verify`, whatever it found.
    ///
    /// # Panics
    /// When its output cannot be read.
    #[must_use]
    pub fn verify(&self) -> Value {
        let output = self.cli().run(&["ledger", "verify", "--json"]);
        serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error} in {output:?}"))
    }

    /// Returns the sum of a metric over all its label sets that contain each of these
    /// `name="value"` pairs; 0 when no series has them all.
    ///
    /// # Panics
    /// When the metrics listener does not answer, or shows no metric of this name at all: a name
    /// that is misspelled would be 0 otherwise.
    #[must_use]
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let response = self
            .scrape("/metrics")
            .expect("the metrics listener answers");
        metrics::sum(&response.text(), name, labels)
    }

    /// Returns a page of the metrics listener; `None` if it does not answer.
    #[must_use]
    pub fn scrape(&self, path: &str) -> Option<Response> {
        let mut connection = Connection::open(self.metrics_addr()).ok()?;
        connection
            .call(&Request::get(path).header("Connection", "close"))
            .ok()
    }

    /// Returns everything that the gate has written to its standard output and error, over all its
    /// starts.
    #[must_use]
    pub fn log(&self) -> String {
        process::read_logs(self.folder.path())
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    fn write_config(&self) {
        let endpoints = Endpoints {
            listen: self.listen.addr(),
            control: self.control.addr(),
            metrics: self.metrics.addr(),
            data_dir: &self.data_dir(),
        };
        write(&self.config_path(), &self.config.to_toml(endpoints));
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
        if std::thread::panicking() {
            self.folder.disable_cleanup(true);
            eprintln!(
                "the gate's folder is kept: {}\n{}",
                self.folder.path().display(),
                self.log_tail()
            );
        }
    }
}

fn write(path: &Path, text: &str) {
    fs::write(path, text)
        .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}
