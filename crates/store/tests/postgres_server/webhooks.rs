//! The outbox and its deliveries while several gates work on them.

use std::sync::Arc;

use model::{
    AccountName, DeliveryState, Event, EventId, EventType, LicenseId, Timestamp, Webhook,
    WebhookForm, WebhookId, WebhookState,
};
use store::{
    Attempt, AttemptResult, AuditEntries, Busy, Delivery, NewWebhook, NextStep, PostgresStore,
    SealedKey, WebhookStore,
};
use store_conformance::fixtures::hours;
use testkit::Postgres;

use crate::support::{connect, in_time, open, wait_for};

async fn keep_webhook(store: &PostgresStore) -> WebhookId {
    let webhook = Webhook {
        id: WebhookId::generate(),
        account: AccountName::default(),
        app: None,
        url: "https://example.org/hook".to_owned(),
        events: Vec::new(),
        form: WebhookForm::Native,
        state: WebhookState::Active,
        created_at: hours(0),
        last_delivery_at: None,
    };
    let id = webhook.id;
    let secret = SealedKey::new(b"secret".to_vec());
    let new = NewWebhook { webhook, secret };
    let kept = store.create_webhook(new, 9, AuditEntries::none()).await;
    assert_eq!(kept, Ok(true));
    id
}

fn event(at: Timestamp) -> Event {
    Event {
        id: EventId::generate(),
        kind: EventType::LicenseChanged,
        at,
        account: AccountName::default(),
        app: "api".parse().expect("valid"),
        license_id: Some(LicenseId::from_u128(1)),
        data: serde_json::Map::new(),
    }
}

async fn due(store: &PostgresStore) -> Vec<Delivery> {
    let due = store.due_deliveries(hours(9), 10, 10, Busy::default());
    due.await.expect("answers")
}

async fn take(store: &PostgresStore, delivery: &Delivery) {
    let attempt = Attempt {
        at: hours(3),
        duration_us: 1,
        status: Some(200),
        answer: String::new(),
    };
    let result = AttemptResult {
        number: delivery.number,
        webhook_id: delivery.webhook_id,
        attempt,
        next: NextStep::Delivered,
    };
    store.note_attempts(vec![result]).await.expect("noted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_behind_an_event_that_is_delivered_again_while_it_is_swept_goes_on() {
    let server = Postgres::shared();
    let url = server.schema();
    let store = Arc::new(open(&url).await);
    keep_webhook(&store).await;
    let (old, young) = (event(hours(1)), event(hours(5)));
    store.add_events(vec![old.clone()]).await.expect("added");
    assert_eq!(store.fan_out(9, hours(3)).await, Ok(1));
    take(&store, &due(&store).await[0]).await;
    store.add_events(vec![young.clone()]).await.expect("added");
    assert_eq!(store.fan_out(9, hours(6)).await, Ok(1));

    // Another gate makes the old one due again, before the young one, and has not committed yet.
    let raw = connect(&url).await;
    let (waiting, delivered) = (DeliveryState::Waiting as u8, DeliveryState::Delivered as u8);
    let again = format!(
        "BEGIN; SELECT 1 FROM webhooks FOR NO KEY UPDATE;
        UPDATE deliveries SET head = 0 WHERE state = {waiting};
        UPDATE deliveries SET state = {waiting}, head = 1, next_at = 0 WHERE state = {delivered};"
    );
    raw.batch_execute(&again).await.expect("made due again");
    let sweeping = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.sweep_events(hours(4), 9).await })
    };
    let other = connect(&url).await;
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
        AND (query LIKE '%webhooks%' OR query LIKE '%deliveries%')";
    wait_for(
        || other.query_one(waits, &[]),
        |row| row.as_ref().is_ok_and(|row| row.get::<_, i64>(0) > 0),
    )
    .await
    .expect("it waits");
    raw.batch_execute("COMMIT").await.expect("let go");
    let swept = in_time(sweeping).await.expect("no panic");
    assert_eq!(swept, Ok(1));
    let now = due(&store).await;
    assert_eq!(now.len(), 1, "the queue has a head");
    assert_eq!(now[0].event.id, young.id);
}
