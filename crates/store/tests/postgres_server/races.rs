//! Many gates on one balance, each with connections of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use model::InstanceId;
use store::{LeaseRequest, LeaseRound, LedgerStore, PostgresStore, QuotaStore};
use store_conformance::fixtures::{
    balance_figures, balance_of, batch, hours, keep, lease, spent_units, units,
};
use testkit::Postgres;
use tokio::task::JoinSet;

use crate::support::{connect, in_time, open};

const GATES: usize = 4;

async fn gates(url: &str) -> Vec<Arc<PostgresStore>> {
    let mut gates = Vec::new();
    for _ in 0..GATES {
        gates.push(Arc::new(open(url).await));
    }
    gates
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gates_with_pools_of_their_own_never_lease_more_than_there_is() {
    let server = Postgres::shared();
    let url = server.schema();
    let gates = gates(&url).await;
    let license = keep(&*gates[0], units(1_000, None)).await;
    let mut racing = JoinSet::new();
    for number in 0..32 {
        let gate = Arc::clone(&gates[number % GATES]);
        racing.spawn(async move {
            let (instance, mut held) = (InstanceId::generate(), 0);
            for want in 1..=12 {
                held += lease(&*gate, instance, license, want, hours(0)).await.units;
                let key = balance_of(license);
                if want % 5 == 0 && held > 3 {
                    gate.give_back(instance, vec![(key, 3)])
                        .await
                        .expect("answers");
                    held -= 3;
                }
            }
            held
        });
    }
    let held: u64 = in_time(racing.join_all()).await.iter().sum();
    let rest = lease(
        &*gates[0],
        InstanceId::generate(),
        license,
        10_000,
        hours(0),
    )
    .await;
    assert_eq!(held + rest.units, 1_000, "all of it, and nothing twice");
    assert_eq!(
        balance_figures(&*gates[1], license, hours(0)).await,
        [1_000, 0, 1_000, 0]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_amid_leases_grant_nothing_twice_and_nothing_unheard() {
    let server = Postgres::shared();
    let url = server.schema();
    let gates = gates(&url).await;
    let license = keep(&*gates[0], units(200, None)).await;
    let over = Arc::new(AtomicBool::new(false));
    let raw = connect(&url).await;
    let answered = Arc::new(AtomicUsize::new(0));
    let (stop, answers) = (Arc::clone(&over), Arc::clone(&answered));
    let cutting = tokio::spawn(async move {
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE application_name = 'tallygate' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1";
        while !stop.load(Ordering::Relaxed) {
            let before = answers.load(Ordering::Relaxed);
            raw.query(cut, &[]).await.expect("cut");
            tokio::time::sleep(Duration::from_millis(20)).await;
            // On a busy machine connections would be cut faster than they do anything.
            while answers.load(Ordering::Relaxed) == before && !stop.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    });
    let mut racing = JoinSet::new();
    for number in 0..16 {
        let gate = Arc::clone(&gates[number % GATES]);
        let answered = Arc::clone(&answered);
        racing.spawn(async move {
            let (instance, mut heard) = (InstanceId::generate(), 0);
            for number in 1..=10 {
                let request = LeaseRequest {
                    key: balance_of(license),
                    want: 2,
                    capacity: 0,
                };
                let round = LeaseRound {
                    number,
                    returns: Vec::new(),
                    requests: vec![request],
                };
                loop {
                    match gate.lease_round(instance, round.clone(), hours(0)).await {
                        Ok(grants) => break heard += grants[0].units,
                        Err(error) => assert!(error.is_unavailable(), "{error}"),
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                answered.fetch_add(1, Ordering::Relaxed);
            }
            heard
        });
    }
    let heard: u64 = in_time(racing.join_all()).await.iter().sum();
    over.store(true, Ordering::Relaxed);
    cutting.await.expect("no panic");
    let store = open(&url).await;
    let [granted, spent, leased, _] = balance_figures(&store, license, hours(0)).await;
    assert_eq!((granted, spent), (200, 0));
    assert_eq!((heard, leased), (200, 200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gates_that_use_the_same_licenses_in_any_order_do_not_fail_each_other() {
    let server = Postgres::shared();
    let url = server.schema();
    let gates = gates(&url).await;
    let mut licenses = Vec::new();
    for _ in 0..30 {
        licenses.push(keep(&*gates[0], units(1_000_000, None)).await);
    }
    let mut racing = JoinSet::new();
    for (number, gate) in gates.iter().enumerate() {
        let (gate, mut licenses) = (Arc::clone(gate), licenses.clone());
        racing.spawn(async move {
            let instance = InstanceId::generate();
            licenses.rotate_left(number * 7);
            for round in 0..20_u64 {
                licenses.reverse();
                let request = |license: &_| LeaseRequest {
                    key: balance_of(*license),
                    want: 3,
                    capacity: 0,
                };
                let wishes = licenses.iter().map(request).collect();
                let leasing = gate.lease(instance, wishes, hours(0));
                let spent = licenses
                    .iter()
                    .map(|license| spent_units(*license, 0, 1))
                    .collect();
                let rolling = gate.roll_up(batch(instance, round, spent));
                let (leased, rolled) = tokio::join!(leasing, rolling);
                leased.expect("leased");
                rolled.expect("rolled");
            }
            gate.settle_instance(instance).await.expect("settled");
        });
    }
    in_time(racing.join_all()).await;
    for license in licenses {
        let [_, _, leased, _] = balance_figures(&*gates[0], license, hours(0)).await;
        assert_eq!(leased, 0);
    }
}
