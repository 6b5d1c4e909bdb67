//! A connection of the pool, as the layer over both engines sees it.

use std::error::Error as StdError;
use std::sync::Arc;

use model::{AuditEntry, Clock, InstanceId, KeyHash, LicenseId, SystemClock, Timestamp};
use tokio_postgres::Client;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

use super::conn::{self, Conn, PooledConn};
use super::server::TxOptions;
use super::{PostgresStore, audit, backend_error, licenses, tokens};
use crate::error::Error;
use crate::licenses::{ChangeNumber, NewLicense};
use crate::sql::{
    Backend, BackendError, Engine, Job, Kind, Outcome, Part, Row, Sql, Statement, Twins, Value,
};

impl Backend for PostgresStore {
    type Conn = PooledConn;

    async fn carry_out<T: Send + 'static>(
        &self,
        _part: Part,
        kind: Kind,
        job: Box<dyn Job<T, PooledConn>>,
    ) -> Result<T, Error> {
        let options = match kind {
            Kind::Read | Kind::List => TxOptions::READ,
            Kind::Report => TxOptions::REPORT,
            Kind::Write | Kind::UnsyncedWrite | Kind::Batch | Kind::UnsyncedBatch => {
                TxOptions::WRITE
            }
            Kind::Repeatable => TxOptions::REPEATABLE,
            Kind::Transaction => TxOptions::TRANSACTION,
            Kind::RepeatableTransaction => TxOptions::REPEATABLE_TRANSACTION,
            Kind::Load => TxOptions::LOAD,
        };
        let begin = |conn: Conn, job: Arc<Box<dyn Job<T, PooledConn>>>| async move {
            job.begin(&conn).await
        };
        self.server.run_with(options, job, begin).await
    }

    /// A failure is ignored: the next changes try again.
    async fn after_changes(&self, last: ChangeNumber, written: u64) {
        if licenses::is_time_to_prune(last, written) {
            let prune = move |conn: Conn| async move { licenses::prune(&conn, last).await };
            if let Err(error) = self.server.run(TxOptions::WRITE, prune).await {
                tracing::debug!(%error, "old changes stay for a while");
            }
        }
    }
}

impl Sql for PooledConn {
    type Failure = tokio_postgres::Error;

    const ENGINE: Engine = Engine::Postgres;

    async fn query(&self, statement: &Statement, values: &[Value]) -> Outcome<Vec<Row>, Self> {
        let values = parameters(values);
        let found = self.rows(statement.text(Engine::Postgres), &values).await?;
        read_all(statement, &found)
    }

    async fn execute(&self, statement: &Statement, values: &[Value]) -> Outcome<u64, Self> {
        let values = parameters(values);
        let changed = self.change(statement.text(Engine::Postgres), &values);
        changed.await.map_err(BackendError::Failed)
    }

    fn is_taken(failure: &tokio_postgres::Error) -> bool {
        backend_error::is_taken(failure)
    }

    fn now(&self) -> Timestamp {
        SystemClock.now()
    }
}

impl Twins for PooledConn {
    async fn add_lines(&self, lines: &[AuditEntry]) -> Outcome<(), Self> {
        audit::add_lines(self, lines).await
    }

    async fn record_changes(
        &self,
        changes: &[(LicenseId, Option<&KeyHash>)],
    ) -> Outcome<ChangeNumber, Self> {
        licenses::record_changes(self, changes).await
    }

    async fn move_units(
        &self,
        license: LicenseId,
        units: (u32, u64),
        from: InstanceId,
        to: InstanceId,
    ) -> Outcome<bool, Self> {
        tokens::move_units(self, license, units, from, to).await
    }

    async fn create_licenses(&self, new: &[NewLicense]) -> Outcome<ChangeNumber, Self> {
        licenses::create(self, new).await
    }
}

/// A connection outside the pool reads too; nothing is written with it.
impl Sql for Client {
    type Failure = tokio_postgres::Error;

