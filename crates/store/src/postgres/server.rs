//! Work on the server: when it may begin, on which connection, for how long, and what is done when
//! it fails.
//!
//! All work runs on the runtime that opened the store, whichever thread asks: proxy threads have
//! runtimes of their own, which connections must not belong to, and work that its caller leaves is
//! brought to its end.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use deadpool::managed::{PoolError, Timeouts};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::backend_error::{BackendError, Classified, classify};
use super::breaker::{Breaker, Pauses};
use super::conn::{Conn, Heard, PooledConn};
use super::connect::{Connector, NotMade, Object, Pool};
use super::options::PostgresOptions;
use crate::error::Error;
use crate::suspend_aware;

/// The number of times that work is begun which the server undid, or whose connection broke.
const TRIES: usize = 4;

/// The options of a transaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct TxOptions {
    /// The statement that begins it; `None`: it is one statement, which is a transaction by itself.
    begin: Option<&'static str>,
    /// Whether it may take long, and lets others pass.
    long: bool,
    /// Whether doing it twice changes nothing more, so that it may be done again when it is not
    /// known whether it was done.
    idempotent: bool,
}

impl TxOptions {
    /// The options of one statement that reads.
    pub(super) const READ: Self = Self {
        begin: None,
        long: false,
        idempotent: true,
    };
    /// The options of one statement that writes.
    pub(super) const WRITE: Self = Self {
        begin: None,
        long: false,
        idempotent: false,
    };
    /// The options of one statement that writes, and does nothing more when it is done again.
    pub(super) const REPEATABLE: Self = Self {
        idempotent: true,
        ..Self::WRITE
    };
    /// The options of several statements that write.
    pub(super) const TRANSACTION: Self = Self {
        begin: Some("BEGIN"),
        ..Self::WRITE
    };
    /// The options of several statements that write, and do nothing more when they are done again.
    pub(super) const REPEATABLE_TRANSACTION: Self = Self {
        idempotent: true,
        ..Self::TRANSACTION
    };
    /// The options of a report, or of a page of many rows.
    pub(super) const REPORT: Self = Self {
        begin: Some(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = '15min'",
        ),
        long: true,
        idempotent: true,
    };
    /// The options of a write of many rows, which nobody waits for.
    pub(super) const LOAD: Self = Self {
        begin: Some("BEGIN; SET LOCAL statement_timeout = '15min'; SET LOCAL lock_timeout = '60s'"),
        long: true,
        idempotent: false,
    };
}

/// The server of a store. Cheap to clone.
#[derive(Clone)]
pub(super) struct Server(Arc<Core>);

struct Core {
    pool: Pool,
    connector: Connector,
    breaker: Breaker,
    /// A semaphore that keeps reports and rollups from holding every connection.
    long: Semaphore,
    statement_timeout: Duration,
    connect_timeout: Duration,
    runtime: Handle,
}

/// A piece of work, which may be tried more than once.
type Work<T> =
    dyn Fn(Conn) -> Pin<Box<dyn Future<Output = Result<T, BackendError>> + Send>> + Send + Sync;

impl Server {
    /// Makes a server, and connects nowhere yet.
    pub(super) fn new(
        options: &PostgresOptions,
        connector: Connector,
        runtime: Handle,
    ) -> Result<Self, Error> {
        Ok(Self(Arc::new(Core {
            pool: connector.pool(options.connections)?,
            connector,
            breaker: Breaker::new(),
            long: Semaphore::new((options.connections / 2).max(1)),
            statement_timeout: options.statement_timeout,
            connect_timeout: options.connect_timeout,
            runtime,
        })))
    }

    pub(super) fn connector(&self) -> &Connector {
        &self.0.connector
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.0.runtime
    }

    /// Runs a piece of work, which must not keep the connection that it gets.
    ///
    /// # Errors
    /// Those of the work; [`Error::Unavailable`] as soon as the server is known to be out of reach,
    /// at the latest when it has not answered in time.
    pub(super) async fn run<T, W, F>(&self, options: TxOptions, work: W) -> Result<T, Error>
    where
        T: Send + 'static,
        W: Fn(Conn) -> F + Send + Sync + 'static,
        F: Future<Output = Result<T, BackendError>> + Send + 'static,
    {
        self.0.breaker.pass()?;
        let core = Arc::clone(&self.0);
        // Behind a pointer: what carries it out is compiled once for each type of result, instead of
        // once for each piece of work.
        let work: Box<Work<T>> = Box::new(move |conn| Box::pin(work(conn)));
        let task = async move { core.carry_out(options, work).await };
        match self.0.runtime.spawn(task).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => {
                Err(Error::Unavailable("the work panicked".to_owned()))
            }
            Err(_) => Err(Error::Unavailable("this gate is stopping".to_owned())),
        }
    }
}

impl Server {
    /// Runs a piece of work as [`Server::run`] does, with a value that is shared by all attempts.
    pub(super) async fn run_with<I, T, W, F>(
        &self,
        options: TxOptions,
        input: I,
        work: W,
    ) -> Result<T, Error>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        W: Fn(Conn, Arc<I>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<T, BackendError>> + Send + 'static,
    {
        let input = Arc::new(input);
        self.run(options, move |conn| work(conn, Arc::clone(&input)))
            .await
    }
}

impl Core {
    async fn carry_out<T, W, F>(self: Arc<Self>, options: TxOptions, work: W) -> Result<T, Error>
    where
        W: Fn(Conn) -> F,
        F: Future<Output = Result<T, BackendError>>,
    {
        let timeout = match options.long {
            true => PostgresOptions::LONG_JOB_TIMEOUT,
            false => self.statement_timeout + PostgresOptions::GRACE,
        };
        let deadline = Instant::now() + timeout;
        let mut pauses = Pauses::new();
        for attempt in 1.. {
            self.breaker.pass()?;
            let found = match self.attempt(options, deadline, &work).await {
                Ok(value) => return Ok(value),
                Err(found) => found,
            };
            let again = found.again || (found.lost && options.idempotent);
            if !again || attempt == TRIES || Instant::now() >= deadline {
                return Err(found.error);
            }
            pauses.pause().await;
        }
        unreachable!("the loop ends by returning")
    }

