//! The outbox: events that their transactions wrote, and the deliveries that are made of them.

use std::collections::{BTreeSet, HashMap, HashSet};

use model::{
    AccountName, CredentialId, DeliveryState, Device, Event, LicenseId, Timestamp, Webhook,
};

use super::hooks::{lock, locked_of};
use super::new_deliveries::{EVENT_HEAD, EventHead, NewDelivery, add};
use super::queue::{mark_heads, numbers, refresh_due};
use super::rows::{EVENT, read_event, written};
use crate::error::Error;
use crate::ledger::DEVICE_DIGEST;
use crate::licenses::SealedKey;
use crate::rules::numbers::{FAILED, WAITING};
use crate::sql::license_rows::get_all;
use crate::sql::{Outcome, Row, Sql, Statement, Value, rows, sql, values};

/// The largest number of events that one statement writes.
const AT_ONCE: usize = 1_000;

/// The columns of both outboxes in the order of the rows below.
const WRITTEN: &str = "id, kind, at, account, app, license_id, data";
/// The events of the first value as rows, in PostgreSQL; one that is there is left out.
const POSTGRES_EVENTS: &str = "SELECT e.* FROM json_to_recordset($1::text::json) AS e \
    (id uuid, kind smallint, at bigint, account text, app text, license_id uuid, data text) \
    ON CONFLICT (id) DO NOTHING";
/// The same in SQLite.
const SQLITE_EVENTS: &str = "SELECT unhex(value ->> 'id'), value ->> 'kind', value ->> 'at', value ->> 'account', \
    value ->> 'app', unhex(value ->> 'license_id'), value ->> 'data' FROM json_each($1) \
    WHERE true ON CONFLICT (id) DO NOTHING";

/// Returns those of the accounts that have a webhook, of whatever state.
pub(crate) async fn with_webhook<S: Sql>(
    sql: &S,
    accounts: impl Iterator<Item = &AccountName> + Send,
) -> Outcome<HashSet<AccountName>, S> {
    let accounts: BTreeSet<&str> = accounts.map(AccountName::as_str).collect();
    let accounts = accounts.into_iter().map(str::to_owned).collect();
    let statement = sql!("SELECT DISTINCT account FROM webhooks WHERE account = ANY ($1)");
    let found = sql.query(statement, &[Value::Texts(accounts)]).await?;
    let found = found.iter().map(|row| row.text(0));
    Ok(found.collect::<Result<_, Error>>()?)
}

/// Writes events into the outbox, in their order; one that is there stays as it is.
pub(crate) async fn write<S: Sql>(sql: &S, events: &[Event]) -> Outcome<(), S> {
    let statement = sql!(
        postgres: "INSERT INTO events ({WRITTEN}) {POSTGRES_EVENTS}",
        sqlite: "INSERT INTO events ({WRITTEN}) {SQLITE_EVENTS}",
    );
    insert(sql, statement, events).await
}

/// Takes in events of the ledger, which knows devices by their digests alone: those that their
/// license is bound to get their names.
pub(super) async fn take_in<S: Sql>(sql: &S, events: &[Event]) -> Outcome<(), S> {
    let mut events = events.to_vec();
    let of_devices = events.iter().filter(|e| e.data.contains_key(DEVICE_DIGEST));
    let licenses: BTreeSet<_> = of_devices.filter_map(|event| event.license_id).collect();
    let licenses: Vec<_> = licenses.into_iter().collect();
    let mut bound = HashMap::new();
    for some in licenses.chunks(AT_ONCE) {
        let found = get_all(sql, some).await?.into_iter();
        bound.extend(found.map(|stored| (stored.license.id, stored.devices)));
    }
    for event in &mut events {
        let Some(digest) = event.data.remove(DEVICE_DIGEST) else {
            continue;
        };
        let devices = event.license_id.and_then(|license| bound.get(&license));
        let is_it = |device: &&Device| digest.as_u64() == Some(device.id.digest());
        if let Some(device) = devices.into_iter().flatten().find(is_it) {
            let name = device.id.as_str().into();
            event.data.insert("device".to_owned(), name);
        }
    }
    write(sql, &events).await
}

/// Returns the copies of keys that are kept for the events of a license.
pub(super) async fn told_keys<S: Sql>(
    sql: &S,
    license: LicenseId,
) -> Outcome<Vec<(CredentialId, SealedKey)>, S> {
    let statement = sql!("SELECT id, sealed FROM told_keys WHERE license_id = $1 ORDER BY id DESC");
    let read = |row: &Row| Ok((row.get(0)?, SealedKey::new(row.get(1)?)));
    let found = sql.query(statement, &values![license]).await?;
    Ok(found.iter().map(read).collect::<Result<_, Error>>()?)
}

/// Writes those of the events whose accounts have a webhook.
pub(super) async fn write_wanted<S: Sql>(sql: &S, events: &[Event]) -> Outcome<(), S> {
    let accounts = with_webhook(sql, events.iter().map(|event| &event.account)).await?;
    let wanted = events.iter().filter(|e| accounts.contains(&e.account));
    write(sql, &wanted.cloned().collect::<Vec<_>>()).await
}

// === the outbox of the ledger ===

/// Writes events into the outbox of the ledger, in their order.
pub(crate) async fn write_of_ledger<S: Sql>(sql: &S, events: &[Event]) -> Outcome<(), S> {
    let statement = sql!(
        postgres: "INSERT INTO ledger_events ({WRITTEN}) {POSTGRES_EVENTS}",
        sqlite: "INSERT INTO ledger_events ({WRITTEN}) {SQLITE_EVENTS}",
    );
    insert(sql, statement, events).await
}

