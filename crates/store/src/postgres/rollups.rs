//! Rollups and the positions up to which they count, in SQL.

use std::mem;

use model::usage::{UsageKey, UsageSums};
use model::{InstanceId, LicenseId, Timestamp};
use tokio_postgres::Row;
use uuid::Uuid;

use super::backend_error::BackendError;
use super::conn::{PooledConn, Value};
use super::convert::{count, id, read, read_count, read_text, rows};
use super::quota;
use super::usage_dimensions::{KEY, KEY_COLUMNS, NONE, quarter_number, quarter_start, read_key};
use crate::error::Error;
use crate::ledger::{RollupBatch, RollupRow, Spent};
use crate::sql::usage::OF_HOUR;

/// The sums of a batch, column by column, in the order of their keys, so that gates that write the
/// same rows wait for each other in that order.
pub(super) struct Sums {
    quarters: Vec<i32>,
    licenses: Vec<Uuid>,
    usage_dimensions: Vec<i32>,
    counts: [Vec<i64>; 5],
    /// The amounts in the major unit.
    amounts: Vec<String>,
}

impl Sums {
    /// Returns the keys of rows without license and start, whose numbers [`Sums::of`] needs.
    pub(super) fn usage_dimensions(rows: &[(UsageKey, UsageSums)]) -> Vec<UsageKey> {
        let kind = |key: &UsageKey| {
            let mut kind = key.clone();
            kind.license_id = None;
            mem::take(&mut kind.start);
            kind
        };
        rows.iter().map(|(key, _)| kind(key)).collect()
    }

    /// Makes the columns of rows whose dimensions have these numbers.
    pub(super) fn of(rows: &[(UsageKey, UsageSums)], usage_dimensions: &[i32]) -> Self {
        let license = |key: &UsageKey| key.license_id.map_or(NONE, LicenseId::as_u128);
        let mut order: Vec<_> = rows
            .iter()
            .zip(usage_dimensions)
            .map(|((key, sums), kind)| {
                let quarter = quarter_number(key.start);
                ((quarter, id(license(key)), *kind), *sums)
            })
            .collect();
        order.sort_unstable_by_key(|(key, _)| *key);
        // A statement may write a row only once.
        order.dedup_by(|(key, sums), (first, all)| {
            let same = key == first;
            if same {
                all.add(sums);
            }
            same
        });
        let column = |of: fn(&UsageSums) -> i64| order.iter().map(|(_, sums)| of(sums)).collect();
        Self {
            quarters: order.iter().map(|((quarter, _, _), _)| *quarter).collect(),
            licenses: order.iter().map(|((_, license, _), _)| *license).collect(),
            usage_dimensions: order.iter().map(|((_, _, kind), _)| *kind).collect(),
            counts: [
                column(|sums| count(sums.calls)),
                column(|sums| count(sums.billable_calls)),
                column(|sums| count(sums.units)),
                column(|sums| count(sums.request_bytes)),
                column(|sums| count(sums.response_bytes)),
            ],
            amounts: order
                .iter()
                .map(|(_, sums)| sums.amount.to_string())
                .collect(),
        }
    }
}

/// The parts of a batch that are no rows.
#[derive(Clone)]
pub(super) struct Move {
    pub(super) instance: InstanceId,
    pub(super) lane: u32,
    pub(super) from: u64,
    pub(super) through: u64,
    pub(super) spent: Vec<Spent>,
}

impl From<RollupBatch> for (Move, Vec<(UsageKey, UsageSums)>) {
    fn from(batch: RollupBatch) -> Self {
        let RollupBatch {
            instance,
            lane,
            from,
            through,
            rows,
            spent,
            ..
        } = batch;
        let rest = Move {
            instance,
            lane,
            from,
            through,
            spent,
        };
        (rest, rows)
    }
}

pub(super) async fn roll_up(
    conn: &PooledConn,
    rest: &Move,
    sums: &Sums,
) -> Result<(), BackendError> {
    move_position(conn, rest).await?;
    add(conn, sums).await?;
    quota::spend(conn, rest.instance, &rest.spent).await
}

