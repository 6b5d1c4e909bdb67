//! Rollups and the positions that they stand for, in SQL.

use std::mem;

use model::usage::{UsageKey, UsageSums};
use model::{InstanceId, Money, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::convert::{count, counted, id, read_count, rows};
use super::dictionary::{Dictionary, KEY, KEY_COLUMNS, hour_number, read_key};
use super::quota;
use super::trouble::Trouble;
use crate::error::Error;
use crate::ledger::{LanePosition, RollupBatch, RollupRow};

pub(super) fn roll_up(
    connection: &Connection,
    dictionary: &mut Dictionary,
    batch: RollupBatch,
) -> Result<(), Trouble> {
    let RollupBatch {
        instance,
        lane,
        from,
        through,
        rows,
        spent,
    } = batch;
    let found = rolled(connection, instance, lane)?;
    if found != from || through < from {
        return Err(Trouble::Refused(Error::Position {
            expected: from,
            found,
        }));
    }
    for (key, sums) in rows {
        add(connection, dictionary, key, &sums)?;
    }
    quota::spend(connection, instance, &spent)?;
    let sql = "INSERT INTO lanes (instance, lane, rolled) VALUES (?1, ?2, ?3)
        ON CONFLICT (instance, lane) DO UPDATE SET rolled = excluded.rolled";
    connection.prepare_cached(sql)?.execute(params![
        id(instance.as_u128()),
        lane,
        count(through)
    ])?;
    Ok(())
}

fn rolled(connection: &Connection, instance: InstanceId, lane: u32) -> Result<u64, Trouble> {
    let rolled: Option<i64> = connection
        .prepare_cached("SELECT rolled FROM lanes WHERE instance = ?1 AND lane = ?2")?
        .query_row(params![id(instance.as_u128()), lane], |row| row.get(0))
        .optional()?;
    Ok(counted(rolled.unwrap_or(0)))
}

/// Adds sums to a row, kept within range: a sum beyond 64 bits turns into a floating number in SQLite, which `min` and
/// `max` bring back.
fn add(
    connection: &Connection,
    dictionary: &mut Dictionary,
    mut key: UsageKey,
    sums: &UsageSums,
) -> Result<(), Trouble> {
    let license = dictionary.license(connection, key.license_id.take())?;
    let hour = hour_number(mem::take(&mut key.hour));
    let kind = dictionary.kind(connection, key)?;
    let sql = "INSERT INTO rollups (hour, license, kind, calls, billable_calls, units, amount, request_bytes,
        response_bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
        ON CONFLICT (hour, license, kind) DO UPDATE SET
        calls = min(calls + excluded.calls, 9223372036854775807),
        billable_calls = min(billable_calls + excluded.billable_calls, 9223372036854775807),
        units = min(units + excluded.units, 9223372036854775807),
        amount = max(min(amount + excluded.amount, 9223372036854775807), -9223372036854775807),
        request_bytes = min(request_bytes + excluded.request_bytes, 9223372036854775807),
        response_bytes = min(response_bytes + excluded.response_bytes, 9223372036854775807)";
    connection.prepare_cached(sql)?.execute(params![
        hour,
        license,
        kind,
        count(sums.calls),
        count(sums.billable_calls),
        count(sums.units),
        sums.amount.nanos(),
        count(sums.request_bytes),
        count(sums.response_bytes),
    ])?;
    Ok(())
}

pub(super) fn replace(
    connection: &Connection,
    dictionary: &mut Dictionary,
    rows: Vec<RollupRow>,
) -> Result<(), Trouble> {
    connection.execute("DELETE FROM rollups", [])?;
    for RollupRow { key, sums } in rows {
        add(connection, dictionary, key, &sums)?;
    }
    Ok(())
}

pub(super) fn page(
    connection: &Connection,
    after: Option<u64>,
    limit: usize,
) -> Result<(Vec<RollupRow>, Option<u64>), Trouble> {
    let limit = rows(limit);
    let sql = format!(
        "SELECT {KEY}, r.calls, r.billable_calls, r.units, r.amount, r.request_bytes, r.response_bytes, r.cursor
        FROM rollups r JOIN kinds k ON k.number = r.kind LEFT JOIN license_numbers l ON l.number = r.license
        WHERE r.cursor > ?1 ORDER BY r.cursor LIMIT ?2"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let after = after.map_or(0, count);
    let mut found = statement.query(params![after, limit as i64 + 1])?;
    let mut page = Vec::new();
    let mut last = 0;
    while let Some(row) = found.next()? {
        if page.len() == limit {
            return Ok((page, Some(last)));
        }
        last = read_count(row, KEY_COLUMNS + 6)?;
        page.push(RollupRow {
            key: read_key(row)?,
            sums: read_sums(row, KEY_COLUMNS)?,
        });
    }
    Ok((page, None))
}

fn read_sums(row: &Row<'_>, first: usize) -> rusqlite::Result<UsageSums> {
    Ok(UsageSums {
        calls: read_count(row, first)?,
        billable_calls: read_count(row, first + 1)?,
        units: read_count(row, first + 2)?,
        amount: Money::from_nanos(row.get(first + 3)?),
        request_bytes: read_count(row, first + 4)?,
        response_bytes: read_count(row, first + 5)?,
    })
}

pub(super) fn positions(
    connection: &Connection,
    instance: InstanceId,
) -> Result<Vec<LanePosition>, Trouble> {
    let sql = "SELECT lane, rolled, sealed FROM lanes WHERE instance = ?1 ORDER BY lane";
    let positions = connection
        .prepare_cached(sql)?
        .query_map([id(instance.as_u128())], |row| {
            Ok(LanePosition {
                lane: row.get(0)?,
                rolled: read_count(row, 1)?,
                sealed: read_count(row, 2)?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(positions)
}

/// Hours that begin at or after a time, by number.
pub(super) fn first_hour_from(time: Timestamp) -> i64 {
    let hour = hour_number(time);
    if time == time.hour() { hour } else { hour + 1 }
}
