//! Leases by name: of several gates, the one that may do a piece of work.

use std::time::Duration;

use model::InstanceId;

use super::{Outcome, Sql, sql, values};

/// The time in microseconds, as SQL for SQLite.
const MICROSECONDS: &str = "CAST(unixepoch('subsec') * 1000000 AS INTEGER)";

/// Takes or prolongs a lease, unless another instance holds it. Returns whether this one does.
pub(super) async fn hold<S: Sql>(
    sql: &S,
    name: &str,
    instance: InstanceId,
    lasts: Duration,
) -> Outcome<bool, S> {
    let statement = sql!(
        postgres: "INSERT INTO leases_by_name AS l (name, instance, ends_at) VALUES ($1, $2, micros_now() + $3)
        ON CONFLICT (name) DO UPDATE SET instance = excluded.instance, ends_at = excluded.ends_at
        WHERE l.instance = excluded.instance OR l.ends_at <= micros_now()",
        sqlite: "INSERT INTO leases_by_name AS l (name, instance, ends_at) VALUES ($1, $2, {MICROSECONDS} + $3)
        ON CONFLICT (name) DO UPDATE SET instance = excluded.instance, ends_at = excluded.ends_at
        WHERE l.instance = excluded.instance OR l.ends_at <= {MICROSECONDS}",
    );
    let lasts = i64::try_from(lasts.as_micros()).unwrap_or(i64::MAX / 2);
    let values = values![name, instance, lasts];
    Ok(sql.execute(statement, &values).await? == 1)
}

/// Gives a lease back, if this instance holds it.
pub(super) async fn end<S: Sql>(sql: &S, name: &str, instance: InstanceId) -> Outcome<(), S> {
    let statement = sql!("DELETE FROM leases_by_name WHERE name = $1 AND instance = $2");
    sql.execute(statement, &values![name, instance])
        .await
        .map(drop)
}
