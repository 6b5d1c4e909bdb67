//! Usage reports on both engines. The sums differ: PostgreSQL has numbers of any size, SQLite sums
//! them up in halves of 64 bits; and so do the ways to the rows of one license.

use model::usage::{UsageField, UsageQuery, UsageRow, UsageSums};
use model::{LicenseId, Money, Timestamp};

use super::{Engine, Outcome, Row, Sql, Statement, Value, sql, values};
use crate::error::Error;

/// The id that stands for no license in PostgreSQL.
const NONE: u128 = 0;

/// Returns the rows of a report.
pub(super) async fn usage<S: Sql>(sql: &S, query: &UsageQuery) -> Outcome<Vec<UsageRow>, S> {
    let mut fields: Vec<UsageField> = Vec::new();
    for field in &query.by {
        if !fields.contains(field) {
            fields.push(*field);
        }
    }
    let asked = match S::ENGINE {
        Engine::Sqlite => for_sqlite(sql, query, &fields).await?,
        Engine::Postgres => for_postgres(query, &fields),
    };
    let Some((statement, values)) = asked else {
        return Ok(Vec::new());
    };
    let found = sql.query(&statement, &values).await?;
    let rows = found.iter().map(|row| read::<S>(row, &fields));
    Ok(rows.collect::<Result<_, _>>()?)
}

fn read<S: Sql>(row: &Row, fields: &[UsageField]) -> Result<UsageRow, Error> {
    let mut usage = UsageRow::default();
    let quarter = |column| Ok::<_, Error>(quarter_start(row.get(column)?));
    for (column, field) in fields.iter().enumerate() {
        match field {
            UsageField::App => usage.app = Some(row.text(column)?),
            UsageField::Day => usage.day = Some(quarter(column)?),
            UsageField::Hour => usage.hour = Some(quarter(column)?),
            UsageField::License => usage.license_id = read_license(row, column)?,
            UsageField::Method => {
                usage.method = Some(row.word(column, model::Method::from_number)?)
            }
            UsageField::Mode => usage.mode = Some(row.word(column, model::Mode::from_number)?),
            UsageField::Outcome => {
                usage.outcome = Some(row.word(column, model::Outcome::from_number)?);
            }
            UsageField::Plan => usage.plan = row.nonempty(column)?,
            UsageField::Route => usage.route = Some(row.get(column)?),
            UsageField::Status => usage.status = Some(row.get(column)?),
        }
    }
    let first = fields.len();
    usage.currency = row.nonempty(first)?;
    usage.sums = match S::ENGINE {
        Engine::Sqlite => sums_in_halves(row, first + 1)?,
        Engine::Postgres => sums(row, first + 1)?,
    };
    Ok(usage)
}

/// Returns the columns of a list that a statement begins with, each with a comma behind it.
fn list(fields: &[UsageField], license: &str) -> String {
    let column = |field: &UsageField| match field {
        UsageField::App => "k.app",
        UsageField::Day => "r.quarter - (r.quarter % 96 + 96) % 96",
        UsageField::Hour => "r.quarter - (r.quarter % 4 + 4) % 4",
        UsageField::License => license,
        UsageField::Method => "k.method",
        UsageField::Mode => "k.mode",
        UsageField::Outcome => "k.outcome",
        UsageField::Plan => "k.plan",
        UsageField::Route => "k.route",
        UsageField::Status => "k.status",
    };
    let columns = fields.iter().map(|field| format!("{}, ", column(field)));
    columns.collect()
}

/// The WHERE clause of the account and the app, which are the parameters with these numbers.
fn of_app(account: usize, app: usize) -> String {
    format!(
        "(${account}::text IS NULL OR k.account = ${account}) AND (${app}::text IS NULL OR k.app = ${app})"
    )
}

fn read_license(row: &Row, column: usize) -> Result<Option<LicenseId>, Error> {
    let license: Option<LicenseId> = row.get(column)?;
    Ok(license.filter(|license| license.as_u128() != NONE))
}

