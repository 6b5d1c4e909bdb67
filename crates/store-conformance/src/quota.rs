//! The properties of balances, leases, refills and windows, one at a time.

use std::sync::Arc;

use model::{InstanceId, LicenseId, Limits};
use tokio::task::JoinSet;

use crate::StoreFactory;
use crate::fixtures::{
    balance_figures, balance_of, batch, hours, keep, lease, lease_window, spent_calls, spent_units,
    units, window_of,
};
use store::{AuditEntries, LeaseKey, LeaseRequest, LeaseRound, LicenseChange};

/// Each lease takes from what the ones before it left, also when the store was opened again.
pub async fn a_balance_is_leased_until_nothing_is_left<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let license = keep(&*store, units(10, None)).await;
    let instance = InstanceId::generate();
    let first = lease(&*store, instance, license, 4, hours(0)).await;
    assert_eq!(
        (first.units, first.left, first.next_refill_at),
        (4, 6, None)
    );
    drop(store);
    let store = place.open().await;
    let second = lease(&*store, instance, license, 9, hours(0)).await;
    assert_eq!((second.units, second.left), (6, 0));
    let third = lease(&*store, InstanceId::generate(), license, 1, hours(99)).await;
    assert_eq!((third.units, third.left), (0, 0));
    assert_eq!(
        balance_figures(&*store, license, hours(99)).await,
        [10, 0, 10, 0]
    );
}

/// Requests of one call are answered in order, each by itself.
pub async fn what_is_not_counted_or_not_known_is_leased_nothing<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let uncounted = Limits {
        refill: Some("5/1h".parse().expect("valid")),
        ..Limits::default()
    };
    let uncounted = keep(&*store, uncounted).await;
    let counted = keep(&*store, units(3, None)).await;
    let unknown = LicenseId::generate();
    let now = hours(2);
    let keys = [
        balance_of(uncounted),
        balance_of(counted),
        balance_of(unknown),
        window_of(unknown, 3_600, now),
    ];
    let request = |key| LeaseRequest {
        key,
        want: 2,
        capacity: 5,
    };
    let requests = keys.map(request).to_vec();
    let grants = store
        .lease(InstanceId::generate(), requests, now)
        .await
        .expect("answers");
    let granted: Vec<_> = grants.iter().map(|grant| grant.units).collect();
    assert_eq!(granted, [0, 2, 0, 0]);
    assert!(grants.iter().zip(keys).all(|(grant, key)| grant.key == key));
    assert_eq!(store.balance(uncounted, now).await, Ok(None));
    assert_eq!(store.balance(unknown, now).await, Ok(None));
}

/// Rounds follow each other, so that an instance holds only units that it heard of.
pub async fn a_round_of_leases_is_done_once_however_often_it_is_asked<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let license = keep(&*store, units(10, Some("5/1h"))).await;
    let instance = InstanceId::generate();
    let window = window_of(license, 3_600, hours(0));
    let round = |number, returns| LeaseRound {
        number,
        returns,
        requests: vec![request(balance_of(license), 4), request(window, 3)],
    };
    let now = hours(0);
    let first = store.lease_round(instance, round(1, Vec::new()), now).await;
    let first = first.expect("answers");
    let granted: Vec<_> = first
        .iter()
        .map(|grant| (grant.units, grant.left))
        .collect();
    assert_eq!(granted, [(4, 6), (3, 7)]);
    // The answer is the same when others leased meanwhile, and after a restart.
    lease(&*store, InstanceId::generate(), license, 2, now).await;
    drop(store);
    let store = place.open().await;
    let again = store.lease_round(instance, round(1, Vec::new()), now).await;
    assert_eq!(again.as_ref(), Ok(&first));
    assert_eq!(balance_figures(&*store, license, now).await, [10, 0, 6, 0]);
    let returns = vec![(first[0].key, 3), (window, 1)];
    for _ in 0..2 {
        let second = store.lease_round(instance, round(2, returns.clone()), now);
        let second = second.await.expect("answers");
        let granted: Vec<_> = second
            .iter()
            .map(|grant| (grant.units, grant.left))
            .collect();
        assert_eq!(granted, [(4, 3), (3, 5)]);
        assert_eq!(balance_figures(&*store, license, now).await, [10, 0, 7, 0]);
    }
    store.settle_instance(instance).await.expect("settled");
    assert_eq!(balance_figures(&*store, license, now).await, [10, 0, 2, 0]);
}

