//! The properties of credits and debits, and of the wallets of accounts.

use std::sync::Arc;

use model::{
    AccountName, AppName, InstanceId, License, LicenseId, LicenseSpec, LicenseStatus, Limits,
};
use store::{Account, Adjusted, Adjustment, AuditEntries, LicenseChange, LicenseFilter, Store};
use tokio::task::JoinSet;

use crate::StoreFactory;
use crate::fixtures::{
    BIRTH, balance_figures, batch, hours, keep, lease, new_license, spent_units, units,
};

use Adjustment::{Credit, Debit};

async fn adjust(store: &dyn Store, id: LicenseId, by: Adjustment, hour: i64) -> Option<Adjusted> {
    let credits = store.credits().expect("this store can");
    let adjusted = credits.adjust_balance(id, by, hours(hour), AuditEntries::none());
    adjusted.await.expect("answers")
}

/// Adjusts a balance that is counted, and returns the units that were added or taken.
async fn moved(store: &dyn Store, id: LicenseId, by: Adjustment) -> u64 {
    let adjusted = adjust(store, id, by, 0).await.expect("it is counted");
    assert_eq!(
        Some(adjusted.balance),
        store.balance(id, hours(0)).await.expect("answers")
    );
    adjusted.units
}

fn wallet(account: &AccountName, remaining: u64) -> License {
    License {
        id: LicenseId::of_wallet(account),
        account: account.clone(),
        app: AppName::every(),
        status: LicenseStatus::Active,
        created_at: BIRTH,
        spec: LicenseSpec {
            limits: units(remaining, None),
            ..LicenseSpec::default()
        },
    }
}

/// Credits and debits change what is left within the epoch, whatever gates hold of it.
pub async fn a_balance_is_credited_and_debited_within_its_epoch<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let license = keep(&*store, units(10, None)).await;
    let (here, there) = (InstanceId::generate(), InstanceId::generate());
    // Before the first lease, too.
    assert_eq!(moved(&*store, license, Credit(2)).await, 2);
    let first = lease(&*store, here, license, 7, hours(0)).await;
    assert_eq!((first.units, first.left), (7, 5));
    assert_eq!(moved(&*store, license, Credit(3)).await, 3);
    assert_eq!(
        balance_figures(&*store, license, hours(0)).await,
        [15, 0, 7, 0]
    );
    drop(store);
    let store = place.open().await;
    let second = lease(&*store, there, license, 9, hours(0)).await;
    assert_eq!((second.units, second.left, second.key.period), (8, 0, 0));
    // All is leased: nothing is free, and nothing is owed for later.
    assert_eq!(moved(&*store, license, Debit(4)).await, 0);
    let back = store.give_back(there, vec![(second.key, 6)]).await;
    back.expect("given back");
    assert_eq!(moved(&*store, license, Debit(4)).await, 4);
    assert_eq!(moved(&*store, license, Debit(4)).await, 2);
    assert_eq!(
        balance_figures(&*store, license, hours(0)).await,
        [9, 0, 9, 0]
    );
    // What was spent stays spent.
    let spent = batch(here, 0, vec![spent_units(license, 0, 7)]);
    store.roll_up(spent).await.expect("rolled up");
    store.settle_instance(here).await.expect("settled");
    store.settle_instance(there).await.expect("settled");
    assert_eq!(
        balance_figures(&*store, license, hours(0)).await,
        [9, 7, 0, 0]
    );
    assert_eq!(moved(&*store, license, Debit(100)).await, 2);
    assert_eq!(moved(&*store, license, Credit(1)).await, 1);
    let last = lease(&*store, there, license, 9, hours(0)).await;
    assert_eq!((last.units, last.left), (1, 0));
}

/// A refill that is due is claimed before a credit, and one that sets forgets credits before it.
pub async fn a_credit_comes_after_the_refills_before_it<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let license = keep(&*store, units(10, Some("5/1h"))).await;
    let adjusted = adjust(&*store, license, Credit(4), 1)
        .await
        .expect("counted");
    let balance = adjusted.balance;
    assert_eq!((balance.granted, balance.epoch), (9, 1));
    assert_eq!(
        balance_figures(&*store, license, hours(2)).await,
        [5, 0, 0, 2]
    );
    // So does what is left when it is set by hand, and a credit after it counts.
    let limits = units(20, Some("5/1h"));
    let change = LicenseChange::Limits {
        limits,
        balance: true,
    };
    let changed = store.change_license(license, change, AuditEntries::none());
    changed.await.expect("changed");
    let adjusted = adjust(&*store, license, Credit(1), 2)
        .await
        .expect("counted");
    assert_eq!(adjusted.balance.granted, 21);
}

