//! The layer over both engines, in which families of objects are written once.
//!
//! A family is a trait of the store (`users::UserStore`) and one file here, which implements it for
//! every [`Backend`]. Its functions are generic over a connection ([`Sql`]); a statement is written
//! once ([`statement`]), and values and rows are the same for both engines. A new family is written
//! over this alone, and knows neither engine:
//!
//! 1. the trait in a file of its own beside `users.rs`, and its name in `Store` (`lib.rs`);
//! 2. a migration for each engine, with the same names of tables and columns: ids are `uuid` and
//!    `BLOB`, times and counts `bigint` and `INTEGER`, lists JSON in `text`;
//! 3. `sql/NAME.rs` with `impl<B: Backend> NameStore for B`: each method is one [`Backend::run`] with
//!    its [`Part`] and [`Kind`], its input, and a function over the connection;
//! 4. rows that a transaction reads before it writes them are read `FOR UPDATE`, which SQLite does
//!    not need and is not told; audit lines are added last, by [`audit::add_entries`];
//! 5. its properties in `crates/store-conformance`, which run on both engines.
//!
//! ```ignore
//! async fn user(&self, app: &AppName, login: &str) -> Result<Option<User>, Error> {
//!     let whom = (app.clone(), login.to_owned());
//!     self.run(Part::Licenses, Kind::Read, whom, |sql, (app, login)| {
//!         Box::pin(find(sql, app, login))
//!     })
//!     .await
//! }
//!
//! async fn find<S: Sql>(sql: &S, app: &AppName, login: &str) -> Outcome<Option<User>, S> {
//!     let statement = sql!("SELECT {USER} FROM users WHERE app = $1 AND login = $2");
//!     let row = sql.query_opt(statement, &values![app, login]).await?;
//!     Ok(row.as_ref().map(read).transpose()?)
//! }
//! ```
//!
//! SQLite's connection answers at once, on the thread that the work runs on, so that a future over
//! it is ready when it is first polled ([`at_once`]), and the writer thread commits groups of
//! work as before. PostgreSQL's awaits the server. Where the engines really differ, as in batches,
//! a family asks for what both have by another way: [`Twins`], [`ledger::Rollups`],
//! [`tokens::TokenTwins`].

mod agents;
mod api_keys;
pub(crate) mod audit;
mod backend_error;
mod claims;
pub(crate) mod credits;
mod filter;
pub(crate) mod first_use;
mod leases_by_name;
pub(crate) mod ledger;
pub(crate) mod license_changes;
mod license_events;
mod license_rows;
mod licenses;
pub(crate) mod management;
pub(crate) mod manifest;
mod numbered;
mod row;
mod sessions;
mod software;
mod statement;
pub(crate) mod tokens;
mod touched;
mod upstreams;
pub(crate) mod usage;
pub(crate) mod usage_events;
mod users;
mod value;
pub(crate) mod webhooks;

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use model::{AuditEntry, InstanceId, KeyHash, LicenseId, Timestamp};

pub(crate) use self::backend_error::BackendError;
pub(crate) use self::row::Row;
pub(crate) use self::statement::{Engine, Statement};
pub(crate) use self::value::Value;

pub(crate) use self::statement::sql;
pub(crate) use self::value::{MAX_COUNT, count, json, list, rows, values};
use crate::error::Error;
use crate::licenses::{ChangeNumber, NewLicense};

/// The result of work on a connection.
pub(crate) type Outcome<T, S> = Result<T, BackendError<<S as Sql>::Failure>>;

/// A piece of work on a connection of type `S`, as a future.
pub(crate) type Work<'a, T, S> = Pin<Box<dyn Future<Output = Outcome<T, S>> + Send + 'a>>;

/// A connection, within the transaction of the work that it is lent to.
pub(crate) trait Sql: Send + Sync {
    /// The error of the engine.
    type Failure: Send + Sync;

    /// The engine.
    const ENGINE: Engine;

    /// Returns the rows of a statement, which is prepared once for each connection.
    fn query(
        &self,
        statement: &Statement,
        values: &[Value],
    ) -> impl Future<Output = Outcome<Vec<Row>, Self>> + Send;

    /// Returns how many rows a statement changed. It is prepared once for each connection.
    fn execute(
        &self,
        statement: &Statement,
        values: &[Value],
    ) -> impl Future<Output = Outcome<u64, Self>> + Send;

    /// Returns whether a failure is that a row with the same unique columns is there already.
    fn is_taken(failure: &Self::Failure) -> bool;

    /// Returns the time by the gate's clock, or the one that the store was opened with. Work asks
    /// when it is its turn.
    fn now(&self) -> Timestamp;

    /// Returns the first row of a statement; `None`: it has none.
    fn query_opt(
        &self,
        statement: &Statement,
        values: &[Value],
    ) -> impl Future<Output = Outcome<Option<Row>, Self>> + Send {
        async move {
            let rows = self.query(statement, values).await?;
            Ok(rows.into_iter().next())
        }
    }

    /// Inserts rows into a table, in their order and in one statement; `table` names it with its
    /// columns, `tail` is what follows the rows.
    fn insert_all<const COLUMNS: usize>(
        &self,
        table: &'static str,
        rows: Vec<[Value; COLUMNS]>,
        tail: &'static str,
    ) -> impl Future<Output = Outcome<(), Self>> + Send {
        async move {
            let places: Vec<String> = (0..rows.len())
                .map(|row| {
                    let places = (1..=COLUMNS).map(|column| format!("${}", row * COLUMNS + column));
                    format!("({})", places.collect::<Vec<_>>().join(", "))
                })
                .collect();
            if places.is_empty() {
                return Ok(());
            }
            let text = format!("INSERT INTO {table} VALUES {} {tail}", places.join(", "));
            let values: Vec<Value> = rows.into_iter().flatten().collect();
            self.execute(&Statement::new(text), &values).await.map(drop)
        }
    }

