//! Instances, the freeze and the manifest of sealed files, on both engines.

use std::time::Duration;

use model::{InstanceId, Timestamp};

use super::{BackendError, Engine, Outcome, Row, Sql, Statement, Value, count, rows, sql, values};
use crate::error::Error;
use crate::ledger::{InstanceState, LanePosition, SealIntent, SealedFile};
use crate::rules::seal::{Sealing, elsewhere};

/// The columns in the order that [`read_instances`] reads.
const INSTANCE: &str = "id, number, node, started_at, finished_at";
/// The columns in the order that [`read_range`] reads.
const RANGE: &str = "instance, lane, start, through";
/// The columns in the order that [`read_file`] reads.
const FILE: &str = "instance, lane, start, through, name, bytes, records, calls, hash, previous, first_started_at, \
    last_started_at, sealed_at, removed_at";

// === instances ===

pub(crate) async fn begin_instance<S: Sql>(
    sql: &S,
    instance: InstanceId,
    node: &str,
    started_at: Timestamp,
) -> Outcome<(), S> {
    // PostgreSQL numbers the instances by a trigger.
    let statement = sql!(
        postgres: "INSERT INTO instances (id, node, started_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        sqlite: "INSERT INTO instances (id, node, started_at, number)
        SELECT $1, $2, $3, coalesce(max(number), 0) + 1 FROM instances WHERE true ON CONFLICT DO NOTHING",
    );
    let values = values![instance, node, started_at];
    sql.execute(statement, &values).await.map(drop)
}

pub(crate) async fn instances<S: Sql>(sql: &S) -> Outcome<Vec<InstanceState>, S> {
    let statement = sql!("SELECT {INSTANCE} FROM instances ORDER BY started_at, id");
    read_instances(sql, statement, &[]).await
}

pub(crate) async fn instances_after<S: Sql>(
    sql: &S,
    after: u64,
    limit: usize,
) -> Outcome<Vec<InstanceState>, S> {
    let statement =
        sql!("SELECT {INSTANCE} FROM instances WHERE number > $1 ORDER BY number LIMIT $2");
    read_instances(sql, statement, &values![count(after), rows(limit)]).await
}

pub(crate) async fn instances_numbered<S: Sql>(
    sql: &S,
    numbers: &[u64],
) -> Outcome<Vec<InstanceState>, S> {
    let statement =
        sql!("SELECT {INSTANCE} FROM instances WHERE number = ANY ($1) ORDER BY number");
    let numbers = numbers.iter().copied().map(count);
    read_instances(sql, statement, &[Value::Integers(numbers.collect())]).await
}

async fn read_instances<S: Sql>(
    sql: &S,
    statement: &Statement,
    values: &[Value],
) -> Outcome<Vec<InstanceState>, S> {
    let read = |row: &Row| {
        Ok(InstanceState {
            id: row.get(0)?,
            number: row.count(1)?,
            node: row.get(2)?,
            started_at: row.get(3)?,
            finished_at: row.get(4)?,
        })
    };
    let found = sql.query(statement, values).await?;
    Ok(found.iter().map(read).collect::<Result<_, Error>>()?)
}

/// Finishes an instance. PostgreSQL settles the leases that it took after it was settled before:
/// nobody would settle them later.
pub(crate) async fn finish_instance<S: Sql>(
    sql: &S,
    instance: InstanceId,
    at: Timestamp,
) -> Outcome<(), S> {
    if S::ENGINE == Engine::Postgres {
        let statement = sql!("SELECT 1 FROM instances WHERE id = $1 FOR UPDATE");
        sql.query(statement, &values![instance]).await?;
    }
    let statement =
        sql!("UPDATE instances SET finished_at = coalesce(finished_at, $2) WHERE id = $1");
    let finished = sql.execute(statement, &values![instance, at]).await?;
    if S::ENGINE == Engine::Postgres && finished > 0 {
        sql.execute(sql!("SELECT settle_units($1)"), &values![instance])
            .await?;
    }
    Ok(())
}

pub(crate) async fn positions<S: Sql>(
    sql: &S,
    instance: InstanceId,
) -> Outcome<Vec<LanePosition>, S> {
    let statement =
        sql!("SELECT lane, rolled, sealed FROM lanes WHERE instance = $1 ORDER BY lane");
    let read = |row: &Row| {
        Ok(LanePosition {
            lane: row.get(0)?,
            rolled: row.count(1)?,
            sealed: row.count(2)?,
        })
    };
    let found = sql.query(statement, &values![instance]).await?;
    Ok(found.iter().map(read).collect::<Result<_, Error>>()?)
}

// === sealing ===

pub(crate) async fn intend<S: Sql>(sql: &S, intent: &SealIntent) -> Outcome<(), S> {
    let sealed = sealed(sql, intent).await?;
    if intent.from < sealed {
        return match is_committed(sql, intent).await? {
            true => Ok(()),
            false => Err(elsewhere(intent.from, sealed).into()),
        };
    }
    let statement = sql!(
        "INSERT INTO seal_intents AS s ({RANGE}) VALUES ($1, $2, $3, $4)
        ON CONFLICT (instance, lane, start) DO UPDATE SET through = s.through RETURNING through"
    );
    let row = sql.query_opt(statement, &range(intent)).await?;
    let through = row.map_or(Ok(intent.through), |row| row.count(0))?;
    if through != intent.through {
        return Err(elsewhere(intent.through, through).into());
    }
    Ok(())
}

