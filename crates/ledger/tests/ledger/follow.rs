//! The following of records: a client sees each once, whatever closes late, is sealed, dies or
//! restarts meanwhile.

use std::time::Duration;

use ledger::{CallsQuery, Error, FollowCursor};
use model::{CallId, Timestamp};
use store::LedgerStore;

use crate::support::{Gate, Home, START, Shape, license, recover};

/// A follower that keeps only the text of its cursor.
#[derive(Default)]
struct Follower {
    query: CallsQuery,
    cursor: Option<String>,
    seen: Vec<CallId>,
}

impl Follower {
    async fn page(&mut self, gate: &Gate, limit: usize) -> Result<bool, Error> {
        let cursor = self
            .cursor
            .as_ref()
            .map(|text| text.parse::<FollowCursor>().unwrap());
        let query = self.query.clone();
        let page = gate.ledger.follow(query, cursor, limit).await?;
        assert!(page.calls.len() <= limit);
        self.seen.extend(page.calls.iter().map(|call| call.call_id));
        self.cursor = Some(page.next.to_string());
        Ok(page.more)
    }

    /// Reads all that there is now.
    async fn catch_up(&mut self, gate: &Gate, limit: usize) {
        while self.page(gate, limit).await.unwrap() {}
    }
}

fn assert_once(seen: &[CallId], expected: &[CallId]) {
    let sorted = |ids: &[CallId]| {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids
    };
    assert_eq!(sorted(seen), sorted(expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_ends_after_its_page_was_read_is_on_the_next() {
    let home = Home::new();
    let gate = home.gate().await;
    let mut follower = Follower::default();
    let stream = gate.begin(Shape::new(1, 0));
    let first = gate.call(Shape::new(1, 1));
    follower.catch_up(&gate, 10).await;
    assert_eq!(follower.seen, [first]);
    follower.catch_up(&gate, 10).await;
    assert_eq!(follower.seen, [first], "nothing new");
    let last = gate.call(Shape::new(1, 2));
    let stream = stream.end();
    follower.catch_up(&gate, 10).await;
    assert_eq!(follower.seen, [first, last, stream], "as they were closed");
}

/// A generator of numbers, the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % end
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_record_of_a_fleet_is_seen_once_through_streams_seals_deaths_and_restarts() {
    for seed in 0..6 {
        let home = Home::new();
        let mut random = Random(seed);
        let mut gates = vec![home.gate().await, home.gate().await];
        let (mut follower, mut closed) = (Follower::default(), Vec::new());
        let mut of_one = Follower {
            query: CallsQuery {
                license_id: Some(license(3)),
                ..CallsQuery::default()
            },
            ..Follower::default()
        };
        let (mut one, mut under_way) = (Vec::new(), Vec::new());
        for second in 0..250 {
            let which = random.below(2) as usize;
            let gate = &gates[which];
            let shape = Shape::new(random.below(5), second);
            match random.below(20) {
                0..=7 => {
                    let id = gate.call(shape);
                    closed.push(id);
                    one.extend((shape.license == 3).then_some(id));
                }
                8..=10 => under_way.push((which, shape.license, gate.begin(shape))),
                11..=13 if !under_way.is_empty() => {
                    let index = random.below(under_way.len() as u64) as usize;
                    let (_, license, call) = under_way.swap_remove(index);
                    let id = call.end();
                    closed.push(id);
                    one.extend((license == 3).then_some(id));
                }
                14 => gate.ledger.seal().await.unwrap(),
                15 => gate.ledger.ship().await.unwrap(),
                16 if random.below(4) == 0 => {
                    // The gate is killed: its open calls are closed by its recovery.
                    let dead = gates.remove(which);
                    let of_dead = under_way.extract_if(.., |(gate, ..)| *gate == which);
                    for (_, license, call) in of_dead {
                        closed.push(call.call_id);
                        one.extend((license == 3).then_some(call.call_id));
                    }
                    let left = gates.remove(0);
                    dead.die().await;
                    let new = home.gate().await;
                    gates = match which {
                        0 => vec![new, left],
                        _ => vec![left, new],
                    };
                }
                _ => {
                    let limit = 1 + random.below(9) as usize;
                    let _ = follower.page(gate, limit).await.unwrap();
                    let _ = of_one.page(gate, limit).await.unwrap();
                }
            }
        }
        for (which, license, call) in under_way {
            closed.push(call.call_id);
            one.extend((license == 3).then_some(call.call_id));
            if which == 1 {
                call.end();
            }
        }
        let last = gates.pop().unwrap();
        last.ledger.seal().await.unwrap();
        gates.pop().unwrap().die().await;
        last.die().await;
        let recovery = recover(&home).await;
        assert!(recovery.failed.is_empty(), "{:?}", recovery.failed);
        let gate = home.gate().await;
        follower.catch_up(&gate, 7).await;
        of_one.catch_up(&gate, 3).await;
        assert_once(&follower.seen, &closed);
        assert_once(&of_one.seen, &one);
        let cursor = follower.cursor.unwrap();
        assert!(
            cursor.len() < 120,
            "ended instances are forgotten: {cursor}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_records_of_an_earlier_start_are_followed_while_they_are_still_being_read() {
    let home = Home::new();
    let gate = home.gate().await;
    let mut expected: Vec<_> = (0..40)
        .map(|second| gate.call(Shape::new(second as u64, second)))
        .collect();
    let mut follower = Follower::default();
    assert!(follower.page(&gate, 5).await.unwrap());
    expected.push(gate.open(Shape::new(0, 50)));
    gate.die().await;
    let gate = home.gate_behind(home.options()).await;
    expected.push(gate.call(Shape::new(1, 60)));
    assert!(follower.page(&gate, 5).await.unwrap());
    follower.catch_up(&gate, 5).await;
    assert!(
        gate.ledger
            .caught_up(Duration::from_secs(60))
            .await
            .unwrap()
    );
    follower.catch_up(&gate, 5).await;
    assert_once(&follower.seen, &expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_lane_starves_no_other() {
    let home = Home::new();
    let gate = home.gate().await;
    let mut follower = Follower::default();
    follower.catch_up(&gate, 5).await;
    let quiet = gate.call(Shape::new(1, 0));
    for round in 0..4 {
        // There is more than a page, each time.
        for second in 0..6 {
            gate.call(Shape::new(0, round * 10 + second));
        }
        assert!(follower.page(&gate, 5).await.unwrap());
    }
    assert!(follower.seen.contains(&quiet));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_retention_removed_before_it_was_read_is_said_and_what_had_gone_before_is_not() {
    let home = Home::new();
    let mut options = home.options();
    options.retention = Some(Duration::from_secs(1));
    let gate = home.gate_with(options).await;
    for second in 0..4 {
        gate.call(Shape::new(0, second));
    }
    let mut early = Follower::default();
    assert!(early.page(&gate, 2).await.unwrap());
    gate.ledger.ship().await.unwrap();
    gate.ledger.seal().await.unwrap();
    assert_eq!(gate.ledger.remove_old().await.unwrap(), 1);
    let late = gate.call(Shape::new(0, 10));

    let error = early.page(&gate, 2).await.unwrap_err();
    let is_told = matches!(
        error,
        Error::RemovedAhead {
            from: 3,
            through: 4,
            ..
        }
    );
    assert!(is_told, "{error}");
    early.query.from = Some(Timestamp::from_micros(START + 10_000_000));
    early.catch_up(&gate, 2).await;
    assert_eq!(early.seen[2..], [late], "who does not want them goes on");

    let mut later = Follower::default();
    later.catch_up(&gate, 2).await;
    assert_eq!(later.seen, [late]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_a_store_that_was_restored_is_refused_and_one_that_it_knows_goes_on() {
    let home = Home::new();
    let gate = home.gate().await;
    let first = gate.call(Shape::new(0, 0));
    let mut before = Follower::default();
    before.catch_up(&gate, 5).await;
    gate.die().await;
    recover(&home).await;
    home.copy("store", "backup");
    let gate = home.gate().await;
    gate.call(Shape::new(0, 1));
    let mut after = Follower::default();
    after.catch_up(&gate, 5).await;
    gate.die().await;

    home.copy("backup", "store");
    let gate = home.gate().await;
    let again = gate.call(Shape::new(0, 2));
    let error = after.page(&gate, 5).await.unwrap_err();
    assert!(matches!(error, Error::CursorUnknown), "{error}");
    before.catch_up(&gate, 5).await;
    assert_eq!(before.seen, [first, again]);
    assert_eq!(gate.store.instances().await.unwrap().len(), 2);
}
