//! A private PostgreSQL server from the Debian packages, with data, port and socket of its own.
//!
//! The server refuses to run as root: started by root, it runs as `postgres`, or else as `nobody`.

mod cluster;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use self::cluster::{PASSWORD, Programs, USER};
use crate::eventually::{test_timeout, wait_for};
use crate::port::Port;

/// A server that belongs to one test, or to the tests of one process. Its data are gone when it is
/// dropped.
#[derive(Debug)]
pub struct Postgres {
    programs: Programs,
    folder: TempDir,
    port: Port,
    settings: Vec<String>,
    child: Mutex<Option<Child>>,
    databases: AtomicU32,
}

/// A transaction of another client. It is undone when it is dropped.
#[derive(Debug)]
pub struct HeldTransaction {
    child: Child,
    /// The session ends when its input ends.
    _input: ChildStdin,
}

impl Drop for HeldTransaction {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Postgres {
    /// Starts a server and waits until it is ready. It syncs nothing, for speed: acknowledged
    /// writes survive the death of the server, not of the machine.
    ///
    /// # Panics
    /// When the packages are missing, or the server does not become ready in time.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server as [`start`](Self::start) does, with further settings such as
    /// `max_connections=10`.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    #[must_use]
    pub fn start_with(settings: &[&str]) -> Self {
        let server = Self::prepare(settings);
        server.restart();
        server
    }

    fn prepare(settings: &[&str]) -> Self {
        let programs = Programs::find();
        let folder = tempfile::Builder::new()
            .prefix("tallygate-postgres-")
            .tempdir_in(cluster::fast_temp_dir())
            .expect("a temporary folder can be made");
        programs.give_to_server_user(folder.path());
        programs.copy_cluster(&folder.path().join("data"));
        Self {
            programs,
            folder,
            port: Port::take(),
            settings: settings.iter().map(|&setting| setting.to_owned()).collect(),
            child: Mutex::new(None),
            databases: AtomicU32::new(0),
        }
    }

    /// Starts a server as [`start`](Self::start) does, serving TLS with a certificate for
    /// `localhost` that is its own root.
    ///
    /// # Panics
    /// As [`start`](Self::start), and when `openssl` is missing.
    #[must_use]
    pub fn start_with_tls() -> Self {
        let mut server = Self::prepare(&[]);
        server.programs.make_certificate(server.folder.path());
        let place = |name: &str| server.folder.path().join(name).display().to_string();
        server.settings = vec![
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", place("server.crt")),
            format!("ssl_key_file={}", place("server.key")),
        ];
        server.restart();
        server
    }

