//! The queue of deliveries: which may be tried, and what becomes of them.
//!
//! Of the deliveries that wait for one webhook, from one source, about one license, only that of the
//! oldest event may be tried: the *head* of these. Heads are marked as such, so that what is due is
//! found by an index however many others wait behind them, and a webhook's row says when the first
//! of its heads falls due. Both are kept by whatever changes deliveries, which locks their webhook.

use model::{Timestamp, WebhookId};

use super::rows::{DELIVERY, read_delivery};
use crate::error::Error;
use crate::rules::numbers::{WAITING, WEBHOOK_ACTIVE};
use crate::sql::{Outcome, Row, Sql, Value, rows, sql, values};
use crate::webhooks::{Busy, Delivery};

/// The oldest of those that wait beside each of the deliveries `$1`, which are of any state. Of many
/// beside each other it is looked up once: the look-up passes what ended in this transaction.
const FIRST_BESIDE: &str = "SELECT (SELECT w.number FROM deliveries w WHERE w.webhook_id = d.webhook_id
      AND w.source = d.source AND w.license_id = d.license_id AND w.state = 0 ORDER BY w.event LIMIT 1)
    FROM (SELECT DISTINCT webhook_id, source, license_id FROM deliveries WHERE number = ANY ($1)) d";

/// Makes the first that waits beside each of these deliveries its head.
pub(super) async fn mark_heads<S: Sql>(sql: &S, deliveries: &Value) -> Outcome<(), S> {
    let statement = sql!(
        "UPDATE deliveries SET head = 1 WHERE head = 0 AND number IN
        ({FIRST_BESIDE})"
    );
    sql.execute(statement, std::slice::from_ref(deliveries))
        .await
        .map(drop)
}

/// Makes deliveries that do not wait due at once, with all their tries.
pub(super) async fn make_due<S: Sql>(
    sql: &S,
    deliveries: &Value,
    now: Timestamp,
) -> Outcome<u64, S> {
    // Older ones may come before the heads that there are.
    let demote = sql!(
        "UPDATE deliveries SET head = 0, attempts = 0, next_at = $2 WHERE number IN
        ({FIRST_BESIDE})"
    );
    let values = [deliveries.clone(), now.into()];
    sql.execute(demote, &values).await?;
    let wake = sql!(
        "UPDATE deliveries SET state = {WAITING}, attempts = 0, next_at = $2
        WHERE number = ANY ($1) AND state <> {WAITING}"
    );
    let woken = sql.execute(wake, &values).await?;
    mark_heads(sql, deliveries).await?;
    Ok(woken)
}

/// Makes the heads of a webhook that were tried due at once, with all their tries. Those that were
/// not are due.
pub(super) async fn make_due_at_once<S: Sql>(
    sql: &S,
    webhook: WebhookId,
    now: Timestamp,
) -> Outcome<(), S> {
    // What was due keeps its turn among those that were tried.
    let statement = sql!(
        "UPDATE deliveries SET attempts = 0, next_at = least(next_at, $2)
        WHERE webhook_id = $1 AND head = 1 AND attempts > 0"
    );
    sql.execute(statement, &values![webhook, now])
        .await
        .map(drop)
}

/// Writes down when the first heads of webhooks fall due.
pub(super) async fn refresh_due<S: Sql>(sql: &S, webhooks: &Value) -> Outcome<(), S> {
    let statement = sql!(
        "UPDATE webhooks SET due_at = (SELECT min(h.next_at) FROM (
          SELECT min(d.next_at) AS next_at FROM deliveries d
          WHERE d.webhook_id = webhooks.id AND d.head = 1 AND d.tried_at IS NULL
          UNION ALL
          SELECT min(d.next_at) AS next_at FROM deliveries d
          WHERE d.webhook_id = webhooks.id AND d.head = 1 AND d.tried_at IS NOT NULL) h)
        WHERE id = ANY ($1::uuid[])"
    );
    sql.execute(statement, std::slice::from_ref(webhooks))
        .await
        .map(drop)
}

pub(super) async fn due<S: Sql>(
    sql: &S,
    now: Timestamp,
    limit: usize,
    each: usize,
    without: &Busy,
) -> Outcome<Vec<Delivery>, S> {
    // Webhooks first, those that wait longest; a busy one among them may have nothing more. Of each
    // those that were never tried beside those that were, which may be many and fail always.
    let statement = sql!(
        postgres: "SELECT {DELIVERY} FROM (
          SELECT d.* FROM (
            SELECT id FROM webhooks WHERE state = {WEBHOOK_ACTIVE} AND due_at <= $1 AND NOT (id = ANY ($2::uuid[]))
            ORDER BY due_at LIMIT $3
          ) h CROSS JOIN LATERAL (
            (SELECT * FROM deliveries w WHERE w.webhook_id = h.id AND w.head = 1 AND w.tried_at IS NULL
            AND w.next_at <= $1 AND NOT (w.number = ANY ($4)) ORDER BY w.next_at, w.event LIMIT $5)
            UNION ALL
            (SELECT * FROM deliveries w WHERE w.webhook_id = h.id AND w.head = 1 AND w.tried_at IS NOT NULL
            AND w.next_at <= $1 AND NOT (w.number = ANY ($4)) ORDER BY w.next_at, w.event LIMIT $5)
          ) d ORDER BY d.event, d.number LIMIT $6
        ) d JOIN events e ON e.number = d.event ORDER BY d.event, d.number",
        sqlite: "SELECT {DELIVERY} FROM (
          SELECT d.* FROM (
            SELECT id FROM webhooks WHERE state = {WEBHOOK_ACTIVE} AND due_at <= $1 AND NOT (id = ANY ($2::uuid[]))
            ORDER BY due_at LIMIT $3
          ) h CROSS JOIN deliveries d ON d.number IN (
            SELECT number FROM (
              SELECT w.number FROM deliveries w WHERE w.webhook_id = h.id AND w.head = 1 AND w.tried_at IS NULL
              AND w.next_at <= $1 AND NOT (w.number = ANY ($4)) ORDER BY w.next_at, w.event LIMIT $5)
            UNION ALL
            SELECT number FROM (
              SELECT w.number FROM deliveries w WHERE w.webhook_id = h.id AND w.head = 1 AND w.tried_at IS NOT NULL
              AND w.next_at <= $1 AND NOT (w.number = ANY ($4)) ORDER BY w.next_at, w.event LIMIT $5)
          ) ORDER BY d.event, d.number LIMIT $6
        ) d CROSS JOIN events e ON e.number = d.event ORDER BY d.event, d.number",
    );
    let under_way = without.deliveries.iter().map(|number| *number as i64);
    let busy = without.webhooks.iter().map(|webhook| webhook.as_u128());
    let values = [
        now.into(),
        Value::Ids(busy.collect()),
        rows(limit.saturating_add(without.deliveries.len())).into(),
        Value::Integers(under_way.collect()),
        rows(each).into(),
        rows(limit).into(),
    ];
    let found = sql.query(statement, &values).await?;
    let read = found.iter().map(read_delivery);
    Ok(read.collect::<Result<_, _>>()?)
}

/// Reads the numbers of deliveries.
pub(super) fn numbers(found: &[Row]) -> Result<Value, Error> {
    let numbers = found.iter().map(|row| row.get::<i64>(0));
    Ok(Value::Integers(numbers.collect::<Result<_, _>>()?))
}
