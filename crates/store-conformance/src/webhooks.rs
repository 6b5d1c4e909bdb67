//! The properties of webhooks: what they get, in which order, and what is left of it.

use std::sync::Arc;
use std::time::Duration;

use model::{
    AccountName, AppName, DeliveryState, Event, EventId, EventType, InstanceId, LicenseId,
    Timestamp, Webhook, WebhookForm, WebhookId, WebhookState,
};
use serde_json::json;
use store::{
    Attempt, AuditEntries, Busy, Delivery, DeliveryFilter, Error, NewWebhook, SealedKey, Store,
    WebhookChange, WebhookChanged, WebhookFilter, WebhookStore,
};

use crate::StoreFactory;
use crate::fixtures::{batch, hours};

/// Returns the part of a store that keeps webhooks.
pub(crate) fn hooks(store: &Arc<dyn Store>) -> &dyn WebhookStore {
    store.webhooks().expect("it keeps webhooks")
}

/// Returns a webhook of the default account that gets everything.
pub(crate) fn new_webhook() -> NewWebhook {
    NewWebhook {
        webhook: Webhook {
            id: WebhookId::generate(),
            account: AccountName::default(),
            app: None,
            url: "https://example.org/hook".to_owned(),
            events: Vec::new(),
            form: WebhookForm::Native,
            state: WebhookState::Active,
            created_at: hours(0),
            last_delivery_at: None,
        },
        secret: SealedKey::new(b"first".to_vec()),
    }
}

pub(crate) async fn keep(store: &Arc<dyn Store>, new: NewWebhook) -> WebhookId {
    let id = new.webhook.id;
    let kept = hooks(store).create_webhook(new, 100, AuditEntries::none());
    assert_eq!(kept.await, Ok(true));
    id
}

/// Returns an event of the default account about a license of the app `api`.
pub(crate) fn event(kind: EventType, license: u128, at: Timestamp) -> Event {
    let data = json!({"license_id": license.to_string()});
    Event {
        id: EventId::generate(),
        kind,
        at,
        account: AccountName::default(),
        app: app("api"),
        license_id: (license > 0).then_some(LicenseId::from_u128(license)),
        data: data.as_object().expect("an object").clone(),
    }
}

pub(crate) fn app(name: &str) -> AppName {
    name.parse().expect("a valid name")
}

/// Writes events down, and makes deliveries of them.
pub(crate) async fn tell(store: &Arc<dyn Store>, events: &[Event], now: Timestamp) {
    let added = hooks(store).add_events(events.to_vec()).await;
    added.expect("written");
    let told = hooks(store).fan_out(1_000, now).await;
    assert_eq!(told, Ok(events.len()));
}

/// Returns everything that may be tried at a time.
pub(crate) async fn due(store: &Arc<dyn Store>, now: Timestamp) -> Vec<Delivery> {
    let due = hooks(store).due_deliveries(now, 1_000, 1_000, Busy::default());
    due.await.expect("answers")
}

pub(crate) async fn change(
    store: &Arc<dyn Store>,
    id: WebhookId,
    change: WebhookChange,
    now: Timestamp,
) {
    let changed = hooks(store).change_webhook(id, change, now, AuditEntries::none());
    assert!(matches!(changed.await, Ok(WebhookChanged::Made(_))));
}

pub(crate) async fn found(store: &Arc<dyn Store>, id: WebhookId) -> Webhook {
    let found = hooks(store).webhook(id).await.expect("answers");
    found.expect("it is there")
}

pub(crate) async fn log(
    store: &Arc<dyn Store>,
    id: WebhookId,
    filter: DeliveryFilter,
) -> Vec<Delivery> {
    let log = hooks(store).deliveries(id, filter, None, 1_000);
    log.await.expect("answers")
}

