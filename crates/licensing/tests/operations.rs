//! Operations: what they refuse and what they show; management keys and accounts.

#![allow(clippy::unwrap_used, reason = "the panic of a test is its message")]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use licensing::{Error, IssueRequest, KeySource, ManagementKeyRequest};
use model::{
    Blame, Credential, KeyFormat, LicenseId, LicenseSpec, LicenseStatus, LicenseUpdate, Limits,
    ManagementKeyId,
};
use store::{AuditEntries, LicenseChange, LicenseFilter, LicenseStore};
use support::{FaultyStore, World, app, remaining, windows};

fn field(error: &Error) -> &'static str {
    match error {
        Error::Invalid { field, .. } => field,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_license_is_shown_as_it_was_issued() {
    let world = World::new().await;
    let request = IssueRequest {
        spec: LicenseSpec {
            plan: Some("pro".parse().unwrap()),
            user: Some("ada".to_owned()),
            label: Some("first customer".to_owned()),
            expires_at: Some(world.now().plus_micros(1)),
            limits: remaining(5),
            permissions: vec!["GET /reports".parse().unwrap()],
            allow_ips: vec!["10.0.0.0/8".parse().unwrap()],
            device_slots: Some(2),
            unlimited_devices: true,
            variables: serde_json::from_str(r#"{"seats":5}"#).unwrap(),
            agent: None,
        },
        quantity: 3,
        ..IssueRequest::for_app(app())
    };
    let issued = world
        .licensing
        .acting(model::Actor::OPERATOR)
        .issue(request)
        .await
        .unwrap();
    assert_eq!(issued.len(), 3);
    for issued in &issued {
        let id = issued.license.license.id;
        let stored = world.licensing.license(id).await.unwrap();
        assert_eq!(stored.license, issued.license.license);
        assert_eq!(stored.credentials, issued.license.credentials);
        assert!(stored.version <= issued.license.version);
        let key = issued.credential.as_ref().unwrap();
        assert_eq!(stored.credentials[0].id, issued.credential_id);
        assert_eq!(stored.credentials[0].prefix, key.visible_prefix());
        assert!(!format!("{issued:?}").contains(key.expose()));
    }
    let filter = LicenseFilter {
        user: Some("ada".to_owned()),
        ..LicenseFilter::default()
    };
    let first = world
        .licensing
        .licenses(filter.clone(), None, 2)
        .await
        .unwrap();
    assert_eq!(first.len(), 2);
    let after = Some(first[1].license.id);
    let rest = world.licensing.licenses(filter, after, 2).await.unwrap();
    assert_eq!(rest.len(), 1);
}

#[tokio::test]
async fn every_field_of_a_change_is_in_force_when_it_returns() {
    let world = World::new().await;
    let id = world.issue(Limits::default()).await.license.license.id;
    let update = LicenseUpdate {
        plan: Some(Some("pro".parse().unwrap())),
        label: Some(Some("second customer".to_owned())),
        expires_at: Some(Some(world.now().plus_micros(1))),
        remaining: Some(Some(5)),
        refill: Some(Some("3/1h,add".parse().unwrap())),
        rate_limits: Some(windows(&["7/1m"]).rate_limits),
        concurrency: Some(Some(2)),
        permissions: Some(vec!["GET /reports".parse().unwrap()]),
        allow_ips: Some(vec!["10.0.0.0/8".parse().unwrap()]),
        device_slots: Some(Some(16)),
        unlimited_devices: Some(true),
        variables: Some(serde_json::from_str(r#"{"seats":5}"#).unwrap()),
    };
    let asked = serde_json::to_value(&update).unwrap();
    let operator = world.licensing.acting(model::Actor::OPERATOR);
    operator.change(id, update).await.unwrap();
    let stored = world.licensing.license(id).await.unwrap();
    let spec = serde_json::to_value(&stored.license.spec).unwrap();
    for (name, value) in asked.as_object().unwrap() {
        assert_eq!(&spec[name], value, "{name}");
    }
}

#[tokio::test]
async fn what_a_request_may_not_say_is_refused_by_field_and_nothing_is_kept() {
    let world = World::new().await;
    let base = || IssueRequest::for_app(app());
    let limits = |limits: Limits| IssueRequest {
        spec: LicenseSpec {
            limits,
            ..LicenseSpec::default()
        },
        ..base()
    };
    let slots = |slots| IssueRequest {
        spec: LicenseSpec {
            device_slots: Some(slots),
            ..LicenseSpec::default()
        },
        ..base()
    };
    let nets = vec!["10.0.0.0/8".parse().unwrap(); 65];
    let leaves = vec!["GET /".parse().unwrap(); 65];
    let key = Credential::generate(KeyFormat::Uuid);
    for (named, request) in [
        (
            "label",
            IssueRequest {
                spec: LicenseSpec {
                    label: Some("x".repeat(513)),
                    ..LicenseSpec::default()
                },
                ..base()
            },
        ),
        (
            "label",
            IssueRequest {
                spec: LicenseSpec {
                    label: Some(String::new()),
                    ..LicenseSpec::default()
                },
                ..base()
            },
        ),
        (
            "user",
            IssueRequest {
                spec: LicenseSpec {
                    user: Some("a\nb".to_owned()),
                    ..LicenseSpec::default()
                },
                ..base()
            },
        ),
        (
            "permissions",
            IssueRequest {
                spec: LicenseSpec {
                    permissions: leaves,
                    ..LicenseSpec::default()
                },
                ..base()
            },
        ),
        (
            "allow_ips",
            IssueRequest {
                spec: LicenseSpec {
                    allow_ips: nets,
                    ..LicenseSpec::default()
                },
                ..base()
            },
        ),
        (
            "quantity",
            IssueRequest {
                quantity: 0,
                ..base()
            },
        ),
        (
            "quantity",
            IssueRequest {
                quantity: 1_001,
                ..base()
            },
        ),
        (
            "quantity",
            IssueRequest {
                quantity: 2,
                key: KeySource::Import(key),
                ..base()
            },
        ),
        ("device_slots", slots(0)),
        ("device_slots", slots(17)),
        ("remaining", limits(remaining(u64::MAX))),
        (
            "concurrency",
            limits(Limits {
                concurrency: Some(0),
                ..Limits::default()
            }),
        ),
        ("rate_limits", limits(windows(&["1/3661s"]))),
        ("rate_limits", limits(windows(&["1/1m", "2/60s"]))),
        (
            "rate_limits",
            limits(windows(&[
                "1/1s", "1/2s", "1/3s", "1/4s", "1/5s", "1/6s", "1/7s", "1/8s", "1/9s",
            ])),
        ),
    ] {
        let error = world
            .licensing
            .acting(model::Actor::OPERATOR)
            .issue(request)
            .await
            .unwrap_err();
        assert_eq!(field(&error), named, "{error}");
        assert_eq!(error.blame(), Blame::Caller);
    }
    let request = IssueRequest {
        spec: LicenseSpec {
            plan: Some("gold".parse().unwrap()),
            ..LicenseSpec::default()
        },
        ..base()
    };
    let error = world
        .licensing
        .acting(model::Actor::OPERATOR)
        .issue(request)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::PlanUnknown(_)), "{error}");
    let error = world
        .licensing
        .acting(model::Actor::OPERATOR)
        .issue(IssueRequest::for_app("none".parse().unwrap()))
        .await;
    assert!(matches!(error, Err(Error::AppUnknown(_))));
    let request = IssueRequest {
        account: Some("acme".parse().unwrap()),
        ..base()
    };
    let error = world
        .licensing
        .acting(model::Actor::OPERATOR)
        .issue(request)
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::AppUnknown(_)),
        "another account's app: {error}"
    );
    let kept = world
        .licensing
        .licenses(LicenseFilter::default(), None, 10)
        .await;
    assert_eq!(kept.unwrap(), vec![]);
}

