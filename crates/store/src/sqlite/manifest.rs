//! Instances, and the manifest of sealed files, in SQL.

use model::{InstanceId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::backend_error::{BackendError, unique};
use super::convert::{
    count, counted, id, read_count, read_id, read_optional_time, read_time, rows,
};
use crate::error::Error;
use crate::ledger::{InstanceState, SealIntent, SealedFile};

/// The columns in the order that [`read_instance`] reads.
const INSTANCE: &str = "id, number, node, started_at, finished_at";
/// The columns in the order that [`read_file`] reads.
const FILE: &str = "instance, lane, start, through, name, bytes, records, calls, hash, previous, first_started_at, \
    last_started_at, sealed_at, removed_at";

// === instances ===

pub(super) fn begin_instance(
    connection: &Connection,
    instance: InstanceId,
    node: &str,
    started_at: Timestamp,
) -> Result<(), BackendError> {
    let sql = "INSERT INTO instances (id, node, started_at, number)
        SELECT ?1, ?2, ?3, coalesce(max(number), 0) + 1 FROM instances WHERE true ON CONFLICT DO NOTHING";
    connection.prepare_cached(sql)?.execute(params![
        id(instance.as_u128()),
        node,
        started_at.micros()
    ])?;
    Ok(())
}

pub(super) fn instances(connection: &Connection) -> Result<Vec<InstanceState>, BackendError> {
    let sql = format!("SELECT {INSTANCE} FROM instances ORDER BY started_at, id");
    let mut statement = connection.prepare_cached(&sql)?;
    let states = statement.query_map([], read_instance)?;
    Ok(states.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn instances_after(
    connection: &Connection,
    after: u64,
    limit: usize,
) -> Result<Vec<InstanceState>, BackendError> {
    let sql =
        format!("SELECT {INSTANCE} FROM instances WHERE number > ?1 ORDER BY number LIMIT ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let states = statement.query_map(params![count(after), rows(limit) as i64], read_instance)?;
    Ok(states.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn instances_numbered(
    connection: &Connection,
    numbers: &[u64],
) -> Result<Vec<InstanceState>, BackendError> {
    let sql = format!("SELECT {INSTANCE} FROM instances WHERE number = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut states = Vec::new();
    for number in numbers {
        let state = statement.query_row(params![count(*number)], read_instance);
        states.extend(state.optional()?);
    }
    states.sort_unstable_by_key(|state| state.number);
    Ok(states)
}

fn read_instance(row: &Row<'_>) -> rusqlite::Result<InstanceState> {
    Ok(InstanceState {
        id: InstanceId::from_u128(read_id(row, 0)?),
        number: read_count(row, 1)?,
        node: row.get(2)?,
        started_at: read_time(row, 3)?,
        finished_at: read_optional_time(row, 4)?,
    })
}

pub(super) fn finish_instance(
    connection: &Connection,
    instance: InstanceId,
    at: Timestamp,
) -> Result<(), BackendError> {
    connection
        .prepare_cached(
            "UPDATE instances SET finished_at = coalesce(finished_at, ?2) WHERE id = ?1",
        )?
        .execute(params![id(instance.as_u128()), at.micros()])?;
    Ok(())
}

// === sealing ===

pub(super) fn intend(connection: &Connection, intent: &SealIntent) -> Result<(), BackendError> {
    let sealed = sealed(connection, intent)?;
    if intent.from < sealed {
        return match committed(connection, intent)? {
            true => Ok(()),
            false => Err(elsewhere(intent.from, sealed)),
        };
    }
    let sql = "INSERT INTO seal_intents (instance, lane, start, through) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT (instance, lane, start) DO UPDATE SET through = through RETURNING through";
    let through: i64 = connection.prepare_cached(sql)?.query_row(
        params![
            id(intent.instance.as_u128()),
            intent.lane,
            count(intent.from),
            count(intent.through)
        ],
        |row| row.get(0),
    )?;
    if counted(through) != intent.through {
        return Err(elsewhere(intent.through, counted(through)));
    }
    Ok(())
}

pub(super) fn intents(
    connection: &Connection,
    instance: InstanceId,
) -> Result<Vec<SealIntent>, BackendError> {
    let sql = "SELECT instance, lane, start, through FROM seal_intents WHERE instance = ?1 ORDER BY lane, start";
    let intents = connection
        .prepare_cached(sql)?
        .query_map([id(instance.as_u128())], read_range)?
        .collect::<rusqlite::Result<_>>()?;
    Ok(intents)
}

pub(super) fn commit(connection: &Connection, file: &SealedFile) -> Result<(), BackendError> {
    let range = &file.range;
    let sealed = sealed(connection, range)?;
    if sealed == range.through {
        return Ok(());
    }
    if sealed != range.from {
        return Err(elsewhere(range.from, sealed));
    }
    insert_file(connection, file)?;
    let place = params![id(range.instance.as_u128()), range.lane, count(range.from)];
    connection
        .prepare_cached(
            "DELETE FROM seal_intents WHERE instance = ?1 AND lane = ?2 AND start = ?3",
        )?
        .execute(place)?;
    let sql = "INSERT INTO lanes (instance, lane, sealed) VALUES (?1, ?2, ?3)
        ON CONFLICT (instance, lane) DO UPDATE SET sealed = excluded.sealed";
    connection.prepare_cached(sql)?.execute(params![
        id(range.instance.as_u128()),
        range.lane,
        count(range.through)
    ])?;
    Ok(())
}

fn elsewhere(expected: u64, found: u64) -> BackendError {
    BackendError::Refused(Error::Position { expected, found })
}

fn sealed(connection: &Connection, range: &SealIntent) -> Result<u64, BackendError> {
    let sealed: Option<i64> = connection
        .prepare_cached("SELECT sealed FROM lanes WHERE instance = ?1 AND lane = ?2")?
        .query_row(params![id(range.instance.as_u128()), range.lane], |row| {
            row.get(0)
        })
        .optional()?;
    Ok(counted(sealed.unwrap_or(0)))
}

fn committed(connection: &Connection, range: &SealIntent) -> Result<bool, BackendError> {
    let sql = "SELECT 1 FROM sealed_files WHERE instance = ?1 AND lane = ?2 AND start = ?3 AND through = ?4";
    let committed = connection.prepare_cached(sql)?.exists(params![
        id(range.instance.as_u128()),
        range.lane,
        count(range.from),
        count(range.through)
    ])?;
    Ok(committed)
}

fn insert_file(connection: &Connection, file: &SealedFile) -> Result<(), BackendError> {
    let sql = format!(
        "INSERT INTO sealed_files ({FILE}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)"
    );
    let SealedFile { range, .. } = file;
    connection
        .prepare_cached(&sql)?
        .execute(params![
            id(range.instance.as_u128()),
            range.lane,
            count(range.from),
            count(range.through),
            file.name,
            count(file.bytes),
            count(file.records),
            count(file.calls),
            file.hash,
            file.previous,
            file.first_started_at.micros(),
            file.last_started_at.micros(),
            file.sealed_at.micros(),
            file.removed_at.map(Timestamp::micros),
        ])
        .map_err(|error| unique(error, "a sealed file with this name or range"))?;
    Ok(())
}

// === the manifest ===

pub(super) fn files(
    connection: &Connection,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
) -> Result<Vec<SealedFile>, BackendError> {
    let sql = format!(
        "SELECT {FILE} FROM sealed_files WHERE last_started_at >= ?1 AND first_started_at < ?2
        ORDER BY instance, lane, start"
    );
    let from = from.map_or(i64::MIN, Timestamp::micros);
    let to = to.map_or(i64::MAX, Timestamp::micros);
    read_files(connection, &sql, [from, to])
}

pub(super) fn lane_files(
    connection: &Connection,
    (instance, lane): (InstanceId, u32),
    after: u64,
    limit: usize,
) -> Result<Vec<SealedFile>, BackendError> {
    let sql = format!(
        "SELECT {FILE} FROM sealed_files WHERE instance = ?1 AND lane = ?2 AND through > ?3 AND start >= coalesce(
           (SELECT max(start) FROM sealed_files WHERE instance = ?1 AND lane = ?2 AND start <= ?3), 0)
         ORDER BY start LIMIT ?4"
    );
    let values = params![
        id(instance.as_u128()),
        lane,
        count(after),
        rows(limit) as i64
    ];
    read_files(connection, &sql, values)
}

pub(super) fn old_files(
    connection: &Connection,
    before: Timestamp,
    limit: usize,
) -> Result<Vec<SealedFile>, BackendError> {
    let sql = format!(
        "SELECT {FILE} FROM sealed_files JOIN lanes USING (instance, lane)
         WHERE removed_at IS NULL AND last_started_at < ?1 AND rolled >= through
         ORDER BY last_started_at, instance, lane, start LIMIT ?2"
    );
    read_files(
        connection,
        &sql,
        params![before.micros(), rows(limit) as i64],
    )
}

pub(super) fn files_named(
    connection: &Connection,
    names: &[String],
) -> Result<Vec<SealedFile>, BackendError> {
    let sql = format!("SELECT {FILE} FROM sealed_files WHERE name = ?1");
    let mut files = Vec::new();
    for name in names {
        files.extend(read_files(connection, &sql, [name])?);
    }
    Ok(files)
}

fn read_files(
    connection: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
) -> Result<Vec<SealedFile>, BackendError> {
    let files = connection
        .prepare_cached(sql)?
        .query_map(values, read_file)?
        .collect::<rusqlite::Result<_>>()?;
    Ok(files)
}

pub(super) fn mark_removed(
    connection: &Connection,
    name: &str,
    at: Timestamp,
) -> Result<(), BackendError> {
    connection
        .prepare_cached(
            "UPDATE sealed_files SET removed_at = coalesce(removed_at, ?2) WHERE name = ?1",
        )?
        .execute(params![name, at.micros()])?;
    Ok(())
}

pub(super) fn replace(connection: &Connection, files: &[SealedFile]) -> Result<(), BackendError> {
    connection.execute_batch("DELETE FROM sealed_files; UPDATE lanes SET sealed = 0;")?;
    for file in files {
        insert_file(connection, file)?;
    }
    connection.execute_batch(
        "INSERT INTO lanes (instance, lane, sealed)
           SELECT instance, lane, max(through) FROM sealed_files WHERE true GROUP BY instance, lane
           ON CONFLICT (instance, lane) DO UPDATE SET sealed = excluded.sealed;
         DELETE FROM seal_intents WHERE start < coalesce(
           (SELECT sealed FROM lanes l WHERE l.instance = seal_intents.instance AND l.lane = seal_intents.lane), 0);",
    )?;
    Ok(())
}

fn read_range(row: &Row<'_>) -> rusqlite::Result<SealIntent> {
    Ok(SealIntent {
        instance: InstanceId::from_u128(read_id(row, 0)?),
        lane: row.get(1)?,
        from: read_count(row, 2)?,
        through: read_count(row, 3)?,
    })
}

fn read_file(row: &Row<'_>) -> rusqlite::Result<SealedFile> {
    Ok(SealedFile {
        range: read_range(row)?,
        name: row.get(4)?,
        bytes: read_count(row, 5)?,
        records: read_count(row, 6)?,
        calls: read_count(row, 7)?,
        hash: row.get(8)?,
        previous: row.get(9)?,
        first_started_at: read_time(row, 10)?,
        last_started_at: read_time(row, 11)?,
        sealed_at: read_time(row, 12)?,
        removed_at: read_optional_time(row, 13)?,
    })
}
