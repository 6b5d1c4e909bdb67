//! A connection at work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

use super::connect::Object;

/// A value for a statement.
pub(super) type Value<'a> = &'a (dyn ToSql + Sync);

/// The connection that a piece of work has.
pub(super) type Conn = Arc<PooledConn>;

/// A connection that is lent out. Unless it is told to be sound at the end, it does not come back to the pool.
pub(super) struct PooledConn {
    object: Option<Object>,
    sound: AtomicBool,
    failed: AtomicBool,
    heard: Heard,
}

/// When the server last answered on a connection.
#[derive(Clone)]
pub(super) struct Heard(Arc<Mutex<Instant>>);

impl Heard {
    /// How long ago it was.
    pub(super) fn ago(&self) -> Duration {
        self.0.lock().elapsed()
    }
}

impl PooledConn {
    pub(super) fn new(object: Object) -> Self {
        Self {
            object: Some(object),
            sound: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            heard: Heard(Arc::new(Mutex::new(Instant::now()))),
        }
    }

    pub(super) fn heard(&self) -> Heard {
        self.heard.clone()
    }

    /// Whatever was begun on it is over.
    pub(super) fn is_sound(&self) {
        self.sound.store(true, Ordering::Relaxed);
    }

    /// Whether a statement failed on it. The server then undoes the whole transaction, and answers its COMMIT as if that had
    /// been done: what the client library says of such a COMMIT is no success.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// The rows of a statement, which is prepared once for each connection.
    pub(super) async fn rows(&self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Row>, Error> {
        let rows = async {
            let statement = self.object().prepare_cached(sql).await?;
            self.object().query(&statement, values).await
        };
        self.answered(rows.await)
    }

    /// The first row, if there is one.
    pub(super) async fn row(&self, sql: &str, values: &[Value<'_>]) -> Result<Option<Row>, Error> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }

    /// How many rows a statement changed.
    pub(super) async fn change(&self, sql: &str, values: &[Value<'_>]) -> Result<u64, Error> {
        let changed = async {
            let statement = self.object().prepare_cached(sql).await?;
            self.object().execute(&statement, values).await
        };
        self.answered(changed.await)
    }

    /// Statements without values or rows.
    pub(super) async fn batch(&self, sql: &str) -> Result<(), Error> {
        self.answered(self.object().batch_execute(sql).await)
    }

    fn answered<T>(&self, answer: Result<T, Error>) -> Result<T, Error> {
        *self.heard.0.lock() = Instant::now();
        if answer.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        answer
    }

    fn object(&self) -> &Object {
        self.object.as_ref().expect("it is taken by drop alone")
    }
}

impl Drop for PooledConn {
    fn drop(&mut self) {
        let object = self.object.take();
        if !self.sound.load(Ordering::Relaxed) {
            // What was begun on it is not over, so nobody can know what its next answer belongs to.
            drop(object.map(Object::take));
        }
    }
}
