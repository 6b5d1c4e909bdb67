//! Deliveries from a real store to receivers that answer, fail and hang.

mod support;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{
    DeliveryState, EventType, ManualClock, SystemClock, Timestamp, WebhookForm, WebhookState,
};
use testkit::eventually::{eventually, eventually_async};
use testkit::{Manner, Received, Receiver};
use webhooks::{Options, Schedule};

use support::{World, license};

fn ok() -> Manner {
    Manner::Answer(200, String::new())
}

fn failing() -> Manner {
    Manner::Answer(500, "not now".to_owned())
}

fn numbers(received: &[Received]) -> Vec<u64> {
    let number = |got: &Received| got.json()["data"]["number"].as_u64().expect("a number");
    received.iter().map(number).collect()
}

/// A schedule that tries again so soon that nobody waits for it, and often enough.
fn impatient() -> Options {
    let times = (0..20).map(|tenth| Duration::from_millis(tenth * 100));
    Options {
        schedule: Schedule::new(times.collect()).expect("it grows from zero"),
        ..Options::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_arrives_once_and_those_of_a_license_in_their_order() {
    let (world, receiver) = (World::new(Arc::new(SystemClock)).await, Receiver::start());
    let gate = world.gate();
    gate.register(&receiver).await;
    for number in 0..300 {
        let of = license(u128::from(number % 7));
        world.happens(of, EventType::LicenseChanged, number).await;
    }
    gate.webhooks.wake();
    receiver.wait_for(300);
    eventually("results are noted", || {
        gate.webhooks.counts().delivered() == 300
    })
    .await;
    let received = receiver.received();
    let mut by_license: HashMap<String, Vec<u64>> = HashMap::new();
    for (got, number) in received.iter().zip(numbers(&received)) {
        let id = got.json()["data"]["license_id"]
            .as_str()
            .expect("an id")
            .to_owned();
        by_license.entry(id).or_default().push(number);
    }
    assert_eq!(by_license.len(), 7);
    for order in by_license.values() {
        assert!(order.is_sorted(), "{order:?}");
    }
    let ids: std::collections::HashSet<_> = received
        .iter()
        .map(|got| got.header("webhook-id").expect("an id").to_owned())
        .collect();
    assert_eq!((ids.len(), received.len()), (300, 300));
    assert!(receiver.most_connections() <= 8);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_49_five_failures_at_0_1_5_30_and_120_minutes_disable_a_webhook() {
    let clock = Arc::new(ManualClock::at(
        "2026-03-01T00:00:00Z".parse().expect("a time"),
    ));
    let (world, receiver) = (World::new(clock.clone()).await, Receiver::start());
    receiver.behave(failing());
    let gate = world.gate();
    let id = gate.register(&receiver).await.webhook.id;
    let begun = model::Clock::now(&*clock);
    world
        .happens(license(1), EventType::LicenseCreated, 1)
        .await;
    gate.webhooks.wake();
    let tried_at = async |tries: usize| -> Timestamp {
        receiver.wait_for(tries);
        let mut at = None;
        eventually_async("the try is in the log", async || {
            let log = gate.log(id).await;
            at = log[0].last.as_ref().map(|last| last.at);
            log[0].attempts as usize == tries
        })
        .await;
        at.expect("it was tried")
    };
    let minutes = |at: Timestamp| at.since(begun).as_secs() / 60;
    assert_eq!(minutes(tried_at(1).await), 0);
    for (tries, minute, wait) in [(2, 1, 1), (3, 5, 4), (4, 30, 25), (5, 120, 90)] {
        assert_eq!(gate.state(id).await.state, WebhookState::Active);
        clock.advance(Duration::from_secs(wait * 60 - 1));
        gate.webhooks.wake();
        // Nothing is due yet: what is asked for before it is due does not come.
        let log = gate.log(id).await;
        assert_eq!(log[0].attempts as usize, tries - 1);
        clock.advance(Duration::from_secs(1));
        gate.webhooks.wake();
        assert_eq!(minutes(tried_at(tries).await), minute);
    }
    assert_eq!(gate.state(id).await.state, WebhookState::Disabled);
    let log = gate.log(id).await;
    assert_eq!(log[0].state, DeliveryState::Failed);
    let last = log[0].last.as_ref().expect("it was tried");
    assert_eq!((last.status, last.answer.as_str()), (Some(500), "not now"));
    assert_eq!(gate.webhooks.counts().disabled(), 1);

    // What happens meanwhile waits; somebody looks, and resumes it.
    world
        .happens(license(2), EventType::LicenseCreated, 2)
        .await;
    receiver.behave(ok());
    gate.acting().resume(id).await.expect("it is there");
    receiver.wait_for(7);
    let mut got = numbers(&receiver.received());
    got[5..].sort_unstable();
    assert_eq!(got, [1, 1, 1, 1, 1, 1, 2], "what failed comes once more");
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_event_holds_back_its_license_and_none_of_another() {
    let (world, receiver) = (World::new(Arc::new(SystemClock)).await, Receiver::start());
    let gate = world.gate_with(impatient(), Duration::from_secs(5));
    gate.register(&receiver).await;
    // Of the first license nothing is taken, until a word is in its events.
    world
        .happens(license(9), EventType::LicenseCreated, 100)
        .await;
    gate.webhooks.wake();
    receiver.wait_for(1);
    receiver.behave(failing());
    world
        .happens(license(1), EventType::LicenseCreated, 1)
        .await;
    gate.webhooks.wake();
    receiver.wait_for(2);
    world
        .happens(license(1), EventType::LicenseChanged, 2)
        .await;
    receiver.behave(ok());
    world
        .happens(license(2), EventType::LicenseCreated, 3)
        .await;
    gate.webhooks.wake();
    eventually("all arrive", || {
        let got = numbers(&receiver.received());
        got.contains(&2) && got.contains(&3)
    })
    .await;
    let got = numbers(&receiver.received());
    let last = |wanted| got.iter().rposition(|number| *number == wanted);
    assert!(last(1) < last(2), "{got:?}");
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_delays_no_other() {
    let world = World::new(Arc::new(SystemClock)).await;
    let (hanging, good) = (Receiver::start(), Receiver::start());
    hanging.behave(Manner::Hang);
    let gate = world.gate_with(Options::default(), Duration::from_secs(5));
    let stuck = gate.register(&hanging).await.webhook.id;
    gate.register(&good).await;
    for number in 0..200 {
        world
            .happens(license(number.into()), EventType::LicenseCreated, number)
            .await;
    }
    let begun = Instant::now();
    gate.webhooks.wake();
    good.wait_for(200);
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    assert!(hanging.most_connections() <= 8);
    // Those that wait for it have lost no try of theirs.
    let log = gate.log(stuck).await;
    assert!(log.iter().filter(|delivery| delivery.attempts > 0).count() <= 8);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_gates_one_delivers_and_the_other_goes_on_when_it_stops() {
    let (world, receiver) = (World::new(Arc::new(SystemClock)).await, Receiver::start());
    let (first, second) = (world.gate(), world.gate());
    first.register(&receiver).await;
    world
        .happens(license(1), EventType::LicenseCreated, 0)
        .await;
    receiver.wait_for(1);
    let counts = || {
        let delivered = |gate: &support::Gate| gate.webhooks.counts().delivered();
        (delivered(&first), delivered(&second))
    };
    eventually("the result is counted", || counts().0 + counts().1 == 1).await;
    let (at_work, waiting) = if counts().0 == 1 {
        (first, second)
    } else {
        (second, first)
    };
    for number in 1..50 {
        world
            .happens(license(1), EventType::LicenseChanged, number)
            .await;
    }
    receiver.wait_for(50);
    assert_eq!(waiting.webhooks.counts().delivered(), 0, "one at a time");
    at_work.stop().await;
    let begun = Instant::now();
    world
        .happens(license(1), EventType::LicenseChanged, 50)
        .await;
    receiver.wait_for(51);
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "a stop gives the work back at once"
    );
    assert_eq!(numbers(&receiver.received()), (0..=50).collect::<Vec<_>>());
    waiting.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_death_of_the_gate_that_delivers_moves_the_work_within_seconds() {
    let (world, receiver) = (World::new(Arc::new(SystemClock)).await, Receiver::start());
    let first = world.gate_with(Options::default(), Duration::from_secs(1));
    first.register(&receiver).await;
    world
        .happens(license(1), EventType::LicenseCreated, 0)
        .await;
    receiver.wait_for(1);
    first.kill();
    let second = world.gate_with(Options::default(), Duration::from_secs(1));
    world
        .happens(license(1), EventType::LicenseChanged, 1)
        .await;
    eventually("the other gate goes on", || {
        numbers(&receiver.received()).contains(&1)
    })
    .await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_events_are_forgotten_with_what_waits() {
    let clock = Arc::new(ManualClock::at(
        "2026-03-01T00:00:00Z".parse().expect("a time"),
    ));
    let (world, receiver) = (World::new(clock.clone()).await, Receiver::start());
    let gate = world.gate();
    let id = gate.register(&receiver).await.webhook.id;
    gate.acting().pause(id).await.expect("it is there");
    world
        .happens(license(1), EventType::LicenseCreated, 1)
        .await;
    gate.webhooks.wake();
    eventually_async("it waits", async || gate.log(id).await.len() == 1).await;
    eventually_async("it is counted", async || {
        clock.advance(Duration::from_secs(10));
        gate.webhooks.wake();
        gate.webhooks.counts().pending() == 1
    })
    .await;
    assert!(gate.webhooks.counts().oldest().is_some());
    clock.advance(Duration::from_secs(31 * 86_400));
    eventually_async("it is forgotten", async || {
        gate.webhooks.wake();
        gate.log(id).await.is_empty()
    })
    .await;
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_for_a_webhook_that_is_gone_is_forgotten_without_any_other() {
    let clock = Arc::new(ManualClock::at(
        "2026-03-01T00:00:00Z".parse().expect("a time"),
    ));
    let (world, receiver) = (World::new(clock.clone()).await, Receiver::start());
    let gate = world.gate();
    let id = gate.register(&receiver).await.webhook.id;
    gate.acting().pause(id).await.expect("it is there");
    for number in 0..3 {
        world
            .happens(license(1), EventType::LicenseCreated, number)
            .await;
    }
    gate.acting().delete(id).await.expect("it is there");
    assert_eq!(world.events(), 3);
    clock.advance(Duration::from_secs(31 * 86_400));
    eventually("they are forgotten", || {
        gate.webhooks.wake();
        world.events() == 0
    })
    .await;
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_whose_reads_outlast_the_lease_is_left_to_the_next_gate() {
    let (world, receiver) = (World::new(Arc::new(SystemClock)).await, Receiver::start());
    let gate = world.gate();
    let url = receiver.url("/hook");
    gate.register_as(&url, WebhookForm::Authforge).await;
    world.holds_facts.send_replace(true);
    world
        .happens(license(1), EventType::LicenseCreated, 1)
        .await;
    gate.webhooks.wake();
    eventually("its facts are asked for", || {
        world.holds_facts.receiver_count() > 1
    })
    .await;
    let webhooks = gate.webhooks.clone();
    gate.stop().await;
    world.holds_facts.send_replace(false);
    eventually("the try ends", || Arc::strong_count(&webhooks) == 1).await;
    assert_eq!(receiver.count(), 0, "another gate may deliver by now");
    let next = world.gate();
    receiver.wait_for(1);
    next.stop().await;
}
