//! The freeze in SQL: the instance that has asked all gates to keep their positions.

use std::time::Duration;

use model::InstanceId;
use rusqlite::{Connection, OptionalExtension, params};

use super::backend_error::BackendError;
use super::convert::{id, read_id};

/// The time in milliseconds, as SQL.
const NOW: &str = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";

pub(super) fn begin(
    connection: &Connection,
    by: InstanceId,
    lasts: Duration,
) -> Result<bool, BackendError> {
    let sql = format!(
        "INSERT INTO standstill (one, instance, until) VALUES (1, ?1, {NOW} + ?2)
         ON CONFLICT (one) DO UPDATE SET instance = excluded.instance, until = excluded.until
         WHERE standstill.instance = excluded.instance OR standstill.until <= {NOW}"
    );
    let lasts = i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX / 2);
    let asked = connection
        .prepare_cached(&sql)?
        .execute(params![id(by.as_u128()), lasts])?;
    Ok(asked == 1)
}

pub(super) fn asked_by(connection: &Connection) -> Result<Option<InstanceId>, BackendError> {
    let sql = format!("SELECT instance FROM standstill WHERE until > {NOW}");
    let asked = connection
        .prepare_cached(&sql)?
        .query_row([], |row| read_id(row, 0))
        .optional()?;
    Ok(asked.map(InstanceId::from_u128))
}

pub(super) fn end(connection: &Connection, by: InstanceId) -> Result<(), BackendError> {
    let sql = "DELETE FROM standstill WHERE instance = ?1";
    connection
        .prepare_cached(sql)?
        .execute([id(by.as_u128())])?;
    Ok(())
}
