//! Rollups and the positions up to which they count, in SQL.

use std::mem;

use model::usage::{UsageKey, UsageSums};
use model::{InstanceId, Money, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::backend_error::BackendError;
use super::convert::{count, counted, id, read_count, rows};
use super::dictionary::{Dictionary, KEY, KEY_COLUMNS, quarter_number, quarter_start, read_key};
use super::quota;
use crate::error::Error;
use crate::ledger::{RollupBatch, RollupRow};
use crate::sql::usage::AMOUNT_BASE;

pub(super) fn roll_up(
    connection: &Connection,
    dictionary: &mut Dictionary,
    batch: RollupBatch,
) -> Result<(), BackendError> {
    let RollupBatch {
        instance,
        lane,
        from,
        through,
        rows,
        spent,
        ..
    } = batch;
    let found = rolled(connection, instance, lane)?;
    if found != from || through < from {
        return Err(BackendError::Refused(Error::Position {
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

fn rolled(connection: &Connection, instance: InstanceId, lane: u32) -> Result<u64, BackendError> {
    let rolled: Option<i64> = connection
        .prepare_cached("SELECT rolled FROM lanes WHERE instance = ?1 AND lane = ?2")?
        .query_row(params![id(instance.as_u128()), lane], |row| row.get(0))
        .optional()?;
    Ok(counted(rolled.unwrap_or(0)))
}

/// Adds sums to a row, kept within range: a sum beyond 64 bits turns into a floating number in
/// SQLite, which `min` brings back.
fn add(
    connection: &Connection,
    dictionary: &mut Dictionary,
    mut key: UsageKey,
    sums: &UsageSums,
) -> Result<(), BackendError> {
    let license = dictionary.license(connection, key.license_id.take())?;
    let quarter = quarter_number(mem::take(&mut key.start));
    let kind = dictionary.kind(connection, key)?;
    // The highest part of an amount has room for nine times the greatest one.
    let sql = "INSERT INTO rollups (quarter, license, kind, calls, billable_calls, units, amount_high, amount, request_bytes,
        response_bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
        ON CONFLICT (quarter, license, kind) DO UPDATE SET
        calls = min(calls + excluded.calls, 9223372036854775807),
        billable_calls = min(billable_calls + excluded.billable_calls, 9223372036854775807),
        units = min(units + excluded.units, 9223372036854775807),
        amount_high = max(min(amount_high + excluded.amount_high + (amount + excluded.amount) / 1000000000000000000,
          1000000000000000000), -1000000000000000000),
        amount = (amount + excluded.amount) % 1000000000000000000,
        request_bytes = min(request_bytes + excluded.request_bytes, 9223372036854775807),
        response_bytes = min(response_bytes + excluded.response_bytes, 9223372036854775807)";
    let nanos = sums.amount.nanos();
    connection.prepare_cached(sql)?.execute(params![
        quarter,
        license,
        kind,
        count(sums.calls),
        count(sums.billable_calls),
        count(sums.units),
        half(nanos / AMOUNT_BASE),
        half(nanos % AMOUNT_BASE),
        count(sums.request_bytes),
        count(sums.response_bytes),
    ])?;
    Ok(())
}

/// Returns a part of an amount, which fits by the range of amounts.
fn half(part: i128) -> i64 {
    i64::try_from(part).expect("a part of an amount has 64 bits")
}

pub(super) fn replace(
    connection: &Connection,
    dictionary: &mut Dictionary,
    rows: Vec<RollupRow>,
) -> Result<(), BackendError> {
    connection.execute("DELETE FROM rollups", [])?;
    connection.execute("DELETE FROM rollups_by_hour", [])?;
    for RollupRow { key, sums } in rows {
        add(connection, dictionary, key, &sums)?;
    }
    Ok(())
}

pub(super) fn page(
    connection: &Connection,
    after: Option<u64>,
    limit: usize,
) -> Result<(Vec<RollupRow>, Option<u64>), BackendError> {
    let limit = rows(limit) as usize;
    let sql = format!(
        "SELECT {KEY}, r.calls, r.billable_calls, r.units, r.amount_high, r.amount, r.request_bytes,
        r.response_bytes, r.cursor
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
        last = read_count(row, KEY_COLUMNS + 7)?;
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
        amount: Money::from_nanos(
            i128::from(row.get::<_, i64>(first + 3)?) * AMOUNT_BASE
                + i128::from(row.get::<_, i64>(first + 4)?),
        ),
        request_bytes: read_count(row, first + 5)?,
        response_bytes: read_count(row, first + 6)?,
    })
}

pub(super) fn hours_until(connection: &Connection) -> Result<Option<Timestamp>, BackendError> {
    let until: Option<i64> = connection
        .prepare_cached("SELECT until FROM rollups_by_hour")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(until.map(quarter_start))
}