/// Moves the rolled position, which nobody else can move meanwhile.
async fn move_position(conn: &PooledConn, rest: &Move) -> Result<(), BackendError> {
    let (instance, lane) = (id(rest.instance.as_u128()), i64::from(rest.lane));
    let sql = "INSERT INTO lanes (instance, lane) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    conn.change(sql, &[&instance, &lane]).await?;
    let sql = "SELECT rolled FROM lanes WHERE instance = $1 AND lane = $2 FOR UPDATE";
    let row = conn.row(sql, &[&instance, &lane]).await?;
    let found = row.map_or(Ok(0), |row| read_count(&row, 0))?;
    if found != rest.from || rest.through < rest.from {
        return Err(BackendError::Refused(Error::Position {
            expected: rest.from,
            found,
        }));
    }
    let sql = "UPDATE lanes SET rolled = $3 WHERE instance = $1 AND lane = $2";
    conn.change(sql, &[&instance, &lane, &count(rest.through)])
        .await?;
    Ok(())
}

/// Adds sums to rows, kept within range.
async fn add(conn: &PooledConn, sums: &Sums) -> Result<(), BackendError> {
    if sums.quarters.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO quarter_rollups AS r (quarter, license, kind, calls, billable_calls, units, request_bytes,
        response_bytes, amount)
        SELECT quarter, license, kind, calls, billable_calls, units, request_bytes, response_bytes, amount::numeric
        FROM unnest($1::integer[], $2::uuid[], $3::integer[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
        $8::bigint[], $9::text[]) AS given (quarter, license, kind, calls, billable_calls, units, request_bytes,
        response_bytes, amount)
        ON CONFLICT (quarter, license, kind) DO UPDATE SET
        calls = capped_sum(r.calls, excluded.calls),
        billable_calls = capped_sum(r.billable_calls, excluded.billable_calls),
        units = capped_sum(r.units, excluded.units),
        amount = greatest(least(r.amount + excluded.amount, 1e27), -1e27),
        request_bytes = capped_sum(r.request_bytes, excluded.request_bytes),
        response_bytes = capped_sum(r.response_bytes, excluded.response_bytes)";
    let mut values: Vec<Value<'_>> = vec![&sums.quarters, &sums.licenses, &sums.usage_dimensions];
    values.extend(sums.counts.iter().map(|column| column as Value<'_>));
    values.push(&sums.amounts);
    conn.change(sql, &values).await?;
    Ok(())
}

pub(super) async fn replace(conn: &PooledConn, sums: &[Sums]) -> Result<(), BackendError> {
    conn.change("DELETE FROM rollups", &[]).await?;
    conn.change("DELETE FROM quarter_rollups", &[]).await?;
    for sums in sums {
        add(conn, sums).await?;
    }
    Ok(())
}

pub(super) async fn hours_until(conn: &PooledConn) -> Result<Option<Timestamp>, BackendError> {
    let sql = "SELECT max(hour)::bigint * 4 + 4 FROM rollups";
    let row = conn.row(sql, &[]).await?;
    let until: Option<i64> = row.map_or(Ok(None), |row| read(&row, 0))?;
    Ok(until.map(quarter_start))
}

pub(super) async fn page(
    conn: &PooledConn,
    after: Option<u64>,
    limit: usize,
) -> Result<(Vec<RollupRow>, Option<u64>), BackendError> {
    let limit = rows(limit) as usize;
    let sql = format!(
        "SELECT {KEY}, r.calls, r.billable_calls, r.units, r.amount::text, r.request_bytes, r.response_bytes, r.cursor
        FROM ((SELECT quarter::bigint, license, kind, calls, billable_calls, units, amount, request_bytes, response_bytes,
            cursor FROM quarter_rollups WHERE cursor > $1 ORDER BY cursor LIMIT $2)
          UNION ALL (SELECT {OF_HOUR}, cursor FROM rollups WHERE cursor > $1 ORDER BY cursor LIMIT $2)) r
        JOIN kinds k ON k.number = r.kind ORDER BY r.cursor LIMIT $2"
    );
    let found = conn
        .rows(&sql, &[&after.map_or(0, count), &(limit as i64 + 1)])
        .await?;
    let mut page = Vec::with_capacity(found.len().min(limit));
    for row in found.iter().take(limit) {
        page.push(RollupRow {
            key: read_key(row)?,
            sums: read_sums(row, KEY_COLUMNS)?,
        });
    }
    let more = found.len() > limit;
    let next = if more {
        Some(read_count(&found[limit - 1], KEY_COLUMNS + 6)?)
    } else {
        None
    };
    Ok((page, next))
}

pub(super) fn read_sums(row: &Row, first: usize) -> Result<UsageSums, BackendError> {
    Ok(UsageSums {
        calls: read_count(row, first)?,
        billable_calls: read_count(row, first + 1)?,
        units: read_count(row, first + 2)?,
        amount: read_text(row, first + 3)?,
        request_bytes: read_count(row, first + 4)?,
        response_bytes: read_count(row, first + 5)?,
    })
}