/// Returns the start of a quarter of an hour.
pub(crate) fn quarter_start(number: i64) -> Timestamp {
    Timestamp::from_micros(number.saturating_mul(Timestamp::QUARTER))
}

/// Returns the number of the first period of this length that begins at or after a time.
fn first_from(time: Timestamp, length: i64) -> i64 {
    let number = time.micros().div_euclid(length);
    let begins_before = time.micros().rem_euclid(length) != 0;
    number.saturating_add(begins_before.into())
}

// === PostgreSQL ===

fn for_postgres(query: &UsageQuery, fields: &[UsageField]) -> Option<(Statement, Vec<Value>)> {
    if query
        .license_id
        .is_some_and(|license| license.as_u128() == NONE)
    {
        return None;
    }
    let (min, max) = (i64::from(i32::MIN), i64::from(i32::MAX));
    let first = |time: Option<Timestamp>, length, none| {
        time.map_or(none, |time| first_from(time, length).clamp(min, max))
    };
    let mut values = values![
        first(query.from, Timestamp::QUARTER, min),
        first(query.to, Timestamp::QUARTER, max),
        first(query.from, Timestamp::HOUR, min),
        first(query.to, Timestamp::HOUR, max),
        query.account.as_ref(),
        query.app.as_ref(),
    ]
    .to_vec();
    values.extend(query.license_id.map(Value::from));
    let one = query.license_id.is_some();
    let (list, app) = (list(fields, "r.license"), of_app(5, 6));
    let quarters = source("quarter_rollups", "quarter", ["$1", "$2"], one);
    let hours = source("rollups", "hour", ["$3", "$4"], one);
    let sum = |column: &str| format!("least(sum(r.{column}), 9223372036854775807)::bigint");
    let (calls, billable, units) = (sum("calls"), sum("billable_calls"), sum("units"));
    let (request, response) = (sum("request_bytes"), sum("response_bytes"));
    let text = format!(
        "SELECT {list}k.currency, {calls}, {billable}, {units},
        greatest(least(sum(r.amount), 1e27), -1e27)::text, {request}, {response}
        FROM (SELECT quarter::bigint, license, kind, calls, billable_calls, units, amount, request_bytes, response_bytes
            FROM {quarters}
          UNION ALL SELECT {OF_HOUR} FROM {hours}) r JOIN kinds k ON k.number = r.kind
        WHERE {app} GROUP BY {list}k.currency ORDER BY {list}k.currency"
    );
    Some((Statement::new(text), values))
}

/// The columns of a row of PostgreSQL's `rollups`, of version 1, as those of `quarter_rollups`; an
/// amount there is in 10^-9.
pub(crate) const OF_HOUR: &str = "hour::bigint * 4, license, kind, calls, billable_calls, units, amount * 0.000000001, \
    request_bytes, response_bytes";

/// Returns the SQL of one table's rows within a period, whose index begins with it. Those of one
/// license are looked up period by period; where there are no rows there are no periods either:
/// none may be counted from one end of time to the other.
fn source(table: &str, period: &str, [from, to]: [&str; 2], one_license: bool) -> String {
    let within = format!("{period} >= {from} AND {period} < {to}");
    if !one_license {
        return format!("{table} WHERE {within}");
    }
    format!(
        "(SELECT min({period}) AS first, max({period}) AS last FROM {table} WHERE {within}) e
        CROSS JOIN generate_series(e.first, e.last) AS s (period)
        JOIN {table} t ON t.{period} = s.period AND t.license = $7"
    )
}

fn sums(row: &Row, first: usize) -> Result<UsageSums, Error> {
    Ok(UsageSums {
        calls: row.count(first)?,
        billable_calls: row.count(first + 1)?,
        units: row.count(first + 2)?,
        amount: row.text(first + 3)?,
        request_bytes: row.count(first + 4)?,
        response_bytes: row.count(first + 5)?,
    })
}