    async fn attempt<T, W, F>(
        self: &Arc<Self>,
        options: TxOptions,
        deadline: Instant,
        work: &W,
    ) -> Result<T, Classified>
    where
        W: Fn(Conn) -> F,
        F: Future<Output = Result<T, BackendError>>,
    {
        let heard = OnceLock::<Heard>::new();
        let left = deadline.saturating_duration_since(Instant::now());
        let done = async {
            let _turn = match options.long {
                true => self.long.acquire().await.ok(),
                false => None,
            };
            let conn = self.connection(deadline).await?;
            let _ = heard.set(conn.heard());
            let result = transact(&conn, options, work).await;
            let result =
                result.map_err(|backend_error| backend_error.classify(&self.connector.name));
            let lost = result.as_ref().is_err_and(|found| found.lost);
            if !lost {
                conn.is_sound();
            }
            result
        };
        tokio::select! {
            biased;
            error = self.breaker.opened() => Err(plain(error)),
            result = suspend_aware::timeout(left, done) => match result {
                Ok(result) => result,
                Err(_) => Err(plain(self.late(heard.get()))),
            },
        }
    }

    /// Returns a connection of the pool, a new one if need be.
    async fn connection(self: &Arc<Self>, deadline: Instant) -> Result<Conn, Classified> {
        let left = deadline.saturating_duration_since(Instant::now());
        let error = match self.pool.timeout_get(&pool_timeouts(left)).await {
            Ok(object) => {
                return Ok(Arc::new(PooledConn::new(object)));
            }
            Err(PoolError::Backend(NotMade::Refused(error))) => error,
            Err(PoolError::Backend(NotMade::Silent)) => {
                let why = self.connector.silent();
                self.trip(&why);
                return Err(plain(Error::Unavailable(why)));
            }
            Err(_) => return Err(plain(self.busy())),
        };
        let found = classify(&self.connector.name, &error);
        // A server that is full still serves the connections that there are.
        if error
            .code()
            .is_none_or(|state| !state.code().starts_with("53"))
        {
            self.trip(&found.error.to_string());
        }
        Err(plain(Error::Unavailable(found.error.to_string())))
    }

    /// Returns what it means that time ran out: a server that ends statements by itself, and has
    /// not, is not there.
    fn late(self: &Arc<Self>, heard: Option<&Heard>) -> Error {
        let Some(heard) = heard else {
            return self.busy();
        };
        let why = format!("{}: no answer in time", self.connector.name);
        if heard.ago() >= self.statement_timeout {
            self.trip(&why);
        }
        Error::Unavailable(why)
    }

    fn busy(&self) -> Error {
        Error::Unavailable(format!("{}: all connections are busy", self.connector.name))
    }

    /// Opens the breaker, so that nobody waits any more, and looks for the server until it answers.
    fn trip(self: &Arc<Self>, why: &str) {
        if self.breaker.open(why) {
            tracing::warn!(reason = why, "the store is out of reach");
            self.pool.retain(|_, _| false);
            self.runtime.spawn(look_after(Arc::downgrade(self)));
        }
    }

    /// Returns whether the server answers on a connection.
    async fn answers(self: Arc<Self>) -> bool {
        let timeouts = pool_timeouts(self.connect_timeout);
        let Ok(object) = self.pool.timeout_get(&timeouts).await else {
            return false;
        };
        let asked = object.simple_query("SELECT 1");
        let answered = matches!(
            tokio::time::timeout(self.connect_timeout, asked).await,
            Ok(Ok(_))
        );
        if !answered {
            drop(Object::take(object));
        }
        answered
    }
}

/// Returns the pool's timeouts: `limit` for a connection that others have; making one has its own
/// limit.
const fn pool_timeouts(limit: Duration) -> Timeouts {
    Timeouts {
        wait: Some(limit),
        create: None,
        recycle: None,
    }
}

async fn transact<T, W, F>(conn: &Conn, options: TxOptions, work: &W) -> Result<T, BackendError>
where
    W: Fn(Conn) -> F,
    F: Future<Output = Result<T, BackendError>>,
{
    let Some(begin) = options.begin else {
        return work(Arc::clone(conn)).await;
    };
    conn.batch(begin).await?;
    let mut result = work(Arc::clone(conn)).await;
    if result.is_ok() && conn.has_failed() {
        let what = "a statement of a transaction failed and its work went on";
        result = Err(BackendError::Refused(Error::Unavailable(what.to_owned())));
    }
    let end = if result.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = conn.batch(end).await;
    // The error of the work matters more than that it could not be undone by hand.
    result.and_then(|value| ended.map(|()| value).map_err(BackendError::from))
}

async fn look_after(core: Weak<Core>) {
    let mut pauses = Pauses::new();
    loop {
        pauses.pause().await;
        let Some(core) = core.upgrade() else { return };
        if Arc::clone(&core).answers().await {
            core.breaker.close();
            tracing::info!(store = %core.connector.name, "the store answers again");
            return;
        }
    }
}

/// Returns the meaning of a failure of which nothing follows but its error.
fn plain(error: Error) -> Classified {
    Classified {
        error,
        again: false,
        lost: false,
    }
}
