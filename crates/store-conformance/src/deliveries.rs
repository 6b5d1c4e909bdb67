//! The properties of deliveries: in which order they come, and what becomes of them.

use std::sync::Arc;

use model::{
    Actor, AuditEntry, DeliveryState, EventId, EventType, LicenseId, Timestamp, WebhookId,
    WebhookState,
};
use store::{
    Attempt, AttemptResult, AuditEntries, Busy, Delivery, DeliveryFilter, Error, NextStep, Store,
    WebhookChange,
};

use crate::StoreFactory;
use crate::fixtures::hours;
use crate::webhooks::{change, due, event, found, hooks, keep, log, new_webhook, tell};

async fn due_events(store: &Arc<dyn Store>, now: Timestamp) -> Vec<EventId> {
    let due = due(store, now).await;
    due.iter().map(|delivery| delivery.event.id).collect()
}

pub(crate) fn tried(delivery: &Delivery, at: Timestamp, next: NextStep) -> AttemptResult {
    AttemptResult {
        number: delivery.number,
        webhook_id: delivery.webhook_id,
        attempt: Attempt {
            at,
            duration_us: 1_500,
            status: Some(if next == NextStep::Delivered {
                200
            } else {
                500
            }),
            answer: "well".to_owned(),
        },
        next,
    }
}

pub(crate) async fn note(store: &Arc<dyn Store>, results: Vec<AttemptResult>) {
    let noted = hooks(store).note_attempts(results).await;
    noted.expect("written down");
}

async fn set_state(store: &Arc<dyn Store>, id: WebhookId, state: WebhookState, now: Timestamp) {
    let to = WebhookChange {
        state: Some(state),
        ..WebhookChange::default()
    };
    change(store, id, to, now).await;
}

fn of_state(state: DeliveryState) -> DeliveryFilter {
    DeliveryFilter {
        state: Some(state),
        ..DeliveryFilter::default()
    }
}

/// Of the events of one source about one license, one is due after the other; those of others are
/// not held back.
pub async fn what_is_told_of_one_license_comes_in_order<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let (one, other) = (
        keep(&store, new_webhook()).await,
        keep(&store, new_webhook()).await,
    );
    let changed = |license| event(EventType::LicenseChanged, license, hours(0));
    let events = [changed(1), changed(1), changed(2), changed(1)];
    tell(&store, &events, hours(1)).await;
    let [first, second, beside, third] = events.map(|event| event.id);
    let ledger = event(EventType::QuotaLow, 1, hours(0));
    tell(&store, std::slice::from_ref(&ledger), hours(1)).await;
    assert_eq!(due(&store, hours(1).plus_micros(-1)).await, []);
    let all = due(&store, hours(1)).await;
    let of = |id| all.iter().filter(move |delivery| delivery.webhook_id == id);
    for id in [one, other] {
        let ids: Vec<_> = of(id).map(|delivery| delivery.event.id).collect();
        assert_eq!(ids, [first, beside, ledger.id], "oldest first");
    }
    let head = of(one).next().expect("one is due");
    assert_eq!((head.attempts, &head.last), (0, &None));
    assert_eq!(head.next_at, Some(hours(1)));

    // It failed: it is tried again later, and what is behind it waits.
    note(
        &store,
        vec![tried(head, hours(1), NextStep::RetryAt(hours(3)))],
    )
    .await;
    assert_eq!(due(&store, hours(2)).await.len(), 5);
    let again = due(&store, hours(3)).await;
    assert_eq!(again.len(), 6);
    let again = again.iter().find(|delivery| delivery.number == head.number);
    let again = again.expect("it is due again");
    assert_eq!((again.attempts, again.state), (1, DeliveryState::Waiting));
    let last = again.last.as_ref().expect("it was tried");
    assert_eq!((last.at, last.status), (hours(1), Some(500)));
    assert_eq!((last.duration_us, last.answer.as_str()), (1_500, "well"));

    // It came: the next one goes on, and the one after it when that has come.
    for (gone, next) in [(first, Some(second)), (second, Some(third)), (third, None)] {
        let now = due(&store, hours(3)).await;
        let gone = now
            .iter()
            .find(|d| d.webhook_id == one && d.event.id == gone);
        let gone = gone.expect("it is due");
        note(&store, vec![tried(gone, hours(3), NextStep::Delivered)]).await;
        // A result that comes late changes nothing.
        note(
            &store,
            vec![tried(gone, hours(4), NextStep::RetryAt(hours(9)))],
        )
        .await;
        let now = due(&store, hours(3)).await;
        let now = now
            .iter()
            .filter(|d| d.webhook_id == one && d.event.license_id == gone.event.license_id)
            .filter(|d| d.event.kind == EventType::LicenseChanged);
        let now: Vec<_> = now.map(|delivery| delivery.event.id).collect();
        assert_eq!(now, next.into_iter().collect::<Vec<_>>());
    }
    assert_eq!(found(&store, one).await.last_delivery_at, Some(hours(3)));
    assert_eq!(found(&store, other).await.last_delivery_at, None);
    let left = due(&store, hours(3)).await;
    let results = left.iter();
    let results = results.map(|left| tried(left, hours(3), NextStep::Delivered));
    note(&store, results.collect()).await;
    assert_eq!(due_events(&store, hours(3)).await, [second]);
}

