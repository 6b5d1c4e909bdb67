//! The properties of events: each change and each use that somebody is told of is written down with
//! it, once.

use std::sync::Arc;

use model::usage::{UsageKey, UsageSums};
use model::{
    AccountName, Actor, AuditEntry, Device, Event, EventType, InstanceId, LicenseId, LicenseStatus,
    Limits, Method, Mode, Outcome, User, UserId, WebhookId,
};
use serde_json::json;
use store::{
    Adjustment, ApiKeyChange, AuditEntries, DeliveryFilter, Error, LicenseChange, NewApiKey,
    NewLicense, RollupBatch, Spent, Store, Watched,
};

use crate::StoreFactory;
use crate::fixtures::{
    BIRTH, batch, hours, lease, new_credential, new_license, spent_units, units,
};
use crate::webhooks::{hooks, keep, new_webhook};

/// Makes deliveries of all events, and returns what a webhook is told, oldest first.
pub(crate) async fn told(store: &Arc<dyn Store>, webhook: WebhookId) -> Vec<Event> {
    while hooks(store).fan_out(100, hours(0)).await.expect("answers") > 0 {}
    let log = hooks(store).deliveries(webhook, DeliveryFilter::default(), None, 10_000);
    let log = log.await.expect("answers").into_iter();
    log.rev().map(|delivery| delivery.event).collect()
}

pub(crate) async fn kinds(store: &Arc<dyn Store>, webhook: WebhookId) -> Vec<EventType> {
    let told = told(store, webhook).await.into_iter();
    told.map(|event| event.kind).collect()
}

pub(crate) async fn create(store: &Arc<dyn Store>, new: Vec<NewLicense>) {
    let created = store.create_licenses(new, AuditEntries::none()).await;
    created.expect("new");
}

pub(crate) async fn change(store: &Arc<dyn Store>, id: LicenseId, change: LicenseChange) {
    let changed = store.change_license(id, change, AuditEntries::none());
    assert!(changed.await.expect("answers").is_some());
}

/// Each change is told in its order, with what the license is then, to accounts that have a webhook
/// and only of what happens since.
pub async fn each_change_of_a_license_is_told_in_order<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let before = new_license(Limits::default());
    let mut other = new_license(Limits::default());
    other.license.account = "else".parse().expect("valid");
    create(&store, vec![before.clone()]).await;
    let webhook = keep(&store, new_webhook()).await;
    let mut new = new_license(Limits::default());
    new.license.spec.user = Some("zoe".to_owned());
    let id = new.license.id;
    create(&store, vec![new, other.clone()]).await;
    let label = LicenseChange::Label(Some("mine".to_owned()));
    change(&store, id, label.clone()).await;
    change(&store, id, label.clone()).await;
    change(&store, other.license.id, label).await;
    let rotation = LicenseChange::AddCredential {
        credential: new_credential(),
        others_expire_at: Some(hours(1)),
    };
    change(&store, id, rotation).await;
    for status in [
        LicenseStatus::Disabled,
        LicenseStatus::Active,
        LicenseStatus::Revoked,
        LicenseStatus::Active,
    ] {
        change(&store, id, LicenseChange::Status(status)).await;
    }
    let all = told(&store, webhook).await;
    let all_kinds: Vec<_> = all.iter().map(|event| event.kind).collect();
    assert_eq!(
        all_kinds,
        [
            EventType::LicenseCreated,
            EventType::LicenseChanged,
            EventType::KeyRotated,
            EventType::LicenseDisabled,
            EventType::LicenseActivated,
            EventType::LicenseRevoked,
        ]
    );
    assert!(all.iter().all(|event| event.license_id == Some(id)));
    let data = |place: usize| serde_json::Value::Object(all[place].data.clone());
    let mut expected = json!({
        "license_id": id, "app": "api", "status": "active", "user": "zoe", "label": null, "plan": null,
        "expires_at": null,
    });
    assert_eq!(data(0), expected);
    expected["label"] = "mine".into();
    expected["status"] = "revoked".into();
    assert_eq!(data(5), expected);
}

