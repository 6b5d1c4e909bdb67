//! Instances, and the manifest of sealed files, in SQL.

use model::{InstanceId, Timestamp};
use tokio_postgres::Row;
use uuid::Uuid;

use super::backend_error::{BackendError, unique};
use super::conn::{PooledConn, Value};
use super::convert::{
    count, id, read, read_bytes, read_count, read_id, read_number, read_optional_time, read_time,
    rows,
};
use crate::error::Error;
use crate::ledger::{InstanceState, SealIntent, SealedFile};

/// The columns in the order that [`read_instances`] reads.
const INSTANCE: &str = "id, number, node, started_at, finished_at";
/// The columns in the order that [`read_file`] reads.
const FILE: &str = "instance, lane, start, through, name, bytes, records, calls, hash, previous, first_started_at, \
    last_started_at, sealed_at, removed_at";

// === instances ===

pub(super) async fn instances(conn: &PooledConn) -> Result<Vec<InstanceState>, BackendError> {
    let sql = format!("SELECT {INSTANCE} FROM instances ORDER BY started_at, id");
    read_instances(&conn.rows(&sql, &[]).await?)
}

pub(super) async fn instances_after(
    conn: &PooledConn,
    after: u64,
    limit: usize,
) -> Result<Vec<InstanceState>, BackendError> {
    let sql =
        format!("SELECT {INSTANCE} FROM instances WHERE number > $1 ORDER BY number LIMIT $2");
    read_instances(
        &conn
            .rows(&sql, &[&count(after), &(rows(limit) as i64)])
            .await?,
    )
}

pub(super) async fn instances_numbered(
    conn: &PooledConn,
    numbers: &[u64],
) -> Result<Vec<InstanceState>, BackendError> {
    let sql = format!("SELECT {INSTANCE} FROM instances WHERE number = ANY ($1) ORDER BY number");
    let numbers: Vec<_> = numbers.iter().copied().map(count).collect();
    read_instances(&conn.rows(&sql, &[&numbers]).await?)
}

fn read_instances(rows: &[Row]) -> Result<Vec<InstanceState>, BackendError> {
    let state = |row: &Row| {
        Ok(InstanceState {
            id: InstanceId::from_u128(read_id(row, 0)?),
            number: read_count(row, 1)?,
            node: read(row, 2)?,
            started_at: read_time(row, 3)?,
            finished_at: read_optional_time(row, 4)?,
        })
    };
    rows.iter().map(state).collect()
}

/// Finishes an instance, and settles the leases that it took after it was settled before: nobody
/// would settle them later.
pub(super) async fn finish_instance(
    conn: &PooledConn,
    instance: InstanceId,
    at: Timestamp,
) -> Result<(), BackendError> {
    let instance = id(instance.as_u128());
    conn.row(
        "SELECT FROM instances WHERE id = $1 FOR UPDATE",
        &[&instance],
    )
    .await?;
    let sql = "UPDATE instances SET finished_at = coalesce(finished_at, $2) WHERE id = $1";
    if conn.change(sql, &[&instance, &at.micros()]).await? > 0 {
        conn.row("SELECT settle_units($1)", &[&instance]).await?;
    }
    Ok(())
}

// === sealing ===

pub(super) async fn intend(conn: &PooledConn, intent: &SealIntent) -> Result<(), BackendError> {
    let sealed = sealed(conn, intent).await?;
    if intent.from < sealed {
        return match committed(conn, intent).await? {
            true => Ok(()),
            false => Err(elsewhere(intent.from, sealed)),
        };
    }
    let sql =
        "INSERT INTO seal_intents AS s (instance, lane, start, through) VALUES ($1, $2, $3, $4)
        ON CONFLICT (instance, lane, start) DO UPDATE SET through = s.through RETURNING through";
    let (instance, lane) = place(intent);
    let row = conn
        .row(
            sql,
            &[
                &instance,
                &lane,
                &count(intent.from),
                &count(intent.through),
            ],
        )
        .await?;
    let through = row.map_or(Ok(intent.through), |row| read_count(&row, 0))?;
    if through != intent.through {
        return Err(elsewhere(intent.through, through));
    }
    Ok(())
}