/// What failed for good disables its webhook, whose events wait until somebody looks.
pub async fn a_webhook_that_is_disabled_or_paused_keeps_what_it_gets_until_it_is_active<
    F: StoreFactory,
>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let id = keep(&store, new_webhook()).await;
    let changed = |license| event(EventType::LicenseChanged, license, hours(0));
    let events = [changed(1), changed(1), changed(2)];
    tell(&store, &events, hours(0)).await;
    let [first, second, beside] = events.map(|event| event.id);
    let all = due(&store, hours(0)).await;
    note(
        &store,
        vec![
            tried(&all[0], hours(0), NextStep::Disable),
            tried(&all[1], hours(0), NextStep::RetryAt(hours(9))),
        ],
    )
    .await;
    assert_eq!(found(&store, id).await.state, WebhookState::Disabled);
    assert_eq!(due(&store, hours(9)).await, []);
    let failed = log(&store, id, of_state(DeliveryState::Failed)).await;
    assert_eq!(failed.len(), 1);
    assert_eq!((failed[0].event.id, failed[0].next_at), (first, None));
    let meanwhile = changed(3);
    tell(&store, std::slice::from_ref(&meanwhile), hours(1)).await;
    assert_eq!(due(&store, hours(9)).await, []);

    set_state(&store, id, WebhookState::Active, hours(2)).await;
    let now = due(&store, hours(2)).await;
    let ids: Vec<_> = now.iter().map(|delivery| delivery.event.id).collect();
    assert_eq!(
        ids,
        [first, beside, meanwhile.id],
        "what failed comes before what happened later to the same license"
    );
    assert!(now.iter().all(|delivery| delivery.attempts == 0));

    set_state(&store, id, WebhookState::Paused, hours(3)).await;
    // A try that was under way ends all the same, and does not disable what somebody paused.
    note(&store, vec![tried(&now[0], hours(3), NextStep::Disable)]).await;
    assert_eq!(found(&store, id).await.state, WebhookState::Paused);
    assert_eq!(due(&store, hours(3)).await, []);
    set_state(&store, id, WebhookState::Active, hours(4)).await;
    let ids = [first, beside, meanwhile.id];
    assert_eq!(due_events(&store, hours(4)).await, ids);
    let now = due(&store, hours(4)).await;
    note(&store, vec![tried(&now[0], hours(4), NextStep::Delivered)]).await;
    let ids = [second, beside, meanwhile.id];
    assert_eq!(due_events(&store, hours(4)).await, ids);
}

