//! [`AuditStore`] on PostgreSQL.

use std::sync::Arc;

use async_trait::async_trait;
use model::{AuditEntry, AuditId, Timestamp};
use serde_json::Value as Json;
use tokio_postgres::Row;
use uuid::Uuid;

use super::PostgresStore;
use super::backend_error::{BackendError, unique};
use super::conn::{Conn, PooledConn, Value};
use super::convert::{
    count, id, read, read_count, read_id, read_number, read_optional_text, read_text, read_time,
    unreadable,
};
use super::server::TxOptions;
use crate::audit::{AuditEntries, AuditFilter, AuditStore, Changed, NumberedEntry};
use crate::error::Error;

/// The largest number of lines of a page.
const PAGE: usize = 1_000;

#[async_trait]
impl AuditStore for PostgresStore {
    async fn add_audit(&self, entries: Vec<AuditEntry>) -> Result<(), Error> {
        let add =
            |conn: Conn, entries: Arc<Vec<AuditEntry>>| async move { add(&conn, &entries).await };
        self.server.run_with(TxOptions::WRITE, entries, add).await
    }

    async fn audit(
        &self,
        filter: AuditFilter,
        after: u64,
        limit: usize,
    ) -> Result<Vec<NumberedEntry>, Error> {
        let page = move |conn: Conn, filter: Arc<AuditFilter>| async move {
            page(&conn, &filter, after, limit).await
        };
        self.server.run_with(TxOptions::REPORT, filter, page).await
    }
}

/// Writes the lines of a change for its result. It is the last statement of its transaction, since
/// the counter stays locked until that is over.
pub(super) async fn add_entries<T>(
    conn: &PooledConn,
    entries: &AuditEntries<T>,
    result: &T,
) -> Result<(), BackendError> {
    let lines = entries.lines(result);
    if lines.is_empty() {
        return Ok(());
    }
    add(conn, &lines).await
}

/// Writes the lines of a change as [`add_entries`] does, with the states before and after. Returns
/// the state after.
pub(super) async fn add_changed<T>(
    conn: &PooledConn,
    entries: &AuditEntries<Changed<T>>,
    before: Option<T>,
    after: Option<T>,
) -> Result<Option<T>, BackendError> {
    let Some(changed) = Changed::of(before, after) else {
        return Ok(None);
    };
    add_entries(conn, entries, &changed).await?;
    Ok(Some(changed.after))
}

/// Adds lines in one statement, so that the counter is locked no longer than it takes.
async fn add(conn: &PooledConn, entries: &[AuditEntry]) -> Result<(), BackendError> {
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

async fn page(
    conn: &PooledConn,
    filter: &AuditFilter,
    after: u64,
    limit: usize,
) -> Result<Vec<NumberedEntry>, BackendError> {
    let mut sql =
        "SELECT number, id, at, account, who, address, action, subject, before, after, count
        FROM audit WHERE number > $1"
            .to_owned();
    let after = count(after);
    let account = filter.account.as_ref().map(|account| account.as_str());
    let (from, to) = (
        filter.from.map(Timestamp::micros),
        filter.to.map(Timestamp::micros),
    );
    let family = filter
        .action
        .as_ref()
        .is_some_and(|action| action.ends_with('.'));
    let action = if family {
        "starts_with(action, ?)"
    } else {
        "action = ?"
    };
    let mut values: Vec<Value<'_>> = vec![&after];
    let conditions: [(bool, &str, Value<'_>); 6] = [
        (account.is_some(), "account = ?", &account),
        (filter.who.is_some(), "who = ?", &filter.who),
        (filter.action.is_some(), action, &filter.action),
        (filter.subject.is_some(), "subject = ?", &filter.subject),
        (from.is_some(), "at >= ?", &from),
        (to.is_some(), "at < ?", &to),
    ];
    for (wanted, condition, value) in conditions {
        if wanted {
            values.push(value);
            sql.push_str(" AND ");
            sql.push_str(&condition.replace('?', &format!("${}", values.len())));
        }
    }
    sql.push_str(&format!(" ORDER BY number LIMIT {}", limit.clamp(1, PAGE)));
    conn.rows(&sql, &values)
        .await?
        .iter()
        .map(read_entry)
        .collect()
}

fn read_entry(row: &Row) -> Result<NumberedEntry, BackendError> {
    Ok(NumberedEntry {
        number: read_count(row, 0)?,
        entry: AuditEntry {
            id: AuditId::from_u128(read_id(row, 1)?),
            at: read_time(row, 2)?,
            account: read_optional_text(row, 3)?,
            who: read_text(row, 4)?,
            address: read_optional_text(row, 5)?,
            action: read(row, 6)?,
            subject: read(row, 7)?,
            before: read_state(row, 8)?,
            after: read_state(row, 9)?,
            count: read_number(row, 10)?,
        },
    })
}

fn read_state(row: &Row, column: usize) -> Result<Option<Json>, BackendError> {
    let text: Option<&str> = read(row, column)?;
    let state = text.map(serde_json::from_str).transpose();
    state.map_err(|_| unreadable(row, column))
}
