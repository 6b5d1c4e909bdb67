//! The queue of deliveries: which may be tried, and what becomes of them.
//!
//! Of the deliveries that wait for one webhook, from one source, about one license, only that of the
//! oldest event may be tried: the *head* of these. Heads are marked as such, so that what is due is
//! found by an index however many others wait behind them, and a webhook's row says when the first
//! of its heads falls due. Both are kept by whatever changes deliveries, which locks their webhook.

use std::collections::BTreeMap;

use model::{EventType, Timestamp, Webhook, WebhookId};
use serde::Serialize;

use super::hooks::lock;
use super::rows::{DELIVERY, hex, read_delivery};
use crate::error::Error;
use crate::rules::numbers::{WAITING, WEBHOOK_ACTIVE, WEBHOOK_DISABLED};
use crate::sql::{Outcome, Row, Sql, Value, json, rows, sql, values};
use crate::webhooks::{Attempt, AttemptResult, Busy, Delivery, DeliveryState, NextStep};

/// The oldest of the deliveries that wait beside delivery `d`, which is of any state.
const FIRST_BESIDE: &str =
    "SELECT w.number FROM deliveries w WHERE w.webhook_id = d.webhook_id AND w.source = d.source
    AND w.license_id = d.license_id AND w.state = 0 ORDER BY w.event LIMIT 1";

/// An event that is to be delivered to a webhook.
#[derive(Debug, Serialize)]
pub(super) struct Wish {
    event: u64,
    webhook: String,
    source: u8,
}

impl Wish {
    pub(super) fn new(event: u64, kind: EventType, webhook: &Webhook) -> Self {
        Self {
            event,
            webhook: hex(webhook.id.as_u128()),
            source: kind.source() as u8,
        }
    }
}

/// Makes deliveries in a state, except those that are there. Returns their numbers.
pub(super) async fn add<S: Sql>(
    sql: &S,
    wishes: &[Wish],
    state: DeliveryState,
    next_at: Timestamp,
) -> Outcome<Value, S> {
    let statement = sql!(
        postgres: "INSERT INTO deliveries (webhook_id, event, source, license_id, state, next_at)
        SELECT w.webhook, e.number, w.source, coalesce(e.license_id, '00000000-0000-0000-0000-000000000000'), $2, $3
        FROM json_to_recordset($1::text::json) AS w (event bigint, webhook uuid, source smallint)
        JOIN events e ON e.number = w.event ORDER BY w.event
        ON CONFLICT (event, webhook_id) DO NOTHING RETURNING number",
        sqlite: "INSERT INTO deliveries (webhook_id, event, source, license_id, state, next_at)
        SELECT unhex(w.value ->> 'webhook'), e.number, w.value ->> 'source', coalesce(e.license_id, zeroblob(16)), $2, $3
        FROM json_each($1) w CROSS JOIN events e ON e.number = w.value ->> 'event' WHERE true ORDER BY w.key
        ON CONFLICT (event, webhook_id) DO NOTHING RETURNING number",
    );
    let next_at = (state == DeliveryState::Waiting).then_some(next_at);
    let values = values![json(wishes), state as i64, next_at];
    numbers(&sql.query(statement, &values).await?).map_err(Into::into)
}