/// However many licenses have events that always fail, those of others are due beside them.
pub async fn what_was_never_tried_is_due_beside_what_fails<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let id = keep(&store, new_webhook()).await;
    let changed = |license| event(EventType::LicenseChanged, license, hours(0));
    let failing: Vec<_> = (1..=30).map(changed).collect();
    tell(&store, &failing, hours(0)).await;
    let results = due(&store, hours(0)).await;
    let results = results.iter();
    let results = results.map(|one| tried(one, hours(0), NextStep::RetryAt(hours(1))));
    note(&store, results.collect()).await;
    let healthy = changed(31);
    tell(&store, std::slice::from_ref(&healthy), hours(5)).await;
    let few = async |now| {
        let due = hooks(&store).due_deliveries(now, 100, 2, Busy::default());
        let due = due.await.expect("answers").into_iter();
        due.map(|delivery| (delivery.event.id, delivery.last.is_some()))
            .collect::<Vec<_>>()
    };
    let expected = [
        (failing[0].id, true),
        (failing[1].id, true),
        (healthy.id, false),
    ];
    assert_eq!(few(hours(6)).await, expected);

    // To be resumed makes none of them one that was never tried.
    set_state(&store, id, WebhookState::Paused, hours(7)).await;
    set_state(&store, id, WebhookState::Active, hours(7)).await;
    assert_eq!(few(hours(7)).await, expected);
}

/// Whoever delivers gets no more than it asked for, and nothing that it has or cannot take.
pub async fn no_more_is_due_than_is_asked_for_and_nothing_that_is_under_way<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let (one, other) = (
        keep(&store, new_webhook()).await,
        keep(&store, new_webhook()).await,
    );
    let events: Vec<_> = (1..=5)
        .map(|license| event(EventType::LicenseChanged, license, hours(0)))
        .collect();
    tell(&store, &events, hours(0)).await;
    let due = async |limit, each, without: Busy| {
        let due = hooks(&store).due_deliveries(hours(0), limit, each, without);
        due.await.expect("answers")
    };
    assert_eq!(due(100, 100, Busy::default()).await.len(), 10);
    let some = due(3, 100, Busy::default()).await;
    let licenses: Vec<_> = some.iter().map(|d| d.event.license_id).collect();
    let expected = [1, 1, 2].map(|license| Some(LicenseId::from_u128(license)));
    assert_eq!(licenses, expected, "oldest first");
    assert_eq!(due(0, 100, Busy::default()).await, []);
    let each = due(100, 2, Busy::default()).await;
    for id in [one, other] {
        assert_eq!(each.iter().filter(|d| d.webhook_id == id).count(), 2);
    }
    let busy = Busy {
        deliveries: each.iter().map(|delivery| delivery.number).collect(),
        webhooks: vec![],
    };
    let rest = due(100, 100, busy.clone()).await;
    assert_eq!(rest.len(), 6);
    assert!(rest.iter().all(|d| !busy.deliveries.contains(&d.number)));
    let busy = Busy {
        webhooks: vec![one],
        ..busy
    };
    let rest = due(100, 100, busy).await;
    assert_eq!(rest.len(), 3);
    assert!(rest.iter().all(|delivery| delivery.webhook_id == other));
}

