//! The addition of lines to the audit log.

use model::AuditEntry;
use serde_json::Value as Json;
use uuid::Uuid;

use super::backend_error::{BackendError, unique};
use super::conn::{PooledConn, Value};
use super::convert::id;

/// Adds lines in one statement, so that the counter is locked no longer than it takes.
pub(super) async fn add_lines(
    conn: &PooledConn,
    entries: &[AuditEntry],
) -> Result<(), BackendError> {
    fn all<'a, T>(entries: &'a [AuditEntry], column: impl Fn(&'a AuditEntry) -> T) -> Vec<T> {
        entries.iter().map(column).collect()
    }
    let sql = "WITH counter AS (UPDATE audit_counter SET last = last + $11 RETURNING last)
        INSERT INTO audit (number, id, at, account, who, address, action, subject, before, after, count)
        SELECT c.last - $11 + n.place, n.id, n.at, n.account, n.who, n.address, n.action, n.subject, n.before, n.after,
          n.count
        FROM counter c, unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
          $8::text[], $9::text[], $10::bigint[])
          WITH ORDINALITY AS n (id, at, account, who, address, action, subject, before, after, count, place)";
    let ids: Vec<Uuid> = all(entries, |entry| id(entry.id.as_u128()));
    let values: [Value<'_>; 11] = [
        &ids,
        &all(entries, |entry| entry.at.micros()),
        &all(entries, |entry| {
            entry.account.as_ref().map(|account| account.as_str())
        }),
        &all(entries, |entry| entry.who.to_string()),
        &all(entries, |entry| {
            entry.address.map(|address| address.to_string())
        }),
        &all(entries, |entry| entry.action.as_str()),
        &all(entries, |entry| entry.subject.as_str()),
        &all(entries, |entry| entry.before.as_ref().map(Json::to_string)),
        &all(entries, |entry| entry.after.as_ref().map(Json::to_string)),
        &all(entries, |entry| i64::from(entry.count)),
        &(entries.len() as i64),
    ];
    let added = conn.change(sql, &values).await;
    added
        .map(drop)
        .map_err(|error| unique(error, "a line of the audit log with this id"))
}