    /// Returns the server that the tests of this process share, started when the first of them
    /// asks.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    #[must_use]
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return server;
        }
        let server = Arc::new(Self::start());
        *shared = Arc::downgrade(&server);
        server
    }

    /// Creates an empty database and returns its URL.
    ///
    /// # Panics
    /// When the database cannot be created.
    #[must_use]
    pub fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let _made = self.psql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// Creates an empty schema in a database that is shared, which is many times faster than
    /// creating a database, and returns its URL.
    ///
    /// # Panics
    /// When the schema cannot be created.
    #[must_use]
    pub fn schema(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let _made = self.psql("postgres", &format!("CREATE SCHEMA {name}"));
        format!("{}?options=-csearch_path%3D{name}", self.url("postgres"))
    }

    /// Returns the URL of a database, whether it exists or not.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{PASSWORD}@{}/{database}", self.addr())
    }

    /// Returns the URL of a database by the Unix socket of the server.
    #[must_use]
    pub fn socket_url(&self, database: &str) -> String {
        let folder = self.folder.path().display().to_string().replace('/', "%2F");
        format!(
            "postgres://{USER}:{PASSWORD}@{folder}:{}/{database}",
            self.port.number()
        )
    }

    /// Returns the user of every URL, and the password.
    #[must_use]
    pub const fn login(&self) -> (&'static str, &'static str) {
        (USER, PASSWORD)
    }

    /// Returns the address of the server, running or not.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Returns the file of the root certificate of a server that was started with TLS.
    #[must_use]
    pub fn root_certificate(&self) -> PathBuf {
        self.folder.path().join("server.crt")
    }

    /// Returns the output of `psql` for statements: rows by line, columns separated by `|`.
    ///
    /// # Panics
    /// When a statement fails.
    #[must_use]
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let output = self
            .psql_command(database)
            .args(["--command", sql])
            .stdin(Stdio::null())
            .output()
            .expect("psql starts");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sql}: {error}");
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    }

    fn psql_command(&self, database: &str) -> Command {
        let mut command = Command::new(self.programs.path("psql"));
        command
            .args([
                "--no-psqlrc",
                "--quiet",
                "--tuples-only",
                "--no-align",
                "--set=ON_ERROR_STOP=1",
            ])
            .arg(format!("--host={}", self.folder.path().display()))
            .arg(format!("--port={}", self.port.number()))
            .args([&format!("--username={USER}"), database]);
        command
    }

    /// Makes a backup of a database with `pg_dump`, and returns its path.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn dump(&self, database: &str) -> PathBuf {
        let path = self.folder.path().join(format!("{database}.dump"));
        let file = format!("--file={}", path.display());
        self.run("pg_dump", &["--format=custom", &file, database]);
        path
    }

    /// Puts a database back to a backup. No client may be connected.
    ///
    /// # Panics
    /// When it fails.
    pub fn restore(&self, database: &str, backup: &Path) {
        self.run("dropdb", &[database]);
        self.run("createdb", &[database]);
        let name = format!("--dbname={database}");
        self.run(
            "pg_restore",
            &["--exit-on-error", &name, &backup.display().to_string()],
        );
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let output = Command::new(self.programs.path(program))
            .arg(format!("--host={}", self.folder.path().display()))
            .arg(format!("--port={}", self.port.number()))
            .arg(format!("--username={USER}"))
            .args(arguments)
            .output()
            .expect("the program starts");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {error}");
    }

    /// Runs statements in a transaction that stays open, with all its locks, until the returned
    /// value is dropped.
    ///
    /// # Panics
    /// When they fail.
    #[must_use]
    pub fn hold_transaction(&self, database: &str, sql: &str) -> HeldTransaction {
        let mut child = self
            .psql_command(database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("psql starts");
        let mut input = child.stdin.take().expect("it is piped");
        writeln!(input, "BEGIN; {sql};\n\\echo held").expect("psql reads");
        let output = child.stdout.take().expect("it is piped");
        let mut message = String::new();
        let read = BufReader::new(output).read_line(&mut message);
        assert!(
            read.is_ok() && message.trim() == "held",
            "{sql}: {message:?}"
        );
        HeldTransaction {
            child,
            _input: input,
        }
    }

    /// Kills every process of the server with SIGKILL.
    ///
    /// # Panics
    /// When the server does not run.
    pub fn kill9(&self) {
        let mut child = self.child().take().expect("the server runs");
        let process_tree = process_tree(&child);
        send(&process_tree, Signal::KILL);
        let _status = child.wait();
        let gone = || process_tree.iter().all(|pid| !is_alive(*pid)).then_some(());
        assert!(
            wait_for(test_timeout(), gone).is_some(),
            "processes of the server do not end"
        );
    }

    /// Ends the server and cuts its connections (SIGINT: a fast shutdown).
    ///
    /// # Panics
    /// When the server does not run or does not end in time.
    pub fn stop(&self) {
        let mut child = self.child().take().expect("the server runs");
        send(&[Pid::from_child(&child)], Signal::INT);
        let ended = wait_for(test_timeout(), || {
            child.try_wait().expect("a child of ours")
        });
        assert!(ended.is_some(), "the server does not end:\n{}", self.log());
    }

    /// Stops every process of the server where it is, as if it hung.
    ///
    /// # Panics
    /// When the server does not run.
    pub fn pause(&self) {
        // The parent is stopped first, so that it makes no more children meanwhile.
        let child = self.child();
        let child = child.as_ref().expect("the server runs");
        send(&[Pid::from_child(child)], Signal::STOP);
        send(&process_tree(child), Signal::STOP);
    }

    /// Lets a paused server go on.
    ///
    /// # Panics
    /// When the server does not run.
    pub fn resume(&self) {
        let child = self.child();
        send(
            &process_tree(child.as_ref().expect("the server runs")),
            Signal::CONT,
        );
    }

    /// Starts the server again on the same port and data, and waits until it is ready.
    ///
    /// # Panics
    /// When the server runs already or does not become ready in time.
    pub fn restart(&self) {
        let mut child = self.child();
        assert!(child.is_none(), "the server runs already");
        *child = Some(self.launch());
        let running = child.as_mut().expect("it was started just now");
        let ready = wait_for(test_timeout(), || {
            let ended = running.try_wait().expect("a child of ours");
            assert!(
                ended.is_none(),
                "the server ended instead of becoming ready:\n{}",
                self.log()
            );
            is_ready(&self.data()).then_some(())
        });
        assert!(ready.is_some(), "the server is not ready:\n{}", self.log());
    }

    fn launch(&self) -> Child {
        // The file holds the state of the start before.
        let _absent = fs::remove_file(self.data().join("postmaster.pid"));
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("server.log"))
            .expect("the log can be opened");
        let mut command = Command::new(self.programs.path("postgres"));
        command
            .arg("-D")
            .arg(self.data())
            .arg("-p")
            .arg(self.port.number().to_string())
            .arg("-k")
            .arg(self.folder.path())
            .args([
                "-c",
                "fsync=off",
                "-c",
                "full_page_writes=off",
                "-c",
                "autovacuum=off",
            ])
            .args([
                "-c",
                "shared_buffers=32MB",
                "-c",
                "max_connections=200",
                "-c",
                "listen_addresses=127.0.0.1",
            ]);
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        if let Some((user, group)) = self.programs.runs_as {
            command.uid(user).gid(group);
        }
        command
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be shared"))
            .stderr(log)
            .spawn()
            .expect("postgres starts")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default()
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let Some(mut child) = self.child().take() else {
            return;
        };
        // An immediate shutdown: only the server itself knows its shared memory, which a SIGKILL
        // would leave behind.
        send(&process_tree(&child), Signal::CONT);
        send(&[Pid::from_child(&child)], Signal::QUIT);
        let ended = wait_for(test_timeout(), || child.try_wait().ok().flatten());
        if ended.is_none() {
            send(&process_tree(&child), Signal::KILL);
            let _status = child.wait();
        }
    }
}