/// Makes the first that waits beside each of these deliveries its head.
pub(super) async fn mark_heads<S: Sql>(sql: &S, deliveries: &Value) -> Outcome<(), S> {
    let statement = sql!(
        "UPDATE deliveries SET head = 1 WHERE head = 0 AND number IN
        (SELECT ({FIRST_BESIDE}) FROM deliveries d WHERE d.number = ANY ($1))"
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
        (SELECT ({FIRST_BESIDE}) FROM deliveries d WHERE d.number = ANY ($1))"
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
    let statement = sql!(
        "UPDATE deliveries SET attempts = 0, next_at = $2
        WHERE webhook_id = $1 AND head = 1 AND attempts > 0"
    );
    sql.execute(statement, &values![webhook, now])
        .await
        .map(drop)
}

/// Writes down when the first heads of webhooks fall due.
pub(super) async fn refresh_due<S: Sql>(sql: &S, webhooks: &Value) -> Outcome<(), S> {
    let statement = sql!(
        "UPDATE webhooks SET due_at =
        (SELECT min(d.next_at) FROM deliveries d WHERE d.webhook_id = webhooks.id AND d.head = 1)
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
    // Webhooks first, those that wait longest; a busy one among them may have nothing more.
    let statement = sql!(
        postgres: "SELECT {DELIVERY} FROM (
          SELECT d.* FROM (
            SELECT id FROM webhooks WHERE state = {WEBHOOK_ACTIVE} AND due_at <= $1 AND NOT (id = ANY ($2::uuid[]))
            ORDER BY due_at LIMIT $3
          ) h CROSS JOIN LATERAL (
            SELECT * FROM deliveries w WHERE w.webhook_id = h.id AND w.head = 1 AND w.next_at <= $1
            AND NOT (w.number = ANY ($4)) ORDER BY w.next_at, w.event LIMIT $5
          ) d ORDER BY d.event, d.number LIMIT $6
        ) d JOIN events e ON e.number = d.event ORDER BY d.event, d.number",
        sqlite: "SELECT {DELIVERY} FROM (
          SELECT d.* FROM (
            SELECT id FROM webhooks WHERE state = {WEBHOOK_ACTIVE} AND due_at <= $1 AND NOT (id = ANY ($2::uuid[]))
            ORDER BY due_at LIMIT $3
          ) h CROSS JOIN deliveries d ON d.number IN (
            SELECT w.number FROM deliveries w WHERE w.webhook_id = h.id AND w.head = 1 AND w.next_at <= $1
            AND NOT (w.number = ANY ($4)) ORDER BY w.next_at, w.event LIMIT $5
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

pub(super) async fn next_due_at<S: Sql>(sql: &S) -> Outcome<Option<Timestamp>, S> {
    let statement = sql!("SELECT min(due_at) FROM webhooks WHERE state = {WEBHOOK_ACTIVE}");
    let row = sql.query_opt(statement, &[]).await?;
    Ok(row.map_or(Ok(None), |row| row.get(0))?)
}

/// The result of a try, as a statement reads it.
#[derive(Debug, Serialize)]
struct Tried {
    n: u64,
    state: u8,
    next_at: Option<i64>,
    tried_at: i64,
    duration_us: u64,
    status: Option<u16>,
    answer: String,
}

/// The results of a webhook's tries, as a statement reads them.
#[derive(Debug, Serialize)]
struct Told {
    id: String,
    took_at: Option<i64>,
    disable: bool,
}

/// Writes results down, and lets those go on that waited behind what has ended.
pub(super) async fn note<S: Sql>(sql: &S, results: &[AttemptResult]) -> Outcome<(), S> {
    let webhooks = results.iter().map(|result| result.webhook_id.as_u128());
    let mut webhooks: Vec<_> = webhooks.collect();
    webhooks.sort_unstable();
    webhooks.dedup();
    let webhooks = Value::Ids(webhooks);
    lock(sql, &webhooks).await?;
    // SQLite must not go through all that wait: the sign keeps it from that index.
    let statement = sql!(
        postgres: "UPDATE deliveries AS d SET state = r.state, attempts = d.attempts + 1, next_at = r.next_at,
        head = CASE WHEN r.state = {WAITING} THEN d.head ELSE 0 END, tried_at = r.tried_at, duration_us = r.duration_us,
        status = r.status, answer = r.answer
        FROM json_to_recordset($1::text::json) AS r (n bigint, state smallint, next_at bigint, tried_at bigint,
          duration_us bigint, status integer, answer text)
        WHERE d.number = r.n AND d.state = {WAITING} RETURNING number",
        sqlite: "UPDATE deliveries AS d SET state = r.value ->> 'state', attempts = d.attempts + 1,
        next_at = r.value ->> 'next_at', head = CASE WHEN r.value ->> 'state' = {WAITING} THEN d.head ELSE 0 END,
        tried_at = r.value ->> 'tried_at', duration_us = r.value ->> 'duration_us', status = r.value ->> 'status',
        answer = r.value ->> 'answer'
        FROM json_each($1) r WHERE d.number = r.value ->> 'n' AND +d.state = {WAITING} RETURNING number",
    );
    let tried: Vec<_> = results.iter().map(Tried::of).collect();
    let noted = sql.query(statement, &values![json(&tried)]).await?;
    let noted: Vec<u64> = noted
        .iter()
        .map(|row| row.count(0))
        .collect::<Result<_, _>>()?;
    let noted: Vec<&AttemptResult> = results
        .iter()
        .filter(|result| noted.contains(&result.number))
        .collect();
    let ended = noted.iter().filter(|result| result.next.ends());
    let ended = Value::Integers(ended.map(|result| result.number as i64).collect());
    mark_heads(sql, &ended).await?;
    tell_webhooks(sql, &noted).await?;
    refresh_due(sql, &webhooks).await
}

async fn tell_webhooks<S: Sql>(sql: &S, noted: &[&AttemptResult]) -> Outcome<(), S> {
    let mut told: BTreeMap<WebhookId, Told> = BTreeMap::new();
    for result in noted {
        let told = told.entry(result.webhook_id).or_insert_with(|| Told {
            id: hex(result.webhook_id.as_u128()),
            took_at: None,
            disable: false,
        });
        match result.next {
            NextStep::Delivered => {
                told.took_at = told.took_at.max(Some(result.attempt.at.micros()))
            }
            NextStep::Disable => told.disable = true,
            NextStep::RetryAt(_) => {}
        }
    }
    let statement = sql!(
        postgres: "UPDATE webhooks AS h SET last_delivery_at = greatest(h.last_delivery_at, r.took_at),
        state = CASE WHEN r.disable AND h.state = {WEBHOOK_ACTIVE} THEN {WEBHOOK_DISABLED} ELSE h.state END
        FROM json_to_recordset($1::text::json) AS r (id uuid, took_at bigint, disable boolean) WHERE h.id = r.id",
        sqlite: "UPDATE webhooks AS h SET last_delivery_at =
          nullif(max(coalesce(h.last_delivery_at, -1), coalesce(r.value ->> 'took_at', -1)), -1),
        state = CASE WHEN r.value ->> 'disable' AND h.state = {WEBHOOK_ACTIVE} THEN {WEBHOOK_DISABLED} ELSE h.state END
        FROM json_each($1) r WHERE h.id = unhex(r.value ->> 'id')",
    );
    let told: Vec<_> = told.into_values().collect();
    sql.execute(statement, &values![json(&told)])
        .await
        .map(drop)
}

impl Tried {
    fn of(result: &AttemptResult) -> Self {
        let (state, next_at) = match result.next {
            NextStep::Delivered => (DeliveryState::Delivered, None),
            NextStep::RetryAt(at) => (DeliveryState::Waiting, Some(at.micros())),
            NextStep::Disable => (DeliveryState::Failed, None),
        };
        Self {
            n: result.number,
            state: state as u8,
            next_at,
            tried_at: result.attempt.at.micros(),
            duration_us: result.attempt.duration_us.min(crate::sql::MAX_COUNT),
            status: result.attempt.status,
            answer: kept_answer(&result.attempt),
        }
    }
}

/// Returns as much of an answer as is kept, as a text that both engines hold.
pub(super) fn kept_answer(attempt: &Attempt) -> String {
    let mut answer = attempt.answer.replace('\0', "\u{fffd}");
    let end = answer.floor_char_boundary(Attempt::MAX_ANSWER_BYTES);
    answer.truncate(end);
    answer
}

/// Reads the numbers of deliveries.
pub(super) fn numbers(found: &[Row]) -> Result<Value, Error> {
    let numbers = found.iter().map(|row| row.get::<i64>(0));
    Ok(Value::Integers(numbers.collect::<Result<_, _>>()?))
}
