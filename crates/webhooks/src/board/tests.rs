use super::*;
use model::{AccountName, AppName, DeliveryState, Event, EventId, EventType, Timestamp};
use store::Attempt;

const NOW: Moment = Moment(1_000_000);

fn delivery(webhook: u128, number: u64) -> Delivery {
    Delivery {
        number,
        webhook_id: WebhookId::from_u128(webhook),
        event: Event {
            id: EventId::from_u128(number.into()),
            kind: EventType::LicenseCreated,
            at: Timestamp::from_micros(0),
            account: AccountName::default(),
            app: AppName::every(),
            license_id: None,
            data: serde_json::Map::new(),
        },
        state: DeliveryState::Waiting,
        attempts: 0,
        next_at: None,
        last: None,
    }
}

fn many(webhook: u128, numbers: std::ops::Range<u64>) -> Vec<Delivery> {
    numbers.map(|number| delivery(webhook, number)).collect()
}

fn result(flight: &Flight, next: NextStep) -> AttemptResult {
    AttemptResult {
        number: flight.delivery.number,
        webhook_id: flight.delivery.webhook_id,
        attempt: Attempt {
            at: Timestamp::from_micros(0),
            duration_us: 1,
            status: None,
            answer: String::new(),
        },
        next,
    }
}

fn finish(board: &mut Board, flight: Flight, took: bool, now: Moment) {
    let later = NextStep::RetryAt(Timestamp::from_micros(1));
    let next = if took { NextStep::Delivered } else { later };
    let result = result(&flight, next);
    board.finish(flight, result, now);
}

fn open() -> Board {
    let mut board = Board::default();
    board.open(Some(NOW.plus(Duration::from_secs(3_600))));
    board
}

/// Lets a receiver take deliveries until it has all of its slots.
fn prove(board: &mut Board, webhook: u128) {
    for number in 0..4 {
        board.add(
            vec![delivery(webhook, 1_000_000 * webhook as u64 + number)],
            NOW,
        );
        let flight = board.take(NOW).expect("it may start");
        finish(board, flight, true, NOW);
    }
}

fn take_all(board: &mut Board, now: Moment) -> Vec<Flight> {
    std::iter::from_fn(|| board.take(now)).collect()
}

#[test]
fn a_receiver_gets_its_slots_as_it_answers_and_never_more_than_eight() {
    let mut board = open();
    board.add(many(1, 0..40), NOW);
    let mut first = take_all(&mut board, NOW);
    assert_eq!(first.len(), 1, "nobody knows yet whether it answers");
    finish(&mut board, first.remove(0), true, NOW);
    assert_eq!(take_all(&mut board, NOW).len(), 2);
    prove(&mut board, 2);
    board.add(many(2, 100..140), NOW);
    let flights = take_all(&mut board, NOW);
    assert_eq!(flights.len(), Board::MAX_SLOTS);
    assert!(
        flights
            .iter()
            .all(|flight| flight.delivery.webhook_id == WebhookId::from_u128(2))
    );
}

#[test]
fn receivers_that_hang_leave_half_of_all_slots_to_those_that_answer() {
    let mut board = open();
    for good in 1_001..=1_004 {
        prove(&mut board, good);
    }
    for hanging in 1..=200 {
        board.add(vec![delivery(hanging, hanging as u64)], NOW);
    }
    assert_eq!(take_all(&mut board, NOW).len(), Board::MAX_DOUBTED);
    for good in 1_001..=1_004 {
        board.add(
            many(good, 10_000 * good as u64..10_000 * good as u64 + 30),
            NOW,
        );
    }
    let flights = take_all(&mut board, NOW);
    assert_eq!(flights.len(), Board::MAX_UNDER_WAY - Board::MAX_DOUBTED);
    assert!(
        flights
            .iter()
            .all(|flight| flight.delivery.webhook_id.as_u128() > 1_000)
    );
}