pub(crate) async fn intents<S: Sql>(sql: &S, instance: InstanceId) -> Outcome<Vec<SealIntent>, S> {
    let statement =
        sql!("SELECT {RANGE} FROM seal_intents WHERE instance = $1 ORDER BY lane, start");
    let found = sql.query(statement, &values![instance]).await?;
    Ok(found.iter().map(read_range).collect::<Result<_, _>>()?)
}

pub(crate) async fn commit<S: Sql>(sql: &S, file: &SealedFile) -> Outcome<(), S> {
    let SealedFile { range, .. } = file;
    match Sealing::done(range, sealed(sql, range).await?) {
        Sealing::Behind => return Ok(()),
        Sealing::Refused(error) => return Err(BackendError::Refused(error)),
        Sealing::Ahead => {}
    }
    insert_file(sql, file).await?;
    let statement =
        sql!("DELETE FROM seal_intents WHERE instance = $1 AND lane = $2 AND start = $3");
    let values = values![range.instance, range.lane, count(range.from)];
    sql.execute(statement, &values).await?;
    let statement = sql!(
        "INSERT INTO lanes (instance, lane, sealed) VALUES ($1, $2, $3)
        ON CONFLICT (instance, lane) DO UPDATE SET sealed = excluded.sealed"
    );
    let values = values![range.instance, range.lane, count(range.through)];
    sql.execute(statement, &values).await.map(drop)
}

/// Returns the sealed position of a lane, which nobody else moves until this transaction is over.
async fn sealed<S: Sql>(sql: &S, range: &SealIntent) -> Outcome<u64, S> {
    let lane = values![range.instance, range.lane];
    if S::ENGINE == Engine::Postgres {
        // Only a row that is there can be locked.
        let statement =
            sql!("INSERT INTO lanes (instance, lane) VALUES ($1, $2) ON CONFLICT DO NOTHING");
        sql.execute(statement, &lane).await?;
    }
    let statement = sql!("SELECT sealed FROM lanes WHERE instance = $1 AND lane = $2 FOR UPDATE");
    let row = sql.query_opt(statement, &lane).await?;
    Ok(row.map_or(Ok(0), |row| row.count(0))?)
}

async fn is_committed<S: Sql>(sql: &S, intent: &SealIntent) -> Outcome<bool, S> {
    let statement = sql!(
        "SELECT 1 FROM sealed_files WHERE instance = $1 AND lane = $2 AND start = $3 AND through = $4"
    );
    let row = sql.query_opt(statement, &range(intent)).await?;
    Ok(row.is_some())
}

fn range(range: &SealIntent) -> [Value; 4] {
    values![
        range.instance,
        range.lane,
        count(range.from),
        count(range.through),
    ]
}

async fn insert_file<S: Sql>(sql: &S, file: &SealedFile) -> Outcome<(), S> {
    let statement = sql!(
        "INSERT INTO sealed_files ({FILE}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
    );
    let mut values = range(&file.range).to_vec();
    values.extend(values![
        &file.name,
        count(file.bytes),
        count(file.records),
        count(file.calls),
        &file.hash,
        &file.previous,
        file.first_started_at,
        file.last_started_at,
        file.sealed_at,
        file.removed_at,
    ]);
    sql.insert(statement, &values, "a sealed file with this name or range")
        .await
}

// === the manifest ===

pub(crate) async fn files<S: Sql>(
    sql: &S,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
) -> Outcome<Vec<SealedFile>, S> {
    let statement = sql!(
        "SELECT {FILE} FROM sealed_files WHERE last_started_at >= $1 AND first_started_at < $2
        ORDER BY instance, lane, start"
    );
    let from = from.map_or(i64::MIN, Timestamp::micros);
    let to = to.map_or(i64::MAX, Timestamp::micros);
    read_files(sql, statement, &values![from, to]).await
}

pub(crate) async fn lane_files<S: Sql>(
    sql: &S,
    (instance, lane): (InstanceId, u32),
    after: u64,
    limit: usize,
) -> Outcome<Vec<SealedFile>, S> {
    let statement = sql!(
        "SELECT {FILE} FROM sealed_files WHERE instance = $1 AND lane = $2 AND through > $3 AND start >= coalesce(
          (SELECT max(start) FROM sealed_files WHERE instance = $1 AND lane = $2 AND start <= $3), 0)
        ORDER BY start LIMIT $4"
    );
    let values = values![instance, lane, count(after), rows(limit)];
    read_files(sql, statement, &values).await
}

pub(crate) async fn old_files<S: Sql>(
    sql: &S,
    before: Timestamp,
    limit: usize,
) -> Outcome<Vec<SealedFile>, S> {
    let statement = sql!(
        "SELECT {FILE} FROM sealed_files JOIN lanes USING (instance, lane)
        WHERE removed_at IS NULL AND last_started_at < $1 AND rolled >= through
        ORDER BY last_started_at, instance, lane, start LIMIT $2"
    );
    read_files(sql, statement, &values![before, rows(limit)]).await
}

