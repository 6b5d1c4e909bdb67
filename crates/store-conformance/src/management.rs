//! The properties of accounts, management keys, plan revisions and settings.

use std::sync::Arc;

use model::{
    AccountName, LicenseStatus, Limits, ManagementKeyId, Plan, PlanRevision, PlanRevisionId,
    Timestamp,
};

use crate::StoreFactory;
use crate::fixtures::{BIRTH, hours, new_hash, new_license, new_management_key};
use store::{Account, AuditEntries, Error, LicenseChange, ManagementKey, NewManagementKey};

/// The account `default` needs no making.
pub async fn the_default_account_is_always_there_and_names_are_unique<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let account = Account {
        name: "acme".parse().expect("valid"),
        created_at: BIRTH,
        disabled_at: None,
        wallet: None,
    };
    store
        .create_account(account.clone(), AuditEntries::none())
        .await
        .expect("new");
    let again = store
        .create_account(account.clone(), AuditEntries::none())
        .await;
    assert!(matches!(again, Err(Error::Exists(_))), "{again:?}");
    let accounts = store.accounts().await.expect("answers");
    assert_eq!(accounts.len(), 2);
    assert_eq!(accounts[0], account);
    assert_eq!(accounts[1].name, AccountName::default());
}

/// An end that is past is a revocation; a later one is an expiry.
pub async fn a_management_key_is_found_by_its_hash_until_and_after_it_ends<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let (hash, secret) = (new_hash(), new_hash());
    let key = ManagementKey {
        id: ManagementKeyId::generate(),
        account: "acme".parse().expect("valid"),
        app: Some("api".parse().expect("valid")),
        license_id: None,
        draws_on: Some(model::LicenseId::from_u128(7)),
        name: Some("ci".to_owned()),
        scopes: vec!["licenses:read".to_owned()],
        allow_ips: vec!["2001:db8::/32".parse().expect("valid")],
        prefix: "tgm_ab".to_owned(),
        created_at: BIRTH,
        expires_at: None,
        revoked_at: None,
    };
    store
        .create_management_key(
            NewManagementKey {
                key: key.clone(),
                hash,
                secret: Some(secret),
            },
            AuditEntries::none(),
        )
        .await
        .expect("new");
    let other = ManagementKey {
        id: ManagementKeyId::generate(),
        ..key.clone()
    };
    let taken = store
        .create_management_key(
            NewManagementKey {
                key: other.clone(),
                hash,
                secret: None,
            },
            AuditEntries::none(),
        )
        .await;
    assert!(matches!(taken, Err(Error::Exists(_))), "{taken:?}");
    assert_eq!(
        store.management_key_by_hash(hash).await,
        Ok(Some((key.clone(), Some(secret))))
    );
    assert_eq!(store.management_key_by_hash(secret).await, Ok(None));
    assert_eq!(store.management_key(key.id).await, Ok(Some(key.clone())));
    assert_eq!(store.management_key(other.id).await, Ok(None));
    let keys = store
        .management_keys(Some("acme".parse().expect("valid")))
        .await;
    assert_eq!(keys, Ok(vec![key.clone()]));
    assert_eq!(
        store.management_keys(Some(AccountName::default())).await,
        Ok(Vec::new())
    );
    assert_eq!(store.management_keys(None).await, Ok(vec![key.clone()]));

    let far: Timestamp = "2199-01-01T00:00:00Z".parse().expect("valid");
    let ended = store
        .end_management_key(key.id, far, AuditEntries::none())
        .await
        .expect("answers")
        .expect("there");
    assert_eq!((ended.expires_at, ended.revoked_at), (Some(far), None));
    let ended = store
        .end_management_key(key.id, BIRTH, AuditEntries::none())
        .await
        .expect("answers")
        .expect("there");
    assert_eq!(
        (ended.expires_at, ended.revoked_at),
        (Some(far), Some(BIRTH))
    );
    assert_eq!(
        store.management_key_by_hash(hash).await,
        Ok(Some((ended, Some(secret))))
    );
    assert_eq!(
        store
            .end_management_key(other.id, BIRTH, AuditEntries::none())
            .await,
        Ok(None)
    );
}

/// A revision is a hash of its terms, so putting it again changes nothing.
pub async fn a_plan_revision_stays_as_it_was_first_put<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let plan = Plan {
        name: "pro".parse().expect("valid"),
        currency: "EUR".parse().expect("valid"),
        price_per_unit: "0.01".parse().expect("valid"),
        rate_limits: vec!["10/1m".parse().expect("valid")],
        concurrency: Some(2),
        features: vec!["beta".to_owned()],
    };
    let revision = PlanRevision::from(plan.clone());
    let forged = PlanRevision {
        id: revision.id,
        plan: Plan {
            concurrency: Some(9),
            ..plan
        },
    };
    store
        .put_plan_revisions(vec![revision.clone()])
        .await
        .expect("kept");
    store
        .put_plan_revisions(vec![forged, revision.clone()])
        .await
        .expect("kept");
    assert_eq!(store.plan_revision(revision.id).await, Ok(Some(revision)));
    assert_eq!(
        store.plan_revision(PlanRevisionId::from_u128(1)).await,
        Ok(None)
    );
}