#[tokio::test]
async fn operations_on_what_is_not_there_say_so() {
    let world = World::new().await;
    let id = LicenseId::generate();
    let unknown = |error: Error| assert!(matches!(error, Error::LicenseUnknown(_)), "{error}");
    unknown(world.licensing.license(id).await.unwrap_err());
    unknown(
        world
            .licensing
            .acting(model::Actor::OPERATOR)
            .set_status(id, LicenseStatus::Disabled)
            .await
            .unwrap_err(),
    );
    unknown(
        world
            .licensing
            .acting(model::Actor::OPERATOR)
            .extend(id, None)
            .await
            .unwrap_err(),
    );
    unknown(world.licensing.balance(id).await.unwrap_err());
    let operator = world.licensing.acting(model::Actor::OPERATOR);
    let rotated = operator.rotate(id, Duration::ZERO, KeyFormat::Uuid);
    unknown(rotated.await.unwrap_err());
    let key = ManagementKeyId::generate();
    let error = world
        .licensing
        .acting(model::Actor::OPERATOR)
        .revoke_management_key(key)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::ManagementKeyUnknown(_)), "{error}");
}

#[tokio::test]
async fn a_store_that_is_away_is_our_fault_and_worth_another_try() {
    let world = World::new().await;
    FaultyStore::set(&world.store.dead, true);
    let error = world
        .licensing
        .acting(model::Actor::OPERATOR)
        .issue(IssueRequest::for_app(app()))
        .await
        .unwrap_err();
    assert_eq!(error.blame(), Blame::Us);
    assert!(error.is_unavailable());
}