/// Webhooks are kept, listed by pages, changed where a field is named, and removed.
pub async fn a_webhook_comes_back_as_it_was_and_is_changed_where_it_is_named<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let mut one = new_webhook();
    one.webhook.app = Some(app("api"));
    one.webhook.events = vec![EventType::QuotaLow, EventType::LicenseCreated];
    one.webhook.form = WebhookForm::Apimw;
    one.webhook.state = WebhookState::Unproven;
    let (one_id, other_id) = (one.webhook.id, keep(&store, new_webhook()).await);
    keep(&store, one.clone()).await;
    let again = hooks(&store).create_webhook(one.clone(), 100, AuditEntries::none());
    assert!(matches!(again.await, Err(Error::Exists(_))));
    drop(store);
    let store = place.open().await;
    assert_eq!(found(&store, one_id).await, one.webhook);
    for (filter, expected) in [
        (WebhookFilter::default(), 2),
        (
            WebhookFilter {
                app: Some(app("api")),
                ..WebhookFilter::default()
            },
            1,
        ),
        (
            WebhookFilter {
                form: Some(WebhookForm::Native),
                account: Some(AccountName::default()),
                ..WebhookFilter::default()
            },
            1,
        ),
        (
            WebhookFilter {
                account: Some("else".parse().expect("valid")),
                ..WebhookFilter::default()
            },
            0,
        ),
    ] {
        let listed = hooks(&store).webhooks(filter.clone(), None, 9).await;
        assert_eq!(listed.expect("answers").len(), expected, "{filter:?}");
    }
    let mut ids = [one_id, other_id];
    ids.sort();
    let page = |after| hooks(&store).webhooks(WebhookFilter::default(), after, 1);
    assert_eq!(page(None).await.expect("answers")[0].id, ids[0]);
    assert_eq!(page(Some(ids[0])).await.expect("answers")[0].id, ids[1]);
    assert_eq!(page(Some(ids[1])).await, Ok(Vec::new()));

    let to = WebhookChange {
        events: Some(Vec::new()),
        ..WebhookChange::default()
    };
    change(&store, one_id, to, hours(1)).await;
    one.webhook.events.clear();
    assert_eq!(found(&store, one_id).await, one.webhook);
    let to = WebhookChange {
        url: Some("https://example.org/other".to_owned()),
        state: Some(WebhookState::Paused),
        ..WebhookChange::default()
    };
    change(&store, one_id, to, hours(1)).await;
    one.webhook.url = "https://example.org/other".to_owned();
    one.webhook.state = WebhookState::Paused;
    assert_eq!(found(&store, one_id).await, one.webhook);

    let delete = || hooks(&store).delete_webhook(one_id, AuditEntries::none());
    assert_eq!((delete().await, delete().await), (Ok(true), Ok(false)));
    assert_eq!(hooks(&store).webhook(one_id).await, Ok(None));
    let gone = WebhookChange::default();
    let changed = hooks(&store).change_webhook(one_id, gone, hours(1), AuditEntries::none());
    assert_eq!(changed.await, Ok(WebhookChanged::Unknown));
}

/// A change that wants a webhook to be as somebody saw it is made of no other.
pub async fn a_webhook_that_is_not_as_it_was_seen_stays_as_it_is<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let id = keep(&store, new_webhook()).await;
    let seen = found(&store, id).await;
    let other = "https://example.org/other";
    for (url, state, is_made) in [
        (other, WebhookState::Active, false),
        (seen.url.as_str(), WebhookState::Paused, false),
        (seen.url.as_str(), WebhookState::Active, true),
        (seen.url.as_str(), WebhookState::Active, false),
    ] {
        let before = found(&store, id).await;
        let to = WebhookChange {
            url: Some(other.to_owned()),
            state: Some(WebhookState::Paused),
            only_if: Some((url.to_owned(), state)),
            ..WebhookChange::default()
        };
        let changed = hooks(&store).change_webhook(id, to, hours(1), AuditEntries::none());
        let changed = changed.await.expect("answers");
        let now = found(&store, id).await;
        match is_made {
            true => assert_eq!(changed, WebhookChanged::Made(now.clone())),
            false => assert_eq!(changed, WebhookChanged::Otherwise(before.clone())),
        }
        assert_eq!(now == before, !is_made);
    }
    assert_eq!(found(&store, id).await.url, other);
}

/// An account and app have no more webhooks of a form than are allowed, however many are made at
/// once.
pub async fn no_more_webhooks_than_allowed_are_kept_under_parallel_writers<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let mut making = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let store = Arc::clone(&store);
        making.spawn(async move {
            let mut new = new_webhook();
            new.webhook.app = Some(app("api"));
            let kept = hooks(&store).create_webhook(new, 5, AuditEntries::none());
            kept.await.expect("answers")
        });
    }
    let kept = making.join_all().await;
    assert_eq!(kept.iter().filter(|kept| **kept).count(), 5);
    let mut other = new_webhook();
    let create = |new| hooks(&store).create_webhook(new, 5, AuditEntries::none());
    assert_eq!(create(other.clone()).await, Ok(true), "of every app");
    other.webhook.id = WebhookId::generate();
    other.webhook.app = Some(app("api"));
    other.webhook.form = WebhookForm::Authforge;
    assert_eq!(create(other).await, Ok(true), "of another form");
}

