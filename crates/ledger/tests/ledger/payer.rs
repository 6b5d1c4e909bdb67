//! Uses that another license pays for: the roll-up, recovery and verification move its units.

use model::{
    AccountName, CallHead, CallRecord, CallTail, Counter, License, LicenseId, LicenseSpec,
    LicenseStatus, Limits, Timestamp,
};
use store::{
    AuditEntries, LeaseKey, LeaseRequest, LedgerStore, LicenseStore, NewLicense, QuotaStore, Store,
};

use crate::support::{Gate, Home, START, Shape, license, recover, tail};

const USER: u64 = 1;
const PAYER: u64 = 2;

/// Keeps a license of ten units, and leases five of them for the gate.
async fn keep(gate: &Gate, number: u64) {
    let new = License {
        id: license(number),
        account: AccountName::default(),
        app: "api".parse().unwrap(),
        status: LicenseStatus::Active,
        created_at: Timestamp::from_micros(START),
        spec: LicenseSpec {
            limits: Limits {
                remaining: Some(10),
                ..Limits::default()
            },
            ..LicenseSpec::default()
        },
    };
    let new = NewLicense {
        license: new,
        credentials: Vec::new(),
        devices: Vec::new(),
    };
    let kept = gate.store.create_licenses(vec![new], AuditEntries::none());
    kept.await.unwrap();
    let request = LeaseRequest {
        key: LeaseKey {
            license_id: license(number),
            counter: Counter::Remaining,
            period: 0,
        },
        want: 5,
        capacity: 0,
    };
    let now = Timestamp::from_micros(START);
    let granted = gate.store.lease(gate.instance, vec![request], now).await;
    assert_eq!(granted.unwrap()[0].units, 5);
}

/// Writes the record of a use of one license that another pays for, as a gate does: whole.
fn paid(gate: &Gate, units: u64) {
    let shape = Shape {
        lane: 0,
        units,
        limited: true,
        ..Shape::new(USER, 0)
    };
    let lane = gate.lane(0);
    let record = CallRecord {
        head: CallHead {
            epoch: 0,
            ..gate.head(shape)
        },
        tail: CallTail {
            payer: Some(license(PAYER).as_u128()),
            ..tail(shape)
        },
    };
    let space = lane.reserve(CallRecord::LENGTH as u32, 1).unwrap();
    lane.single(space, &record.encode());
}

/// Returns the spent and the leased units of a license.
async fn figures(store: &dyn Store, id: LicenseId) -> (u64, u64) {
    let now = Timestamp::from_micros(START);
    let balance = store.balance(id, now).await.unwrap().unwrap();
    (balance.spent, balance.leased)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_units_of_a_use_that_another_pays_for_move_on_the_lease_of_the_payer() {
    let home = Home::new();
    let gate = home.gate().await;
    gate.store
        .begin_instance(
            gate.instance,
            "here".to_owned(),
            Timestamp::from_micros(START),
        )
        .await
        .unwrap();
    keep(&gate, USER).await;
    keep(&gate, PAYER).await;
    paid(&gate, 2);
    gate.ledger.ship().await.unwrap();
    assert_eq!(figures(&*gate.store, license(PAYER)).await, (2, 3));
    assert_eq!(figures(&*gate.store, license(USER)).await, (0, 5));
    let report = gate.ledger.verify().await.unwrap();
    assert!(report.is_clean(), "{report:?}");

    // The record of a gate that dies before it is rolled up pays all the same, and once.
    paid(&gate, 1);
    gate.die().await;
    for _ in 0..2 {
        recover(&home).await;
    }
    let gate = home.gate().await;
    assert_eq!(figures(&*gate.store, license(PAYER)).await, (3, 0));
    assert_eq!(figures(&*gate.store, license(USER)).await, (0, 0));
    let report = gate.ledger.verify().await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.stored, report.lost, report.duplicated), (2, 0, 0));

    // Rollups that are made anew from the files leave the balances as they are.
    gate.ledger.rebuild().await.unwrap();
    assert_eq!(figures(&*gate.store, license(PAYER)).await, (3, 0));
    let report = gate.ledger.verify().await.unwrap();
    assert!(report.is_clean(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balance_of_a_payer_that_shows_less_than_its_records_is_found() {
    let home = Home::new();
    let gate = home.gate().await;
    keep(&gate, PAYER).await;
    paid(&gate, 2);
    gate.ledger.ship().await.unwrap();
    let ledger = rusqlite::Connection::open(home.path("store").join("ledger.db")).unwrap();
    let changed = ledger.execute("UPDATE leases SET spent = 1 WHERE counter = 0", []);
    assert_eq!(changed.unwrap(), 1);
    let report = gate.ledger.verify().await.unwrap();
    let payer = license(PAYER).to_string();
    let faults: Vec<_> = report
        .problems
        .iter()
        .map(|problem| problem.fault)
        .collect();
    assert_eq!(faults, [ledger::Fault::BalanceWrong], "{report:?}");
    assert!(report.problems[0].detail.contains(&payer), "{report:?}");
}
