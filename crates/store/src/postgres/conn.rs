//! A connection of the pool at work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

use super::connect::Object;

/// A value for a statement.
pub(super) type Value<'a> = &'a (dyn ToSql + Sync);

/// The connection that a piece of work uses.
pub(super) type Conn = Arc<PooledConn>;

/// A connection out of the pool. Unless it is marked as sound at the end, it does not go back.
pub(crate) struct PooledConn {
    object: Option<Object>,
    sound: AtomicBool,
    failed: AtomicBool,
    heard: Heard,
}

/// The time at which the server last answered on a connection.
#[derive(Clone)]
pub(super) struct Heard(Arc<Mutex<Instant>>);

impl Heard {
    /// Returns how long ago that was.
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

    /// Returns whether everything that was begun on it is over.
    pub(super) fn is_sound(&self) {
        self.sound.store(true, Ordering::Relaxed);
    }

    /// Returns whether a statement failed on it. The server then undoes the whole transaction, and
    /// answers its COMMIT as if that had been done: the client library's success of such a COMMIT
    /// is none.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Returns the rows of a statement, which is prepared once for each connection.
    pub(super) async fn rows(&self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Row>, Error> {
        let rows = async {
            let statement = self.object().prepare_cached(sql).await?;
            self.object().query(&statement, values).await
        };
        self.answered(rows.await)
    }

    /// Returns the first row, if there is one.
    pub(super) async fn row(&self, sql: &str, values: &[Value<'_>]) -> Result<Option<Row>, Error> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }

    /// Returns how many rows a statement changed.
    pub(super) async fn change(&self, sql: &str, values: &[Value<'_>]) -> Result<u64, Error> {
        let changed = async {
            let statement = self.object().prepare_cached(sql).await?;
            self.object().execute(&statement, values).await
        };
        self.answered(changed.await)
    }

    /// Runs statements without values or rows.
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
            // A statement that was begun on it is not over, so nobody can know what its next answer
            // belongs to.
            drop(object.map(Object::take));
        }
    }
}
