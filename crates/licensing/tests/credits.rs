//! Credits and debits, and the wallets of accounts, over a real store.

#![allow(clippy::unwrap_used, reason = "the panic of a test is its message")]

mod support;

use std::sync::Arc;

use licensing::{AuditedLicensing, CachedLicense, Error};
use model::{AccountName, AppName, LicenseId, LicenseStatus, LicenseUpdate, Limits, Refusal};
use store::{Adjustment, AuditFilter, ManagementStore};
use testkit::eventually::eventually_async;

use Adjustment::{Credit, Debit};
use support::{FaultyStore, World, options, remaining};

fn acting(world: &World) -> AuditedLicensing {
    world.licensing.acting(model::Actor::OPERATOR)
}

fn account() -> AccountName {
    AccountName::default()
}

/// Credits or debits the default account; the units that moved, and those that are left.
async fn adjust(world: &World, by: Adjustment) -> (u64, u64) {
    let adjusted = acting(world).adjust_account(&account(), by, "a test").await;
    let adjusted = adjusted.unwrap();
    (adjusted.units, adjusted.balance.remaining)
}

async fn wallet(world: &World) -> Option<Arc<CachedLicense>> {
    world.licensing.wallet(&account()).await.unwrap()
}

async fn left(world: &World) -> Option<u64> {
    let account = world.licensing.account(&account()).await.unwrap();
    let balance = world.licensing.account_balance(&account).await.unwrap();
    balance.map(|balance| balance.remaining)
}

#[tokio::test]
async fn an_account_has_no_wallet_until_it_is_credited_and_neither_is_looked_up_twice() {
    let world = World::new().await;
    assert_eq!(left(&world).await, None);
    let look_ups = || FaultyStore::count(&world.store.single_look_ups);
    let before = look_ups();
    for _ in 0..3 {
        assert!(wallet(&world).await.is_none());
    }
    assert_eq!(look_ups(), before + 1, "it is known to be absent");
    assert_eq!(adjust(&world, Credit(5)).await, (5, 5));
    let entry = wallet(&world).await.unwrap();
    assert!(entry.license().is_wallet());
    let before = look_ups();
    assert!(Arc::ptr_eq(&entry, &wallet(&world).await.unwrap()));
    assert_eq!(look_ups(), before);
    // While the store is away, what was known goes on.
    FaultyStore::set(&world.store.dead, true);
    assert!(wallet(&world).await.is_some());
    FaultyStore::set(&world.store.dead, false);
    assert_eq!(world.passes(&entry).await.0, 5);
    assert_eq!(left(&world).await, Some(0));
}

/// Whoever made a change is told so, even if the store fails right after it.
#[tokio::test]
async fn a_change_that_was_made_is_answered_without_another_look_at_the_store() {
    let world = World::new().await;
    FaultyStore::set(&world.store.unreadable, true);
    assert_eq!(adjust(&world, Credit(5)).await, (5, 5), "the wallet begins");
    assert_eq!(adjust(&world, Credit(5)).await, (5, 10));
    assert_eq!(adjust(&world, Debit(20)).await, (10, 0));
    let empty = World::new().await;
    FaultyStore::set(&empty.store.unreadable, true);
    assert_eq!(adjust(&empty, Debit(3)).await, (0, 0));
    assert_eq!(adjust(&empty, Credit(4)).await, (4, 4));
    let entry = wallet(&empty).await.unwrap();
    assert_eq!(empty.passes(&entry).await.0, 4);
    // What this gate leased and did not use is left, as it is where the balance is shown.
    let holding = World::new().await;
    adjust(&holding, Credit(100)).await;
    let entry = wallet(&holding).await.unwrap();
    let taken = entry.acquire(&holding.ask(1)).await.unwrap();
    entry.settle(taken, 1);
    let shown = adjust(&holding, Credit(10)).await;
    assert_eq!(Some(shown.1), left(&holding).await);
    assert_eq!(shown, (10, 109));
}

#[tokio::test]
async fn a_credit_is_in_force_here_at_once_and_on_other_gates_with_their_next_reading() {
    let here = World::new().await;
    let there = here.neighbour(options()).await;
    assert!(wallet(&there).await.is_none());
    assert_eq!(adjust(&here, Credit(2)).await, (2, 2));
    let mut entry = None;
    eventually_async("the other gate sees the wallet", async || {
        entry = wallet(&there).await;
        entry.is_some()
    })
    .await;
    let (passed, refused) = there.passes(&entry.unwrap()).await;
    assert_eq!(
        (passed, refused.unwrap().refusal),
        (2, Refusal::QuotaExhausted)
    );
    // "Nothing is left" is believed no longer than until the news of a credit.
    adjust(&here, Credit(3)).await;
    let entry = wallet(&here).await.unwrap();
    assert_eq!(here.passes(&entry).await.0, 3);
}

#[tokio::test]
async fn a_debit_takes_what_is_left_with_what_this_gate_leased_ahead_and_never_more() {
    let world = World::new().await;
    adjust(&world, Credit(100)).await;
    let entry = wallet(&world).await.unwrap();
    let taken = entry.acquire(&world.ask(3)).await.unwrap();
    assert_eq!(adjust(&world, Debit(90)).await, (90, 7));
    assert_eq!(adjust(&world, Debit(90)).await, (7, 0));
    assert_eq!(adjust(&world, Debit(1)).await, (0, 0));
    // The call under way has its units, and what it does not spend comes back.
    entry.settle(taken, 1);
    eventually_async("two units are back", async || left(&world).await == Some(2)).await;
    assert_eq!(world.passes(&wallet(&world).await.unwrap()).await.0, 2);
}

