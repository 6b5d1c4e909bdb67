//! The addition of lines to the audit log in `licenses.db`.

use model::AuditEntry;
use rusqlite::{Connection, params};
use serde_json::Value;

use super::backend_error::{BackendError, unique};
use super::convert::id;

/// Adds lines, each with the next number.
pub(super) fn add_lines(connection: &Connection, lines: &[AuditEntry]) -> Result<(), BackendError> {
    let sql =
        "INSERT INTO audit (id, at, account, who, address, action, subject, before, after, count)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    for entry in lines {
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
            .map_err(|error| unique(error, "a line of the audit log with this id"))?;
    }
    Ok(())
}