pub(crate) async fn files_named<S: Sql>(sql: &S, names: &[String]) -> Outcome<Vec<SealedFile>, S> {
    let statement = sql!("SELECT {FILE} FROM sealed_files WHERE name = ANY ($1)");
    read_files(sql, statement, &[Value::Texts(names.to_vec())]).await
}

async fn read_files<S: Sql>(
    sql: &S,
    statement: &Statement,
    values: &[Value],
) -> Outcome<Vec<SealedFile>, S> {
    let found = sql.query(statement, values).await?;
    Ok(found.iter().map(read_file).collect::<Result<_, _>>()?)
}

/// Marks a file as removed; in PostgreSQL its bytes may be in the store, and go with it.
pub(crate) async fn mark_removed<S: Sql>(sql: &S, name: &str, at: Timestamp) -> Outcome<(), S> {
    let statement =
        sql!("UPDATE sealed_files SET removed_at = coalesce(removed_at, $2) WHERE name = $1");
    let marked = sql.execute(statement, &values![name, at]).await?;
    if S::ENGINE == Engine::Postgres && marked > 0 {
        let statement = sql!("DELETE FROM sealed_bytes WHERE name = $1");
        sql.execute(statement, &values![name]).await?;
    }
    Ok(())
}

pub(crate) async fn replace<S: Sql>(sql: &S, files: &[SealedFile]) -> Outcome<(), S> {
    sql.execute(sql!("DELETE FROM sealed_files"), &[]).await?;
    sql.execute(sql!("UPDATE lanes SET sealed = 0 WHERE sealed > 0"), &[])
        .await?;
    for file in files {
        insert_file(sql, file).await?;
    }
    let lanes = sql!(
        "INSERT INTO lanes (instance, lane, sealed)
        SELECT instance, lane, max(through) FROM sealed_files WHERE true
        GROUP BY instance, lane ORDER BY instance, lane
        ON CONFLICT (instance, lane) DO UPDATE SET sealed = excluded.sealed"
    );
    sql.execute(lanes, &[]).await?;
    let intents = sql!(
        "DELETE FROM seal_intents WHERE start < coalesce((SELECT sealed FROM lanes l
        WHERE l.instance = seal_intents.instance AND l.lane = seal_intents.lane), 0)"
    );
    sql.execute(intents, &[]).await.map(drop)
}

fn read_range(row: &Row) -> Result<SealIntent, Error> {
    Ok(SealIntent {
        instance: row.get(0)?,
        lane: row.get(1)?,
        from: row.count(2)?,
        through: row.count(3)?,
    })
}

fn read_file(row: &Row) -> Result<SealedFile, Error> {
    Ok(SealedFile {
        range: read_range(row)?,
        name: row.get(4)?,
        bytes: row.count(5)?,
        records: row.count(6)?,
        calls: row.count(7)?,
        hash: row.get(8)?,
        previous: row.get(9)?,
        first_started_at: row.get(10)?,
        last_started_at: row.get(11)?,
        sealed_at: row.get(12)?,
        removed_at: row.get(13)?,
    })
}

// === the freeze ===

pub(crate) async fn begin_freeze<S: Sql>(
    sql: &S,
    by: InstanceId,
    lasts: Duration,
) -> Outcome<bool, S> {
    let statement = sql!(
        postgres: "INSERT INTO standstill AS s (instance, until)
        VALUES ($1, clock_timestamp() + $2::bigint * interval '1 millisecond')
        ON CONFLICT (one) DO UPDATE SET instance = excluded.instance, until = excluded.until
        WHERE s.instance = excluded.instance OR s.until <= clock_timestamp()",
        sqlite: "INSERT INTO standstill AS s (one, instance, until)
        VALUES (1, $1, {MILLISECONDS} + $2)
        ON CONFLICT (one) DO UPDATE SET instance = excluded.instance, until = excluded.until
        WHERE s.instance = excluded.instance OR s.until <= {MILLISECONDS}",
    );
    let lasts = i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX / 2);
    Ok(sql.execute(statement, &values![by, lasts]).await? == 1)
}

/// The time in milliseconds, as SQL for SQLite.
const MILLISECONDS: &str = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";

pub(crate) async fn frozen_by<S: Sql>(sql: &S) -> Outcome<Option<InstanceId>, S> {
    let statement = sql!(
        postgres: "SELECT instance FROM standstill WHERE until > clock_timestamp()",
        sqlite: "SELECT instance FROM standstill WHERE until > {MILLISECONDS}",
    );
    let row = sql.query_opt(statement, &[]).await?;
    Ok(row.map(|row| row.get(0)).transpose()?)
}

pub(crate) async fn end_freeze<S: Sql>(sql: &S, by: InstanceId) -> Outcome<(), S> {
    let statement = sql!("DELETE FROM standstill WHERE instance = $1");
    sql.execute(statement, &values![by]).await.map(drop)
}