    const ENGINE: Engine = Engine::Postgres;

    async fn query(&self, statement: &Statement, values: &[Value]) -> Outcome<Vec<Row>, Self> {
        let values = parameters(values);
        let found = Client::query(self, statement.text(Engine::Postgres), &values).await?;
        read_all(statement, &found)
    }

    async fn execute(&self, statement: &Statement, values: &[Value]) -> Outcome<u64, Self> {
        let values = parameters(values);
        let changed = Client::execute(self, statement.text(Engine::Postgres), &values);
        changed.await.map_err(BackendError::Failed)
    }

    fn is_taken(failure: &tokio_postgres::Error) -> bool {
        backend_error::is_taken(failure)
    }

    fn now(&self) -> Timestamp {
        SystemClock.now()
    }
}

fn read_all(
    statement: &Statement,
    found: &[tokio_postgres::Row],
) -> Result<Vec<Row>, backend_error::BackendError> {
    let Some(first) = found.first() else {
        return Ok(Vec::new());
    };
    let columns = first.columns().iter();
    let names = statement.names(|| columns.map(|column| column.name().to_owned()).collect());
    let row = |row: &tokio_postgres::Row| {
        let values = (0..names.len()).map(|column| row.try_get(column));
        let values = values.collect::<Result<_, _>>()?;
        Ok(Row::new(Arc::clone(&names), values))
    };
    found.iter().map(row).collect()
}

fn parameters(values: &[Value]) -> Vec<conn::Value<'_>> {
    values
        .iter()
        .map(|value| value as conn::Value<'_>)
        .collect()
}

type Invalid = Box<dyn StdError + Sync + Send>;

impl ToSql for Value {
    fn to_sql(&self, column: &Type, out: &mut BytesMut) -> Result<IsNull, Invalid> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Integer(number) => match *column {
                Type::INT2 => i16::try_from(*number)?.to_sql(column, out),
                Type::INT4 => i32::try_from(*number)?.to_sql(column, out),
                _ => number.to_sql(column, out),
            },
            Self::Bool(value) => value.to_sql(column, out),
            Self::Text(text) => text.to_sql(column, out),
            Self::Bytes(bytes) => bytes.to_sql(column, out),
            Self::Id(bits) => Uuid::from_u128(*bits).to_sql(column, out),
            Self::Bits(bits) => (*bits as i64).to_sql(column, out),
            Self::Integers(numbers) => numbers.to_sql(column, out),
            Self::Ids(ids) => {
                let ids: Vec<Uuid> = ids.iter().copied().map(Uuid::from_u128).collect();
                ids.to_sql(column, out)
            }
            Self::Texts(texts) => texts.to_sql(column, out),
        }
    }

    /// The types of columns are those of the schema, which the statements are written for.
    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Value {
    fn from_sql(column: &Type, bytes: &'a [u8]) -> Result<Self, Invalid> {
        Ok(match *column {
            Type::INT2 => Self::Integer(i16::from_sql(column, bytes)?.into()),
            Type::INT4 => Self::Integer(i32::from_sql(column, bytes)?.into()),
            Type::INT8 => Self::Integer(i64::from_sql(column, bytes)?),
            Type::BOOL => Self::Bool(bool::from_sql(column, bytes)?),
            Type::BYTEA => Self::Bytes(bytes.to_vec()),
            Type::UUID => Self::Id(Uuid::from_sql(column, bytes)?.as_u128()),
            _ => Self::Text(String::from_sql(column, bytes)?),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, Invalid> {
        Ok(Self::Null)
    }

    fn accepts(column: &Type) -> bool {
        let plain = [
            Type::INT2,
            Type::INT4,
            Type::INT8,
            Type::BOOL,
            Type::BYTEA,
            Type::UUID,
        ];
        plain.contains(column) || <String as FromSql<'_>>::accepts(column)
    }
}