async fn insert<S: Sql>(sql: &S, statement: &Statement, events: &[Event]) -> Outcome<(), S> {
    for some in events.chunks(AT_ONCE) {
        sql.execute(statement, &values![written(some)]).await?;
    }
    Ok(())
}

/// Returns the oldest events of the ledger's outbox.
pub(super) async fn of_ledger<S: Sql>(sql: &S, limit: usize) -> Outcome<Vec<Event>, S> {
    let statement = sql!("SELECT {EVENT} FROM ledger_events e ORDER BY e.number LIMIT $1");
    let found = sql.query(statement, &values![rows(limit)]).await?;
    Ok(found.iter().map(read_event).collect::<Result<_, _>>()?)
}

/// Forgets events of the ledger's outbox.
pub(super) async fn forget_of_ledger<S: Sql>(sql: &S, events: &[Event]) -> Outcome<(), S> {
    let statement = sql!("DELETE FROM ledger_events WHERE id = ANY ($1::uuid[])");
    let ids = events.iter().map(|event| event.id.as_u128());
    sql.execute(statement, &[Value::Ids(ids.collect())])
        .await
        .map(drop)
}

// === deliveries of events ===

/// Makes deliveries of the oldest events that have none. Returns how many events.
pub(super) async fn fan_out<S: Sql>(sql: &S, limit: usize, now: Timestamp) -> Outcome<usize, S> {
    let statement = sql!(
        "SELECT {EVENT_HEAD} FROM events WHERE fanned_out = 0 ORDER BY number LIMIT $1 FOR UPDATE"
    );
    let found = sql.query(statement, &values![rows(limit)]).await?;
    let events = found.iter().map(EventHead::read);
    let events = events.collect::<Result<Vec<_>, _>>()?;
    if events.is_empty() {
        return Ok(0);
    }
    let accounts: BTreeSet<_> = events.iter().map(|event| event.account.clone()).collect();
    let webhooks = locked_of(sql, &accounts.into_iter().collect::<Vec<_>>()).await?;
    let mut of_account: HashMap<&AccountName, Vec<&Webhook>> = HashMap::new();
    for webhook in &webhooks {
        of_account
            .entry(&webhook.account)
            .or_default()
            .push(webhook);
    }
    let mut new = Vec::new();
    for event in &events {
        let all = of_account.get(&event.account).into_iter().flatten();
        let getting = all.filter(|webhook| event.is_for(webhook));
        new.extend(getting.map(|webhook| NewDelivery::new(event, webhook)));
    }
    if !new.is_empty() {
        add(sql, new, DeliveryState::Waiting, now).await?;
        let ids = webhooks.iter().map(|webhook| webhook.id.as_u128());
        refresh_due(sql, &Value::Ids(ids.collect())).await?;
    }
    let done = sql!("UPDATE events SET fanned_out = 1 WHERE number = ANY ($1)");
    let numbers = events.iter().map(|event| event.number as i64);
    sql.execute(done, &[Value::Integers(numbers.collect())])
        .await?;
    Ok(events.len())
}

/// Forgets old events with their deliveries. Returns how many events.
pub(super) async fn sweep<S: Sql>(sql: &S, before: Timestamp, limit: usize) -> Outcome<usize, S> {
    let keys = sql!("DELETE FROM told_keys WHERE at < $1");
    sql.execute(keys, &values![before]).await?;
    let old = sql!("SELECT number FROM events WHERE at < $1 ORDER BY at LIMIT $2 FOR UPDATE");
    let old = sql.query(old, &values![before, rows(limit)]).await?;
    if old.is_empty() {
        return Ok(0);
    }
    let events = [numbers(&old)?];
    // Whatever the states are now: somebody may be making some of them due again.
    let (deliveries, receivers) = deliveries_of(sql, &events).await?;
    lock(sql, &receivers).await?;
    // What waited behind them goes on. The sign keeps the engines from going through all that wait.
    let end = sql!(
        "UPDATE deliveries SET state = {FAILED}, head = 0, next_at = NULL
        WHERE number = ANY ($1) AND +state = {WAITING} RETURNING number"
    );
    let deliveries = [deliveries];
    let ended = numbers(&sql.query(end, &deliveries).await?)?;
    mark_heads(sql, &ended).await?;
    let forget = sql!("DELETE FROM deliveries WHERE number = ANY ($1)");
    sql.execute(forget, &deliveries).await?;
    let gone = sql!("DELETE FROM events WHERE number = ANY ($1)");
    sql.execute(gone, &events).await?;
    refresh_due(sql, &receivers).await?;
    Ok(old.len())
}

/// Returns the numbers of all deliveries of these events, and their webhooks, each once.
async fn deliveries_of<S: Sql>(sql: &S, events: &[Value]) -> Outcome<(Value, Value), S> {
    // By the index for each event, also where PostgreSQL knows nothing of the table yet: it would go
    // through all of it.
    let statement = sql!(
        postgres: "SELECT d.number, d.webhook_id FROM unnest($1::bigint[]) AS e (number)
        CROSS JOIN LATERAL (SELECT number, webhook_id FROM deliveries WHERE event = e.number OFFSET 0) d",
        sqlite: "SELECT number, webhook_id FROM deliveries WHERE event = ANY ($1)",
    );
    let found = sql.query(statement, events).await?;
    let receivers = found.iter().map(|row| row.get::<u128>(1));
    let receivers = receivers.collect::<Result<BTreeSet<_>, Error>>()?;
    Ok((
        numbers(&found)?,
        Value::Ids(receivers.into_iter().collect()),
    ))
}
