//! Users of apps: what their operations refuse and what stays the same.

#![allow(clippy::unwrap_used, reason = "the panic of a test is its message")]

mod support;

use licensing::{Error, UserRequest};
use store::UserChange;
use support::{World, app};

fn request(login: &str) -> UserRequest {
    UserRequest {
        app: app(),
        account: None,
        login: login.to_owned(),
        first_name: None,
        last_name: None,
    }
}

#[tokio::test]
async fn a_user_keeps_the_alias_that_their_app_knows_them_by() {
    let world = World::new().await;
    let licensing = &world.licensing;
    let made = licensing
        .acting(model::Actor::OPERATOR)
        .create_user(request("zoe@example.com"))
        .await;
    let made = made.unwrap();
    let alias = licensing.alias(&app(), "zoe@example.com");
    assert_eq!(made.alias, alias);
    assert_ne!(alias, licensing.alias(&app(), "Zoe@example.com"));
    assert_ne!(
        alias,
        licensing.alias(&"other".parse().unwrap(), "zoe@example.com")
    );
    let change = UserChange {
        first_name: Some(Some("Zoe".to_owned())),
        ..UserChange::default()
    };
    let changed = licensing
        .acting(model::Actor::OPERATOR)
        .change_user(&app(), "zoe@example.com", change)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((changed.alias, changed.id), (alias, made.id));
    let kept = licensing.user(&app(), "zoe@example.com").await.unwrap();
    assert_eq!(kept, Some(changed));
    assert!(
        licensing
            .acting(model::Actor::OPERATOR)
            .delete_user(&app(), "zoe@example.com")
            .await
            .unwrap()
    );
    let again = licensing
        .acting(model::Actor::OPERATOR)
        .create_user(request("zoe@example.com"))
        .await;
    assert_eq!(again.unwrap().alias, alias);
}

#[tokio::test]
async fn what_is_no_user_is_refused_by_field_and_nothing_is_kept() {
    let world = World::new().await;
    let licensing = &world.licensing;
    let long = "x".repeat(201);
    for login in ["", "a\nb", &long] {
        let refused = licensing
            .acting(model::Actor::OPERATOR)
            .create_user(request(login))
            .await;
        assert!(matches!(
            refused,
            Err(Error::Invalid { field: "login", .. })
        ));
    }
    let named = UserRequest {
        last_name: Some(String::new()),
        ..request("zoe")
    };
    let refused = licensing
        .acting(model::Actor::OPERATOR)
        .create_user(named)
        .await;
    assert!(matches!(
        refused,
        Err(Error::Invalid {
            field: "last_name",
            ..
        })
    ));
    let foreign = UserRequest {
        account: Some("somebody".parse().unwrap()),
        ..request("zoe")
    };
    let refused = licensing
        .acting(model::Actor::OPERATOR)
        .create_user(foreign)
        .await;
    assert!(matches!(refused, Err(Error::AppUnknown(_))));
    assert_eq!(licensing.users(&app(), None, 10).await.unwrap(), vec![]);
    licensing
        .acting(model::Actor::OPERATOR)
        .create_user(request("zoe"))
        .await
        .unwrap();
    let twice = licensing
        .acting(model::Actor::OPERATOR)
        .create_user(request("zoe"))
        .await;
    assert!(matches!(twice, Err(Error::Exists(_))), "{twice:?}");
    let change = UserChange {
        first_name: Some(Some("\u{7}".to_owned())),
        ..UserChange::default()
    };
    let refused = licensing
        .acting(model::Actor::OPERATOR)
        .change_user(&app(), "zoe", change)
        .await;
    assert!(matches!(
        refused,
        Err(Error::Invalid {
            field: "first_name",
            ..
        })
    ));
    let nobody = licensing
        .acting(model::Actor::OPERATOR)
        .change_user(&app(), "ada", UserChange::default())
        .await;
    assert_eq!(nobody.unwrap(), None);
}
