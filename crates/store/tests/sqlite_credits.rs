//! Credits and debits that stand in one file of the embedded store and not yet, or no more, in the
//! other.

use model::{InstanceId, LicenseId};
use rusqlite::Connection;
use store::{Adjustment, AuditEntries, QuotaStore, SqliteOptions, SqliteStore};
use store_conformance::fixtures::{balance_figures, hours, keep, lease, units};
use tempfile::TempDir;

fn open(place: &TempDir) -> SqliteStore {
    SqliteStore::open(SqliteOptions::new(place.path())).expect("opens")
}

/// Changes the license's side of credits and debits behind the store's back.
fn write(place: &TempDir, sets: &str) {
    let file = Connection::open(place.path().join("licenses.db")).expect("opens");
    let changed = file.execute(&format!("UPDATE licenses SET {sets}"), []);
    assert_eq!(changed.expect("written"), 1);
}

async fn adjust(store: &SqliteStore, id: LicenseId, by: Adjustment) -> u64 {
    let credits = store.credits().expect("it can");
    let adjusted = credits.adjust_balance(id, by, hours(0), AuditEntries::none());
    adjusted.await.expect("answers").expect("counted").units
}

#[tokio::test]
async fn a_change_that_a_death_left_with_the_license_alone_is_applied_with_the_next_lease() {
    let place = tempfile::tempdir().expect("a folder");
    let store = open(&place);
    let license = keep(&store, units(10, None)).await;
    let instance = InstanceId::generate();
    lease(&store, instance, license, 4, hours(0)).await;
    drop(store);
    write(&place, "credited = credited + 5, debited = debited + 3");
    let store = open(&place);
    // Reports show it before, too.
    assert_eq!(
        balance_figures(&store, license, hours(0)).await,
        [12, 0, 4, 0]
    );
    let next = lease(&store, instance, license, 100, hours(0)).await;
    assert_eq!((next.units, next.left, next.key.period), (8, 0, 0));
    // The debit that was left is not taken for that of the next.
    drop(store);
    write(&place, "credited = credited + 2, debited = debited + 1");
    let store = open(&place);
    assert_eq!(adjust(&store, license, Adjustment::Debit(9)).await, 1);
    assert_eq!(
        balance_figures(&store, license, hours(0)).await,
        [12, 0, 12, 0]
    );
}

#[tokio::test]
async fn a_credit_counts_although_an_older_copy_of_the_licenses_was_put_back() {
    let place = tempfile::tempdir().expect("a folder");
    let store = open(&place);
    let license = keep(&store, units(10, None)).await;
    assert_eq!(adjust(&store, license, Adjustment::Credit(7)).await, 7);
    assert_eq!(adjust(&store, license, Adjustment::Debit(2)).await, 2);
    drop(store);
    write(&place, "credited = 0, debited = 0");
    let store = open(&place);
    // The older copy by itself changes nothing.
    assert_eq!(
        balance_figures(&store, license, hours(0)).await,
        [15, 0, 0, 0]
    );
    assert_eq!(adjust(&store, license, Adjustment::Credit(1)).await, 1);
    assert_eq!(adjust(&store, license, Adjustment::Debit(4)).await, 4);
    assert_eq!(
        balance_figures(&store, license, hours(0)).await,
        [12, 0, 0, 0]
    );
}
