//! The properties of rollups and their positions, and of the spending that a batch moves on leases.

use model::usage::{UsageKey, UsageQuery, UsageSums};
use model::{AccountName, InstanceId, LicenseId, Limits, Method, Mode, Money, Outcome};

use crate::StoreFactory;
use crate::fixtures::{
    BIRTH, balance_figures, batch, hours, keep, lease, lease_window, spent_calls, spent_units,
    units, window_of,
};
use store::{Error, InstanceState, LanePosition, RollupBatch, RollupRow, Spent, Store};

fn key(license_id: Option<LicenseId>, hour: i64) -> UsageKey {
    UsageKey {
        account: AccountName::default(),
        app: "api".parse().expect("valid"),
        license_id,
        route: "/a".to_owned(),
        method: Method::Get,
        status: 200,
        outcome: Outcome::Delivered,
        mode: Mode::Proxy,
        test: false,
        plan: None,
        currency: None,
        start: hours(hour),
    }
}

fn calls(calls: u64) -> UsageSums {
    UsageSums {
        calls,
        ..UsageSums::default()
    }
}

async fn rows(store: &dyn Store) -> Vec<(UsageKey, UsageSums)> {
    let (rows, next) = store.rollups(None, 1_000).await.expect("answers");
    assert_eq!(next, None);
    let mut rows: Vec<_> = rows.into_iter().map(|row| (row.key, row.sums)).collect();
    // The order of rows is the store's own.
    rows.sort_by_key(|(key, _)| std::cmp::Reverse(key.license_id));
    rows
}

/// A batch may have gathered a key in two places.
pub async fn rows_of_one_key_in_a_batch_are_added<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let license = keep(&*store, units(10, None)).await;
    let row = |hour, count| (key(Some(license), hour), calls(count));
    let batch = RollupBatch {
        rows: vec![row(0, 1), row(1, 2), row(0, 4)],
        ..batch(InstanceId::generate(), 0, Vec::new())
    };
    store.roll_up(batch).await.expect("rolled");
    let mut found = rows(&*store).await;
    found.sort_by_key(|(key, _)| key.start);
    assert_eq!(found, [row(0, 5), row(1, 2)]);
}

/// Positions, manifest and rollups fit together while others move them: the calls of a stock-taking
/// are those up to its positions.
pub async fn stock_is_taken_at_one_moment_while_others_roll_up<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let license = keep(&*store, units(10, None)).await;
    let instance = InstanceId::generate();
    let began = store.begin_instance(instance, "north".to_owned(), BIRTH);
    began.await.expect("begun");
    let writer = std::sync::Arc::clone(&store);
    let rolling = tokio::spawn(async move {
        for from in 0..200 {
            let batch = RollupBatch {
                rows: vec![
                    (key(Some(license), from as i64 % 7), calls(1)),
                    (key(None, from as i64 % 5), calls(1)),
                ],
                ..batch(instance, from, Vec::new())
            };
            writer.roll_up(batch).await.expect("rolled");
        }
    });
    loop {
        let is_last = rolling.is_finished();
        let stock = store.take_stock().await.expect("answers");
        let [(state, positions)] = &stock.instances[..] else {
            panic!("{stock:?}");
        };
        assert_eq!(state.id, instance);
        let rolled: u64 = positions.iter().map(|position| position.rolled).sum();
        let counted: u64 = stock.rollups.values().map(|sums| sums.calls).sum();
        assert_eq!(counted, 2 * rolled);
        if is_last {
            assert_eq!((rolled, stock.rollups.len()), (200, 12));
            break;
        }
    }
    rolling.await.expect("no panic");
}

/// At another position nothing is done: no row, no lease, no position.
pub async fn a_batch_is_rolled_up_at_its_position_only<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let instance = InstanceId::generate();
    let license = keep(&*store, units(10, None)).await;
    lease(&*store, instance, license, 10, hours(0)).await;
    let batch = |lane, from, through| RollupBatch {
        lane,
        through,
        rows: vec![(key(Some(license), 0), calls(1)), (key(None, 0), calls(2))],
        ..batch(instance, from, vec![spent_units(license, 0, 1)])
    };
    store.roll_up(batch(0, 0, 10)).await.expect("rolled");
    drop(store);
    let store = place.open().await;
    for (from, through) in [(0, 10), (9, 12), (11, 12), (10, 9)] {
        let refused = store.roll_up(batch(0, from, through)).await;
        assert_eq!(
            refused,
            Err(Error::Position {
                expected: from,
                found: 10
            })
        );
    }
    store.roll_up(batch(0, 10, 10)).await.expect("rolled");
    store.roll_up(batch(3, 0, 7)).await.expect("another lane");
    let expected = [
        LanePosition {
            lane: 0,
            rolled: 10,
            sealed: 0,
        },
        LanePosition {
            lane: 3,
            rolled: 7,
            sealed: 0,
        },
    ];
    assert_eq!(store.positions(instance).await.expect("answers"), expected);
    assert_eq!(
        store.positions(InstanceId::generate()).await,
        Ok(Vec::new())
    );
    let expected = [(key(Some(license), 0), calls(3)), (key(None, 0), calls(6))];
    assert_eq!(rows(&*store).await, expected);
    assert_eq!(
        balance_figures(&*store, license, hours(0)).await,
        [10, 3, 7, 0]
    );
}