pub(super) async fn intents(
    conn: &PooledConn,
    instance: InstanceId,
) -> Result<Vec<SealIntent>, BackendError> {
    let sql = "SELECT instance, lane, start, through FROM seal_intents WHERE instance = $1 ORDER BY lane, start";
    let rows = conn.rows(sql, &[&id(instance.as_u128())]).await?;
    rows.iter().map(read_range).collect()
}

pub(super) async fn commit(conn: &PooledConn, file: &SealedFile) -> Result<(), BackendError> {
    let range = &file.range;
    let sealed = sealed(conn, range).await?;
    if sealed == range.through {
        return Ok(());
    }
    if sealed != range.from {
        return Err(elsewhere(range.from, sealed));
    }
    insert_file(conn, file).await?;
    let (instance, lane) = place(range);
    let sql = "DELETE FROM seal_intents WHERE instance = $1 AND lane = $2 AND start = $3";
    conn.change(sql, &[&instance, &lane, &count(range.from)])
        .await?;
    let sql = "UPDATE lanes SET sealed = $3 WHERE instance = $1 AND lane = $2";
    conn.change(sql, &[&instance, &lane, &count(range.through)])
        .await?;
    Ok(())
}

fn place(range: &SealIntent) -> (Uuid, i64) {
    (id(range.instance.as_u128()), i64::from(range.lane))
}

fn elsewhere(expected: u64, found: u64) -> BackendError {
    BackendError::Refused(Error::Position { expected, found })
}

/// Returns the sealed position of a lane, which nobody else moves until this transaction is over.
async fn sealed(conn: &PooledConn, range: &SealIntent) -> Result<u64, BackendError> {
    let (instance, lane) = place(range);
    let sql = "INSERT INTO lanes (instance, lane) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    conn.change(sql, &[&instance, &lane]).await?;
    let sql = "SELECT sealed FROM lanes WHERE instance = $1 AND lane = $2 FOR UPDATE";
    let row = conn.row(sql, &[&instance, &lane]).await?;
    row.map_or(Ok(0), |row| read_count(&row, 0))
}

async fn committed(conn: &PooledConn, range: &SealIntent) -> Result<bool, BackendError> {
    let sql = "SELECT FROM sealed_files WHERE instance = $1 AND lane = $2 AND start = $3 AND through = $4";
    let (instance, lane) = place(range);
    let row = conn
        .row(
            sql,
            &[&instance, &lane, &count(range.from), &count(range.through)],
        )
        .await?;
    Ok(row.is_some())
}

async fn insert_file(conn: &PooledConn, file: &SealedFile) -> Result<(), BackendError> {
    let sql = format!(
        "INSERT INTO sealed_files ({FILE}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
    );
    let (instance, lane) = place(&file.range);
    conn.change(
        &sql,
        &[
            &instance,
            &lane,
            &count(file.range.from),
            &count(file.range.through),
            &file.name,
            &count(file.bytes),
            &count(file.records),
            &count(file.calls),
            &file.hash.as_slice(),
            &file.previous.as_slice(),
            &file.first_started_at.micros(),
            &file.last_started_at.micros(),
            &file.sealed_at.micros(),
            &file.removed_at.map(Timestamp::micros),
        ],
    )
    .await
    .map_err(|error| unique(error, "a sealed file with this name or range"))?;
    Ok(())
}

// === the manifest ===