/// A change that is undone is told to nobody; those of API keys and of users are told as well.
pub async fn every_way_of_changing_a_license_is_told_and_nothing_that_is_undone<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let webhook = keep(&store, new_webhook()).await;
    let new = new_license(Limits::default());
    let id = new.license.id;
    create(&store, vec![new.clone()]).await;
    let line = AuditEntry::new(&Actor::OPERATOR, hours(1), "a.b", "c");
    let refused = store.change_license(
        id,
        LicenseChange::Status(LicenseStatus::Disabled),
        AuditEntries::of(vec![line.clone(), line]),
    );
    assert!(matches!(refused.await, Err(Error::Exists(_))));
    assert_eq!(kinds(&store, webhook).await, [EventType::LicenseCreated]);

    let mut license = new_license(Limits::default());
    license.license.spec.user = Some("zoe".to_owned());
    let key_id = license.license.id;
    let key = NewApiKey {
        key: model::ApiKey {
            license_id: key_id,
            name: None,
            prefix: None,
            metadata: None,
            permissions: None,
            parked_rate: None,
            updated_at: BIRTH,
            last_request: None,
        },
        license,
    };
    let keys = store.api_keys().expect("it keeps api keys");
    let created = keys.create_api_key(key, AuditEntries::none()).await;
    created.expect("new");
    let named = ApiKeyChange {
        name: Some(Some("mine".to_owned())),
        updated_at: hours(1),
        metadata: None,
        permissions: None,
        parked_rate: None,
        license: Vec::new(),
    };
    let changed = keys.change_api_key(key_id, named, AuditEntries::none());
    assert!(changed.await.expect("answers").is_some());
    let user = User {
        id: UserId::generate(),
        account: AccountName::default(),
        app: "api".parse().expect("valid"),
        login: "zoe".to_owned(),
        alias: model::Alias::from_u64(7),
        first_name: None,
        last_name: None,
        created_at: BIRTH,
        updated_at: BIRTH,
    };
    let created = store.create_user(user.clone(), AuditEntries::none()).await;
    created.expect("new");
    let deleted = store.delete_user(&user.app, "zoe", AuditEntries::none());
    assert_eq!(deleted.await, Ok(true));
    let all = told(&store, webhook).await;
    let all: Vec<_> = all[1..]
        .iter()
        .map(|event| (event.kind, event.license_id, event.data["user"].as_str()))
        .collect();
    let of_key = |kind, user| (kind, Some(key_id), user);
    assert_eq!(
        all,
        [
            of_key(EventType::LicenseCreated, Some("zoe")),
            of_key(EventType::LicenseChanged, Some("zoe")),
            of_key(EventType::LicenseChanged, None),
        ]
    );
}

/// A whole import is told, one license after the other.
pub async fn an_import_is_told_wholly<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let webhook = keep(&store, new_webhook()).await;
    let new: Vec<_> = (0..2_500).map(|_| new_license(Limits::default())).collect();
    let ids: Vec<_> = new.iter().map(|new| Some(new.license.id)).collect();
    create(&store, new).await;
    let all = told(&store, webhook).await;
    let all: Vec<_> = all.iter().map(|event| event.license_id).collect();
    assert_eq!(all, ids);

    let mut bound = new_license(Limits::default());
    let device = |id: &str| Device {
        id: id.parse().expect("valid"),
        bound_at: BIRTH,
    };
    bound.devices = vec![device("A"), device("B")];
    create(&store, vec![bound]).await;
    let all = told(&store, webhook).await.split_off(ids.len());
    let all: Vec<_> = all
        .iter()
        .map(|event| (event.kind, event.data.get("device")))
        .collect();
    assert_eq!(
        all,
        [
            (EventType::LicenseCreated, None),
            (EventType::DeviceBound, Some(&json!("A"))),
            (EventType::DeviceBound, Some(&json!("B"))),
        ]
    );
}

