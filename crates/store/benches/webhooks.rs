//! The measurement of a store with a million deliveries that wait: what it costs to find the next
//! ones, to write down that they came, and to make them.
//!
//! Run it on the disk that the embedded store will be on, or with the URL of an empty database, or
//! with the server that the tests start; the second argument is the number of deliveries:
//! `cargo bench -p store --bench webhooks -- [DIRECTORY|postgres://…|postgres] [DELIVERIES]`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{
    AccountName, AppName, Event, EventId, EventType, LicenseId, Timestamp, Webhook, WebhookForm,
    WebhookId, WebhookState,
};
use store::{
    Attempt, AttemptResult, AuditEntries, Busy, Delivery, Error, NewWebhook, NextStep,
    PostgresOptions, PostgresStore, SealedKey, SqliteOptions, SqliteStore, Store, WebhookChange,
    WebhookStore,
};

/// The number of deliveries that wait.
const DELIVERIES: usize = 1_000_000;
/// The number of events that are written, or made deliveries of, at once.
const BATCH: usize = 1_000;
/// The number of deliveries that are asked for, and written down, at once.
const AT_ONCE: usize = 64;
const NOW: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Error> {
    let (temporary, server);
    // Cargo itself passes `--bench`.
    let mut arguments = std::env::args().skip(1).filter(|a| !a.starts_with("--"));
    let place = match arguments.next() {
        Some(place) if place == "postgres" => {
            server = testkit::Postgres::shared();
            server.schema()
        }
        Some(place) => place,
        None => {
            temporary =
                tempfile::TempDir::new().map_err(|error| Error::Unavailable(error.to_string()))?;
            temporary.path().display().to_string()
        }
    };
    let deliveries = arguments.next().and_then(|count| count.parse().ok());
    let store: Arc<dyn Store> = if place.contains("://") {
        Arc::new(PostgresStore::open(PostgresOptions::parse(&place)?).await?)
    } else {
        Arc::new(SqliteStore::open(SqliteOptions::new(place))?)
    };
    let hooks = store.webhooks()?;
    let (idle, busy) = (keep(hooks, "idle").await?, keep(hooks, "busy").await?);
    let deliveries = deliveries.unwrap_or(DELIVERIES);
    // Half of them each for a license of its own, half of them behind one.
    fill(hooks, "idle", deliveries / 2, |number| number).await?;
    fill(hooks, "idle", deliveries / 2, |_| 7).await?;
    fill(hooks, "busy", 20 * AT_ONCE, |number| number).await?;

    println!(
        "{deliveries} wait for one webhook, {} for another",
        20 * AT_ONCE
    );
    look(hooks, "both active").await?;
    set_state(hooks, idle, WebhookState::Paused).await?;
    look(hooks, "the large one paused").await?;
    deliver(hooks, "the large one paused", 10 * AT_ONCE).await?;
    let begun = Instant::now();
    set_state(hooks, idle, WebhookState::Active).await?;
    println!("{:<58} {:>12.1} ms", "resume", millis(begun.elapsed()));
    deliver(hooks, "both active", 200 * AT_ONCE).await?;
    let begun = Instant::now();
    let waiting = hooks.waiting().await?;
    println!(
        "{:<58} {:>12.1} ms ({} wait)",
        "count those that wait",
        millis(begun.elapsed()),
        waiting.count
    );
    let begun = Instant::now();
    let swept = hooks.sweep_events(NOW.plus_micros(1), BATCH).await?;
    say("sweep", swept, begun);
    let begun = Instant::now();
    hooks.delete_webhook(busy, AuditEntries::none()).await?;
    println!(
        "{:<58} {:>12.1} ms",
        "delete a webhook",
        millis(begun.elapsed())
    );
    Ok(())
}

fn say(what: &str, count: usize, since: Instant) {
    let seconds = since.elapsed().as_secs_f64();
    let (rate, each) = (count as f64 / seconds, seconds * 1e6 / count as f64);
    println!("{what:<58} {rate:>12.0} /s {each:>10.1} us each");
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn account(name: &str) -> AccountName {
    name.parse().expect("a valid name")
}

async fn keep(hooks: &dyn WebhookStore, name: &str) -> Result<WebhookId, Error> {
    let webhook = Webhook {
        id: WebhookId::generate(),
        account: account(name),
        app: None,
        url: "https://example.org".to_owned(),
        events: Vec::new(),
        form: WebhookForm::Native,
        state: WebhookState::Active,
        created_at: NOW,
        last_delivery_at: None,
    };
    let (id, secret) = (webhook.id, SealedKey::new(vec![1]));
    let new = NewWebhook { webhook, secret };
    hooks.create_webhook(new, 1, AuditEntries::none()).await?;
    Ok(id)
}

async fn set_state(
    hooks: &dyn WebhookStore,
    id: WebhookId,
    state: WebhookState,
) -> Result<(), Error> {
    let change = WebhookChange {
        state: Some(state),
        ..WebhookChange::default()
    };
    let changed = hooks.change_webhook(id, change, NOW, AuditEntries::none());
    changed.await.map(drop)
}

/// Writes events of an account down and makes deliveries of them.
async fn fill(
    hooks: &dyn WebhookStore,
    name: &str,
    count: usize,
    license: impl Fn(usize) -> usize,
) -> Result<(), Error> {
    let event = |number: usize| Event {
        id: EventId::generate(),
        kind: EventType::LicenseChanged,
        at: NOW,
        account: account(name),
        app: AppName::every(),
        license_id: Some(LicenseId::from_u128(license(number) as u128 + 1)),
        data: serde_json::Map::new(),
    };
    let (mut writing, mut telling) = (Duration::ZERO, Duration::ZERO);
    for first in (0..count).step_by(BATCH) {
        let events = (first..count.min(first + BATCH)).map(event).collect();
        let begun = Instant::now();
        hooks.add_events(events).await?;
        writing += begun.elapsed();
        let begun = Instant::now();
        hooks.fan_out(BATCH, NOW).await?;
        telling += begun.elapsed();
    }
    for (what, took) in [("write events", writing), ("make deliveries", telling)] {
        say(&format!("{what} ({name})"), count, Instant::now() - took);
    }
    Ok(())
}

async fn due(hooks: &dyn WebhookStore) -> Result<Vec<Delivery>, Error> {
    hooks
        .due_deliveries(NOW, AT_ONCE, AT_ONCE / 2, Busy::default())
        .await
}

async fn look(hooks: &dyn WebhookStore, what: &str) -> Result<(), Error> {
    const TIMES: usize = 100;
    let begun = Instant::now();
    let mut found = 0;
    for _ in 0..TIMES {
        found += due(hooks).await?.len();
    }
    say(
        &format!("find {AT_ONCE} that are due, {what}"),
        found,
        begun,
    );
    Ok(())
}

/// Finds deliveries and writes down that they came, again and again.
async fn deliver(hooks: &dyn WebhookStore, what: &str, count: usize) -> Result<(), Error> {
    let begun = Instant::now();
    let mut delivered = 0;
    while delivered < count {
        let due = due(hooks).await?;
        let came = due.iter().map(|delivery| AttemptResult {
            number: delivery.number,
            webhook_id: delivery.webhook_id,
            attempt: Attempt {
                at: NOW,
                duration_us: 1_000,
                status: Some(200),
                answer: String::new(),
            },
            next: NextStep::Delivered,
        });
        hooks.note_attempts(came.collect()).await?;
        if due.is_empty() {
            break;
        }
        delivered += due.len();
    }
    say(
        &format!("find, deliver and write down, {what}"),
        delivered,
        begun,
    );
    Ok(())
}