/// The log shows what its filter names, newest first, by pages, with what was answered.
pub async fn the_log_of_deliveries_shows_what_its_filter_names<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let id = keep(&store, new_webhook()).await;
    let other = keep(&store, new_webhook()).await;
    let events: Vec<_> = (1..=6)
        .map(|license| event(EventType::LicenseChanged, license, hours(license as i64)))
        .collect();
    tell(&store, &events, hours(7)).await;
    let all = due(&store, hours(7)).await;
    let ours: Vec<_> = all.iter().filter(|d| d.webhook_id == id).collect();
    let mut long = tried(ours[0], hours(7), NextStep::Delivered);
    long.attempt.answer = format!("\0{}é", "x".repeat(Attempt::MAX_ANSWER_BYTES - 4));
    let unheard = AttemptResult {
        attempt: Attempt {
            status: None,
            ..long.attempt.clone()
        },
        ..tried(ours[1], hours(7), NextStep::RetryAt(hours(8)))
    };
    note(&store, vec![long, unheard]).await;
    let ids = |log: Vec<Delivery>| log.iter().map(|d| d.event.id).collect::<Vec<_>>();
    let newest: Vec<_> = events.iter().rev().map(|event| event.id).collect();
    let everything = log(&store, id, DeliveryFilter::default()).await;
    assert_eq!(ids(everything.clone()), newest);
    let took = everything[5].last.as_ref().expect("tried");
    let expected = format!("\u{fffd}{}", "x".repeat(Attempt::MAX_ANSWER_BYTES - 4));
    assert_eq!(took.answer, expected, "cut at a whole character");
    let unheard = everything[4].last.as_ref().expect("tried");
    assert_eq!(unheard.status, None);

    let delivered = log(&store, id, of_state(DeliveryState::Delivered)).await;
    assert_eq!(ids(delivered), [events[0].id]);
    let waiting = log(&store, id, of_state(DeliveryState::Waiting)).await;
    assert_eq!(ids(waiting), newest[..5]);
    let between = DeliveryFilter {
        from: Some(hours(2)),
        to: Some(hours(4)),
        ..DeliveryFilter::default()
    };
    assert_eq!(ids(log(&store, id, between).await), newest[3..5]);
    let one = DeliveryFilter {
        event_id: Some(events[3].id),
        ..DeliveryFilter::default()
    };
    assert_eq!(ids(log(&store, id, one).await), [events[3].id]);
    assert_eq!(ids(log(&store, other, one).await), [events[3].id]);
    let (mut pages, mut before) = (Vec::new(), None);
    loop {
        let page = hooks(&store).deliveries(id, DeliveryFilter::default(), before, 4);
        let page = page.await.expect("answers");
        let Some(last) = page.last() else { break };
        before = Some(last.number);
        pages.extend(page.iter().map(|delivery| delivery.event.id));
    }
    assert_eq!(pages, newest);
}

/// What is asked for again comes before younger events of its license, with all its tries; so does
/// what a webhook never got.
pub async fn what_is_delivered_again_comes_before_what_is_younger<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let id = keep(&store, new_webhook()).await;
    let changed = |license, hour| event(EventType::LicenseChanged, license, hours(hour));
    let events = [changed(1, 1), changed(1, 2), changed(1, 3), changed(2, 3)];
    tell(&store, &events, hours(4)).await;
    let [first, second, third, beside] = events.map(|event| event.id);
    for expected in [vec![first, beside], vec![second]] {
        let now = due(&store, hours(4)).await;
        let ids: Vec<_> = now.iter().map(|delivery| delivery.event.id).collect();
        assert_eq!(ids, expected);
        let results = now.iter();
        let results = results.map(|d| tried(d, hours(4), NextStep::Delivered));
        note(&store, results.collect()).await;
    }
    let head = due(&store, hours(4)).await;
    assert_eq!(head[0].event.id, third);
    note(
        &store,
        vec![tried(&head[0], hours(4), NextStep::RetryAt(hours(9)))],
    )
    .await;
    let again = async |filter| {
        let again = hooks(&store).redeliver(id, filter, hours(5), AuditEntries::none());
        again.await.expect("answers")
    };
    let until = DeliveryFilter {
        to: Some(hours(3)),
        ..DeliveryFilter::default()
    };
    assert_eq!(again(of_state(DeliveryState::Failed)).await, 0);
    assert_eq!(again(until).await, 2);
    assert_eq!(again(until).await, 0, "they wait already");
    let now = due(&store, hours(5)).await;
    assert_eq!(now.len(), 1);
    assert_eq!((now[0].event.id, now[0].attempts), (first, 0));
    assert!(now[0].last.is_some(), "the last try is still to be seen");
    for expected in [first, second, third] {
        let now = due(&store, hours(5)).await;
        assert_eq!(now[0].event.id, expected);
        assert_eq!(now.len(), 1);
        note(&store, vec![tried(&now[0], hours(5), NextStep::Delivered)]).await;
    }

    // A webhook that comes later gets what is kept, of the types that it wants.
    let mut late = new_webhook();
    late.webhook.events = vec![EventType::LicenseChanged];
    let late = keep(&store, late).await;
    tell(&store, &[changed(1, 6)], hours(6)).await;
    tell(&store, &[event(EventType::QuotaLow, 1, hours(2))], hours(6)).await;
    let asked = hooks(&store).redeliver(late, until, hours(6), AuditEntries::none());
    assert_eq!(asked.await, Ok(2));
    let now = due(&store, hours(6)).await;
    let now: Vec<_> = now.iter().filter(|d| d.webhook_id == late).collect();
    assert_eq!(now.len(), 1);
    assert_eq!(now[0].event.id, first, "before the one that waited");
    let unknown = WebhookId::generate();
    let asked = hooks(&store).redeliver(unknown, until, hours(6), AuditEntries::none());
    assert_eq!(asked.await, Ok(0));
}

