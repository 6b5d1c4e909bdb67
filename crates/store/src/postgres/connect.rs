//! The making of connections: they are set up, or refused with a message that helps.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use deadpool_postgres::{ClientWrapper, Manager, ManagerConfig, RecyclingMethod};
use tokio::task::JoinHandle;
use tokio_postgres::config::Config;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::backend_error::describe;
use super::options::PostgresOptions;
use super::tls;
use crate::error::Error;
use crate::suspend_aware;

/// The oldest server that is supported, as its `server_version_num`.
const OLDEST: i32 = 150_000;

/// A pool of connections, which are made once and used again and again.
pub(super) type Pool = managed::Pool<Maker>;
/// A connection of the pool.
pub(super) type Object = managed::Object<Maker>;

/// The maker of a pool's connections. The pool's own timeout would take a time in which this
/// process was suspended for a server that does not answer.
pub(super) struct Maker {
    inner: Manager,
    timeout: Duration,
    setup: String,
}

/// The reason why a connection was not made.
pub(super) enum NotMade {
    /// The server refused, or its connection ended.
    Refused(tokio_postgres::Error),
    /// The server sent nothing.
    Silent,
}

impl managed::Manager for Maker {
    type Type = ClientWrapper;
    type Error = NotMade;

    async fn create(&self) -> Result<ClientWrapper, NotMade> {
        let making = async {
            let client = self.inner.create().await?;
            client.batch_execute(&self.setup).await?;
            Ok(client)
        };
        match suspend_aware::timeout(self.timeout, making).await {
            Ok(made) => made.map_err(NotMade::Refused),
            Err(_) => Err(NotMade::Silent),
        }
    }

    async fn recycle(
        &self,
        client: &mut ClientWrapper,
        metrics: &Metrics,
    ) -> RecycleResult<NotMade> {
        let sound = self.inner.recycle(client, metrics).await;
        sound.map_err(|_| RecycleError::message("its connection ended"))
    }

    fn detach(&self, client: &mut ClientWrapper) {
        self.inner.detach(client);
    }
}

/// Makes connections to one database.
#[derive(Clone)]
pub(super) struct Connector {
    config: Config,
    tls: MakeRustlsConnect,
    timeout: Duration,
    /// The statements that every session begins with.
    setup: String,
    /// The database, for messages.
    pub(super) name: String,
}

impl Connector {
    /// Makes a connector.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] if root certificates cannot be used.
    pub(super) fn new(options: &PostgresOptions) -> Result<Self, Error> {
        Ok(Self {
            config: options.config.clone(),
            tls: tls::connector(&options.trust)?,
            timeout: options.connect_timeout,
            setup: setup(options),
            name: options.name(),
        })
    }

    /// Makes a pool of connections, none of them made yet.
    pub(super) fn pool(&self, connections: usize) -> Result<Pool, Error> {
        let manager = Manager::from_config(
            self.config.clone(),
            self.tls.clone(),
            ManagerConfig {
                recycling_method: RecyclingMethod::Fast,
            },
        );
        let maker = Maker {
            inner: manager,
            timeout: self.timeout,
            setup: self.setup.clone(),
        };
        Pool::builder(maker)
            .max_size(connections.max(2))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| Error::Misconfigured(format!("the pool of connections: {error}")))
    }

    /// Makes a connection outside the pool, and the task that ends with it.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] if the server does not let this gate in, [`Error::Unavailable`] if
    /// it is not reached.
    pub(super) async fn connect(&self) -> Result<(Client, JoinHandle<()>), Error> {
        let connecting = async {
            let (client, connection) = self.config.connect(self.tls.clone()).await?;
            let task = tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection to the store ended");
                }
            });
            client.batch_execute(&self.setup).await?;
            Ok((client, task))
        };
        match suspend_aware::timeout(self.timeout, connecting).await {
            Ok(Ok(connected)) => Ok(connected),
            Ok(Err(error)) => Err(self.refused(&error)),
            Err(_) => Err(Error::Unavailable(self.silent())),
        }
    }

    /// Returns the message about a server that does not answer a new connection.
    pub(super) fn silent(&self) -> String {
        format!("{}: no answer within {:?}", self.name, self.timeout)
    }

    /// Returns what it means that a connection was not made.
    fn refused(&self, error: &tokio_postgres::Error) -> Error {
        let (name, text) = (&self.name, describe(error));
        let user = self.config.get_user().unwrap_or_default();
        let wrong = |what: String| Error::Misconfigured(format!("{name}: {what} ({text})"));
        match error.code() {
            Some(state) if *state == SqlState::INVALID_PASSWORD => wrong(format!(
                "the password of user `{user}` is wrong, or there is no such user"
            )),
            Some(state) if *state == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => wrong(
                format!("user `{user}` is not let in from here: see the server's pg_hba.conf"),
            ),
            Some(state) if *state == SqlState::UNDEFINED_DATABASE => {
                wrong("there is no such database: create it, and give it to this user".to_owned())
            }
            Some(state) if *state == SqlState::UNDEFINED_OBJECT => {
                let oldest = OLDEST / 10_000;
                wrong(format!(
                    "it lacks a setting that is asked for: PostgreSQL {oldest} or newer is needed, and in the URL only \
                     `options` that it has"
                ))
            }
            Some(_) => Error::Unavailable(format!("{name}: {text}")),
            None if text.contains("password missing") => wrong(format!(
                "user `{user}` needs a password: write it into the URL"
            )),
            None if text.contains("TLS") => {
                wrong("no TLS session: see `sslmode` in the URL".to_owned())
            }
            None => Error::Unavailable(format!("{name}: {text}")),
        }
    }
}