pub(super) async fn files(
    conn: &PooledConn,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
) -> Result<Vec<SealedFile>, BackendError> {
    let sql = format!(
        "SELECT {FILE} FROM sealed_files WHERE last_started_at >= $1 AND first_started_at < $2
        ORDER BY instance, lane, start"
    );
    let from = from.map_or(i64::MIN, Timestamp::micros);
    let to = to.map_or(i64::MAX, Timestamp::micros);
    read_files(conn, &sql, &[&from, &to]).await
}

pub(super) async fn lane_files(
    conn: &PooledConn,
    (instance, lane): (InstanceId, u32),
    after: u64,
    limit: usize,
) -> Result<Vec<SealedFile>, BackendError> {
    let sql = format!(
        "SELECT {FILE} FROM sealed_files WHERE instance = $1 AND lane = $2 AND through > $3 AND start >= coalesce(
           (SELECT max(start) FROM sealed_files WHERE instance = $1 AND lane = $2 AND start <= $3), 0)
         ORDER BY start LIMIT $4"
    );
    let (instance, lane) = (id(instance.as_u128()), i64::from(lane));
    let values: [Value<'_>; 4] = [&instance, &lane, &count(after), &(rows(limit) as i64)];
    read_files(conn, &sql, &values).await
}

pub(super) async fn old_files(
    conn: &PooledConn,
    before: Timestamp,
    limit: usize,
) -> Result<Vec<SealedFile>, BackendError> {
    let sql = format!(
        "SELECT {FILE} FROM sealed_files JOIN lanes USING (instance, lane)
         WHERE removed_at IS NULL AND last_started_at < $1 AND rolled >= through
         ORDER BY last_started_at, instance, lane, start LIMIT $2"
    );
    read_files(conn, &sql, &[&before.micros(), &(rows(limit) as i64)]).await
}

pub(super) async fn files_named(
    conn: &PooledConn,
    names: &[String],
) -> Result<Vec<SealedFile>, BackendError> {
    let sql = format!("SELECT {FILE} FROM sealed_files WHERE name = ANY ($1)");
    read_files(conn, &sql, &[&names]).await
}

async fn read_files(
    conn: &PooledConn,
    sql: &str,
    values: &[Value<'_>],
) -> Result<Vec<SealedFile>, BackendError> {
    let rows = conn.rows(sql, values).await?;
    rows.iter().map(read_file).collect()
}

pub(super) async fn replace(conn: &PooledConn, files: &[SealedFile]) -> Result<(), BackendError> {
    conn.batch("DELETE FROM sealed_files; UPDATE lanes SET sealed = 0 WHERE sealed > 0")
        .await?;
    for file in files {
        insert_file(conn, file).await?;
    }
    conn
        .batch(
            "INSERT INTO lanes (instance, lane, sealed)
               SELECT instance, lane, max(through) FROM sealed_files GROUP BY instance, lane ORDER BY instance, lane
               ON CONFLICT (instance, lane) DO UPDATE SET sealed = excluded.sealed;
             DELETE FROM seal_intents s USING lanes l
               WHERE l.instance = s.instance AND l.lane = s.lane AND s.start < l.sealed;",
        )
        .await?;
    Ok(())
}

fn read_range(row: &Row) -> Result<SealIntent, BackendError> {
    Ok(SealIntent {
        instance: InstanceId::from_u128(read_id(row, 0)?),
        lane: read_number(row, 1)?,
        from: read_count(row, 2)?,
        through: read_count(row, 3)?,
    })
}

fn read_file(row: &Row) -> Result<SealedFile, BackendError> {
    Ok(SealedFile {
        range: read_range(row)?,
        name: read(row, 4)?,
        bytes: read_count(row, 5)?,
        records: read_count(row, 6)?,
        calls: read_count(row, 7)?,
        hash: read_bytes(row, 8)?,
        previous: read_bytes(row, 9)?,
        first_started_at: read_time(row, 10)?,
        last_started_at: read_time(row, 11)?,
        sealed_at: read_time(row, 12)?,
        removed_at: read_optional_time(row, 13)?,
    })
}