#[tokio::test]
async fn a_management_key_is_known_until_it_ends_and_never_opens_the_gate() {
    let world = World::new().await;
    let licensing = &world.licensing;
    let request = ManagementKeyRequest {
        name: Some("deploy".to_owned()),
        scopes: vec!["licenses:read".to_owned()],
        ..ManagementKeyRequest::default()
    };
    let issued = licensing
        .acting(model::Actor::OPERATOR)
        .create_management_key(request)
        .await
        .unwrap();
    let text = issued.credential.expose();
    let known = licensing.authenticate(text).await.unwrap();
    assert_eq!(known.as_ref(), Some(&issued.key));
    assert!(matches!(
        world.find(&support::hash(&issued.credential)),
        licensing::Found::Unknown
    ));

    let looked_up = world.store.management_look_ups.load(Ordering::SeqCst);
    for garbage in ["", "tg_", "legacy-key-0001", &format!("{text}x")] {
        assert_eq!(licensing.authenticate(garbage).await.unwrap(), None);
    }
    let stranger = Credential::generate(KeyFormat::Tallygate);
    for _ in 0..10 {
        assert_eq!(licensing.authenticate(text).await.unwrap(), known);
        assert_eq!(
            licensing.authenticate(stranger.expose()).await.unwrap(),
            None
        );
    }
    let asked = world.store.management_look_ups.load(Ordering::SeqCst) - looked_up;
    assert_eq!(asked, 1, "the stranger, once");

    licensing
        .acting(model::Actor::OPERATOR)
        .revoke_management_key(issued.key.id)
        .await
        .unwrap();
    assert_eq!(licensing.authenticate(text).await.unwrap(), None, "at once");
    let error = licensing
        .acting(model::Actor::OPERATOR)
        .rotate_management_key(issued.key.id, Duration::ZERO)
        .await;
    assert!(matches!(error, Err(Error::ManagementKeyEnded(_))));
}

#[tokio::test]
async fn the_secret_of_a_pair_is_needed_and_rotates_with_it() {
    let world = World::new().await;
    let licensing = &world.licensing;
    let license = world.issue(Limits::default()).await.license.license.id;
    let request = ManagementKeyRequest {
        license_id: Some(license),
        pair: true,
        ..ManagementKeyRequest::default()
    };
    let old = licensing
        .acting(model::Actor::OPERATOR)
        .create_management_key(request)
        .await
        .unwrap();
    let overlap = Duration::from_secs(60);
    let new = licensing
        .acting(model::Actor::OPERATOR)
        .rotate_management_key(old.key.id, overlap)
        .await
        .unwrap();
    assert_eq!(
        (new.key.license_id, &new.key.account),
        (Some(license), &old.key.account)
    );
    for issued in [&old, &new] {
        let (key, secret) = (issued.credential.expose(), issued.secret.as_ref().unwrap());
        let known = licensing
            .authenticate_pair(key, secret.expose())
            .await
            .unwrap();
        assert_eq!(known.unwrap().id, issued.key.id);
        assert_eq!(
            licensing.authenticate_pair(key, "guess").await.unwrap(),
            None
        );
        assert_eq!(
            licensing.authenticate(key).await.unwrap(),
            None,
            "half is nothing"
        );
        assert_eq!(licensing.authenticate(secret.expose()).await.unwrap(), None);
    }
    world.advance(overlap).await;
    let (key, secret) = (old.credential.expose(), old.secret.as_ref().unwrap());
    let known = licensing.authenticate_pair(key, secret.expose()).await;
    assert_eq!(known.unwrap(), None, "the overlap is over");
    let keys = licensing.management_keys(None).await.unwrap();
    assert_eq!(keys.len(), 2);
}

