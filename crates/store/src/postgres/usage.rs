//! Usage reports in SQL.

use model::usage::{UsageField, UsageQuery, UsageRow};
use model::{AccountName, AppName, Timestamp};
use tokio_postgres::Row;

use super::convert::{id, read, read_nonempty, read_text};
use super::kinds::{
    NONE, hour_number, hour_start, read_license, read_method, read_mode, read_outcome, read_status,
};
use super::rollups::read_sums;
use super::session::{Lent, Value};
use super::trouble::Trouble;

pub(super) async fn usage(session: &Lent, query: &UsageQuery) -> Result<Vec<UsageRow>, Trouble> {
    let fields = fields(query);
    let from = query.from.map_or(i32::MIN, first_hour_from);
    let to = query.to.map_or(i32::MAX, first_hour_from);
    let account = query.account.as_ref().map(AccountName::as_str);
    let app = query.app.as_ref().map(AppName::as_str);
    if query
        .license_id
        .is_some_and(|license| license.as_u128() == NONE)
    {
        return Ok(Vec::new());
    }
    let license = query.license_id.map(|license| id(license.as_u128()));
    let mut values: Vec<Value<'_>> = vec![&from, &to, &account, &app];
    if license.is_some() {
        values.push(&license);
    }
    let sql = sql(&fields, license.is_some());
    let rows = session.rows(&sql, &values).await?;
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

/// The rows of one license, hour by hour: the index of rollups begins with the hour. Where there are no rows there are no hours
/// either: none may be counted from one end of time to the other.
const OF_ONE: &str =
    "(SELECT min(hour) AS first, max(hour) AS last FROM rollups WHERE hour >= $1 AND hour < $2) e
    CROSS JOIN generate_series(e.first, e.last) AS h (hour)
    JOIN rollups r ON r.hour = h.hour AND r.license = $5";
/// The rows of all.
const OF_ALL: &str = "rollups r";

fn sql(fields: &[UsageField], one_license: bool) -> String {
    let list: String = fields
        .iter()
        .map(|field| format!("{}, ", column(*field)))
        .collect();
    let rows = if one_license { OF_ONE } else { OF_ALL };
    let sum = |column: &str| format!("least(sum(r.{column}), 9223372036854775807)::bigint");
    let (calls, billable, units) = (sum("calls"), sum("billable_calls"), sum("units"));
    let (request, response) = (sum("request_bytes"), sum("response_bytes"));
    format!(
        "SELECT {list}k.currency, {calls}, {billable}, {units},
        greatest(least(sum(r.amount), 9223372036854775807), -9223372036854775808)::bigint, {request}, {response}
        FROM {rows} JOIN kinds k ON k.number = r.kind
        WHERE r.hour >= $1 AND r.hour < $2 AND ($3::text IS NULL OR k.account = $3) AND ($4::text IS NULL OR k.app = $4)
        GROUP BY {list}k.currency ORDER BY {list}k.currency"
    )
}

fn column(field: UsageField) -> &'static str {
    match field {
        UsageField::App => "k.app",
        UsageField::Day => "r.hour - (r.hour % 24 + 24) % 24",
        UsageField::Hour => "r.hour",
        UsageField::License => "r.license",
        UsageField::Method => "k.method",
        UsageField::Mode => "k.mode",
        UsageField::Outcome => "k.outcome",
        UsageField::Plan => "k.plan",
        UsageField::Route => "k.route",
        UsageField::Status => "k.status",
    }
}

fn read_row(row: &Row, fields: &[UsageField]) -> Result<UsageRow, Trouble> {
    let mut usage = UsageRow::default();
    for (column, field) in fields.iter().enumerate() {
        match field {
            UsageField::App => usage.app = Some(read_text(row, column)?),
            UsageField::Day => usage.day = Some(hour_start(read(row, column)?)),
            UsageField::Hour => usage.hour = Some(hour_start(read(row, column)?)),
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

/// The first hour that begins at or after a time, by number.
fn first_hour_from(time: Timestamp) -> i32 {
    let hour = hour_number(time);
    if time == time.hour() {
        hour
    } else {
        hour.saturating_add(1)
    }
}