/// Returns the settings of each session, whatever the server's defaults are.
fn setup(options: &PostgresOptions) -> String {
    let statement = options.statement_timeout.as_millis();
    // A gate that is paused amid a transaction must not hold its locks for long.
    let idle = statement + 3_000;
    format!(
        "SET statement_timeout = {statement}; SET lock_timeout = {statement}; \
         SET idle_in_transaction_session_timeout = {idle}; SET idle_session_timeout = 0; \
         SET client_connection_check_interval = '1s'; SET default_transaction_isolation = 'read committed'; \
         SET default_transaction_read_only = off; SET timezone = 'UTC'; \
         SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"
    )
}

/// Refuses a server that cannot be the store of record.
pub(super) async fn check_server(client: &Client, name: &str) -> Result<(), Error> {
    let sql = "SELECT current_setting('server_version_num')::int, current_setting('server_version'), \
         current_setting('server_encoding'), pg_is_in_recovery(), current_setting('fsync') = 'off', \
         current_setting('synchronous_commit') = 'off', current_schema() IS NULL";
    let row = client
        .query_one(sql, &[])
        .await
        .map_err(|error| super::backend_error::classify(name, &error).error)?;
    check_version(name, row.get(0), row.get(1))?;
    let encoding: &str = row.get(2);
    if encoding != "UTF8" {
        let hint = "make a database with encoding UTF8";
        return Err(Error::Misconfigured(format!(
            "{name} has encoding {encoding}: {hint}"
        )));
    }
    if row.get(3) {
        let hint = "name the primary, or several hosts and `target_session_attrs=read-write`";
        return Err(Error::Misconfigured(format!("{name} is a standby: {hint}")));
    }
    if row.get(6) {
        let hint = "the search_path of this user names no schema that exists";
        return Err(Error::Misconfigured(format!("{name}: {hint}")));
    }
    for (column, setting) in [(4, "fsync"), (5, "synchronous_commit")] {
        if row.get(column) {
            tracing::warn!(
                store = name,
                "{setting} is off: what the store has acknowledged can be lost with its machine"
            );
        }
    }
    Ok(())
}

/// Refuses a pooler that lends a connection of the server for a transaction only (PgBouncer's
/// `pool_mode = transaction` and its kin): the state of a session, a node's name, timeouts, notices
/// of changes, would be that of the client that comes next.
///
/// A session of the server keeps its process. Behind such a pooler another client that begins a
/// transaction takes the connection that the first one had last, so that the first one is given
/// another process.
pub(super) async fn check_sessions(connector: &Connector) -> Result<(), Error> {
    /// The number of tries: a pooler may go round its connections.
    const TRIES: usize = 4;
    let (one, _ends) = connector.connect().await?;
    let (other, _other_ends) = connector.connect().await?;
    // Without preparing it, which such poolers do not support.
    let process = async |client: &Client| {
        let said = client.simple_query("SELECT pg_backend_pid()").await?;
        let row = said.into_iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        Ok::<_, tokio_postgres::Error>(row)
    };
    let began = AtomicBool::new(false);
    let judging = async {
        let own = process(&one).await?;
        for _ in 0..TRIES {
            other.batch_execute("BEGIN; SELECT 1").await?;
            began.store(true, Ordering::Relaxed);
            let now = process(&one).await?;
            other.batch_execute("ROLLBACK").await?;
            if now != own {
                return Ok(true);
            }
        }
        Ok(false)
    };
    match suspend_aware::timeout(connector.timeout, judging).await {
        Ok(Ok(true)) => Err(pooled(&connector.name)),
        Ok(Err(error)) if describe(&error).contains("pooling mode") => Err(pooled(&connector.name)),
        // A connection that ended says nothing of a pooler; why it did shows with the next one.
        Ok(Ok(false) | Err(_)) => Ok(()),
        // A pooler with one connection for both keeps the first one waiting for the end of the
        // other's transaction.
        Err(_) if began.load(Ordering::Relaxed) => {
            let freed = async {
                other.batch_execute("ROLLBACK").await?;
                process(&one).await
            };
            match suspend_aware::timeout(connector.timeout, freed).await {
                Ok(Ok(_)) => Err(pooled(&connector.name)),
                Ok(Err(_)) | Err(_) => Err(Error::Unavailable(connector.silent())),
            }
        }
        Err(_) => Err(Error::Unavailable(connector.silent())),
    }
}

fn pooled(name: &str) -> Error {
    Error::Misconfigured(format!(
        "{name}: before the server stands a pooler that gives each transaction another connection (PgBouncer with `pool_mode = \
         transaction`), and a gate needs sessions: name the server itself, or a pool with `pool_mode = session`"
    ))
}

fn check_version(name: &str, number: i32, text: &str) -> Result<(), Error> {
    if number < OLDEST {
        let oldest = OLDEST / 10_000;
        let message = format!("{name} is version {text}: PostgreSQL {oldest} or newer is needed");
        return Err(Error::Misconfigured(message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_too_old_is_refused_by_its_version() {
        for (number, text) in [(90_624, "9.6.24"), (140_013, "14.13")] {
            let message = check_version("the store", number, text)
                .expect_err("too old")
                .to_string();
            assert!(
                message.contains(text) && message.contains("PostgreSQL 15 or newer"),
                "{message}"
            );
        }
        for number in [150_000, 170_004, 190_000] {
            assert_eq!(check_version("the store", number, "x"), Ok(()));
        }
    }
}