#[tokio::test]
async fn a_management_key_acts_within_its_account_only() {
    let world = World::new().await;
    let licensing = &world.licensing;
    let license = world.issue(Limits::default()).await.license.license.id;
    licensing
        .acting(model::Actor::OPERATOR)
        .create_account("acme".parse().unwrap())
        .await
        .unwrap();
    let error = licensing
        .acting(model::Actor::OPERATOR)
        .create_account("acme".parse().unwrap())
        .await;
    assert!(matches!(error, Err(Error::Exists(_))));
    assert_eq!(licensing.accounts().await.unwrap().len(), 2);
    let acme = || ManagementKeyRequest {
        account: "acme".parse().unwrap(),
        ..ManagementKeyRequest::default()
    };
    let operator = licensing.acting(model::Actor::OPERATOR);
    let create = |request| operator.create_management_key(request);
    let request = ManagementKeyRequest {
        app: Some(app()),
        ..acme()
    };
    assert!(matches!(create(request).await, Err(Error::AppUnknown(_))));
    let request = ManagementKeyRequest {
        license_id: Some(license),
        ..acme()
    };
    assert!(matches!(
        create(request).await,
        Err(Error::LicenseUnknown(_))
    ));
    let request = ManagementKeyRequest {
        account: "nobody".parse().unwrap(),
        ..acme()
    };
    assert!(matches!(
        create(request).await,
        Err(Error::AccountUnknown(_))
    ));
    let request = ManagementKeyRequest {
        scopes: vec!["All".to_owned()],
        ..acme()
    };
    assert_eq!(field(&create(request).await.unwrap_err()), "scopes");
    let request = ManagementKeyRequest {
        app: Some("other".parse().unwrap()),
        ..acme()
    };
    assert!(create(request).await.is_ok());
}

#[tokio::test]
async fn a_management_key_of_one_license_has_the_app_of_it_and_only_reads() {
    let world = World::new().await;
    let license = world.issue(support::remaining(5)).await.license.license;
    let operator = world.licensing.acting(model::Actor::OPERATOR);
    let request = |scopes: &[&str]| ManagementKeyRequest {
        license_id: Some(license.id),
        scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
        ..ManagementKeyRequest::default()
    };
    let key = operator.create_management_key(request(&[])).await.unwrap();
    assert_eq!(key.key.app, Some(license.app.clone()));
    assert!(!key.key.scopes.is_empty());
    assert!(key.key.held().into_iter().all(model::Scope::only_reads));
    let rotated = operator.rotate_management_key(key.key.id, Duration::ZERO);
    assert_eq!(rotated.await.unwrap().key.scopes, key.key.scopes);
    for scopes in [
        &["write:licenses"][..],
        &["read:usage", "write:keys"],
        &["odd"],
    ] {
        let refused = operator.create_management_key(request(scopes)).await;
        assert_eq!(field(&refused.unwrap_err()), "scopes", "{scopes:?}");
    }
}

#[tokio::test]
async fn units_that_an_earlier_version_took_stay_and_no_more_can_be_set() {
    const LARGEST: u64 = model::MAX_SAFE_INTEGER;
    let world = World::new().await;
    let id = world.issue(support::remaining(5)).await.license.license.id;
    // As an earlier version kept it.
    let kept = Limits {
        remaining: Some(LARGEST + 2),
        refill: Some("9007199254740993/1h,add".parse().unwrap()),
        ..Limits::default()
    };
    let change = LicenseChange::Limits {
        limits: kept.clone(),
        balance: true,
    };
    let keeping = world.store.change_license(id, change, AuditEntries::none());
    keeping.await.unwrap();

    let operator = world.licensing.acting(model::Actor::OPERATOR);
    let labelled = LicenseUpdate {
        label: Some(Some("old".to_owned())),
        ..LicenseUpdate::default()
    };
    let changed = operator.change(id, labelled).await.unwrap();
    assert_eq!(changed.license.spec.limits, kept);
    for (update, blamed) in [
        (Some(LARGEST + 1), None),
        (None, Some("9007199254740992/1h")),
    ] {
        let update = LicenseUpdate {
            remaining: update.map(Some),
            refill: blamed.map(|text| Some(text.parse().unwrap())),
            ..LicenseUpdate::default()
        };
        let expected = if blamed.is_some() {
            "refill"
        } else {
            "remaining"
        };
        let refused = operator.change(id, update).await.unwrap_err();
        assert_eq!(field(&refused), expected);
        assert!(
            refused.to_string().contains("9007199254740991"),
            "{refused}"
        );
    }
}
