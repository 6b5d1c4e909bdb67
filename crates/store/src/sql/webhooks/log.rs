//! The log of deliveries, and deliveries that are asked for again.

use model::{DeliveryState, Event, EventType, Timestamp, WebhookId};

use super::hooks::{find, locked};
use super::new_deliveries::{EVENT_HEAD, EventHead, NewDelivery, add};
use super::queue::{make_due, numbers, refresh_due};
use super::results::kept_answer;
use super::rows::{DELIVERY, read_delivery, written};
use crate::rules::numbers::WAITING;
use crate::sql::filter::Filter;
use crate::sql::{Outcome, Sql, Statement, Value, count, rows, sql, values};
use crate::webhooks::{Attempt, Delivery, DeliveryFilter, Waiting};

/// The largest number of deliveries that one transaction makes due again or removes.
const AT_ONCE: usize = 2_000;

pub(super) async fn page<S: Sql>(
    sql: &S,
    webhook: WebhookId,
    asked: &DeliveryFilter,
    before: Option<u64>,
    limit: usize,
) -> Outcome<Vec<Delivery>, S> {
    let mut filter = selected(webhook, asked);
    filter.and("d.number < ?", before.map(count));
    let limit = filter.place(rows(limit));
    let text = format!(
        "SELECT {DELIVERY} FROM deliveries d JOIN events e ON e.number = d.event {} ORDER BY d.number DESC LIMIT {limit}",
        filter.clause()
    );
    let found = sql.query(&Statement::new(text), filter.values()).await?;
    let read = found.iter().map(read_delivery);
    Ok(read.collect::<Result<_, _>>()?)
}

/// Returns the conditions of a selection, of deliveries `d` with their events `e`.
fn selected(webhook: WebhookId, asked: &DeliveryFilter) -> Filter {
    let mut filter = Filter::new();
    filter
        .and("d.webhook_id = ?", webhook)
        .and("e.at >= ?", asked.from)
        .and("e.at < ?", asked.to)
        .and("e.id = ?", asked.event_id);
    if let Some(state) = asked.state {
        // As a number of the text: an index over one state serves no parameter.
        filter.also(format!("d.state = {}", state as u8));
    }
    filter
}

pub(super) async fn waiting<S: Sql>(sql: &S) -> Outcome<Waiting, S> {
    let statement = sql!(
        "SELECT w.deliveries, e.at FROM
        (SELECT count(*) AS deliveries, min(event) AS event FROM deliveries WHERE state = {WAITING}) w
        LEFT JOIN events e ON e.number = w.event"
    );
    let Some(row) = sql.query_opt(statement, &[]).await? else {
        return Ok(Waiting::default());
    };
    Ok(Waiting {
        count: row.count(0)?,
        oldest: row.get(1)?,
    })
}

/// Keeps a test that was made.
pub(super) async fn add_tested<S: Sql>(
    sql: &S,
    webhook: WebhookId,
    event: &Event,
    attempt: &Attempt,
    took: bool,
) -> Outcome<(), S> {
    let Some(found) = locked(sql, webhook).await? else {
        return Ok(());
    };
    let keep = sql!(
        postgres: "INSERT INTO events (id, kind, at, account, app, license_id, data, fanned_out)
        SELECT e.*, 1 FROM json_to_recordset($1::text::json) AS e (id uuid, kind smallint, at bigint, account text,
          app text, license_id uuid, data text) RETURNING {EVENT_HEAD}",
        sqlite: "INSERT INTO events (id, kind, at, account, app, license_id, data, fanned_out)
        SELECT unhex(value ->> 'id'), value ->> 'kind', value ->> 'at', value ->> 'account', value ->> 'app',
          unhex(value ->> 'license_id'), value ->> 'data', 1 FROM json_each($1) RETURNING {EVENT_HEAD}",
    );
    let written = values![written(std::slice::from_ref(event))];
    let Some(kept) = sql.query_opt(keep, &written).await? else {
        return Ok(());
    };
    let kept = EventHead::read(&kept)?;
    let state = match took {
        true => DeliveryState::Delivered,
        false => DeliveryState::Failed,
    };
    let delivery = NewDelivery::new(&kept, &found);
    let Value::Integers(added) = add(sql, vec![delivery], state, attempt.at).await? else {
        return Ok(());
    };
    let note = sql!(
        "UPDATE deliveries SET attempts = 1, tried_at = $2, duration_us = $3, status = $4, answer = $5
        WHERE number = ANY ($1)"
    );
    let values = [
        Value::Integers(added),
        attempt.at.into(),
        count(attempt.duration_us).into(),
        attempt.status.into(),
        kept_answer(attempt).into(),
    ];
    sql.execute(note, &values).await?;
    if took {
        let note = sql!(
            "UPDATE webhooks SET last_delivery_at = greatest(coalesce(last_delivery_at, $2), $2) WHERE id = $1"
        );
        sql.execute(note, &values![webhook, attempt.at]).await?;
    }
    Ok(())
}