/// A new secret is used at once, those before it as long as they overlap, and never longer than they
/// would have.
pub async fn a_secret_is_replaced_with_an_overlap<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let id = keep(&store, new_webhook()).await;
    let secrets = async |now| {
        let secrets = hooks(&store).webhook_secrets(id, now).await;
        let secrets = secrets.expect("answers").into_iter();
        secrets
            .map(|secret| (secret.sealed.as_bytes().to_vec(), secret.ends_at))
            .collect::<Vec<_>>()
    };
    let replace = async |secret: String, others_end_at, now| {
        let to = WebhookChange {
            secret: Some((SealedKey::new(secret.into_bytes()), others_end_at)),
            ..WebhookChange::default()
        };
        change(&store, id, to, now).await;
    };
    let first = (b"first".to_vec(), None);
    assert_eq!(secrets(hours(0)).await, [first]);
    replace("second".to_owned(), hours(3), hours(1)).await;
    replace("third".to_owned(), hours(5), hours(2)).await;
    let [third, second, first] = [
        (b"third".to_vec(), None),
        (b"second".to_vec(), Some(hours(5))),
        (b"first".to_vec(), Some(hours(3))),
    ];
    assert_eq!(
        secrets(hours(2)).await,
        [third.clone(), second.clone(), first]
    );
    assert_eq!(secrets(hours(3)).await, [third.clone(), second]);
    assert_eq!(secrets(hours(5)).await, [third]);
    for number in 0..WebhookChange::MAX_SECRETS + 3 {
        replace(number.to_string(), hours(90), hours(6)).await;
    }
    let kept = secrets(hours(6)).await;
    assert_eq!(kept.len(), WebhookChange::MAX_SECRETS as usize);
    assert_eq!(kept[0], (b"12".to_vec(), None));
    let to = hooks(&store).delete_webhook(id, AuditEntries::none());
    assert_eq!(to.await, Ok(true));
    assert_eq!(secrets(hours(6)).await, []);
}

/// Each webhook gets what it wants of its account and app, once, whatever wrote the events down.
pub async fn an_event_becomes_one_delivery_for_each_webhook_that_gets_it<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let added = hooks(&store).add_events(vec![event(EventType::UpstreamDown, 0, hours(0))]);
    added.await.expect("answers");
    assert_eq!(
        hooks(&store).fan_out(9, hours(0)).await,
        Ok(0),
        "nobody has a webhook"
    );
    let hook = async |change: fn(&mut Webhook)| {
        let mut new = new_webhook();
        change(&mut new.webhook);
        keep(&store, new).await
    };
    let all = hook(|_| {}).await;
    let of_app = hook(|webhook| webhook.app = Some(app("api"))).await;
    let of_other_app = hook(|webhook| webhook.app = Some(app("other"))).await;
    let of_type = hook(|webhook| webhook.events = vec![EventType::UpstreamUp]).await;
    let of_form = hook(|webhook| webhook.form = WebhookForm::Authforge).await;
    let unproven = hook(|webhook| webhook.state = WebhookState::Unproven).await;
    let of_other = hook(|webhook| webhook.account = "else".parse().expect("valid")).await;
    let created = event(EventType::LicenseCreated, 1, hours(0));
    let mut down = event(EventType::UpstreamDown, 0, hours(0));
    down.app = AppName::every();
    let up = event(EventType::UpstreamUp, 0, hours(0));
    let validated = event(EventType::LicenseValidated, 1, hours(0));
    let events = [&created, &down, &up].map(Clone::clone);
    hooks(&store)
        .add_events(events.to_vec())
        .await
        .expect("added");
    let instance = InstanceId::generate();
    let mut rolled = batch(instance, 0, Vec::new());
    rolled.events = vec![validated.clone()];
    store.roll_up(rolled.clone()).await.expect("rolled up");
    let refused = store.roll_up(rolled).await;
    assert!(matches!(refused, Err(Error::Position { .. })));

    let mut fanned_out = 0;
    while fanned_out < 4 {
        let some = hooks(&store).fan_out(3, hours(1)).await.expect("answers");
        assert!((1..=3).contains(&some), "{some}");
        fanned_out += some;
    }
    assert_eq!(hooks(&store).fan_out(3, hours(1)).await, Ok(0));
    let again = hooks(&store).add_events(events.to_vec()).await;
    again.expect("answers");
    assert_eq!(hooks(&store).fan_out(3, hours(1)).await, Ok(0));
    for (id, expected) in [
        (all, vec![&created, &down, &up, &validated]),
        (of_app, vec![&created, &down, &up, &validated]),
        (of_other_app, vec![&down]),
        (of_type, vec![&up]),
        (of_form, vec![&created, &validated]),
        (unproven, Vec::new()),
        (of_other, Vec::new()),
    ] {
        let mut got = log(&store, id, DeliveryFilter::default()).await;
        got.sort_by_key(|delivery| delivery.event.id);
        let mut expected: Vec<Event> = expected.into_iter().cloned().collect();
        expected.sort_by_key(|event| event.id);
        let got: Vec<Event> = got.into_iter().map(|delivery| delivery.event).collect();
        assert_eq!(got, expected);
    }
    let waiting = hooks(&store).waiting().await.expect("answers");
    assert_eq!((waiting.count, waiting.oldest), (12, Some(hours(0))));
}

