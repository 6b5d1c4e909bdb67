//! A PgBouncer from the Debian package, in front of a server of a test.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::eventually::{test_timeout, wait_for};
use crate::port::Port;
use crate::postgres::Postgres;

/// The path of the program on Debian.
const PROGRAM: &str = "/usr/sbin/pgbouncer";

/// A pooler that runs until it is dropped.
#[derive(Debug)]
pub struct PgBouncer {
    port: Port,
    child: Child,
    _folder: TempDir,
}

impl PgBouncer {
    /// Starts a pooler in front of a server, with this `pool_mode`: `session`, `transaction` or
    /// `statement`.
    ///
    /// # Panics
    /// When the package is missing, or the pooler does not become ready in time.
    #[must_use]
    pub fn before(server: &Postgres, pool_mode: &str) -> Self {
        Self::of_size(server, pool_mode, 8)
    }

    /// Starts a pooler as [`PgBouncer::before`] does, with one connection to the server for all
    /// clients.
    ///
    /// # Panics
    /// As [`PgBouncer::before`].
    #[must_use]
    pub fn with_one_connection(server: &Postgres, pool_mode: &str) -> Self {
        Self::of_size(server, pool_mode, 1)
    }

    fn of_size(server: &Postgres, pool_mode: &str, size: u32) -> Self {
        let port = Port::take();
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (user, password) = server.login();
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\n\
             auth_type = plain\nauth_file = {}\npool_mode = {pool_mode}\ndefault_pool_size = {size}\nmax_client_conn = 100\n",
            server.addr().port(),
            port.number(),
            path("users"),
        );
        fs::write(path("users"), format!("\"{user}\" \"{password}\"\n"))
            .expect("a file can be written");
        fs::write(path("pgbouncer.ini"), settings).expect("a file can be written");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        let mut command = Command::new(PROGRAM);
        // PgBouncer refuses to run as root.
        if rustix::process::geteuid().is_root() {
            command.args(["-u", "nobody"]);
        }
        let child = command
            .args(["-q", &path("pgbouncer.ini")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("there is no /usr/sbin/pgbouncer: apt-get install pgbouncer");
        let listens = || std::net::TcpStream::connect(port.addr()).ok();
        wait_for(test_timeout(), listens).expect("it listens");
        Self {
            port,
            child,
            _folder: folder,
        }
    }

    /// Returns the URL of a database of the server through the pooler.
    #[must_use]
    pub fn url(&self, server: &Postgres, database: &str) -> String {
        let (own, other) = (self.port.addr().to_string(), server.addr().to_string());
        server.url(database).replace(&other, &own)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
