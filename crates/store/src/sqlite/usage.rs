//! Usage reports in SQL.

use model::usage::{UsageField, UsageQuery, UsageRow, UsageSums};
use model::{LicenseId, Method, Mode, Money, Outcome};
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};

use super::convert::{read_count, read_optional_id, read_text, read_word};
use super::dictionary::{hour_start, number_of_license, read_nonempty};
use super::rollups::first_hour_from;
use super::trouble::Trouble;

/// Sums of values whose sum may leave 64 bits are kept in two halves, at this base.
const BASE: i64 = 1_000_000_000;

pub(super) fn usage(connection: &Connection, query: &UsageQuery) -> Result<Vec<UsageRow>, Trouble> {
    let snapshot = connection.unchecked_transaction()?;
    let Some(conditions) = Conditions::of(&snapshot, query)? else {
        return Ok(Vec::new());
    };
    let fields = fields(query);
    let sql = sql(&fields, &conditions);
    let mut statement = snapshot.prepare_cached(&sql)?;
    statement
        .query_and_then(params_from_iter(conditions.values), |row| {
            read(row, &fields)
        })?
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

struct Conditions {
    texts: Vec<&'static str>,
    values: Vec<Value>,
}

impl Conditions {
    /// `None`: nothing can match.
    fn of(connection: &Connection, query: &UsageQuery) -> Result<Option<Self>, Trouble> {
        let mut conditions = Self {
            texts: Vec::new(),
            values: Vec::new(),
        };
        if let Some(license) = query.license_id {
            let Some(number) = number_of_license(connection, license)? else {
                return Ok(None);
            };
            conditions.add("r.license = ?", number);
        }
        if let Some(from) = query.from {
            conditions.add("r.hour >= ?", first_hour_from(from));
        }
        if let Some(to) = query.to {
            conditions.add("r.hour < ?", first_hour_from(to));
        }
        if let Some(account) = &query.account {
            conditions.add("k.account = ?", account.as_str().to_owned());
        }
        if let Some(app) = &query.app {
            conditions.add("k.app = ?", app.as_str().to_owned());
        }
        Ok(Some(conditions))
    }

    fn add(&mut self, text: &'static str, value: impl Into<Value>) {
        self.texts.push(text);
        self.values.push(value.into());
    }
}

fn sql(fields: &[UsageField], conditions: &Conditions) -> String {
    let columns: Vec<&str> = fields.iter().map(|field| column(*field)).collect();
    let list: String = columns.iter().map(|column| format!("{column}, ")).collect();
    let condition = if conditions.texts.is_empty() {
        String::new()
    } else {
        format!("WHERE {}", conditions.texts.join(" AND "))
    };
    // The rows are chosen first and then told what they stand for: the cross join keeps SQLite from beginning with the kinds.
    format!(
        "SELECT {list}k.currency, sum(r.calls), sum(r.billable_calls), sum(r.units / {BASE}), sum(r.units % {BASE}),
        sum(r.amount / {BASE}), sum(r.amount % {BASE}), sum(r.request_bytes), sum(r.response_bytes)
        FROM rollups r CROSS JOIN kinds k ON k.number = r.kind LEFT JOIN license_numbers l ON l.number = r.license
        {condition} GROUP BY {list}k.currency ORDER BY {list}k.currency"
    )
}

fn column(field: UsageField) -> &'static str {
    match field {
        UsageField::App => "k.app",
        UsageField::Day => "r.hour - (r.hour % 24 + 24) % 24",
        UsageField::Hour => "r.hour",
        UsageField::License => "l.id",
        UsageField::Method => "k.method",
        UsageField::Mode => "k.mode",
        UsageField::Outcome => "k.outcome",
        UsageField::Plan => "k.plan",
        UsageField::Route => "k.route",
        UsageField::Status => "k.status",
    }
}

fn read(row: &Row<'_>, fields: &[UsageField]) -> Result<UsageRow, Trouble> {
    let mut usage = UsageRow::default();
    for (column, field) in fields.iter().enumerate() {
        match field {
            UsageField::App => usage.app = Some(read_text(row, column)?),
            UsageField::Day => usage.day = Some(hour_start(row.get(column)?)),
            UsageField::Hour => usage.hour = Some(hour_start(row.get(column)?)),
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
        units: u64::try_from(whole(row, first + 3)?).unwrap_or(0),
        amount: Money::from_nanos(whole(row, first + 5)?),
        request_bytes: read_count(row, first + 7)?,
        response_bytes: read_count(row, first + 8)?,
    };
    Ok(usage)
}

/// The sum whose halves are in this column and the next, kept within range.
fn whole(row: &Row<'_>, column: usize) -> rusqlite::Result<i64> {
    let high: i64 = row.get(column)?;
    let low: i64 = row.get(column + 1)?;
    let sum = i128::from(high) * i128::from(BASE) + i128::from(low);
    Ok(i64::try_from(sum).unwrap_or(if sum < 0 { i64::MIN } else { i64::MAX }))
}