    /// Inserts a row.
    ///
    /// # Errors
    /// [`Error::Exists`] with `what` if a row with the same unique columns is there already.
    fn insert(
        &self,
        statement: &Statement,
        values: &[Value],
        what: &'static str,
    ) -> impl Future<Output = Outcome<(), Self>> + Send {
        async move {
            match self.execute(statement, values).await {
                Ok(_) => Ok(()),
                Err(BackendError::Failed(failure)) if Self::is_taken(&failure) => {
                    Err(BackendError::Refused(Error::Exists(what)))
                }
                Err(error) => Err(error),
            }
        }
    }
}

/// The steps of families that each engine has by a way of its own: batches, and numbers that are
/// given in the order of commits.
pub(crate) trait Twins: Sql {
    /// Adds lines to the audit log. It is the last step of its transaction, since PostgreSQL's
    /// counter of lines stays locked until that is over.
    fn add_lines(&self, lines: &[AuditEntry]) -> impl Future<Output = Outcome<(), Self>> + Send;

    /// Gives licenses whose rows or credentials were changed a new version, and each change its
    /// number, in the order of commits; with a change the hash of the credential that it added. Only
    /// events and audit lines may come after it.
    fn record_changes(
        &self,
        changes: &[(LicenseId, Option<&KeyHash>)],
    ) -> impl Future<Output = Outcome<ChangeNumber, Self>> + Send;

    /// Moves units of an epoch from one instance's lease to another's. Returns whether that many of
    /// it were there and not spent.
    fn move_units(
        &self,
        license: LicenseId,
        units: (u32, u64),
        from: InstanceId,
        to: InstanceId,
    ) -> impl Future<Output = Outcome<bool, Self>> + Send;

    /// Keeps new licenses, all or none, and returns the number of the last change. Only audit lines
    /// may come after it.
    fn create_licenses(
        &self,
        new: &[NewLicense],
    ) -> impl Future<Output = Outcome<ChangeNumber, Self>> + Send;
}

/// The part of the store that work is on: a file of its own in SQLite, the same database in
/// PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Licenses and the objects that belong to them.
    Licenses,
    /// Balances, rollups and the manifest.
    Ledger,
}

/// The kind of a piece of work: what it does, and who waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One statement that reads a few rows.
    Read,
    /// One statement that reads many rows, which can wait.
    List,
    /// Statements that read many rows as of one moment, which can wait and may take long.
    Report,
    /// One statement that writes.
    Write,
    /// One statement whose writes outlast every process, and the machine only where that costs
    /// nothing more: SQLite does not wait for the disk.
    UnsyncedWrite,
    /// One statement that writes, and does nothing more when it is done again.
    Repeatable,
    /// One statement that writes many rows, which can wait.
    Batch,
    /// One statement that writes many rows, which can wait and which outlast every process, and the
    /// machine only where that costs nothing more.
    UnsyncedBatch,
    /// Statements that write.
    Transaction,
    /// Statements that write, and do nothing more when they are done again.
    RepeatableTransaction,
    /// Statements that write many rows, which can wait and may take long.
    Load,
}

/// A piece of work with its input. The engines know nothing of it but the type of its result, so
/// that their code is there once for each such type.
pub(crate) trait Job<T, S: Sql>: Send + Sync {
    /// Begins the work.
    fn begin<'a>(&'a self, sql: &'a S) -> Work<'a, T, S>;
}

impl<I, T, W, S> Job<T, S> for (I, W)
where
    I: Send + Sync,
    S: Sql,
    W: for<'a> Fn(&'a S, &'a I) -> Work<'a, T, S> + Send + Sync,
{
    fn begin<'a>(&'a self, sql: &'a S) -> Work<'a, T, S> {
        (self.1)(sql, &self.0)
    }
}

/// A store on one of the engines.
pub(crate) trait Backend: Send + Sync + 'static {
    /// The connection of the engine.
    type Conn: Twins;

    /// Does a piece of work with its input, which may be begun again where the engine undid it.
    ///
    /// # Errors
    /// Those of the work; [`Error::Unavailable`] if the engine is out of reach.
    fn run<I, T, W>(
        &self,
        part: Part,
        kind: Kind,
        input: I,
        work: W,
    ) -> impl Future<Output = Result<T, Error>> + Send
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        W: for<'a> Fn(&'a Self::Conn, &'a I) -> Work<'a, T, Self::Conn> + Send + Sync + 'static,
    {
        self.carry_out(part, kind, Box::new((input, work)))
    }

    /// Does a job, as [`Backend::run`] says.
    fn carry_out<T: Send + 'static>(
        &self,
        part: Part,
        kind: Kind,
        job: Box<dyn Job<T, Self::Conn>>,
    ) -> impl Future<Output = Result<T, Error>> + Send;

    /// Is called after the transaction of `written` changes, of which this is the last number:
    /// the time to remove old ones, where that is not done within the transaction.
    fn after_changes(&self, _last: ChangeNumber, _written: u64) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Returns, for each part that can be out of reach by itself, its name and whether writes get
    /// into it. An empty list: the store is one whole.
    fn parts_up(&self) -> impl Future<Output = Vec<(&'static str, bool)>> + Send {
        async { Vec::new() }
    }
}

/// Returns the result of a future over a connection that answers at once.
///
/// # Panics
/// If the future waits for anything else.
pub(crate) fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => unreachable!("work on a connection that answers at once never waits"),
    }
}
