//! What people do with webhooks, on a real store and with real receivers.

mod support;

use std::sync::Arc;
use std::time::Duration;

use model::{
    Actor, DeliveryState, EventId, EventType, SystemClock, WebhookForm, WebhookId, WebhookState,
};
use store::{AuditFilter, DeliveryFilter};
use testkit::eventually::{eventually, eventually_async};
use testkit::{Manner, Receiver};
use webhooks::{Error, TargetRules, WebhookRequest, WebhookUpdate};

use support::{Gate, World, app, license};

async fn start() -> (World, Gate, Receiver) {
    let world = World::new(Arc::new(SystemClock)).await;
    let gate = world.gate();
    (world, gate, Receiver::start())
}

fn of(url: &str) -> WebhookRequest {
    WebhookRequest {
        url: url.to_owned(),
        ..WebhookRequest::default()
    }
}

async fn refused(gate: &Gate, request: WebhookRequest) -> String {
    let refused = gate.acting().create(request).await;
    refused.expect_err("it is not allowed").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn case_48_a_wrong_answer_to_the_challenge_leaves_a_webhook_inactive() {
    let (world, gate, receiver) = start().await;
    receiver.behave(Manner::Answer(200, "hello".to_owned()));
    let made = gate
        .register_as(&receiver.url("/"), WebhookForm::Apimw)
        .await;
    let id = made.webhook.id;
    assert_eq!(made.webhook.state, WebhookState::Unproven);
    let challenge = receiver.wait_for(1).remove(0);
    assert_eq!(challenge.json()["type"], "webhook.verification");
    assert!(
        challenge.json()["challenge"]
            .as_str()
            .is_some_and(|text| text.len() == 32)
    );
    let signature = challenge.header("x-apimw-signature").expect("it is signed");
    assert!(signature.starts_with("sha256="));

    // Another webhook gets this event, so that its time is over.
    let other = Receiver::start();
    gate.register(&other).await;
    world
        .happens(license(1), EventType::LicenseCreated, 1)
        .await;
    gate.webhooks.wake();
    other.wait_for(1);
    let error = gate
        .acting()
        .resume(id)
        .await
        .expect_err("it answers wrong");
    assert!(matches!(error, Error::Unproven { .. }), "{error}");
    receiver.behave(Manner::Challenge);
    let proven = gate.acting().resume(id).await.expect("it answers");
    assert_eq!(proven.state, WebhookState::Active);
    world
        .happens(license(1), EventType::LicenseChanged, 2)
        .await;
    gate.webhooks.wake();
    let got = receiver.wait_for(4).remove(3);
    assert_eq!(
        got.json()["event"],
        "license.changed",
        "what happened before is not told"
    );

    let right = gate
        .register_as(&receiver.url("/two"), WebhookForm::Apimw)
        .await;
    assert_eq!(right.webhook.state, WebhookState::Active);
    gate.stop().await;
}

fn to(url: String) -> WebhookUpdate {
    WebhookUpdate {
        url: Some(url),
        ..WebhookUpdate::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_url_is_in_force_when_it_has_answered_its_challenge_and_until_then_the_one_before() {
    let (world, gate, receiver) = start().await;
    let acting = gate.acting();
    receiver.behave(Manner::Challenge);
    receiver.behave_at("/wrong", Manner::Answer(200, String::new()));
    receiver.behave_at("/slow", Manner::Hold);
    let form = WebhookForm::Apimw;
    let made = gate.register_as(&receiver.url("/one"), form).await.webhook;
    let moved = acting.change(made.id, to(receiver.url("/wrong")));
    let moved = moved.await;
    assert!(matches!(moved, Err(Error::Unproven { .. })), "{moved:?}");
    assert_eq!(gate.state(made.id).await, made, "nothing has changed");

    let slow = tokio::spawn({
        let (acting, to) = (gate.acting(), to(receiver.url("/slow")));
        async move { acting.change(made.id, to).await }
    });
    receiver.wait_for(3);
    assert_eq!(gate.state(made.id).await, made, "it is not proven yet");
    let happened = EventType::LicenseChanged;
    world.happens(license(1), happened, 1).await;
    gate.webhooks.wake();
    let told = receiver.wait_for(4).remove(3);
    assert_eq!((told.target.as_str(), numbers(&told)), ("/one", 1));
    receiver.behave_at("/slow", Manner::Challenge);
    let moved = slow.await.expect("it does not panic").expect("proven");
    assert_eq!(moved.url, receiver.url("/slow"));
    assert_eq!(moved.state, WebhookState::Active);

    gate.acting().pause(made.id).await.expect("it is there");
    let refused = acting.change(made.id, to(receiver.url("/wrong")));
    assert!(refused.await.is_err());
    let moved = acting.change(made.id, to(receiver.url("/two")));
    let moved = moved.await.expect("it answers");
    assert_eq!(moved.state, WebhookState::Paused, "nobody resumed it");
    assert_eq!(moved.url, receiver.url("/two"));
    gate.stop().await;
}

fn numbers(got: &testkit::Received) -> u64 {
    got.json()["data"]["number"].as_u64().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_changes_while_a_challenge_is_under_way_stands() {
    let (_world, gate, receiver) = start().await;
    let acting = gate.acting();
    receiver.behave(Manner::Challenge);
    receiver.behave_at("/slow", Manner::Hold);
    let form = WebhookForm::Apimw;
    let made = gate.register_as(&receiver.url("/one"), form).await.webhook;
    let slow = |gate: &Gate| {
        let (acting, to) = (gate.acting(), to(receiver.url("/slow")));
        tokio::spawn(async move { acting.change(made.id, to).await })
    };
    let moving = slow(&gate);
    receiver.wait_for(2);
    let paused = gate.acting().pause(made.id).await.expect("it is there");
    receiver.behave_at("/slow", Manner::Challenge);
    let moved = moving.await.expect("it does not panic");
    assert!(
        matches!(moved, Err(Error::ChangedMeanwhile(_))),
        "{moved:?}"
    );
    assert_eq!(gate.state(made.id).await, paused);

    // The same of one that never answered: who names another URL meanwhile has the say.
    receiver.behave_at("/dead", Manner::Answer(200, String::new()));
    let dead = gate.register_as(&receiver.url("/dead"), form).await.webhook;
    assert_eq!(dead.state, WebhookState::Unproven);
    receiver.behave_at("/dead", Manner::Hold);
    let resuming = tokio::spawn({
        let acting = gate.acting();
        async move { acting.resume(dead.id).await }
    });
    receiver.wait_for(4);
    let moved = acting.change(dead.id, to(receiver.url("/two")));
    let moved = moved.await.expect("it answers");
    gate.acting().pause(dead.id).await.expect("it is there");
    receiver.behave_at("/dead", Manner::Challenge);
    let resumed = resuming.await.expect("it does not panic");
    assert!(
        matches!(resumed, Err(Error::ChangedMeanwhile(_))),
        "{resumed:?}"
    );
    assert_eq!(moved.state, WebhookState::Active);
    assert_eq!(gate.state(dead.id).await.state, WebhookState::Paused);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_webhook_is_refused_with_its_field_and_nothing_is_kept() {
    let (world, gate, _) = start().await;
    let good = "https://192.0.1.1/hook";
    let wrong_app = WebhookRequest {
        app: Some("other".parse().expect("a name")),
        ..of(good)
    };
    let wrong_account = WebhookRequest {
        account: "nobody".parse().expect("a name"),
        ..of(good)
    };
    let short = WebhookRequest {
        secret: Some("short".to_owned()),
        ..of(good)
    };
    let untold = WebhookRequest {
        form: WebhookForm::Authforge,
        events: vec![EventType::QuotaLow],
        ..of(good)
    };
    let test = WebhookRequest {
        events: vec![EventType::Test],
        ..of(good)
    };
    for (request, words) in [
        (of("nonsense"), "`url`: this is no URL"),
        (
            of("https://user@example.com"),
            "`url`: a URL must hold no user",
        ),
        (wrong_app, "there is no app `other`"),
        (wrong_account, "there is no account `nobody`"),
        (short, "`secret`: a secret has 8 to 256"),
        (
            untold,
            "`events`: `quota.low` is not told in this form: use some of `license.created`, `license.disabled` (told as `license.revoked`)",
        ),
        (test, "`events`: `webhook.test` is not told in this form"),
    ] {
        let error = refused(&gate, request).await;
        assert!(error.starts_with(words), "{error}");
    }
    let all = gate.webhooks.list(Default::default(), None, 10).await;
    assert_eq!(all.expect("the store answers"), []);
    let rules = TargetRules::default();
    assert!(webhooks::Target::parse("https://127.0.0.1/", rules).is_err());
    drop(world);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_has_five_webhooks_of_authforge_and_gets_its_events_in_that_form() {
    let (world, gate, receiver) = start().await;
    let request = || WebhookRequest {
        app: Some(app()),
        form: WebhookForm::Authforge,
        ..of(&receiver.url("/hook"))
    };
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(
            gate.acting()
                .create(request())
                .await
                .expect("it is allowed"),
        );
    }
    assert_eq!(made[0].webhook.events.len(), 7, "all that the form tells");
    let error = gate.acting().create(request()).await.expect_err("a sixth");
    assert!(matches!(error, Error::TooMany(5)), "{error}");
    for other in &made[1..] {
        gate.acting()
            .delete(other.webhook.id)
            .await
            .expect("it is there");
    }
    world.happens(license(1), EventType::QuotaLow, 1).await;
    world
        .happens(license(1), EventType::LicenseDisabled, 2)
        .await;
    gate.webhooks.wake();
    let got = receiver.wait_for(1).remove(0);
    assert_eq!(got.json()["event"], "license.revoked");
    assert_eq!(
        got.json()["data"]["licenseKey"],
        format!("KEY-OF-{}", license(1))
    );
    assert_eq!(got.json()["data"]["appId"], "id-of-game");
    assert_eq!(got.header("x-authforge-event"), Some("license.revoked"));
    let signature = got.header("x-authforge-signature").expect("it is signed");
    assert_eq!(signature.len(), 64);
    assert!(
        got.header("x-authforge-timestamp")
            .is_some_and(|time| time.ends_with('Z'))
    );
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_webhook_gets_nothing_until_it_is_resumed_and_then_everything_in_order() {
    let (world, gate, receiver) = start().await;
    let id = gate.register(&receiver).await.webhook.id;
    gate.acting().pause(id).await.expect("it is there");
    for number in 0..20 {
        world
            .happens(license(1), EventType::LicenseChanged, number)
            .await;
    }
    gate.webhooks.wake();
    eventually_async("they wait", async || gate.log(id).await.len() == 20).await;
    assert_eq!(receiver.count(), 0);
    gate.acting().resume(id).await.expect("it is there");
    let got = receiver.wait_for(20);
    let numbers: Vec<_> = got
        .iter()
        .map(|got| got.json()["data"]["number"].clone())
        .collect();
    assert_eq!(
        numbers,
        (0..20).map(serde_json::Value::from).collect::<Vec<_>>()
    );
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_gets_only_the_types_that_it_asked_for_until_it_asks_for_others() {
    let (world, gate, receiver) = start().await;
    let request = WebhookRequest {
        events: vec![EventType::LicenseRevoked, EventType::LicenseRevoked],
        ..of(&receiver.url("/"))
    };
    let made = gate
        .acting()
        .create(request)
        .await
        .expect("it is allowed")
        .webhook;
    assert_eq!(made.events, [EventType::LicenseRevoked]);
    world
        .happens(license(1), EventType::LicenseCreated, 1)
        .await;
    world
        .happens(license(1), EventType::LicenseRevoked, 2)
        .await;
    gate.webhooks.wake();
    let got = receiver.wait_for(1);
    assert_eq!(got[0].json()["type"], "license.revoked");
    let update = WebhookUpdate {
        events: Some(Vec::new()),
        ..WebhookUpdate::default()
    };
    gate.acting()
        .change(made.id, update)
        .await
        .expect("it is allowed");
    world
        .happens(license(1), EventType::LicenseCreated, 3)
        .await;
    gate.webhooks.wake();
    assert_eq!(receiver.wait_for(2)[1].json()["type"], "license.created");
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_secret_signs_beside_the_one_before_until_the_overlap_is_over() {
    let (_world, gate, receiver) = start().await;
    let first = gate.register(&receiver).await;
    let id = first.webhook.id;
    let signatures = async || {
        gate.acting().test(id).await.expect("it is sent");
        let got = receiver.received().pop().expect("a message");
        got.header("webhook-signature")
            .expect("it is signed")
            .split(' ')
            .count()
    };
    assert_eq!(signatures().await, 1);
    let second = gate.acting().rotate_secret(id, None).await;
    let second = second.expect("it is there");
    assert_ne!(second.secret, first.secret);
    assert_eq!(signatures().await, 2);
    gate.acting()
        .rotate_secret(id, Some(Duration::ZERO))
        .await
        .expect("it is there");
    assert_eq!(signatures().await, 1, "none before it signs any more");
    let year = Duration::from_secs(366 * 86_400);
    let error = gate
        .acting()
        .rotate_secret(id, Some(year))
        .await
        .expect_err("too long");
    assert_eq!(error.to_string(), "`overlap`: it is at most 30d");
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_says_what_the_receiver_answers_whatever_the_state_and_stands_in_the_log() {
    let (_world, gate, receiver) = start().await;
    let id = gate.register(&receiver).await.webhook.id;
    gate.acting().pause(id).await.expect("it is there");
    receiver.behave(Manner::Answer(418, "a teapot".to_owned()));
    let attempt = gate.acting().test(id).await.expect("it is sent");
    assert_eq!(
        (attempt.status, attempt.answer.as_str()),
        (Some(418), "a teapot")
    );
    assert_eq!(receiver.received()[0].json()["type"], "webhook.test");
    let log = gate.log(id).await;
    assert_eq!((log.len(), log[0].state), (1, DeliveryState::Failed));
    assert_eq!(gate.state(id).await.state, WebhookState::Paused);
    let gone = gate.acting().test(WebhookId::generate()).await;
    assert!(matches!(gone, Err(Error::Unknown(_))), "{gone:?}");
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_delivered_again_by_hand_and_by_time_with_the_same_id() {
    let (world, gate, receiver) = start().await;
    let id = gate.register(&receiver).await.webhook.id;
    for number in 0..3 {
        world
            .happens(license(1), EventType::LicenseChanged, number)
            .await;
    }
    gate.webhooks.wake();
    receiver.wait_for(3);
    eventually("results are noted", || {
        gate.webhooks.counts().delivered() == 3
    })
    .await;
    eventually_async("and in the log", async || {
        gate.log(id)
            .await
            .iter()
            .all(|delivery| delivery.state == DeliveryState::Delivered)
    })
    .await;
    let one = gate.log(id).await.remove(0).event;
    let filter = DeliveryFilter {
        event_id: Some(one.id),
        ..DeliveryFilter::default()
    };
    assert_eq!(
        gate.acting()
            .redeliver(id, filter)
            .await
            .expect("it is there"),
        1
    );
    let unknown = DeliveryFilter {
        event_id: Some(EventId::from_u128(7)),
        ..DeliveryFilter::default()
    };
    let refused = gate.acting().redeliver(id, unknown).await;
    let words = refused.expect_err("there is none").to_string();
    assert!(words.contains("has no event evt_"), "{words}");
    let again = receiver.wait_for(4).remove(3);
    assert_eq!(
        again.header("webhook-id"),
        Some(one.id.to_string().as_str())
    );
    eventually("the fourth is noted", || {
        gate.webhooks.counts().delivered() == 4
    })
    .await;
    let filter = DeliveryFilter {
        from: Some(one.at.plus_micros(-60_000_000)),
        to: Some(one.at.plus_micros(60_000_000)),
        ..DeliveryFilter::default()
    };
    eventually_async("all are due again", async || {
        gate.acting()
            .redeliver(id, filter)
            .await
            .expect("it is there")
            == 3
    })
    .await;
    receiver.wait_for(7);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_stands_in_the_audit_log_without_secrets_or_queries() {
    let (world, gate, receiver) = start().await;
    let made = gate
        .register_as(&receiver.url("/?token=hidden"), WebhookForm::Native)
        .await;
    let id = made.webhook.id;
    let acting = gate.webhooks.acting(Actor::GATE);
    acting.pause(id).await.expect("it is there");
    acting.pause(id).await.expect("a second time does nothing");
    acting.resume(id).await.expect("it is there");
    acting
        .rotate_secret(id, Some(Duration::ZERO))
        .await
        .expect("it is there");
    let nothing = acting.redeliver(id, DeliveryFilter::default()).await;
    let words = nothing.expect_err("nothing is selected").to_string();
    assert!(words.starts_with("`event`: say which are"), "{words}");
    let failed = DeliveryFilter {
        state: Some(DeliveryState::Failed),
        ..DeliveryFilter::default()
    };
    acting.redeliver(id, failed).await.expect("it is there");
    acting.delete(id).await.expect("it is there");
    let filter = AuditFilter {
        subject: Some(id.to_string()),
        ..AuditFilter::default()
    };
    let log = world
        .store
        .audit_log()
        .expect("it keeps one")
        .audit(filter, 0, 100)
        .await;
    let log = log.expect("the store answers");
    let actions: Vec<_> = log.iter().map(|line| line.entry.action.as_str()).collect();
    assert_eq!(
        actions,
        [
            "webhook.create",
            "webhook.pause",
            "webhook.resume",
            "webhook.rotate",
            "webhook.redeliver",
            "webhook.delete"
        ]
    );
    let asked = log[4].entry.after.as_ref().expect("what was asked for");
    assert_eq!(asked["state"], "failed");
    let text = serde_json::to_string(&log.iter().map(|line| &line.entry).collect::<Vec<_>>());
    let text = text.expect("plain data");
    assert!(
        !text.contains("whsec_") && !text.contains("hidden"),
        "{text}"
    );
    assert!(matches!(
        gate.webhooks.webhook(id).await,
        Err(Error::Unknown(_))
    ));
    gate.stop().await;
}