// === SQLite ===

/// The base of values whose sum may leave 64 bits: they are summed up in two halves.
const BASE: i64 = 1_000_000_000;
/// The base of amounts, which are stored in two columns: the multiples of this, and the rest. Both
/// have one sign, so that sums of each are exact.
pub(crate) const AMOUNT_BASE: i128 = 1_000_000_000_000_000_000;

/// The quarters with rollups within the query's time, each found from the one before it by one look
/// into the index.
const QUARTERS: &str = "WITH RECURSIVE quarters (quarter) AS (
      SELECT min(quarter) FROM rollups WHERE quarter >= $1
      UNION ALL
      SELECT (SELECT min(r.quarter) FROM rollups r WHERE r.quarter > q.quarter) FROM quarters q WHERE q.quarter < $2
    )";
/// The tables of the rows of one license, quarter by quarter.
const OF_ONE: &str = "quarters q CROSS JOIN rollups r ON r.quarter = q.quarter AND r.license = $5 AND q.quarter < $2";
/// The tables of the rows of all licenses.
const OF_ALL: &str =
    "(SELECT * FROM rollups WHERE quarter >= $1 AND quarter < $2 AND $5 IS NULL) r";

async fn for_sqlite<S: Sql>(
    sql: &S,
    query: &UsageQuery,
    fields: &[UsageField],
) -> Outcome<Option<(Statement, Vec<Value>)>, S> {
    let mut license: Option<i64> = None;
    if let Some(asked) = query.license_id {
        let statement = sql!("SELECT number FROM license_numbers WHERE id = $1");
        match sql.query_opt(statement, &values![asked]).await? {
            Some(row) => license = Some(row.get(0)?),
            None => return Ok(None),
        }
    }
    let first = |time: Option<Timestamp>, none| {
        time.map_or(none, |time| first_from(time, Timestamp::QUARTER))
    };
    let values = values![
        first(query.from, i64::MIN),
        first(query.to, i64::MAX),
        query.account.as_ref(),
        query.app.as_ref(),
        license,
    ];
    let (with, from) = match license {
        Some(_) => (QUARTERS, OF_ONE),
        None => ("", OF_ALL),
    };
    let (list, app) = (list(fields, "l.id"), of_app(3, 4));
    // The rows are chosen first and joined with their kinds then: cross joins keep SQLite from
    // beginning with the kinds.
    let text = format!(
        "{with} SELECT {list}k.currency, sum(r.calls), sum(r.billable_calls), sum(r.units / {BASE}),
        sum(r.units % {BASE}), sum(r.amount_high / {BASE}), sum(r.amount_high % {BASE}), sum(r.amount / {BASE}),
        sum(r.amount % {BASE}), sum(r.request_bytes), sum(r.response_bytes)
        FROM {from} CROSS JOIN kinds k ON k.number = r.kind LEFT JOIN license_numbers l ON l.number = r.license
        WHERE {app} GROUP BY {list}k.currency ORDER BY {list}k.currency"
    );
    Ok(Some((Statement::new(text), values.to_vec())))
}

fn sums_in_halves(row: &Row, first: usize) -> Result<UsageSums, Error> {
    // The sum whose halves are in this column and the next.
    let whole = |column: usize| {
        let (high, low): (i64, i64) = (row.get(column)?, row.get(column + 1)?);
        Ok::<_, Error>(i128::from(high) * i128::from(BASE) + i128::from(low))
    };
    let amount = whole(first + 4)?.saturating_mul(AMOUNT_BASE);
    Ok(UsageSums {
        calls: row.count(first)?,
        billable_calls: row.count(first + 1)?,
        units: u64::try_from(whole(first + 2)?.min(i128::from(i64::MAX))).unwrap_or(0),
        amount: Money::from_nanos(amount.saturating_add(whole(first + 6)?)),
        request_bytes: row.count(first + 8)?,
        response_bytes: row.count(first + 9)?,
    })
}
