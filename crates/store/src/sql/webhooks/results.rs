//! The results of tries, and what becomes of deliveries and webhooks by them.

use std::collections::{BTreeMap, HashSet};

use model::{DeliveryState, WebhookId};
use serde::Serialize;

use super::hooks::lock;
use super::queue::{mark_heads, refresh_due};
use super::rows::hex;
use crate::rules::numbers::{WAITING, WEBHOOK_ACTIVE, WEBHOOK_DISABLED};
use crate::sql::{MAX_COUNT, Outcome, Sql, Value, json, sql, values};
use crate::webhooks::{Attempt, AttemptResult, NextStep};

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
struct Report {
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
    let noted: HashSet<u64> = noted
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
    let mut told: BTreeMap<WebhookId, Report> = BTreeMap::new();
    for result in noted {
        let told = told.entry(result.webhook_id).or_insert_with(|| Report {
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
            duration_us: result.attempt.duration_us.min(MAX_COUNT),
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