fn used(license_id: LicenseId, outcome: Outcome) -> (UsageKey, UsageSums) {
    let key = UsageKey {
        account: AccountName::default(),
        app: "api".parse().expect("valid"),
        license_id: Some(license_id),
        route: "/a".to_owned(),
        method: Method::Get,
        status: 200,
        outcome,
        mode: Mode::Proxy,
        test: false,
        plan: None,
        currency: None,
        start: hours(0),
    };
    let sums = UsageSums {
        calls: 1,
        ..UsageSums::default()
    };
    (key, sums)
}

fn watched(license_id: LicenseId) -> Watched {
    Watched {
        license_id,
        account: AccountName::default(),
        app: "api".parse().expect("valid"),
        at: hours(3),
        first_use: true,
        quota: true,
    }
}

pub(crate) async fn roll_up(store: &Arc<dyn Store>, batch: RollupBatch) {
    store.roll_up(batch).await.expect("rolled up");
}

/// The first use of a license is told once, and only if it is the first: a refused call is none, and
/// one that nobody was told of is one.
pub async fn the_first_use_of_a_license_is_told_once<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let webhook = keep(&store, new_webhook()).await;
    let instance = InstanceId::generate();
    let [one, known] = [1, 2].map(LicenseId::from_u128);
    let used_by = |from, rows, watched| RollupBatch {
        rows,
        watched,
        ..batch(instance, from, Vec::new())
    };
    let refused = vec![used(one, Outcome::Refused), used(known, Outcome::Delivered)];
    roll_up(&store, used_by(0, refused, vec![watched(one)])).await;
    assert_eq!(told(&store, webhook).await, []);
    drop(store);
    let store = place.open().await;
    let both = || {
        vec![
            used(one, Outcome::Delivered),
            used(known, Outcome::Delivered),
        ]
    };
    let of_both = || vec![watched(one), watched(known)];
    roll_up(&store, used_by(1, both(), of_both())).await;
    roll_up(&store, used_by(2, both(), of_both())).await;
    drop(store);
    let store = place.open().await;
    roll_up(&store, used_by(3, both(), of_both())).await;
    let all = told(&store, webhook).await;
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0].kind, EventType::LicenseFirstUsed);
    assert_eq!((all[0].license_id, all[0].at), (Some(one), hours(3)));
    assert_eq!(all[0].data["license_id"], json!(one));
}

/// Each threshold of a quota is told once in an epoch, of all gates together, and again in the next.
pub async fn each_threshold_of_a_quota_is_told_once_in_an_epoch<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let webhook = keep(&store, new_webhook()).await;
    let new = new_license(units(100, Some("100/1d")));
    let id = new.license.id;
    create(&store, vec![new]).await;
    let mut begun = kinds(&store, webhook).await.len();
    let gates: Vec<_> = (0..4).map(|_| InstanceId::generate()).collect();
    for gate in &gates {
        lease(&*store, *gate, id, 25, hours(0)).await;
    }
    let spend = |gate: usize, from, epoch, units| RollupBatch {
        watched: vec![watched(id)],
        ..batch(gates[gate], from, vec![spent_units(id, epoch, units)])
    };
    roll_up(&store, spend(0, 0, 0, 25)).await;
    roll_up(&store, spend(1, 0, 0, 25)).await;
    roll_up(&store, spend(2, 0, 0, 25)).await;
    assert_eq!(kinds(&store, webhook).await.len(), begun, "75 of 100");
    roll_up(&store, spend(3, 0, 0, 5)).await;
    roll_up(&store, spend(3, 1, 0, 19)).await;
    roll_up(&store, spend(3, 2, 0, 1)).await;
    let silent = Spent::default();
    let again = RollupBatch {
        watched: vec![watched(id)],
        ..batch(gates[3], 3, vec![silent])
    };
    roll_up(&store, again).await;
    let all = told(&store, webhook).await;
    let seen: Vec<_> = all[begun..]
        .iter()
        .map(|event| (event.kind, event.data["spent"].as_u64()))
        .collect();
    assert_eq!(
        seen,
        [
            (EventType::QuotaLow, Some(80)),
            (EventType::QuotaExhausted, Some(100))
        ]
    );
    assert_eq!(all[begun].data["granted"], json!(100));
    begun = all.len();

    // The next day, all at once and from all gates at the same time.
    for gate in &gates {
        lease(&*store, *gate, id, 25, hours(24)).await;
    }
    let mut rolling = tokio::task::JoinSet::new();
    for (gate, from) in [(0, 1), (1, 1), (2, 1), (3, 4)] {
        let (store, batch) = (Arc::clone(&store), spend(gate, from, 1, 25));
        rolling.spawn(async move { store.roll_up(batch).await.expect("rolled up") });
    }
    rolling.join_all().await;
    let all = told(&store, webhook).await;
    let mut seen: Vec<_> = all[begun..].iter().map(|event| event.kind).collect();
    seen.sort();
    assert_eq!(seen, [EventType::QuotaLow, EventType::QuotaExhausted]);
}