/// A round is sent twice at once, as when an answer does not come and the request is repeated.
pub async fn a_round_that_is_asked_in_parallel_with_itself_is_done_once<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let license = keep(&*store, units(1_000, None)).await;
    let instance = InstanceId::generate();
    for number in 1..=20 {
        let asked = (0..4).map(|_| {
            let store = Arc::clone(&store);
            let round = LeaseRound {
                number,
                returns: Vec::new(),
                requests: vec![request(balance_of(license), 5)],
            };
            tokio::spawn(async move { store.lease_round(instance, round, hours(0)).await })
        });
        for asked in asked.collect::<Vec<_>>() {
            let grants = asked.await.expect("no panic").expect("answers");
            assert_eq!((grants[0].units, grants[0].left), (5, 1_000 - number * 5));
        }
    }
    assert_eq!(
        balance_figures(&*store, license, hours(0)).await,
        [1_000, 0, 100, 0]
    );
}

const fn request(key: LeaseKey, want: u64) -> LeaseRequest {
    LeaseRequest {
        key,
        want,
        capacity: 10,
    }
}

/// No lease shrinks below what is spent of it.
pub async fn units_that_were_given_back_are_free_again_unless_they_were_spent<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let license = keep(&*store, units(10, None)).await;
    let instance = InstanceId::generate();
    let key = lease(&*store, instance, license, 8, hours(0)).await.key;
    store
        .roll_up(batch(instance, 0, vec![spent_units(license, 0, 5)]))
        .await
        .expect("rolled");
    assert_eq!(
        balance_figures(&*store, license, hours(0)).await,
        [10, 5, 3, 0]
    );
    store
        .give_back(instance, vec![(key, 2)])
        .await
        .expect("answers");
    assert_eq!(
        balance_figures(&*store, license, hours(0)).await,
        [10, 5, 1, 0]
    );
    store
        .give_back(instance, vec![(key, u64::MAX)])
        .await
        .expect("answers");
    assert_eq!(
        balance_figures(&*store, license, hours(0)).await,
        [10, 5, 0, 0]
    );
    let stranger = InstanceId::generate();
    store
        .give_back(stranger, vec![(key, 3)])
        .await
        .expect("answers");
    let rest = lease(&*store, stranger, license, 99, hours(0)).await;
    assert_eq!((rest.units, rest.left), (5, 0));
}

/// One refill is claimed, however many ask at once, and however many intervals passed.
pub async fn a_refill_is_claimed_once_by_many_gates<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let license = keep(&*store, units(0, Some("5/1h,add"))).await;
    let early = lease(
        &*store,
        InstanceId::generate(),
        license,
        1,
        hours(1).plus_micros(-1),
    )
    .await;
    assert_eq!((early.units, early.next_refill_at), (0, Some(hours(1))));
    for (now, next) in [(hours(1), hours(2)), (hours(5).plus_micros(1), hours(6))] {
        let mut gates = JoinSet::new();
        for _ in 0..16 {
            let store = Arc::clone(&store);
            gates.spawn(
                async move { lease(&*store, InstanceId::generate(), license, 2, now).await },
            );
        }
        let grants = gates.join_all().await;
        let granted: u64 = grants.iter().map(|grant| grant.units).sum();
        assert_eq!(granted, 5);
        assert!(
            grants
                .iter()
                .all(|grant| grant.next_refill_at == Some(next))
        );
    }
}

/// Spending that is reported for an epoch that is over changes nothing.
pub async fn a_refill_that_sets_begins_an_epoch_and_voids_older_leases<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let license = keep(&*store, units(50, Some("5/1h"))).await;
    let (old, new) = (InstanceId::generate(), InstanceId::generate());
    let before = lease(&*store, old, license, 6, hours(0)).await;
    assert_eq!(
        balance_figures(&*store, license, hours(3)).await,
        [5, 0, 0, 1],
        "as the next lease will find it"
    );
    let after = lease(&*store, new, license, 2, hours(3)).await;
    assert_eq!(
        (after.units, after.left, after.key.period),
        (2, 3, before.key.period + 1)
    );
    let late = vec![spent_units(license, before.key.period, 6)];
    store.roll_up(batch(old, 0, late)).await.expect("rolled");
    store
        .give_back(old, vec![(before.key, 6)])
        .await
        .expect("answers");
    store.settle_instance(old).await.expect("settled");
    assert_eq!(
        balance_figures(&*store, license, hours(3)).await,
        [5, 0, 2, 1]
    );
}