/// What is delivered again stands in the audit log from its first step on: a line that is refused
/// undoes it.
pub async fn nothing_is_delivered_again_without_its_line<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let id = keep(&store, new_webhook()).await;
    let events = [event(EventType::LicenseChanged, 1, hours(1))];
    tell(&store, &events, hours(2)).await;
    let now = due(&store, hours(2)).await;
    note(&store, vec![tried(&now[0], hours(2), NextStep::Delivered)]).await;
    let line = AuditEntry::new(&Actor::OPERATOR, hours(3), "webhook.redeliver", id);
    let redeliver = async || {
        let entries = AuditEntries::of(vec![line.clone()]);
        let all = DeliveryFilter::default();
        hooks(&store).redeliver(id, all, hours(3), entries).await
    };
    let log = store.audit_log().expect("it keeps one");
    log.add_audit(vec![line.clone()]).await.expect("written");
    let refused = redeliver().await;
    assert!(matches!(refused, Err(Error::Exists(_))), "{refused:?}");
    assert_eq!(due(&store, hours(3)).await, []);
}

/// Old events go with their deliveries, and what waited behind them goes on; a webhook takes its
/// deliveries with it.
pub async fn what_is_old_or_of_a_webhook_that_is_gone_is_forgotten<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let id = keep(&store, new_webhook()).await;
    let changed = |hour| event(EventType::LicenseChanged, 1, hours(hour));
    let events = [changed(1), changed(2), changed(3), changed(4)];
    tell(&store, &events, hours(5)).await;
    let head = due(&store, hours(5)).await;
    note(
        &store,
        vec![tried(&head[0], hours(5), NextStep::RetryAt(hours(9)))],
    )
    .await;
    assert_eq!(hooks(&store).sweep_events(hours(4), 2).await, Ok(2));
    assert_eq!(due_events(&store, hours(5)).await, [events[2].id]);
    assert_eq!(hooks(&store).sweep_events(hours(4), 2).await, Ok(1));
    assert_eq!(hooks(&store).sweep_events(hours(4), 2).await, Ok(0));
    assert_eq!(due_events(&store, hours(5)).await, [events[3].id]);
    let kept = log(&store, id, DeliveryFilter::default()).await;
    assert_eq!(kept.len(), 1);
    // Results of what is gone are ignored.
    note(&store, vec![tried(&head[0], hours(5), NextStep::Delivered)]).await;
    assert_eq!(found(&store, id).await.last_delivery_at, None);

    let deleted = hooks(&store).delete_webhook(id, AuditEntries::none());
    assert_eq!(deleted.await, Ok(true));
    assert_eq!(due(&store, hours(9)).await, []);
    assert_eq!(log(&store, id, DeliveryFilter::default()).await, []);
    let waiting = hooks(&store).waiting().await.expect("answers");
    assert_eq!((waiting.count, waiting.oldest), (0, None));
}