/// A license whose units are not counted, a revoked and an unknown one take no credit; a change by
/// hand is one that gates follow.
pub async fn a_credit_is_a_change_of_a_license_that_counts_units<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let counted = keep(&*store, units(3, None)).await;
    let uncounted = keep(&*store, Limits::default()).await;
    let revoked = keep(&*store, units(3, None)).await;
    let change = LicenseChange::Status(LicenseStatus::Revoked);
    let changed = store.change_license(revoked, change, AuditEntries::none());
    changed.await.expect("changed");
    let before = store
        .license(counted)
        .await
        .expect("answers")
        .expect("there");
    for license in [uncounted, revoked, LicenseId::generate()] {
        for by in [Credit(1), Debit(1)] {
            assert_eq!(adjust(&*store, license, by, 0).await, None);
        }
    }
    let adjusted = adjust(&*store, counted, Credit(1), 0)
        .await
        .expect("counted");
    assert!(adjusted.license.version > before.version);
    let after = store.license(counted).await.expect("answers");
    assert_eq!(after.as_ref(), Some(&adjusted.license));
    let (changes, last) = store
        .changes_since(before.version, 10)
        .await
        .expect("answers");
    let news = changes.last().expect("there is a change");
    assert_eq!(
        (news.license_id, news.added, news.number),
        (counted, None, last)
    );
    assert_eq!(last, adjusted.license.version);
}

/// Many credit, debit and lease at once: what was leased and taken by debits is what there was.
pub async fn credits_and_debits_beside_leases_give_no_unit_twice<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let license = keep(&*store, units(40, None)).await;
    let mut tasks = JoinSet::new();
    for number in 0..24 {
        let store: Arc<dyn Store> = Arc::clone(&store);
        tasks.spawn(async move {
            match number % 3 {
                0 => (moved_or_leased(&*store, license, Some(Credit(5))).await, 0),
                1 => (0, moved_or_leased(&*store, license, Some(Debit(7))).await),
                _ => (0, moved_or_leased(&*store, license, None).await),
            }
        });
    }
    let moved = tasks.join_all().await;
    let (credited, gone) = moved.iter().fold((0, 0), |(credited, gone), (more, less)| {
        (credited + more, gone + less)
    });
    assert_eq!(credited, 40);
    assert!(gone <= 80, "{gone} of 80 units");
    let rest = lease(&*store, InstanceId::generate(), license, 1_000, hours(0)).await;
    assert_eq!(gone + rest.units, 80);
}

async fn moved_or_leased(store: &dyn Store, license: LicenseId, by: Option<Adjustment>) -> u64 {
    match by {
        Some(by) => {
            let adjusted = adjust(store, license, by, 0).await;
            adjusted.expect("it is counted").units
        }
        None => {
            let leased = lease(store, InstanceId::generate(), license, 6, hours(0));
            leased.await.units
        }
    }
}

/// An account has one wallet, whoever makes it first, and no list of licenses shows it.
pub async fn an_account_has_one_wallet_that_no_list_shows<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let account: AccountName = "acme".parse().expect("valid");
    let none = store.credits().expect("this store can");
    let made = none.create_wallet(wallet(&account, 5), AuditEntries::none());
    assert_eq!(made.await, Ok(None), "there is no such account");
    let new = Account {
        name: account.clone(),
        created_at: BIRTH,
        disabled_at: None,
        wallet: None,
    };
    let created = store.create_account(new, AuditEntries::none());
    created.await.expect("new");
    let mut tries = JoinSet::new();
    for units in 1..=8 {
        let (store, account) = (Arc::clone(&store), account.clone());
        tries.spawn(async move {
            let credits = store.credits().expect("this store can");
            let made = credits.create_wallet(wallet(&account, units), AuditEntries::none());
            made.await.expect("answers").is_some()
        });
    }
    let made = tries.join_all().await;
    assert_eq!(made.iter().filter(|made| **made).count(), 1);
    let id = LicenseId::of_wallet(&account);
    let found = store.account(&account).await.expect("answers");
    assert_eq!(found.and_then(|account| account.wallet), Some(id));
    let named: Vec<_> = store.accounts().await.expect("answers");
    let wallets = named.iter().map(|account| account.wallet);
    assert_eq!(wallets.collect::<Vec<_>>(), [Some(id), None]);
    let stored = store
        .license(id)
        .await
        .expect("answers")
        .expect("it is one");
    assert!(stored.license.is_wallet() && stored.credentials.is_empty());
    let mut other = new_license(units(1, None));
    other.license.account = account.clone();
    let other_id = other.license.id;
    let created = store.create_licenses(vec![other], AuditEntries::none());
    created.await.expect("new");
    for filter in [
        LicenseFilter::default(),
        LicenseFilter {
            account: Some(account),
            ..LicenseFilter::default()
        },
    ] {
        let listed = store.licenses(filter, None, 10).await.expect("answers");
        let ids = listed.iter().map(|stored| stored.license.id);
        assert_eq!(ids.collect::<Vec<_>>(), [other_id]);
    }
}