/// Units that no lease holds count against the balance itself, as in a store that was restored from
/// a backup.
pub async fn what_was_spent_moves_on_the_leases_and_never_above_them<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let license = keep(&*store, units(10, None)).await;
    let (a, b) = (InstanceId::generate(), InstanceId::generate());
    lease(&*store, a, license, 4, hours(0)).await;
    lease(&*store, b, license, 3, hours(0)).await;
    let spent = Spent {
        license_id: license,
        units: vec![(0, 2)],
        calls: vec![(1, 99)],
    };
    store
        .roll_up(batch(a, 0, vec![spent]))
        .await
        .expect("rolled");
    assert_eq!(
        balance_figures(&*store, license, hours(0)).await,
        [10, 2, 5, 0]
    );
    store
        .roll_up(batch(a, 1, vec![spent_units(license, 0, 3)]))
        .await
        .expect("rolled");
    assert_eq!(
        balance_figures(&*store, license, hours(0)).await,
        [10, 5, 3, 0]
    );
    let unknown = spent_units(LicenseId::generate(), 0, 5);
    store
        .roll_up(batch(a, 2, vec![unknown]))
        .await
        .expect("rolled");
    store.settle_instance(a).await.expect("settled");
    assert_eq!(
        balance_figures(&*store, license, hours(0)).await,
        [10, 5, 3, 0]
    );

    // Units of an instance that the store knows no lease of; of a balance that nobody leased from
    // yet; of a later epoch.
    let stranger = InstanceId::generate();
    let fresh = keep(&*store, units(10, None)).await;
    let spent = vec![spent_units(license, 0, 1), spent_units(fresh, 0, 4)];
    store
        .roll_up(batch(stranger, 0, spent))
        .await
        .expect("rolled");
    assert_eq!(
        balance_figures(&*store, license, hours(0)).await,
        [10, 6, 3, 0]
    );
    assert_eq!(
        balance_figures(&*store, fresh, hours(0)).await,
        [10, 4, 0, 0]
    );
    let later = vec![spent_units(fresh, 3, 7)];
    store
        .roll_up(batch(stranger, 1, later))
        .await
        .expect("rolled");
    assert_eq!(
        balance_figures(&*store, fresh, hours(0)).await,
        [10, 7, 0, 3]
    );
    let over = vec![spent_units(fresh, 2, 5), spent_units(fresh, 3, u64::MAX)];
    store
        .roll_up(batch(stranger, 2, over))
        .await
        .expect("rolled");
    assert_eq!(lease(&*store, stranger, fresh, 1, hours(0)).await.units, 0);
    let stock = store.take_stock().await.expect("answers");
    let spent = |of| stock.balances.iter().find(|(id, ..)| *id == of).copied();
    assert_eq!(spent(license), Some((license, 0, 6)));
    assert_eq!(spent(fresh), Some((fresh, 3, i64::MAX as u64)));
}

/// One call counts in every window that it began in.
pub async fn calls_by_minute_move_on_the_windows_they_lie_in<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let license = keep(&*store, Limits::default()).await;
    let dead = InstanceId::generate();
    let keys = [
        window_of(license, 3_600, hours(0)),
        window_of(license, 3_600, hours(1)),
        window_of(license, 86_400, hours(0)),
    ];
    for key in keys {
        lease_window(&*store, dead, key, [50, 50], hours(0)).await;
    }
    let calls = [
        spent_calls(license, hours(1).plus_micros(-1), 5),
        spent_calls(license, hours(1), 7),
        spent_calls(license, hours(2), 9),
    ];
    store
        .roll_up(batch(dead, 0, calls.to_vec()))
        .await
        .expect("rolled");
    store.settle_instance(dead).await.expect("settled");
    let mut free = Vec::new();
    for key in keys {
        let gate = InstanceId::generate();
        free.push(
            lease_window(&*store, gate, key, [1, 50], hours(1))
                .await
                .left
                + 1,
        );
    }
    assert_eq!(free, [50 - 5, 50 - 7, 50 - 5 - 7 - 9]);
}

