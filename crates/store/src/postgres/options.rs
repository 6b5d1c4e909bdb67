//! The options of a PostgreSQL store: its address, its TLS and its timeouts.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use crate::error::Error;

/// The clock by which refills fall due and windows are present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Times {
    /// The server's clock, so that gates whose clocks differ agree.
    #[default]
    Server,
    /// Each caller's clock, whose time comes with each request; for tests of times to come.
    Caller,
}

/// The trust in the server's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Any certificate: the connection is encrypted, and a machine in between can still read it.
    Anybody,
    /// A certificate that a root certificate vouches for and that names the host; roots of the
    /// system, or those of a file.
    Verified(Option<PathBuf>),
}

/// The address of a PostgreSQL store, and the timeouts of a gate with it.
#[derive(Clone)]
pub struct PostgresOptions {
    pub(super) config: Config,
    pub(super) trust: Trust,
    /// The largest number of connections; 8 by default, at least 2. One more is held for the node's
    /// name.
    pub connections: usize,
    /// The time that making a connection may take, TLS and password included; 2 s by default.
    pub connect_timeout: Duration,
    /// The time that a statement that somebody waits for may take, waits for locks included; 2 s by
    /// default. Reports, rollups and rebuilds may take [`PostgresOptions::LONG_JOB_TIMEOUT`].
    pub statement_timeout: Duration,
    /// The clock that counts.
    pub times: Times,
}

impl PostgresOptions {
    /// The time that a report, an import or a rebuild may take once it has begun.
    pub const LONG_JOB_TIMEOUT: Duration = Duration::from_secs(15 * 60);
    /// The time that a call waits for an answer beyond the statement timeout, before the server is
    /// taken for dead.
    pub const GRACE: Duration = Duration::from_millis(500);

    /// Parses the URL of a store, `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…`.
    ///
    /// `sslmode` is `disable`, `prefer`, `require` or `verify-full`; with the last, `sslrootcert`
    /// may name a file of root certificates. A host that is the folder of a Unix socket,
    /// `%2Fvar%2Frun%2Fpostgresql`, is used without TLS, whatever `sslmode` says. All else is as
    /// `libpq` has it, where it is known here: several hosts, `target_session_attrs`, `options`,
    /// `host` as a directory of a Unix socket.
    ///
    /// # Errors
    /// [`Error::Misconfigured`], which never repeats the URL, for that may hold a password.
    pub fn parse(url: &str) -> Result<Self, Error> {
        let wrong = |what: &str| {
            let shape = "write `postgres://user:password@host/database`";
            Error::Misconfigured(format!("the URL of the store {what}: {shape}"))
        };
        let (address, parameters) = url.split_once('?').unwrap_or((url, ""));
        let mut kept = Vec::new();
        let (mut mode, mut roots) = (Cow::Borrowed("prefer"), None);
        for parameter in parameters.split('&').filter(|text| !text.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            match name {
                "sslmode" => mode = decode(value),
                "sslrootcert" => roots = Some(PathBuf::from(decode(value).into_owned())),
                _ => kept.push(parameter),
            }
        }
        let mut config: Config = format!("{address}?{}", kept.join("&"))
            .parse()
            .map_err(|error| wrong(&format!("cannot be read ({})", reason(&error))))?;
        let trust = match (&*mode, roots) {
            ("disable" | "prefer" | "require", Some(_)) => {
                return Err(wrong(
                    "names `sslrootcert`, which needs `sslmode=verify-full`",
                ));
            }
            ("verify-full", roots) => Trust::Verified(roots),
            ("disable" | "prefer" | "require", None) => Trust::Anybody,
            _ => {
                return Err(wrong(
                    "has an `sslmode` other than disable, prefer, require or verify-full",
                ));
            }
        };
        config.ssl_mode(match &*mode {
            "disable" => SslMode::Disable,
            "prefer" => SslMode::Prefer,
            _ => SslMode::Require,
        });
        if config.get_hosts().is_empty() {
            return Err(wrong("names no host"));
        }
        let (ports, hosts) = (config.get_ports(), config.get_hosts().len());
        if ports.contains(&0) || ports.len() > 1 && ports.len() != hosts {
            return Err(wrong(
                "has a port that is none, or not one for each host (a port stands behind its host, not in `port=`)",
            ));
        }
        let addresses = config.get_hostaddrs().len();
        if addresses > 0 && addresses != hosts {
            return Err(wrong("has not one `hostaddr` for each host"));
        }
        let sockets = config
            .get_hosts()
            .iter()
            .filter(|host| matches!(host, Host::Unix(_)));
        match sockets.count() {
            0 => {}
            // Nobody stands between the two ends of a socket, and PostgreSQL speaks no TLS on one
            // (as libpq has it).
            all if all == config.get_hosts().len() => {
                config.ssl_mode(SslMode::Disable);
            }
            _ => return Err(wrong("names a Unix socket beside other hosts")),
        }
        if config.get_dbname().is_none() || config.get_user().is_none() {
            return Err(wrong("lacks its user or its database"));
        }
        // A peer that vanished without a word is noticed within half a minute.
        config.keepalives_idle(Duration::from_secs(10));
        config.keepalives_interval(Duration::from_secs(5));
        config.keepalives_retries(3);
        if config.get_application_name().is_none() {
            config.application_name("tallygate");
        }
        Ok(Self {
            config,
            trust,
            connections: 8,
            connect_timeout: Duration::from_secs(2),
            statement_timeout: Duration::from_secs(2),
            times: Times::Server,
        })
    }

