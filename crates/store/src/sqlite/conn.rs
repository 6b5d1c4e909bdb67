//! The connection of a thread, as the layer over both engines sees it.

use std::future::{Future, ready};
use std::sync::Arc;

use model::{Clock, Timestamp};
use parking_lot::{ReentrantMutex, ReentrantMutexGuard};
use rusqlite::types::{ToSql, ToSqlOutput, Value as Owned, ValueRef};
use rusqlite::{Connection, params_from_iter};

use super::backend_error::{self, BackendError};
use crate::sql::{Engine, Job, Kind, Outcome, Row, Sql, Statement, Value, at_once, json};

/// A connection to a file. One thread has it and its lock is always free: the lock is what makes it
/// a value that a future may hold.
pub(crate) struct SqliteConn {
    connection: ReentrantMutex<Connection>,
    clock: Arc<dyn Clock>,
}

impl SqliteConn {
    pub(super) fn new(connection: Connection, clock: Arc<dyn Clock>) -> Self {
        Self {
            connection: ReentrantMutex::new(connection),
            clock,
        }
    }

    /// Returns the connection of rusqlite.
    pub(super) fn raw(&self) -> ReentrantMutexGuard<'_, Connection> {
        self.connection.lock()
    }

    /// Does a job. A report sees one moment.
    pub(super) fn carry_out<T>(
        &self,
        kind: Kind,
        job: &dyn Job<T, Self>,
    ) -> Result<T, BackendError> {
        if kind != Kind::Report {
            return at_once(job.begin(self));
        }
        let connection = self.raw();
        let _snapshot = connection.unchecked_transaction()?;
        at_once(job.begin(self))
    }

    fn rows(&self, statement: &Statement, values: &[Value]) -> Result<Vec<Row>, BackendError> {
        let connection = self.raw();
        let mut prepared = connection.prepare_cached(statement.text(Engine::Sqlite))?;
        let names = statement.names(|| prepared.column_names().map(str::to_owned).collect());
        let mut found = prepared.query(params_from_iter(values))?;
        let mut rows = Vec::new();
        while let Some(row) = found.next()? {
            let values = (0..names.len()).map(|column| row.get_ref(column).map(read));
            let values = values.collect::<rusqlite::Result<_>>()?;
            rows.push(Row::new(Arc::clone(&names), values));
        }
        Ok(rows)
    }

    fn change(&self, statement: &Statement, values: &[Value]) -> Result<u64, BackendError> {
        let connection = self.raw();
        let mut statement = connection.prepare_cached(statement.text(Engine::Sqlite))?;
        Ok(statement.execute(params_from_iter(values))? as u64)
    }
}

impl Sql for SqliteConn {
    type Failure = rusqlite::Error;

    const ENGINE: Engine = Engine::Sqlite;

    fn query(
        &self,
        statement: &Statement,
        values: &[Value],
    ) -> impl Future<Output = Outcome<Vec<Row>, Self>> + Send {
        ready(self.rows(statement, values))
    }

    fn execute(
        &self,
        statement: &Statement,
        values: &[Value],
    ) -> impl Future<Output = Outcome<u64, Self>> + Send {
        ready(self.change(statement, values))
    }

    fn is_taken(failure: &rusqlite::Error) -> bool {
        backend_error::is_taken(failure)
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Owned(Owned::Null),
            Self::Integer(number) => ToSqlOutput::Owned(Owned::Integer(*number)),
            Self::Bool(value) => ToSqlOutput::Owned(Owned::Integer((*value).into())),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Self::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
            Self::Id(bits) => ToSqlOutput::Owned(Owned::Blob(bits.to_be_bytes().to_vec())),
            Self::Bits(bits) => ToSqlOutput::Owned(Owned::Blob(bits.to_be_bytes().to_vec())),
            Self::Integers(numbers) => ToSqlOutput::Owned(Owned::Text(json(numbers))),
            Self::Ids(ids) => {
                let digits = ids.iter().map(|bits| format!("{bits:032x}"));
                ToSqlOutput::Owned(Owned::Text(json(&digits.collect::<Vec<_>>())))
            }
            Self::Texts(texts) => ToSqlOutput::Owned(Owned::Text(json(texts))),
        })
    }
}

/// Reads a column. Neither a floating number nor a text that is not UTF-8 is in any schema: such a
/// value is none that a reader takes.
fn read(column: ValueRef<'_>) -> Value {
    match column {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Texts(vec![number.to_string()]),
        ValueRef::Text(text) => match std::str::from_utf8(text) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(_) => Value::Bytes(text.to_vec()),
        },
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
    }
}