/// A plan that goes back to terms that it had before goes back to their revision.
pub async fn plans_that_licenses_name_are_told_with_the_revision_that_was_last_in_force<
    F: StoreFactory,
>() {
    let place = F::fresh().await;
    let store = place.open().await;
    assert_eq!(store.plans_named().await, Ok(Vec::new()));
    let plan = |name: &str, price: &str| {
        PlanRevision::from(Plan {
            name: name.parse().expect("valid"),
            currency: "EUR".parse().expect("valid"),
            price_per_unit: price.parse().expect("valid"),
            rate_limits: Vec::new(),
            concurrency: None,
            features: Vec::new(),
        })
    };
    let (cheap, dear, other) = (plan("pro", "0.01"), plan("pro", "0.02"), plan("free", "0"));
    for revisions in [
        vec![cheap.clone(), other.clone()],
        vec![dear],
        vec![cheap.clone()],
    ] {
        store.put_plan_revisions(revisions).await.expect("kept");
    }
    let last = async |name: &str| store.last_plan_revision(name.parse().expect("valid")).await;
    assert_eq!(last("pro").await, Ok(Some(cheap)));
    assert_eq!(last("free").await, Ok(Some(other)));
    assert_eq!(last("never").await, Ok(None));

    let on = |name: Option<&str>| {
        let mut new = new_license(Limits::default());
        new.license.spec.plan = name.map(|name| name.parse().expect("valid"));
        new
    };
    let all = vec![
        on(Some("pro")),
        on(Some("free")),
        on(Some("pro")),
        on(None),
        on(Some("pro")),
    ];
    let (gone, over) = (all[0].license.id, all[3].license.id);
    store
        .create_licenses(all, AuditEntries::none())
        .await
        .expect("new");
    let revoked = LicenseChange::Status(LicenseStatus::Revoked);
    store
        .change_license(gone, revoked, AuditEntries::none())
        .await
        .expect("revoked");
    let named = store.plans_named().await.expect("answers");
    let named: Vec<_> = named
        .iter()
        .map(|plan| (plan.name.as_str(), plan.licenses))
        .collect();
    assert_eq!(named, [("free", 1), ("pro", 2)]);
    let at = "2026-03-01T00:00:00Z".parse().expect("valid");
    let apps = store.apps_named(at).await.expect("answers");
    assert_eq!(apps.len(), 1, "{apps:?}");
    assert_eq!((apps[0].licenses, apps[0].without_plan), (4, 1));
    // A license that is over names nothing any more.
    let ended = LicenseChange::ExpiresAt(Some(at));
    let changed = store.change_license(over, ended, AuditEntries::none());
    changed.await.expect("changed");
    let apps = store.apps_named(at).await.expect("answers");
    assert_eq!((apps[0].licenses, apps[0].without_plan), (3, 0));
}

/// Many gates start at once on a store without a pepper.
pub async fn one_of_many_writers_of_a_setting_wins_and_all_learn_what_it_wrote<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    assert_eq!(store.setting("pepper").await, Ok(None));
    let mut writers = Vec::new();
    for number in 0..16_u8 {
        let store = Arc::clone(&store);
        writers.push(tokio::spawn(async move {
            store
                .put_if_absent("pepper", vec![number; 32], AuditEntries::none())
                .await
                .expect("answers")
        }));
    }
    let kept = store
        .put_if_absent("pepper", Vec::new(), AuditEntries::none())
        .await
        .expect("answers");
    for writer in writers {
        assert_eq!(writer.await.expect("no panic"), kept);
    }
    assert_eq!(store.setting("pepper").await, Ok(Some(kept)));
}

/// The first time stands; a key of such an account is not found.
pub async fn an_account_is_switched_off_and_on_and_its_keys_with_it<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let name = AccountName::default();
    let new = new_management_key();
    let creating = store.create_management_key(new.clone(), AuditEntries::none());
    creating.await.expect("new");
    let set = async |at| {
        let changed = store
            .set_account_disabled(&name, at, AuditEntries::none())
            .await;
        changed.expect("answers").expect("there").disabled_at
    };
    let finds = async || {
        let found = store.management_key_by_hash(new.hash).await;
        found.expect("answers").is_some()
    };
    assert!(finds().await);
    assert_eq!(set(Some(hours(1))).await, Some(hours(1)));
    assert_eq!(set(Some(hours(2))).await, Some(hours(1)));
    assert!(!finds().await);
    let kept = store.management_key(new.key.id).await.expect("answers");
    assert_eq!(kept, Some(new.key.clone()), "it is shown all the same");
    let account = store.account(&name).await.expect("answers");
    assert_eq!(account.expect("there").disabled_at, Some(hours(1)));
    assert_eq!(set(None).await, None);
    assert!(finds().await);
    let nobody = "nobody".parse().expect("valid");
    assert_eq!(store.account(&nobody).await, Ok(None));
    let none = store.set_account_disabled(&nobody, None, AuditEntries::none());
    assert_eq!(none.await, Ok(None));
}
