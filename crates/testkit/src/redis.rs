//! A private Redis server from the Debian packages, alone, behind a Sentinel, or as a Cluster.

mod cluster;
mod sentinel;
mod version_stub;

use std::fs::File;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::eventually::{test_timeout, wait_for};
use crate::port::Port;

pub use cluster::RedisCluster;
pub use sentinel::RedisSentinel;
pub use version_stub::RedisVersionStub;

/// A server that belongs to one test. It writes no data to disk, and is gone when it is dropped.
#[derive(Debug)]
pub struct Redis {
    folder: TempDir,
    port: Port,
    settings: Vec<String>,
    password: Option<String>,
    child: Mutex<Option<Child>>,
}

impl Redis {
    /// Starts a server and waits until it answers.
    ///
    /// # Panics
    /// When the package is missing, or the server does not answer in time.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server as [`start`](Self::start) does, with further settings, each in two words or
    /// more, such as `--maxmemory 10mb`.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    #[must_use]
    pub fn start_with(settings: &[&str]) -> Self {
        let settings: Vec<_> = settings.iter().map(|&setting| setting.to_owned()).collect();
        let password = settings
            .iter()
            .find_map(|setting| setting.strip_prefix("--requirepass "))
            .map(str::to_owned);
        let server = Self {
            folder: tempfile::Builder::new()
                .prefix("tallygate-redis-")
                .tempdir()
                .expect("a temporary folder can be made"),
            port: Port::take(),
            settings,
            password,
            child: Mutex::new(None),
        };
        server.restart();
        server
    }

    /// Starts the server (again), empty, and waits until it answers.
    ///
    /// # Panics
    /// When the server does not answer in time.
    pub fn restart(&self) {
        self.kill();
        let log = File::create(self.folder.path().join("log")).expect("a file can be made");
        let child = Command::new("redis-server")
            .args(["--port", &self.port.number().to_string()])
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .arg("--dir")
            .arg(self.folder.path())
            .args(self.settings.iter().flat_map(|setting| words(setting)))
            .stdin(Stdio::null())
            .stderr(log.try_clone().expect("a file can be shared"))
            .stdout(log)
            .spawn()
            .expect("redis-server is installed");
        *self.child() = Some(child);
        let pong = wait_for(test_timeout(), || {
            (self.command(&["PING"]) == "PONG").then_some(())
        });
        assert!(pong.is_some(), "redis does not answer: {}", self.log());
    }

    /// Returns the address of the server.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Returns the URL, with the password if there is one.
    #[must_use]
    pub fn url(&self) -> String {
        match &self.password {
            Some(password) => format!("redis://:{password}@{}", self.addr()),
            None => format!("redis://{}", self.addr()),
        }
    }

    /// Kills the server with SIGKILL, if it runs. It comes back empty.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn kill(&self) {
        if let Some(mut child) = self.child().take() {
            child.kill().expect("a child of ours can be killed");
            child.wait().expect("a child of ours can be waited for");
        }
    }

    /// Stops the server with SIGSTOP: its connections stay and nothing is answered.
    ///
    /// # Panics
    /// When the server does not run.
    pub fn hang(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets the server go on after [`hang`](Self::hang).
    ///
    /// # Panics
    /// When the server does not run.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Deletes all keys.
    pub fn flush(&self) {
        self.command(&["FLUSHALL"]);
    }

    /// Runs a command with `redis-cli` and returns what it prints, trimmed; errors of the server
    /// are text as well.
    ///
    /// # Panics
    /// When `redis-cli` is missing.
    #[must_use = "an error is text"]
    pub fn ask(&self, arguments: &[&str]) -> String {
        self.command(arguments)
    }

    /// Returns the number of commands of a name that the server has served.
    #[must_use]
    pub fn commands_served(&self, command: &str) -> u64 {
        let stats = self.command(&["INFO", "commandstats"]);
        let name = format!("cmdstat_{command}:calls=");
        let line = stats.lines().find_map(|line| line.strip_prefix(&name));
        line.and_then(|rest| rest.split(',').next()?.parse().ok())
            .unwrap_or(0)
    }

    /// Returns the number of commands that the server has served, without those that ask for its
    /// state.
    #[must_use]
    pub fn total_commands(&self) -> u64 {
        const READS: [&str; 6] = [
            "info",
            "ping",
            "command|docs",
            "dbsize",
            "keys",
            "client|setinfo",
        ];
        let stats = self.command(&["INFO", "commandstats"]);
        let calls = |line: &str| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            let calls: u64 = rest.split(',').next()?.parse().ok()?;
            (!READS.contains(&name)).then_some(calls)
        };
        stats.lines().filter_map(calls).sum()
    }

    /// Returns the log of the server since its last start.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn command(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.args(["-h", "127.0.0.1", "-p", &self.port.number().to_string()]);
        if let Some(password) = &self.password {
            command.env("REDISCLI_AUTH", password);
        }
        let output = command
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("redis-cli is installed");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn signal(&self, signal: Signal) {
        let child = self.child();
        let child = child.as_ref().expect("the server runs");
        kill_process(Pid::from_child(child), signal).expect("a child of ours takes a signal");
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

fn words(setting: &str) -> Vec<&str> {
    setting.split(' ').collect()
}