    /// Returns the database as messages name it: no password, no parameters.
    pub(super) fn name(&self) -> String {
        let ports = self.config.get_ports();
        let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(5432);
        let host = |(index, host): (usize, &Host)| match host {
            Host::Tcp(host) => format!("{host}:{}", port(index)),
            Host::Unix(path) => format!("{}:{}", path.display(), port(index)),
        };
        let hosts: Vec<_> = self
            .config
            .get_hosts()
            .iter()
            .enumerate()
            .map(host)
            .collect();
        let database = self.config.get_dbname().unwrap_or_default();
        format!("PostgreSQL database `{database}` at {}", hosts.join(","))
    }
}

/// Returns the value of a URL's parameter; a value that is no UTF-8 stays as it is written.
fn decode(value: &str) -> Cow<'_, str> {
    percent_decode_str(value)
        .decode_utf8()
        .unwrap_or(Cow::Borrowed(value))
}

/// Returns the parser's message, which names options and never repeats values.
fn reason(error: &tokio_postgres::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("database", &self.name())
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        let error = PostgresOptions::parse(url).expect_err("refused");
        assert!(matches!(error, Error::Misconfigured(_)));
        error.to_string()
    }

    #[test]
    fn a_url_says_where_the_store_is_and_whom_to_trust() {
        let plain = PostgresOptions::parse("postgres://u:p%40ss@db:6432/t").expect("valid");
        assert_eq!(plain.name(), "PostgreSQL database `t` at db:6432");
        assert_eq!(plain.config.get_ssl_mode(), SslMode::Prefer);
        assert_eq!(plain.trust, Trust::Anybody);
        let url = "postgresql://u@a,b:7000/t?sslmode=verify-full&sslrootcert=%2Fetc%2Froot.pem&target_session_attrs=read-write";
        for parameters in [
            "",
            "?sslmode=disable",
            "?sslmode=prefer",
            "?sslmode=require",
            "?sslmode=verify-full",
        ] {
            let url = format!("postgres://u@%2Fvar%2Frun%2Fpostgresql/t{parameters}");
            let socket = PostgresOptions::parse(&url).expect("valid");
            assert_eq!(socket.config.get_ssl_mode(), SslMode::Disable, "{url}");
            assert_eq!(
                socket.name(),
                "PostgreSQL database `t` at /var/run/postgresql:5432"
            );
        }
        let strict = PostgresOptions::parse(url).expect("valid");
        assert_eq!(strict.config.get_ssl_mode(), SslMode::Require);
        assert_eq!(strict.trust, Trust::Verified(Some("/etc/root.pem".into())));
        assert_eq!(strict.name(), "PostgreSQL database `t` at a:5432,b:7000");
    }

    #[test]
    fn a_wrong_url_is_refused_by_what_is_wrong_and_never_repeated() {
        for (url, what) in [
            ("postgres://u:hunter2@db", "lacks its user or its database"),
            ("postgres://db/t", "lacks its user or its database"),
            ("postgres://u:hunter2@db/t?sslmode=verify-ca", "sslmode"),
            (
                "postgres://u:hunter2@db/t?sslmode=require&sslrootcert=/x",
                "verify-full",
            ),
            ("postgres://u:hunter2@db/t?colour=red", "colour"),
            ("postgres://u:hunter2@db:port/t", "port"),
            ("postgres://u:hunter2@db/t?port=none", "port"),
            ("postgres://u:hunter2@db/t?port=6432", "port"),
            (
                "postgres://u:hunter2@db/t?hostaddr=10.0.0.1,10.0.0.2",
                "hostaddr",
            ),
            ("postgres://u:hunter2@db:0/t", "port"),
            ("postgres://u:hunter2@db/t?port=70000", "port"),
            ("postgres://u:hunter2@a,b,c/t?port=1,2", "port"),
            ("postgres://u:hunter2@/t", "host"),
            (
                "postgres://u@%2Frun%2Fpg,db/t",
                "Unix socket beside other hosts",
            ),
        ] {
            let message = refused(url);
            assert!(message.contains(what), "{message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
        let options = PostgresOptions::parse("postgres://u:hunter2@db/t").expect("valid");
        assert!(!format!("{options:?}").contains("hunter2"));
    }
}