/// Returns whether the server in a folder says that it takes connections.
fn is_ready(data: &Path) -> bool {
    let state = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    state
        .lines()
        .nth(7)
        .is_some_and(|line| line.trim() == "ready")
}

/// Returns the process and its children, which have process groups of their own.
fn process_tree(child: &Child) -> Vec<Pid> {
    let id = child.id();
    let path = format!("/proc/{id}/task/{id}/children");
    let children = fs::read_to_string(path).unwrap_or_default();
    let mut process_tree = vec![Pid::from_child(child)];
    let children = children
        .split_whitespace()
        .filter_map(|text| text.parse().ok());
    process_tree.extend(children.filter_map(Pid::from_raw));
    process_tree
}

/// Sends a signal to processes. One that has ended meanwhile needs none.
fn send(process_tree: &[Pid], signal: Signal) {
    for pid in process_tree {
        let _gone = kill_process(*pid, signal);
    }
}

fn is_alive(pid: Pid) -> bool {
    let state =
        fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    !state.is_empty() && !state.contains(") Z ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_keeps_its_data_through_its_death_and_a_pause() {
        let server = Postgres::start();
        let _url = server.database();
        let _made = server.psql("test_0", "CREATE TABLE t (n int); INSERT INTO t VALUES (7)");
        server.kill9();
        server.restart();
        assert_eq!(server.psql("test_0", "SELECT n, n + 1 FROM t"), "7|8");
        server.pause();
        server.resume();
        server.stop();
        server.restart();
        assert_eq!(server.psql("test_0", "SELECT n FROM t"), "7");
    }
}