/// By hand, the units left are those that were set; limits alone leave them as they are.
pub async fn what_is_left_can_be_set_by_hand_and_limits_changed_without_it<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let license = keep(&*store, units(10, None)).await;
    let gate = InstanceId::generate();
    lease(&*store, gate, license, 4, hours(0)).await;
    let limits = |remaining, balance| LicenseChange::Limits {
        limits: units(remaining, None),
        balance,
    };
    store
        .change_license(license, limits(99, false), AuditEntries::none())
        .await
        .expect("changed");
    assert_eq!(lease(&*store, gate, license, 1, hours(0)).await.left, 5);
    store
        .change_license(license, limits(3, true), AuditEntries::none())
        .await
        .expect("changed");
    assert_eq!(
        balance_figures(&*store, license, hours(0)).await,
        [3, 0, 0, 1]
    );
    drop(store);
    let store = place.open().await;
    let grant = lease(&*store, gate, license, 9, hours(0)).await;
    assert_eq!((grant.units, grant.left, grant.key.period), (3, 0, 1));
    // Units that were not counted before leave nothing that could be kept.
    let uncounted = LicenseChange::Limits {
        limits: Limits::default(),
        balance: false,
    };
    store
        .change_license(license, uncounted, AuditEntries::none())
        .await
        .expect("changed");
    assert_eq!(lease(&*store, gate, license, 9, hours(0)).await.units, 0);
    store
        .change_license(license, limits(7, false), AuditEntries::none())
        .await
        .expect("changed");
    assert_eq!(lease(&*store, gate, license, 9, hours(0)).await.units, 7);
}

/// The units that it did not spend are free again; settling twice changes nothing more.
pub async fn a_settled_instance_has_spent_what_it_spent_and_settling_again_does_nothing<
    F: StoreFactory,
>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let license = keep(&*store, units(10, None)).await;
    let (dead, alive) = (InstanceId::generate(), InstanceId::generate());
    lease(&*store, dead, license, 8, hours(0)).await;
    lease(&*store, alive, license, 1, hours(0)).await;
    let window = window_of(license, 3_600, hours(0));
    lease_window(&*store, dead, window, [8, 10], hours(0)).await;
    let spent = vec![
        spent_units(license, 0, 3),
        spent_calls(license, hours(0), 2),
    ];
    store.roll_up(batch(dead, 0, spent)).await.expect("rolled");
    for _ in 0..2 {
        store.settle_instance(dead).await.expect("settled");
        assert_eq!(
            balance_figures(&*store, license, hours(0)).await,
            [10, 3, 1, 0]
        );
    }
    store
        .roll_up(batch(dead, 1, vec![spent_units(license, 0, 1)]))
        .await
        .expect("rolled");
    assert_eq!(
        balance_figures(&*store, license, hours(0)).await,
        [10, 4, 1, 0],
        "its lease is gone, the call was made"
    );
    assert_eq!(lease(&*store, alive, license, 9, hours(0)).await.units, 5);
    assert_eq!(
        lease_window(&*store, alive, window, [99, 10], hours(0))
            .await
            .units,
        8
    );
}

/// An instance that is refused for the lack of units learns whether some may come back: not those
/// that are spent, nor its own.
pub async fn what_others_hold_and_did_not_spend_is_told_where_nothing_is_left<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let license = keep(&*store, units(10, None)).await;
    let [a, b, c] = [(); 3].map(|()| InstanceId::generate());
    let elsewhere = async |instance| {
        lease(&*store, instance, license, 9, hours(0))
            .await
            .elsewhere
    };
    let first = lease(&*store, a, license, 4, hours(0)).await;
    assert_eq!(first.elsewhere, 0, "something is left");
    let rest = lease(&*store, b, license, 9, hours(0)).await;
    assert_eq!((rest.units, rest.left, rest.elsewhere), (6, 0, 4));
    assert_eq!([elsewhere(a).await, elsewhere(c).await], [6, 10]);
    let spent = vec![spent_units(license, 0, 3)];
    store.roll_up(batch(a, 0, spent)).await.expect("rolled");
    assert_eq!([elsewhere(a).await, elsewhere(b).await], [6, 1]);
    // A round says so too, and again when it is asked again.
    let round = LeaseRound {
        number: 1,
        returns: Vec::new(),
        requests: vec![
            request(window_of(license, 3_600, hours(0)), 99),
            request(balance_of(license), 1),
        ],
    };
    for _ in 0..2 {
        let grants = store.lease_round(c, round.clone(), hours(0)).await;
        let results: Vec<_> = grants
            .expect("answers")
            .iter()
            .map(|g| g.elsewhere)
            .collect();
        assert_eq!(results, [0, 7]);
    }
    store.settle_instance(a).await.expect("settled");
    store.settle_instance(b).await.expect("settled");
    assert_eq!(lease(&*store, c, license, 9, hours(0)).await.units, 7);
    assert_eq!(elsewhere(c).await, 0, "its own");
    assert_eq!(elsewhere(a).await, 7);
}