/// Makes some of the selected deliveries due again: those with numbers after `after`. Returns the
/// last number, `None` at the end, and how many are due again.
pub(super) async fn redeliver_some<S: Sql>(
    sql: &S,
    webhook: WebhookId,
    asked: &DeliveryFilter,
    after: u64,
    now: Timestamp,
) -> Outcome<(Option<u64>, u64), S> {
    if locked(sql, webhook).await?.is_none() {
        return Ok((None, 0));
    }
    let mut filter = selected(webhook, asked);
    filter.and("d.number > ?", count(after));
    filter.also(format!("d.state <> {WAITING}"));
    // The same event makes no other test.
    filter.also(format!("e.kind <> {}", EventType::Test as u8));
    let limit = filter.place(rows(AT_ONCE));
    let text = format!(
        "SELECT d.number FROM deliveries d JOIN events e ON e.number = d.event {} ORDER BY d.number LIMIT {limit}",
        filter.clause()
    );
    let found = sql.query(&Statement::new(text), filter.values()).await?;
    let last = found.last().filter(|_| found.len() == AT_ONCE);
    let last = last.map(|row| row.count(0)).transpose()?;
    Ok((last, wake(sql, webhook, &numbers(&found)?, now).await?))
}

/// Makes the deliveries of a webhook that failed for good due again. There are few: each of them
/// disabled it, or was under way when another did.
pub(super) async fn deliver_failed<S: Sql>(
    sql: &S,
    webhook: WebhookId,
    now: Timestamp,
) -> Outcome<(), S> {
    let failed = DeliveryFilter {
        state: Some(DeliveryState::Failed),
        ..DeliveryFilter::default()
    };
    let mut after = Some(0);
    while let Some(from) = after {
        (after, _) = redeliver_some(sql, webhook, &failed, from, now).await?;
    }
    Ok(())
}

/// Makes deliveries of some of the selected events that a webhook never got: those with numbers
/// after `after`. Returns as [`redeliver_some`].
pub(super) async fn deliver_missing<S: Sql>(
    sql: &S,
    webhook: WebhookId,
    asked: &DeliveryFilter,
    after: u64,
    now: Timestamp,
) -> Outcome<(Option<u64>, u64), S> {
    let Some(found) = locked(sql, webhook).await? else {
        return Ok((None, 0));
    };
    let mut filter = Filter::new();
    filter
        .and("number > ?", count(after))
        .and("account = ?", &found.account)
        .and("at >= ?", asked.from)
        .and("at < ?", asked.to)
        .and("id = ?", asked.event_id);
    // Those that are not fanned out come by themselves.
    filter.also(format!(
        "fanned_out = 1 AND kind <> {}",
        EventType::Test as u8
    ));
    let limit = filter.place(rows(AT_ONCE));
    let text = format!(
        "SELECT {EVENT_HEAD} FROM events {} ORDER BY number LIMIT {limit} FOR SHARE SKIP LOCKED",
        filter.clause()
    );
    // What is being swept at this moment is gone.
    let events = sql.query(&Statement::new(text), filter.values()).await?;
    let events = events.iter().map(EventHead::read);
    let events = events.collect::<Result<Vec<_>, _>>()?;
    let last = events.last().filter(|_| events.len() == AT_ONCE);
    let last = last.map(|event| event.number);
    let wanted = events.iter().filter(|event| event.is_for(&found));
    let new: Vec<_> = wanted
        .map(|event| NewDelivery::new(event, &found))
        .collect();
    // As if they had been there and ended, so that they come before later ones that wait.
    let added = add(sql, new, DeliveryState::Failed, now).await?;
    Ok((last, wake(sql, webhook, &added, now).await?))
}

async fn wake<S: Sql>(
    sql: &S,
    webhook: WebhookId,
    deliveries: &Value,
    now: Timestamp,
) -> Outcome<u64, S> {
    let woken = make_due(sql, deliveries, now).await?;
    refresh_due(sql, &Value::Ids(vec![webhook.as_u128()])).await?;
    Ok(woken)
}

/// Removes some deliveries of a webhook that is gone. Returns whether there may be more.
pub(super) async fn forget_some<S: Sql>(sql: &S, webhook: WebhookId) -> Outcome<bool, S> {
    if find(sql, webhook).await?.is_some() {
        return Ok(false);
    }
    let statement = sql!(
        "DELETE FROM deliveries WHERE number IN
        (SELECT number FROM deliveries WHERE webhook_id = $1 ORDER BY number LIMIT {AT_ONCE})"
    );
    let gone = sql.execute(statement, &values![webhook]).await?;
    Ok(gone >= AT_ONCE as u64)
}