/// Units that are granted within an epoch, by credits or by a refill that adds, have the thresholds
/// told again when they go to their end: once, of all gates together.
pub async fn a_grant_within_an_epoch_has_the_thresholds_of_its_quota_told_again<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let mut only_quota = new_webhook();
    only_quota.webhook.events = vec![EventType::QuotaLow, EventType::QuotaExhausted];
    let webhook = keep(&store, only_quota).await;
    let new = new_license(units(100, Some("100/1d,add")));
    let id = new.license.id;
    create(&store, vec![new]).await;
    let gates: Vec<_> = (0..4).map(|_| InstanceId::generate()).collect();
    let spend = |gate: usize, from, units| RollupBatch {
        watched: vec![watched(id)],
        ..batch(gates[gate], from, vec![spent_units(id, 0, units)])
    };
    let seen = async |store: &Arc<dyn Store>| {
        let all = told(store, webhook).await;
        let told = all
            .iter()
            .map(|event| (event.kind, event.data["spent"].as_u64()));
        told.collect::<Vec<_>>()
    };
    lease(&*store, gates[0], id, 100, hours(0)).await;
    roll_up(&store, spend(0, 0, 100)).await;
    let mut all = vec![
        (EventType::QuotaLow, Some(100)),
        (EventType::QuotaExhausted, Some(100)),
    ];
    assert_eq!(seen(&store).await, all);

    let credits = store.credits().expect("this store can");
    let by = Adjustment::Credit(50);
    let credited = credits.adjust_balance(id, by, hours(1), AuditEntries::none());
    credited.await.expect("answers").expect("it is counted");
    lease(&*store, gates[0], id, 50, hours(1)).await;
    roll_up(&store, spend(0, 1, 39)).await;
    assert_eq!(seen(&store).await, all, "39 of 50");
    roll_up(&store, spend(0, 2, 1)).await;
    all.push((EventType::QuotaLow, Some(140)));
    assert_eq!(seen(&store).await, all);
    // What was told is known after a new start, too.
    drop(store);
    let store = place.open().await;
    roll_up(&store, spend(0, 3, 9)).await;
    assert_eq!(seen(&store).await, all);
    roll_up(&store, spend(0, 4, 1)).await;
    all.push((EventType::QuotaExhausted, Some(150)));
    assert_eq!(seen(&store).await, all);

    // The refill of the next day, used up from all gates at once.
    for gate in &gates {
        lease(&*store, *gate, id, 25, hours(24)).await;
    }
    let mut rolling = tokio::task::JoinSet::new();
    for (gate, from) in [(0, 5), (1, 0), (2, 0), (3, 0)] {
        let (store, batch) = (Arc::clone(&store), spend(gate, from, 25));
        rolling.spawn(async move { store.roll_up(batch).await.expect("rolled up") });
    }
    rolling.join_all().await;
    all.push((EventType::QuotaLow, Some(250)));
    all.push((EventType::QuotaExhausted, Some(250)));
    assert_eq!(seen(&store).await, all);
}