/// Pages end exactly; replacing leaves positions as they are.
pub async fn rollups_come_by_pages_and_can_be_replaced<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let instance = InstanceId::generate();
    let license = LicenseId::generate();
    let mut given = Vec::new();
    for hour in 0..10 {
        let mut key = key((hour % 2 == 0).then_some(license), hour);
        key.plan = (hour % 3 == 0).then(|| {
            (
                "pro".parse().expect("valid"),
                model::PlanRevisionId::from_u128(hour as u128),
            )
        });
        key.currency = (hour % 3 == 0).then(|| "EUR".parse().expect("valid"));
        given.push((key, calls(hour as u64 + 1)));
    }
    let rolled = RollupBatch {
        rows: given.clone(),
        ..batch(instance, 0, Vec::new())
    };
    store.roll_up(rolled).await.expect("rolled");
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = store.rollups(after, 5).await.expect("answers");
        assert_eq!(page.len(), 5);
        seen.extend(page.into_iter().map(|row| (row.key, row.sums)));
        if next.is_none() {
            break;
        }
        after = next;
    }
    seen.sort_by_key(|(key, _)| key.start);
    assert_eq!(seen, given);
    let row = RollupRow {
        key: key(Some(license), 3),
        sums: calls(42),
    };
    store
        .replace_rollups(vec![row.clone()])
        .await
        .expect("replaced");
    drop(store);
    let store = place.open().await;
    assert_eq!(rows(&*store).await, [(row.key, row.sums)]);
    assert_eq!(
        store.positions(instance).await.expect("answers")[0].rolled,
        1
    );
}

/// A sum that leaves its range is wrong, but one such call must not stop the ledger.
pub async fn sums_beyond_the_range_of_a_column_stay_at_its_end<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let instance = InstanceId::generate();
    let huge = UsageSums {
        calls: 1,
        billable_calls: 1,
        units: u64::MAX,
        amount: Money::MAX,
        request_bytes: 1,
        response_bytes: 1,
    };
    for from in 0..3 {
        let keys = [key(None, 0), key(None, 1)];
        let rows = keys.map(|key| (key, huge)).to_vec();
        let batch = RollupBatch {
            rows,
            ..batch(instance, from, Vec::new())
        };
        store.roll_up(batch).await.expect("rolled");
    }
    let usage = store.usage(UsageQuery::default()).await.expect("answers");
    assert_eq!(usage.len(), 1);
    let sums = usage[0].sums;
    assert_eq!((sums.calls, sums.request_bytes), (6, 6));
    assert!(sums.units >= i64::MAX as u64);
    assert_eq!(sums.amount, Money::MAX);
}

/// The first values stand.
pub async fn an_instance_is_begun_and_finished_once<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let (a, b) = (InstanceId::generate(), InstanceId::generate());
    store
        .begin_instance(b, "north".to_owned(), hours(1))
        .await
        .expect("begun");
    store
        .begin_instance(a, "south".to_owned(), BIRTH)
        .await
        .expect("begun");
    store
        .begin_instance(a, "other".to_owned(), hours(9))
        .await
        .expect("begun again");
    store.finish_instance(a, hours(2)).await.expect("finished");
    store
        .finish_instance(a, hours(3))
        .await
        .expect("finished again");
    let expected = [
        InstanceState {
            id: a,
            number: 2,
            node: "south".to_owned(),
            started_at: BIRTH,
            finished_at: Some(hours(2)),
        },
        InstanceState {
            id: b,
            number: 1,
            node: "north".to_owned(),
            started_at: hours(1),
            finished_at: None,
        },
    ];
    assert_eq!(store.instances().await.expect("answers"), expected);
}

/// A reader that has seen one instance need not look for others with smaller numbers, however many
/// register at once.
pub async fn instances_are_numbered_as_they_register<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let mut gates = tokio::task::JoinSet::new();
    for gate in 0..4 {
        let store = place.open().await;
        gates.spawn(async move {
            for start in 0..5 {
                let (id, node) = (InstanceId::generate(), format!("gate-{gate}"));
                let begun = store.begin_instance(id, node, hours(40 - start));
                begun.await.expect("begun");
            }
        });
    }
    let watch = async {
        let mut seen: Vec<InstanceState> = Vec::new();
        while seen.len() < 20 {
            let after = seen.last().map_or(0, |state| state.number);
            let states = store.instances_after(after, 3).await.expect("answers");
            assert!(states.len() <= 3);
            seen.extend(states);
        }
        seen
    };
    let (_, seen) = tokio::join!(gates.join_all(), watch);
    let mut listed = store.instances().await.expect("answers");
    listed.sort_unstable_by_key(|state| state.number);
    assert_eq!(seen, listed);
    let numbers = vec![seen[7].number, 1_000_000, seen[2].number];
    let named = store.instances_numbered(numbers).await.expect("answers");
    assert_eq!(named, [seen[2].clone(), seen[7].clone()]);
}
