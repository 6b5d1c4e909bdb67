//! [`AuditStore`] on `licenses.db`.

use async_trait::async_trait;
use model::{AuditEntry, AuditId, Timestamp};
use rusqlite::ffi::SQLITE_CONSTRAINT_TRIGGER;
use rusqlite::types::ToSql;
use rusqlite::{Connection, Row, params, params_from_iter};
use serde_json::Value;

use super::SqliteStore;
use super::backend_error::BackendError;
use super::convert::{
    count, id, read_count, read_id, read_optional_text, read_text, read_time, unreadable,
};
use crate::audit::{AuditEntries, AuditFilter, AuditStore, Changed, NumberedEntry};
use crate::error::Error;

/// The largest number of lines of a page.
const PAGE: usize = 1_000;

#[async_trait]
impl AuditStore for SqliteStore {
    async fn add_audit(&self, entries: Vec<AuditEntry>) -> Result<(), Error> {
        self.licenses
            .write(move |session| add_all(session.connection(), &entries))
            .await
    }

    async fn audit(
        &self,
        filter: AuditFilter,
        after: u64,
        limit: usize,
    ) -> Result<Vec<NumberedEntry>, Error> {
        self.licenses
            .read_background(move |session| page(session.connection(), &filter, after, limit))
            .await
    }
}

/// Writes the lines of a change for its result, within its transaction.
pub(super) fn add_entries<T>(
    connection: &Connection,
    entries: &AuditEntries<T>,
    result: &T,
) -> Result<(), BackendError> {
    add_all(connection, &entries.lines(result))
}

/// Writes the lines of a change as [`add_entries`] does, with the states before and after. Returns
/// the state after.
pub(super) fn add_changed<T>(
    connection: &Connection,
    entries: &AuditEntries<Changed<T>>,
    before: Option<T>,
    after: Option<T>,
) -> Result<Option<T>, BackendError> {
    let Some(changed) = Changed::of(before, after) else {
        return Ok(None);
    };
    add_entries(connection, entries, &changed)?;
    Ok(Some(changed.after))
}

fn add_all(connection: &Connection, entries: &[AuditEntry]) -> Result<(), BackendError> {
    let mut entries = entries.iter();
    entries.try_for_each(|entry| add(connection, entry))
}

pub(super) fn add(connection: &Connection, entry: &AuditEntry) -> Result<(), BackendError> {
    let sql =
        "INSERT INTO audit (id, at, account, who, address, action, subject, before, after, count)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    connection
        .prepare_cached(sql)?
        .execute(params![
            id(entry.id.as_u128()),
            entry.at.micros(),
            entry.account.as_ref().map(|account| account.as_str()),
            entry.who.to_string(),
            entry.address.map(|address| address.to_string()),
            entry.action,
            entry.subject,
            entry.before.as_ref().map(Value::to_string),
            entry.after.as_ref().map(Value::to_string),
            entry.count,
        ])
        .map_err(taken)?;
    Ok(())
}

/// Turns the error of an insertion into [`Error::Exists`]: of the triggers on the log, an insertion
/// fires only the one that looks for a line with the same id.
fn taken(error: rusqlite::Error) -> BackendError {
    let code = error.sqlite_error().map(|cause| cause.extended_code);
    if code == Some(SQLITE_CONSTRAINT_TRIGGER) {
        return BackendError::Refused(Error::Exists("a line of the audit log with this id"));
    }
    BackendError::Failed(error)
}

fn page(
    connection: &Connection,
    filter: &AuditFilter,
    after: u64,
    limit: usize,
) -> Result<Vec<NumberedEntry>, BackendError> {
    let mut sql =
        "SELECT number, id, at, account, who, address, action, subject, before, after, count
        FROM audit WHERE number > ?1"
            .to_owned();
    let mut values: Vec<Box<dyn ToSql>> = vec![Box::new(count(after))];
    let mut narrow = |condition: &str, value: Option<Box<dyn ToSql>>| {
        if let Some(value) = value {
            values.push(value);
            let number = values.len();
            sql.push_str(" AND ");
            sql.push_str(&condition.replace('?', &format!("?{number}")));
        }
    };
    let text = |text: &Option<String>| text.clone().map(|text| Box::new(text) as Box<dyn ToSql>);
    let time = |time: Option<Timestamp>| time.map(|time| Box::new(time.micros()) as Box<dyn ToSql>);
    let account = filter.account.as_ref().map(ToString::to_string);
    narrow("account = ?", text(&account));
    narrow("who = ?", text(&filter.who));
    let family = filter
        .action
        .as_ref()
        .is_some_and(|action| action.ends_with('.'));
    let action = if family {
        "substr(action, 1, length(?)) = ?"
    } else {
        "action = ?"
    };
    narrow(action, text(&filter.action));
    narrow("subject = ?", text(&filter.subject));
    narrow("at >= ?", time(filter.from));
    narrow("at < ?", time(filter.to));
    sql.push_str(&format!(" ORDER BY number LIMIT {}", limit.clamp(1, PAGE)));
    connection
        .prepare_cached(&sql)?
        .query_and_then(params_from_iter(values), read_entry)?
        .collect()
}

fn read_entry(row: &Row<'_>) -> Result<NumberedEntry, BackendError> {
    Ok(NumberedEntry {
        number: read_count(row, 0)?,
        entry: AuditEntry {
            id: AuditId::from_u128(read_id(row, 1)?),
            at: read_time(row, 2)?,
            account: read_optional_text(row, 3)?,
            who: read_text(row, 4)?,
            address: read_optional_text(row, 5)?,
            action: row.get(6)?,
            subject: row.get(7)?,
            before: read_state(row, 8)?,
            after: read_state(row, 9)?,
            count: row.get(10)?,
        },
    })
}

fn read_state(row: &Row<'_>, column: usize) -> Result<Option<Value>, BackendError> {
    let text: Option<String> = row.get(column)?;
    let state = text.map(|text| serde_json::from_str(&text)).transpose();
    state.map_err(|_| unreadable(row, column))
}
