//! The events of calls, which webhooks are told once.

use std::sync::Arc;

use model::{
    AccountName, CallHead, CallId, CallRecord, EventType, License, LicenseSpec, LicenseStatus,
    Limits, Mode, Outcome, Timestamp, Webhook, WebhookForm, WebhookId, WebhookState,
};
use store::{
    AuditEntries, DeliveryFilter, LicenseStore, NewLicense, NewWebhook, SealedKey, SqliteStore,
    WebhookStore,
};

use crate::support::{Gate, Home, START, Shape, license, recover, tail};

const AT: Timestamp = Timestamp::from_micros(START);

/// Registers a webhook of the account whose calls are written.
async fn register(store: &Arc<SqliteStore>, events: &[EventType]) -> WebhookId {
    let webhook = Webhook {
        id: WebhookId::generate(),
        account: AccountName::default(),
        app: Some("api".parse().unwrap()),
        url: "https://example.org".to_owned(),
        events: events.to_vec(),
        form: WebhookForm::Native,
        state: WebhookState::Active,
        created_at: AT,
        last_delivery_at: None,
    };
    let (id, secret) = (webhook.id, SealedKey::new(vec![1]));
    let kept = store.create_webhook(NewWebhook { webhook, secret }, 9, AuditEntries::none());
    assert!(kept.await.unwrap());
    id
}

/// Returns the types of the events that a webhook gets, with the calls that they name.
async fn told(store: &Arc<SqliteStore>, id: WebhookId) -> Vec<(EventType, Option<String>)> {
    while store.fan_out(100, AT).await.unwrap() > 0 {}
    let log = store.deliveries(id, DeliveryFilter::default(), None, 1_000);
    let log = log.await.unwrap();
    let event = |delivery: &store::Delivery| {
        let call = delivery.event.data.get("call_id");
        let call = call.map(|call| call.as_str().unwrap().to_owned());
        assert_eq!(delivery.event.data["app"], "api");
        (delivery.event.kind, call)
    };
    log.iter().rev().map(event).collect()
}

async fn keep(gate: &Gate, number: u64, remaining: u64) {
    let new = License {
        id: license(number),
        account: AccountName::default(),
        app: "api".parse().unwrap(),
        status: LicenseStatus::Active,
        created_at: AT,
        spec: LicenseSpec {
            limits: Limits {
                remaining: Some(remaining),
                ..Limits::default()
            },
            ..LicenseSpec::default()
        },
    };
    let new = NewLicense {
        license: new,
        credentials: Vec::new(),
        devices: Vec::new(),
    };
    let kept = gate.store.create_licenses(vec![new], AuditEntries::none());
    kept.await.unwrap();
}

/// Writes the record of a validation, as a gate does: whole.
fn validate(gate: &Gate, number: u64, status: u16) -> CallId {
    let shape = Shape {
        lane: 0,
        status,
        limited: true,
        ..Shape::new(number, 0)
    };
    let record = CallRecord {
        head: CallHead {
            mode: Mode::Verify,
            epoch: 0,
            ..gate.head(shape)
        },
        tail: tail(shape),
    };
    let space = gate.lane(0).reserve(CallRecord::LENGTH as u32, 1).unwrap();
    gate.lane(0).single(space, &record.encode());
    record.head.call_id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validation_is_told_once_also_when_its_gate_died_before_it_was_rolled_up() {
    let home = Home::new();
    let gate = home.gate().await;
    let wanting = register(&gate.store, &[EventType::LicenseValidated]).await;
    let first = validate(&gate, 1, 200);
    validate(&gate, 1, 410);
    // Neither a validation that was refused nor a call through the gate is one.
    gate.call(Shape::new(1, 0));
    gate.refuse(Shape::new(1, 0), 3);
    gate.ledger.ship().await.unwrap();
    let event = |call: CallId| (EventType::LicenseValidated, Some(call.to_string()));
    assert_eq!(told(&gate.store, wanting).await, [event(first)]);

    let second = validate(&gate, 2, 200);
    gate.die().await;
    for _ in 0..2 {
        recover(&home).await;
    }
    let gate = home.gate().await;
    let both = [event(first), event(second)];
    assert_eq!(told(&gate.store, wanting).await, both);
    assert!(gate.ledger.verify().await.unwrap().is_clean());
    gate.ledger.rebuild().await.unwrap();
    assert_eq!(told(&gate.store, wanting).await, both);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_use_and_the_end_of_a_quota_are_told_where_somebody_wants_it() {
    let home = Home::new();
    let gate = home.gate().await;
    keep(&gate, 1, 5).await;
    let types = [
        EventType::LicenseFirstUsed,
        EventType::QuotaLow,
        EventType::QuotaExhausted,
    ];
    let wanting = register(&gate.store, &types).await;
    let other = register(&gate.store, &[EventType::UpstreamDown]).await;
    let kinds = async || {
        let told = told(&gate.store, wanting).await.into_iter();
        told.map(|(kind, _)| kind).collect::<Vec<_>>()
    };
    let use_units = async |units| {
        for _ in 0..units {
            validate(&gate, 1, 200);
        }
        gate.ledger.ship().await.unwrap();
    };
    use_units(3).await;
    let mut expected = vec![EventType::LicenseFirstUsed];
    assert_eq!(kinds().await, expected);
    use_units(1).await;
    expected.push(EventType::QuotaLow);
    assert_eq!(kinds().await, expected);
    use_units(1).await;
    expected.push(EventType::QuotaExhausted);
    assert_eq!(kinds().await, expected);
    use_units(1).await;
    assert_eq!(kinds().await, expected);
    assert_eq!(told(&gate.store, other).await, []);
    let outcome = tail(Shape::new(1, 0)).outcome;
    assert_eq!(
        outcome,
        Outcome::Delivered,
        "what was told of was no refusal"
    );
}