#[test]
fn after_five_failures_a_receiver_is_left_alone_then_probed_once_and_trusted_when_it_answers() {
    let mut board = open();
    prove(&mut board, 1);
    board.add(many(1, 0..32), NOW);
    for flight in take_all(&mut board, NOW) {
        finish(&mut board, flight, false, NOW);
    }
    assert!(board.take(NOW).is_none(), "its queue is left in the store");
    let id = WebhookId::from_u128(1);
    assert_eq!(board.busy(NOW).webhooks, [id]);
    board.add(many(1, 32..40), NOW);
    assert!(board.take(NOW).is_none());

    let later = NOW.plus(Board::FIRST_REST);
    assert!(board.busy(later).webhooks.is_empty());
    board.add(many(1, 32..40), later);
    let mut probes = take_all(&mut board, later);
    assert_eq!(probes.len(), 1, "a probe is one delivery");
    assert_eq!(
        board.busy(later).webhooks,
        [id],
        "and no other is asked for"
    );
    finish(&mut board, probes.remove(0), false, later);
    assert!(
        board
            .busy(later.plus(Board::FIRST_REST))
            .webhooks
            .contains(&id),
        "it rests longer"
    );

    let again = later.plus(2 * Board::FIRST_REST);
    board.add(many(1, 40..50), again);
    let probe = board.take(again).expect("it may be probed");
    finish(&mut board, probe, true, again);
    board.add(many(1, 50..60), again);
    assert_eq!(
        take_all(&mut board, again).len(),
        2,
        "it has two slots again"
    );
}

#[test]
fn queue_results_and_receivers_are_bounded() {
    let mut board = open();
    for webhook in 0..5_000 {
        board.add(vec![delivery(webhook, webhook as u64)], NOW);
    }
    assert_eq!(board.queued, Board::MAX_QUEUED);
    assert!(!board.has_room());
    assert!(board.receivers.len() <= Board::MAX_RECEIVERS);

    let mut board = open();
    prove(&mut board, 1);
    let mut number = 10_000_000;
    while board.results.len() < Board::MAX_RESULTS {
        board.add(vec![delivery(1, number)], NOW);
        number += 1;
        let flight = board.take(NOW).expect("it may start");
        finish(&mut board, flight, true, NOW);
    }
    board.add(many(1, 0..1), NOW);
    assert!(
        board.take(NOW).is_none(),
        "the store does not take the results"
    );
    let results = board.results();
    assert!(board.take(NOW).is_some());
    assert_eq!(board.busy(NOW).deliveries.len(), results.len() + 1);
    board.noted(results[..3].to_vec());
    assert_eq!(board.busy(NOW).deliveries.len(), 4);
}

#[test]
fn without_the_lease_nothing_is_tried_and_the_queue_is_left_to_another_gate() {
    let mut board = open();
    board.add(many(1, 0..4), NOW);
    board.open(Some(NOW));
    assert!(board.take(NOW).is_none(), "the time is over");
    board.open(None);
    board.open(Some(NOW.plus(Duration::from_secs(1))));
    assert!(board.take(NOW).is_none() && board.queued == 0);
}

#[test]
fn what_comes_to_nothing_for_our_fault_says_nothing_of_the_receiver() {
    let mut board = open();
    for number in 0..10 {
        board.add(vec![delivery(1, number)], NOW);
        let flight = board.take(NOW).expect("it may start");
        board.abandon(&flight);
    }
    assert!(board.busy(NOW).webhooks.is_empty() && board.results.is_empty());
    assert_eq!(board.under_way(), 0);
}

#[test]
fn a_receiver_that_refuses_some_events_is_probed_by_others_too() {
    let mut board = open();
    let refused = many(1, 0..30).into_iter();
    let attempt = Attempt {
        at: Timestamp::from_micros(0),
        duration_us: 1,
        status: Some(500),
        answer: String::new(),
    };
    let refused: Vec<_> = refused
        .map(|delivery| Delivery {
            last: Some(attempt.clone()),
            ..delivery
        })
        .collect();
    let mut now = NOW;
    for _ in 0..Board::FAILURES {
        board.add(refused.clone(), now);
        let flight = board.take(now).expect("it may start");
        finish(&mut board, flight, false, now);
    }
    let due = || {
        let mut due = refused.clone();
        due.push(delivery(1, 99));
        due
    };
    let mut probes = Vec::new();
    for _ in 0..4 {
        now = now.plus(Board::LAST_REST);
        board.add(due(), now);
        let probe = board.take(now).expect("it may be probed");
        probes.push(probe.delivery.number == 99);
        finish(&mut board, probe, false, now);
    }
    assert!(
        probes == [true, false, true, false] || probes == [false, true, false, true],
        "each kind has its turn: {probes:?}"
    );

    // Once it takes something, new events come between those that it refuses.
    board.add(vec![delivery(1, 99)], now.plus(Board::LAST_REST));
    let now = now.plus(Board::LAST_REST);
    let probe = board.take(now).expect("it may be probed");
    finish(&mut board, probe, true, now);
    let mut due = refused;
    due.extend(many(1, 100..104));
    board.add(due, now);
    let flights = take_all(&mut board, now);
    let new = flights
        .iter()
        .filter(|flight| flight.delivery.number >= 100);
    assert_eq!((flights.len(), new.count()), (2, 1));
}