#[tokio::test]
async fn a_first_debit_leaves_nothing_of_credits_that_were_not_counted() {
    let world = World::new().await;
    assert_eq!(adjust(&world, Debit(5)).await, (0, 0));
    let entry = wallet(&world).await.unwrap();
    let (passed, refused) = world.passes(&entry).await;
    assert_eq!(
        (passed, refused.unwrap().refusal),
        (0, Refusal::QuotaExhausted)
    );
}

#[tokio::test]
async fn a_license_is_credited_and_debited_if_its_units_are_counted() {
    let world = World::new().await;
    let (issued, entry) = world.issued_entry(remaining(2)).await;
    let id = issued.license.license.id;
    assert_eq!(world.passes(&entry).await.0, 2);
    let adjusted = acting(&world).adjust_license(id, Credit(3), "a gift").await;
    assert_eq!(adjusted.unwrap().balance.remaining, 3);
    let entry = world.entry(&support::hash_of(&issued)).await;
    assert_eq!(world.passes(&entry).await.0, 3);
    let uncounted = world.issue(Limits::default()).await.license.license.id;
    let refused = acting(&world)
        .adjust_license(uncounted, Credit(1), "a gift")
        .await;
    assert!(matches!(refused, Err(Error::UnitsNotCounted(_))));
    for (by, reason) in [
        (Credit(0), "a gift"),
        (Debit(1 << 53), "a gift"),
        (Credit(1), ""),
    ] {
        let refused = acting(&world).adjust_license(id, by, reason).await;
        assert!(
            matches!(refused, Err(Error::Invalid { .. })),
            "{by:?} {reason}"
        );
    }
    acting(&world)
        .set_status(id, LicenseStatus::Revoked)
        .await
        .unwrap();
    let refused = acting(&world).adjust_license(id, Credit(1), "a gift").await;
    assert!(matches!(refused, Err(Error::LicenseRevoked(_))));
}

#[tokio::test]
async fn a_wallet_is_no_license_like_others_and_its_changes_have_their_lines() {
    let world = World::new().await;
    adjust(&world, Credit(4)).await;
    adjust(&world, Debit(1)).await;
    let id = LicenseId::of_wallet(&account());
    let acting = acting(&world);
    let listed = world
        .licensing
        .licenses(store::LicenseFilter::default(), None, 10);
    assert!(listed.await.unwrap().is_empty());
    let wallet = |error: Error| matches!(error, Error::WalletUnchangeable(_));
    let update = LicenseUpdate {
        remaining: Some(None),
        ..LicenseUpdate::default()
    };
    assert!(wallet(acting.change(id, update).await.unwrap_err()));
    let status = LicenseStatus::Disabled;
    assert!(wallet(acting.set_status(id, status).await.unwrap_err()));
    assert!(wallet(
        acting.adjust_license(id, Credit(1), "x").await.unwrap_err()
    ));
    let format = model::KeyFormat::Tallygate;
    let rotated = acting.rotate(id, std::time::Duration::ZERO, format).await;
    assert!(wallet(rotated.unwrap_err()));
    let request = licensing::ManagementKeyRequest {
        license_id: Some(id),
        pair: true,
        ..licensing::ManagementKeyRequest::default()
    };
    let refused = acting.create_management_key(request).await;
    assert!(matches!(refused, Err(Error::LicenseUnknown(_))));
    let unknown: AccountName = "nobody".parse().unwrap();
    let refused = acting.adjust_account(&unknown, Credit(1), "x").await;
    assert!(matches!(refused, Err(Error::AccountUnknown(_))));
    let filter = AuditFilter {
        action: Some("account.".to_owned()),
        ..AuditFilter::default()
    };
    let lines = world
        .store
        .audit_log()
        .unwrap()
        .audit(filter, 0, 10)
        .await
        .unwrap();
    let lines: Vec<_> = lines.iter().map(|line| &line.entry).collect();
    let actions: Vec<_> = lines.iter().map(|line| line.action.as_str()).collect();
    assert_eq!(actions, ["account.credit", "account.debit"]);
    assert!(lines.iter().all(|line| line.subject == "default"));
    let change = serde_json::json!({ "units": 4, "reason": "a test" });
    assert_eq!(lines[0].after, Some(change));
    assert_eq!(
        world.licensing.license(id).await.unwrap().license.app,
        AppName::every()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credits_debits_and_calls_at_once_never_spend_more_than_there_is() {
    let world = Arc::new(World::new().await);
    adjust(&world, Credit(30)).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..60 {
        let world = world.clone();
        tasks.spawn(async move {
            match number % 6 {
                0 => (adjust(&world, Credit(4)).await.0, 0),
                1 => (0, adjust(&world, Debit(5)).await.0),
                _ => {
                    let entry = wallet(&world).await.unwrap();
                    match entry.acquire(&world.ask(2)).await {
                        Ok(taken) => {
                            entry.settle(taken, 2);
                            (0, 2)
                        }
                        Err(refused) => {
                            assert_eq!(refused.refusal, Refusal::QuotaExhausted);
                            (0, 0)
                        }
                    }
                }
            }
        });
    }
    let moved = tasks.join_all().await;
    let credited: u64 = 30 + moved.iter().map(|(credited, _)| credited).sum::<u64>();
    let gone: u64 = moved.iter().map(|(_, gone)| gone).sum();
    assert_eq!(credited, 70);
    let rest = credited.checked_sub(gone).unwrap();
    eventually_async("the rest is free", async || {
        left(&world).await == Some(rest)
    })
    .await;
}