/// A process that was taken for dead and is not spends nothing that nobody would account for.
pub async fn a_finished_instance_is_leased_nothing<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let license = keep(&*store, units(10, None)).await;
    let zombie = InstanceId::generate();
    store
        .begin_instance(zombie, "a".to_owned(), hours(0))
        .await
        .expect("begun");
    assert_eq!(lease(&*store, zombie, license, 1, hours(0)).await.units, 1);
    store.settle_instance(zombie).await.expect("settled");
    store
        .finish_instance(zombie, hours(1))
        .await
        .expect("finished");
    assert_eq!(lease(&*store, zombie, license, 1, hours(1)).await.units, 0);
    assert_eq!(
        balance_figures(&*store, license, hours(1)).await,
        [10, 0, 0, 0]
    );
}

/// The window before stays for gates whose clocks are behind; older ones are over.
pub async fn a_window_holds_its_capacity_across_instances_and_begins_anew<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let license = keep(&*store, Limits::default()).await;
    let (a, b) = (InstanceId::generate(), InstanceId::generate());
    let first = window_of(license, 3_600, hours(0));
    let day = window_of(license, 86_400, hours(0));
    let grant = lease_window(&*store, a, first, [7, 10], hours(0)).await;
    assert_eq!(
        (grant.units, grant.left, grant.next_refill_at),
        (7, 3, None)
    );
    assert_eq!(
        lease_window(&*store, b, first, [7, 10], hours(0))
            .await
            .units,
        3
    );
    assert_eq!(
        lease_window(&*store, b, day, [7, 10], hours(0)).await.units,
        7
    );
    store.give_back(b, vec![(first, 2)]).await.expect("answers");
    let next = window_of(license, 3_600, hours(1));
    assert_eq!(
        lease_window(&*store, a, next, [7, 10], hours(1))
            .await
            .units,
        7
    );
    assert_eq!(
        lease_window(&*store, a, first, [7, 10], hours(1))
            .await
            .units,
        2,
        "a clock that is behind"
    );
    let over = |key: LeaseKey| LeaseKey {
        period: key.period - 1,
        ..key
    };
    assert_eq!(
        lease_window(&*store, a, over(first), [7, 10], hours(1))
            .await
            .units,
        0
    );
    assert_eq!(
        lease_window(&*store, a, day, [7, 10], hours(1)).await.units,
        3
    );
    assert_eq!(
        lease_window(&*store, a, day, [7, 4], hours(1)).await.left,
        0,
        "a capacity that shrank"
    );
    let asked = lease_window(&*store, a, day, [0, 12], hours(1)).await;
    assert_eq!((asked.units, asked.left), (0, 2), "asking takes nothing");
    let again = lease_window(&*store, b, day, [12, 12], hours(1)).await;
    assert_eq!(again.units, 2);
}

/// The tenth unit is the last, whoever asks.
pub async fn sixty_four_gates_never_lease_more_than_there_is<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let license = keep(&*store, units(100, None)).await;
    let mut gates = JoinSet::new();
    for _ in 0..64 {
        let store = Arc::clone(&store);
        gates.spawn(async move {
            let gate = InstanceId::generate();
            let mut units = 0;
            for _ in 0..4 {
                units += lease(&*store, gate, license, 3, hours(0)).await.units;
            }
            units
        });
    }
    assert_eq!(gates.join_all().await.iter().sum::<u64>(), 100);
    assert_eq!(
        balance_figures(&*store, license, hours(0)).await,
        [100, 0, 100, 0]
    );
}
