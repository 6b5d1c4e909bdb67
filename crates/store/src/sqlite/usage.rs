//! Usage reports in SQL.

use model::usage::{UsageField, UsageQuery, UsageRow, UsageSums};
use model::{AccountName, AppName, LicenseId, Method, Mode, Money, Outcome};
use rusqlite::{Connection, Row, params};

use super::backend_error::BackendError;
use super::convert::{read_count, read_optional_id, read_text, read_word};
use super::dictionary::{number_of_license, quarter_start, read_nonempty};
use super::rollups::{AMOUNT_BASE, first_quarter_from};

/// The base of values whose sum may leave 64 bits: they are summed up in two halves.
const BASE: i64 = 1_000_000_000;

pub(super) fn usage(
    connection: &Connection,
    query: &UsageQuery,
) -> Result<Vec<UsageRow>, BackendError> {
    let snapshot = connection.unchecked_transaction()?;
    let license = match query.license_id {
        None => None,
        Some(license) => match number_of_license(&snapshot, license)? {
            Some(number) => Some(number),
            None => return Ok(Vec::new()),
        },
    };
    let fields = fields(query);
    let sql = sql(&fields, license.is_some());
    let mut statement = snapshot.prepare_cached(&sql)?;
    let values = params![
        query.from.map_or(i64::MIN, first_quarter_from),
        query.to.map_or(i64::MAX, first_quarter_from),
        query.account.as_ref().map(AccountName::as_str),
        query.app.as_ref().map(AppName::as_str),
        license,
    ];
    statement
        .query_and_then(values, |row| read(row, &fields))?
        .collect()
}

fn fields(query: &UsageQuery) -> Vec<UsageField> {
    let mut fields = Vec::new();
    for field in &query.by {
        if !fields.contains(field) {
            fields.push(*field);
        }
    }
    fields
}

/// The quarters with rollups within the query's time, each found from the one before it by one look
/// into the index.
const QUARTERS: &str = "WITH RECURSIVE quarters (quarter) AS (
      SELECT min(quarter) FROM rollups WHERE quarter >= ?1
      UNION ALL
      SELECT (SELECT min(r.quarter) FROM rollups r WHERE r.quarter > q.quarter) FROM quarters q WHERE q.quarter < ?2
    )";
/// The tables of the rows of one license, quarter by quarter.
const OF_ONE: &str = "quarters q CROSS JOIN rollups r ON r.quarter = q.quarter AND r.license = ?5 AND q.quarter < ?2";
/// The tables of the rows of all licenses.
const OF_ALL: &str =
    "(SELECT * FROM rollups WHERE quarter >= ?1 AND quarter < ?2 AND ?5 IS NULL) r";

fn sql(fields: &[UsageField], one_license: bool) -> String {
    let list: String = fields
        .iter()
        .map(|field| format!("{}, ", column(*field)))
        .collect();
    let (with, rows) = if one_license {
        (QUARTERS, OF_ONE)
    } else {
        ("", OF_ALL)
    };
    // The rows are chosen first and joined with their kinds then: cross joins keep SQLite from
    // beginning with the kinds.
    format!(
        "{with} SELECT {list}k.currency, sum(r.calls), sum(r.billable_calls), sum(r.units / {BASE}),
        sum(r.units % {BASE}), sum(r.amount_high / {BASE}), sum(r.amount_high % {BASE}), sum(r.amount / {BASE}), sum(r.amount % {BASE}),
        sum(r.request_bytes), sum(r.response_bytes)
        FROM {rows} CROSS JOIN kinds k ON k.number = r.kind LEFT JOIN license_numbers l ON l.number = r.license
        WHERE (?3 IS NULL OR k.account = ?3) AND (?4 IS NULL OR k.app = ?4)
        GROUP BY {list}k.currency ORDER BY {list}k.currency"
    )
}

fn column(field: UsageField) -> &'static str {
    match field {
        UsageField::App => "k.app",
        UsageField::Day => "r.quarter - (r.quarter % 96 + 96) % 96",
        UsageField::Hour => "r.quarter - (r.quarter % 4 + 4) % 4",
        UsageField::License => "l.id",
        UsageField::Method => "k.method",
        UsageField::Mode => "k.mode",
        UsageField::Outcome => "k.outcome",
        UsageField::Plan => "k.plan",
        UsageField::Route => "k.route",
        UsageField::Status => "k.status",
    }
}

fn read(row: &Row<'_>, fields: &[UsageField]) -> Result<UsageRow, BackendError> {
    let mut usage = UsageRow::default();
    for (column, field) in fields.iter().enumerate() {
        match field {
            UsageField::App => usage.app = Some(read_text(row, column)?),
            UsageField::Day => usage.day = Some(quarter_start(row.get(column)?)),
            UsageField::Hour => usage.hour = Some(quarter_start(row.get(column)?)),
            UsageField::License => {
                usage.license_id = read_optional_id(row, column)?.map(LicenseId::from_u128);
            }
            UsageField::Method => {
                usage.method = Some(read_word(row, column, Method::from_number)?);
            }
            UsageField::Mode => usage.mode = Some(read_word(row, column, Mode::from_number)?),
            UsageField::Outcome => {
                usage.outcome = Some(read_word(row, column, Outcome::from_number)?);
            }
            UsageField::Plan => usage.plan = read_nonempty(row, column)?,
            UsageField::Route => usage.route = Some(row.get(column)?),
            UsageField::Status => usage.status = Some(row.get(column)?),
        }
    }
    let first = fields.len();
    usage.currency = read_nonempty(row, first)?;
    usage.sums = UsageSums {
        calls: read_count(row, first + 1)?,
        billable_calls: read_count(row, first + 2)?,
        units: u64::try_from(whole(row, first + 3)?.min(i128::from(i64::MAX))).unwrap_or(0),
        amount: Money::from_nanos(amount(row, first + 5)?),
        request_bytes: read_count(row, first + 9)?,
        response_bytes: read_count(row, first + 10)?,
    };
    Ok(usage)
}

/// Reads the sum whose halves are in this column and the next.
fn whole(row: &Row<'_>, column: usize) -> rusqlite::Result<i128> {
    let high: i64 = row.get(column)?;
    let low: i64 = row.get(column + 1)?;
    Ok(i128::from(high) * i128::from(BASE) + i128::from(low))
}

/// Reads the sum of amounts, whose quarters are in this column and the next three.
fn amount(row: &Row<'_>, column: usize) -> rusqlite::Result<i128> {
    let (high, low) = (whole(row, column)?, whole(row, column + 2)?);
    Ok(high.saturating_mul(AMOUNT_BASE).saturating_add(low))
}
