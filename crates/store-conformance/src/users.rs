//! The properties of users of apps.

use std::sync::Arc;

use model::{Alias, AppName, Limits, User, UserId};

use crate::StoreFactory;
use crate::fixtures::{BIRTH, hours, new_license};
use store::{AuditEntries, Error, SealedKey, Store, UserChange};

fn app(name: &str) -> AppName {
    name.parse().expect("a valid name")
}

pub(super) fn user(app_name: &str, login: &str) -> User {
    User {
        id: UserId::generate(),
        account: "acme".parse().expect("a valid name"),
        app: app(app_name),
        login: login.to_owned(),
        alias: Alias::from_u64(u64::MAX - 1),
        first_name: Some("Zoë".to_owned()),
        last_name: None,
        created_at: BIRTH,
        updated_at: BIRTH,
    }
}

/// Logins are compared as they are written, and are unique within an app only.
pub async fn a_user_is_found_by_app_and_login_and_is_there_once<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let zoe = user("api", "zoe@example.com");
    store
        .create_user(zoe.clone(), AuditEntries::none())
        .await
        .expect("new");
    let again = store
        .create_user(user("api", "zoe@example.com"), AuditEntries::none())
        .await;
    assert!(matches!(again, Err(Error::Exists(_))), "{again:?}");
    let elsewhere = user("shop", "zoe@example.com");
    store
        .create_user(elsewhere.clone(), AuditEntries::none())
        .await
        .expect("new");
    let same_id = User {
        id: zoe.id,
        ..user("api", "other")
    };
    let taken = store.create_user(same_id, AuditEntries::none()).await;
    assert!(matches!(taken, Err(Error::Exists(_))), "{taken:?}");

    let found = async |name: &str, login: &str| {
        let found = store.user(&app(name), login).await;
        found.expect("answers")
    };
    assert_eq!(found("api", "zoe@example.com").await, Some(zoe.clone()));
    assert_eq!(found("shop", "zoe@example.com").await, Some(elsewhere));
    assert_eq!(found("api", "Zoe@example.com").await, None);
    assert_eq!(found("api", "other").await, None);
    assert_eq!(store.user_by_id(zoe.id).await, Ok(Some(zoe.clone())));
    assert_eq!(store.user_by_id(UserId::generate()).await, Ok(None));
    drop(store);
    let store = place.open().await;
    let found = store.user(&app("api"), "zoe@example.com").await;
    assert_eq!(found, Ok(Some(zoe)));
}

/// Fields that are not named stay; a name can be removed; another app's user is not touched.
pub async fn a_user_is_changed_where_it_is_named_and_forgotten_wholly<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let (zoe, other) = (user("api", "zoe"), user("shop", "zoe"));
    for user in [&zoe, &other] {
        store
            .create_user(user.clone(), AuditEntries::none())
            .await
            .expect("new");
    }
    let api = app("api");
    let change = UserChange {
        first_name: None,
        last_name: Some(Some("Zet".to_owned())),
    };
    let changed = store
        .change_user(&api, "zoe", change, hours(1), AuditEntries::none())
        .await;
    let expected = User {
        last_name: Some("Zet".to_owned()),
        updated_at: hours(1),
        ..zoe.clone()
    };
    assert_eq!(changed, Ok(Some(expected.clone())));
    let change = UserChange {
        first_name: Some(None),
        last_name: None,
    };
    let changed = store
        .change_user(&api, "zoe", change, hours(2), AuditEntries::none())
        .await;
    let expected = User {
        first_name: None,
        updated_at: hours(2),
        ..expected
    };
    assert_eq!(changed, Ok(Some(expected.clone())));
    assert_eq!(store.user(&api, "zoe").await, Ok(Some(expected)));
    let nobody = store.change_user(
        &api,
        "nobody",
        UserChange::default(),
        hours(3),
        AuditEntries::none(),
    );
    assert_eq!(nobody.await, Ok(None));

    let places = [
        ("acme", app("api")),
        ("acme", AppName::every()),
        ("acme", app("shop")),
        ("other", AppName::every()),
    ];
    let licenses = places.map(|(account, app)| {
        let mut new = new_license(Limits::default());
        new.license.account = account.parse().expect("a valid name");
        new.license.app = app;
        new.license.spec.user = Some("zoe".to_owned());
        new.credentials[0].sealed = Some(SealedKey::new(b"sealed".to_vec()));
        new
    });
    let ids = licenses.each_ref().map(|new| new.license.id);
    let creating = store.create_licenses(licenses.to_vec(), AuditEntries::none());
    let last = creating.await.expect("new");
    let holder = async |id| {
        let stored = store.license(id).await.expect("answers").expect("there");
        (stored.license.spec.user, stored.version)
    };
    let copies = async |id| store.sealed_keys(id).await.expect("answers").len();
    let untouched = [holder(ids[2]).await, holder(ids[3]).await];
    assert_eq!(
        store.delete_user(&api, "zoe", AuditEntries::none()).await,
        Ok(true)
    );
    for held in &ids[..2] {
        let (user, version) = holder(*held).await;
        assert_eq!(user, None, "nothing of the person is left");
        assert!(version > last, "gates are told");
        assert_eq!(copies(*held).await, 0);
    }
    let others = [holder(ids[2]).await, holder(ids[3]).await];
    assert_eq!(others, untouched, "another app's and another account's");
    assert_eq!((copies(ids[2]).await, copies(ids[3]).await), (1, 1));
    assert_eq!(
        store.delete_user(&api, "zoe", AuditEntries::none()).await,
        Ok(false)
    );
    assert_eq!(store.user(&api, "zoe").await, Ok(None));
    let left = store.user(&app("shop"), "zoe").await;
    assert_eq!(left, Ok(Some(other)));
}

/// Many requests create the same users at once.
pub async fn a_login_is_given_once_under_parallel_writers_and_pages_miss_none<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let mut writers = Vec::new();
    for number in 0..100 {
        let store: Arc<dyn Store> = Arc::clone(&store);
        writers.push(tokio::spawn(async move {
            let user = user("api", &format!("user {}", number % 10));
            store.create_user(user, AuditEntries::none()).await.is_ok()
        }));
    }
    let mut made = 0;
    for writer in writers {
        made += usize::from(writer.await.expect("no panic"));
    }
    assert_eq!(made, 10);
    let (mut logins, mut after) = (Vec::new(), None);
    loop {
        let page = store.users(&app("api"), after, 3).await.expect("answers");
        assert!(page.len() <= 3);
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        logins.extend(page.into_iter().map(|user| user.login));
    }
    logins.sort_unstable();
    let expected: Vec<_> = (0..10).map(|number| format!("user {number}")).collect();
    assert_eq!(logins, expected);
    assert_eq!(store.users(&app("shop"), None, 9).await, Ok(Vec::new()));
}
