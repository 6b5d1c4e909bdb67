//! Usage reports in SQL.

use model::usage::{UsageField, UsageQuery, UsageRow};
use model::{AccountName, AppName, Timestamp};
use tokio_postgres::Row;

use super::backend_error::BackendError;
use super::conn::{PooledConn, Value};
use super::convert::{id, read, read_nonempty, read_text};
use super::rollups::{OF_HOUR, read_sums};
use super::usage_dimensions::{
    NONE, first_hour_from, quarter_number, quarter_start, read_license, read_method, read_mode,
    read_outcome, read_status,
};

pub(super) async fn usage(
    conn: &PooledConn,
    query: &UsageQuery,
) -> Result<Vec<UsageRow>, BackendError> {
    let fields = fields(query);
    let (first, end) = (i32::MIN, i32::MAX);
    let from = query.from.map_or(first, first_quarter_from);
    let to = query.to.map_or(end, first_quarter_from);
    let from_hour = query.from.map_or(first, first_hour_from);
    let to_hour = query.to.map_or(end, first_hour_from);
    let account = query.account.as_ref().map(AccountName::as_str);
    let app = query.app.as_ref().map(AppName::as_str);
    if query
        .license_id
        .is_some_and(|license| license.as_u128() == NONE)
    {
        return Ok(Vec::new());
    }
    let license = query.license_id.map(|license| id(license.as_u128()));
    let mut values: Vec<Value<'_>> = vec![&from, &to, &from_hour, &to_hour, &account, &app];
    if license.is_some() {
        values.push(&license);
    }
    let sql = sql(&fields, license.is_some());
    let rows = conn.rows(&sql, &values).await?;
    rows.iter().map(|row| read_row(row, &fields)).collect()
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

fn sql(fields: &[UsageField], one_license: bool) -> String {
    let list: String = fields
        .iter()
        .map(|field| format!("{}, ", column(*field)))
        .collect();
    let quarters = source("quarter_rollups", "quarter", ["$1", "$2"], one_license);
    let hours = source("rollups", "hour", ["$3", "$4"], one_license);
    let sum = |column: &str| format!("least(sum(r.{column}), 9223372036854775807)::bigint");
    let (calls, billable, units) = (sum("calls"), sum("billable_calls"), sum("units"));
    let (request, response) = (sum("request_bytes"), sum("response_bytes"));
    format!(
        "SELECT {list}k.currency, {calls}, {billable}, {units},
        greatest(least(sum(r.amount), 1e27), -1e27)::text, {request}, {response}
        FROM (SELECT quarter::bigint, license, kind, calls, billable_calls, units, amount, request_bytes, response_bytes
            FROM {quarters}
          UNION ALL SELECT {OF_HOUR} FROM {hours}) r JOIN kinds k ON k.number = r.kind
        WHERE ($5::text IS NULL OR k.account = $5) AND ($6::text IS NULL OR k.app = $6)
        GROUP BY {list}k.currency ORDER BY {list}k.currency"
    )
}

fn column(field: UsageField) -> &'static str {
    match field {
        UsageField::App => "k.app",
        UsageField::Day => "r.quarter - (r.quarter % 96 + 96) % 96",
        UsageField::Hour => "r.quarter - (r.quarter % 4 + 4) % 4",
        UsageField::License => "r.license",
        UsageField::Method => "k.method",
        UsageField::Mode => "k.mode",
        UsageField::Outcome => "k.outcome",
        UsageField::Plan => "k.plan",
        UsageField::Route => "k.route",
        UsageField::Status => "k.status",
    }
}

fn read_row(row: &Row, fields: &[UsageField]) -> Result<UsageRow, BackendError> {
    let mut usage = UsageRow::default();
    for (column, field) in fields.iter().enumerate() {
        match field {
            UsageField::App => usage.app = Some(read_text(row, column)?),
            UsageField::Day => usage.day = Some(quarter_start(read(row, column)?)),
            UsageField::Hour => usage.hour = Some(quarter_start(read(row, column)?)),
            UsageField::License => usage.license_id = read_license(row, column)?,
            UsageField::Method => usage.method = Some(read_method(row, column)?),
            UsageField::Mode => usage.mode = Some(read_mode(row, column)?),
            UsageField::Outcome => usage.outcome = Some(read_outcome(row, column)?),
            UsageField::Plan => usage.plan = read_nonempty(row, column)?,
            UsageField::Route => usage.route = Some(read(row, column)?),
            UsageField::Status => usage.status = Some(read_status(row, column)?),
        }
    }
    let first = fields.len();
    usage.currency = read_nonempty(row, first)?;
    usage.sums = read_sums(row, first + 1)?;
    Ok(usage)
}

/// Returns the number of the first quarter of an hour that begins at or after a time.
fn first_quarter_from(time: Timestamp) -> i32 {
    let quarter = quarter_number(time);
    if time == time.quarter() {
        quarter
    } else {
        quarter.saturating_add(1)
    }
}