/// A test stands in the log of its webhook and in no queue.
pub async fn a_test_stands_in_the_log_alone<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let (id, other) = (
        keep(&store, new_webhook()).await,
        keep(&store, new_webhook()).await,
    );
    let attempt = Attempt {
        at: hours(1),
        duration_us: 7,
        status: Some(418),
        answer: "teapot".to_owned(),
    };
    let tests = [false, true].map(|took| (event(EventType::Test, 0, hours(1)), took));
    for (event, took) in &tests {
        let kept = hooks(&store).add_tested(id, event.clone(), attempt.clone(), *took);
        kept.await.expect("kept");
    }
    let lost = hooks(&store).add_tested(
        WebhookId::generate(),
        event(EventType::Test, 0, hours(1)),
        attempt.clone(),
        true,
    );
    lost.await.expect("ignored");
    assert_eq!(hooks(&store).fan_out(9, hours(1)).await, Ok(0));
    assert_eq!(due(&store, hours(1)).await, []);
    let found_log = log(&store, id, DeliveryFilter::default()).await;
    let seen: Vec<_> = found_log
        .iter()
        .map(|d| (d.event.clone(), d.state))
        .collect();
    let [failed, took] = tests.map(|(event, _)| event);
    assert_eq!(
        seen,
        [
            (took, DeliveryState::Delivered),
            (failed, DeliveryState::Failed)
        ]
    );
    assert!(found_log.iter().all(|d| d.last == Some(attempt.clone())));
    assert_eq!(found(&store, id).await.state, WebhookState::Active);
    assert_eq!(found(&store, id).await.last_delivery_at, Some(hours(1)));
    for id in [id, other] {
        let again = hooks(&store).redeliver(
            id,
            DeliveryFilter::default(),
            hours(2),
            AuditEntries::none(),
        );
        assert_eq!(again.await, Ok(0), "no test is made again by that");
    }
    assert_eq!(log(&store, other, DeliveryFilter::default()).await, []);
}

/// One gate at a time holds a lease; another takes it when it has ended or was given back.
pub async fn a_lease_by_name_is_held_by_one_gate_until_it_ends<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let (one, other) = (InstanceId::from_u128(1), InstanceId::from_u128(2));
    let hold = async |name, instance, seconds| {
        let lasts = Duration::from_secs(seconds);
        let held = hooks(&store).hold_lease(name, instance, lasts).await;
        held.expect("answers")
    };
    let end = async |instance| {
        let ended = hooks(&store).end_lease("a", instance).await;
        ended.expect("answers");
    };
    assert!(hold("a", one, 600).await);
    assert!(!hold("a", other, 600).await);
    assert!(hold("a", one, 600).await, "it is prolonged");
    assert!(hold("b", other, 600).await, "another name");
    end(other).await;
    assert!(!hold("a", other, 600).await, "it was not theirs");
    end(one).await;
    assert!(hold("a", other, 0).await);
    // It has ended at once by the store's clock, which is never stopped.
    let mut tries = 0;
    while !hold("a", one, 600).await {
        tries += 1;
        assert!(tries < 1_000, "it never ends");
    }
    assert!(!hold("a", other, 600).await);
}
