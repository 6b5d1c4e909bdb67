//! API keys: made, shown, changed, judged, deleted.

#![allow(clippy::unwrap_used, reason = "the panic of a test is its message")]

mod support;

use std::time::Duration;

use licensing::{
    ApiKeyOwner, ApiKeyPolicy, ApiKeyRequest, ApiKeyUpdate, ApiKeyView, Error, IssuedApiKey,
    KeyEnd, KeyRefusal,
};
use model::{ApiKeyRule, KeyHash, LicenseStatus, RateLimit, ResourcePermissions, WindowKind};
use store::{ApiKeyPage, ApiKeySort};
use support::{World, app, hash};

const DAY: Duration = Duration::from_secs(86_400);

const ALL: ApiKeyPage = ApiKeyPage {
    sort: ApiKeySort::CreatedAt,
    descending: false,
    offset: 0,
    limit: 100,
};

fn request() -> ApiKeyRequest {
    ApiKeyRequest::new(Some("default".parse().unwrap()), Some(app()))
}

fn owner(account: &str) -> ApiKeyOwner {
    ApiKeyOwner {
        account: Some(account.parse().unwrap()),
        ..ApiKeyOwner::default()
    }
}

async fn made(world: &World, request: ApiKeyRequest) -> (IssuedApiKey, KeyHash) {
    let policy = ApiKeyPolicy::default();
    let issued = world
        .licensing
        .acting(model::Actor::OPERATOR)
        .create_api_key(&policy, request)
        .await;
    let issued = issued.unwrap();
    let hash = hash(&issued.credential);
    (issued, hash)
}

async fn updated(world: &World, id: model::LicenseId, update: ApiKeyUpdate) -> ApiKeyView {
    let policy = ApiKeyPolicy::default();
    let own = owner("default");
    let updated = world
        .licensing
        .acting(model::Actor::OPERATOR)
        .update_api_key(&policy, &own, id, update)
        .await;
    updated.unwrap()
}

async fn shown(world: &World, id: model::LicenseId) -> ApiKeyView {
    world
        .licensing
        .api_key(&owner("default"), id)
        .await
        .unwrap()
}

/// Uses a key as the gate does.
async fn used(world: &World, hash: &KeyHash) -> bool {
    let entry = world.entry(hash).await;
    match entry.acquire(&world.ask(1)).await {
        Ok(taken) => {
            entry.settle(taken, 1);
            true
        }
        Err(_) => false,
    }
}

fn rule(result: Result<IssuedApiKey, Error>) -> Option<ApiKeyRule> {
    match result {
        Err(Error::ApiKeyRule(rule)) => Some(rule),
        _ => None,
    }
}

#[tokio::test]
async fn a_new_key_has_the_shape_and_the_limits_of_the_policy() {
    let world = World::new().await;
    let (issued, hash) = made(
        &world,
        ApiKeyRequest {
            prefix: Some("pk_".parse().unwrap()),
            name: Some("first".to_owned()),
            ..request()
        },
    )
    .await;
    let key = issued.credential.expose();
    assert_eq!((key.len(), &key[..3]), (67, "pk_"));
    assert!(key[3..].bytes().all(|b| b.is_ascii_alphabetic()));
    assert_eq!(issued.view.start, key[..6]);
    assert_eq!(issued.view.rate, Some("10/1d".parse().unwrap()));
    assert!(issued.view.rate_enabled && issued.view.is_enabled());
    assert_eq!(issued.view.license.spec.label.as_deref(), Some("first"));
    assert_eq!(shown(&world, issued.view.id()).await, issued.view);
    let entry = world.entry(&hash).await;
    assert_eq!(entry.license().id, issued.view.id());
    assert_eq!(entry.api_key().unwrap().key, issued.view.key);
}

#[tokio::test]
async fn what_breaks_a_rule_makes_no_key() {
    let world = World::new().await;
    let policy = ApiKeyPolicy::default();
    let wrong = [
        (
            ApiKeyRequest {
                name: Some("x".repeat(33)),
                ..request()
            },
            ApiKeyRule::NameLength,
        ),
        (
            ApiKeyRequest {
                name: Some(String::new()),
                ..request()
            },
            ApiKeyRule::NameLength,
        ),
        (
            ApiKeyRequest {
                metadata: Some("{}".parse().unwrap()),
                ..request()
            },
            ApiKeyRule::MetadataDisabled,
        ),
        (
            ApiKeyRequest {
                end: KeyEnd::In(DAY - Duration::from_secs(1)),
                ..request()
            },
            ApiKeyRule::EndTooSoon,
        ),
        (
            ApiKeyRequest {
                end: KeyEnd::In(366 * DAY),
                ..request()
            },
            ApiKeyRule::EndTooLate,
        ),
    ];
    for (request, expected) in wrong {
        let result = world
            .licensing
            .acting(model::Actor::OPERATOR)
            .create_api_key(&policy, request)
            .await;
        assert_eq!(rule(result), Some(expected));
    }
    let strict = ApiKeyPolicy {
        name_required: true,
        ..policy.clone()
    };
    let result = world
        .licensing
        .acting(model::Actor::OPERATOR)
        .create_api_key(&strict, request())
        .await;
    assert_eq!(rule(result), Some(ApiKeyRule::NameRequired));
    let foreign = ApiKeyRequest::new(Some("acme".parse().unwrap()), Some(app()));
    let result = world
        .licensing
        .acting(model::Actor::OPERATOR)
        .create_api_key(&policy, foreign)
        .await;
    assert!(matches!(result, Err(Error::AppUnknown(_))));
    let poor = ApiKeyRequest::new(Some("poor".parse().unwrap()), None);
    let result = world
        .licensing
        .acting(model::Actor::OPERATOR)
        .create_api_key(&policy, poor)
        .await;
    assert!(matches!(result, Err(Error::AccountWithoutApps(_))));
    let (keys, total) = world
        .licensing
        .api_keys(&ApiKeyOwner::default(), None, ALL)
        .await
        .unwrap();
    assert_eq!((keys.len(), total), (0, 0));
    let (edge, _) = made(
        &world,
        ApiKeyRequest {
            end: KeyEnd::In(DAY),
            ..request()
        },
    )
    .await;
    assert!(edge.view.license.spec.expires_at.is_some());
}

#[tokio::test]
async fn what_is_used_shows_at_once_and_is_written_down() {
    let world = World::new().await;
    let (issued, hash) = made(
        &world,
        ApiKeyRequest {
            remaining: Some(5),
            ..request()
        },
    )
    .await;
    let id = issued.view.id();
    assert!(used(&world, &hash).await && used(&world, &hash).await);
    let view = shown(&world, id).await;
    assert_eq!((view.request_count, view.remaining), (2, Some(3)));
    assert_eq!(view.last_request, Some(world.now()));
    world.licensing.write_last_uses().await;
    let later = world.neighbour(support::options()).await;
    let there = shown(&later, id).await;
    assert_eq!(there.last_request, Some(world.now()));
    world.advance(DAY).await;
    let view = shown(&world, id).await;
    assert_eq!((view.request_count, view.remaining), (0, Some(3)));
}

#[tokio::test]
async fn an_update_changes_what_it_names_and_nothing_else() {
    let world = World::new().await;
    let (issued, hash) = made(
        &world,
        ApiKeyRequest {
            remaining: Some(5),
            refill: Some("5/1h".parse().unwrap()),
            ..request()
        },
    )
    .await;
    let id = issued.view.id();
    assert!(used(&world, &hash).await);
    let before = shown(&world, id).await;
    let rename = ApiKeyUpdate {
        name: Some(Some("second".to_owned())),
        ..ApiKeyUpdate::default()
    };
    let after = updated(&world, id, rename).await;
    assert_eq!(after.key.name.as_deref(), Some("second"));
    let counters = |view: &ApiKeyView| (view.remaining, view.request_count, view.last_request);
    assert_eq!(counters(&after), counters(&before));
    assert_eq!(after.license.spec.limits, before.license.spec.limits);

    let off = ApiKeyUpdate {
        rate_enabled: Some(false),
        ..ApiKeyUpdate::default()
    };
    let after = updated(&world, id, off).await;
    assert_eq!((after.rate, after.rate_enabled), (before.rate, false));
    assert!(after.license.spec.limits.rate_limits.is_empty());
    let on = ApiKeyUpdate {
        rate_enabled: Some(true),
        remaining: Some(Some(9)),
        ..ApiKeyUpdate::default()
    };
    let after = updated(&world, id, on).await;
    assert_eq!((after.rate, after.rate_enabled), (before.rate, true));
    assert_eq!(after.remaining, Some(9));

    let nothing = world
        .licensing
        .acting(model::Actor::OPERATOR)
        .update_api_key(
            &ApiKeyPolicy::default(),
            &owner("default"),
            id,
            ApiKeyUpdate::default(),
        )
        .await;
    let broken = matches!(nothing, Err(Error::ApiKeyRule(ApiKeyRule::NothingToChange)));
    assert!(broken, "{nothing:?}");
}

#[tokio::test]
async fn another_owners_key_is_not_there_and_a_deleted_one_opens_nothing() {
    let world = World::new().await;
    let (issued, hash) = made(&world, request()).await;
    let id = issued.view.id();
    let licensing = &world.licensing;
    let mut narrow = owner("default");
    narrow.app = Some("other".parse().unwrap());
    for stranger in [owner("acme"), narrow] {
        let found = licensing.api_key(&stranger, id).await;
        assert!(matches!(found, Err(Error::ApiKeyUnknown(_))));
        let gone = licensing
            .acting(model::Actor::OPERATOR)
            .delete_api_key(&stranger, id)
            .await;
        assert!(matches!(gone, Err(Error::ApiKeyUnknown(_))));
        let entry = world.entry(&hash).await;
        let judged = licensing.judge_key(&stranger, &entry, None, world.now());
        assert_eq!(judged, Err(KeyRefusal::Unknown));
    }
    licensing
        .acting(model::Actor::OPERATOR)
        .delete_api_key(&owner("default"), id)
        .await
        .unwrap();
    let again = licensing
        .acting(model::Actor::OPERATOR)
        .delete_api_key(&owner("default"), id)
        .await;
    assert!(matches!(again, Err(Error::ApiKeyUnknown(_))));
    let entry = world.entry(&hash).await;
    assert_eq!(entry.license().status, LicenseStatus::Revoked);
    let judged = licensing.judge_key(&owner("default"), &entry, None, world.now());
    assert_eq!(judged, Err(KeyRefusal::Unknown));
}

#[tokio::test]
async fn a_key_is_judged_in_order() {
    let world = World::new().await;
    let asked: ResourcePermissions = r#"{"files":["read"]}"#.parse().unwrap();
    let (issued, hash) = made(
        &world,
        ApiKeyRequest {
            end: KeyEnd::In(DAY),
            remaining: Some(0),
            permissions: Some(r#"{"files":["write"]}"#.parse().unwrap()),
            ..request()
        },
    )
    .await;
    let judge = async |asked: Option<&ResourcePermissions>| {
        let entry = world.entry(&hash).await;
        let own = owner("default");
        world.licensing.judge_key(&own, &entry, asked, world.now())
    };
    assert_eq!(judge(None).await, Ok(()));
    assert_eq!(judge(Some(&asked)).await, Err(KeyRefusal::NotPermitted));
    world.advance(2 * DAY).await;
    assert_eq!(judge(Some(&asked)).await, Err(KeyRefusal::Expired));
    let off = ApiKeyUpdate {
        enabled: Some(false),
        ..ApiKeyUpdate::default()
    };
    updated(&world, issued.view.id(), off).await;
    assert_eq!(judge(Some(&asked)).await, Err(KeyRefusal::Disabled));
    assert!(!used(&world, &hash).await);
}

#[tokio::test]
async fn the_expired_keys_of_an_owner_are_deleted_together() {
    let world = World::new().await;
    for account in ["default", "default", "acme"] {
        let app = if account == "acme" { "other" } else { "api" };
        let request = ApiKeyRequest {
            end: KeyEnd::In(DAY),
            ..ApiKeyRequest::new(Some(account.parse().unwrap()), Some(app.parse().unwrap()))
        };
        made(&world, request).await;
    }
    let (stays, _) = made(&world, request()).await;
    world.advance(2 * DAY).await;
    let licensing = &world.licensing;
    let deleted = licensing
        .acting(model::Actor::OPERATOR)
        .delete_expired_api_keys(&owner("default"))
        .await;
    assert_eq!(deleted.unwrap(), 2);
    let (left, total) = licensing
        .api_keys(&ApiKeyOwner::default(), None, ALL)
        .await
        .unwrap();
    assert_eq!((left.len(), total), (2, 2));
    assert!(left.iter().any(|view| view.id() == stays.view.id()));
}

#[tokio::test]
async fn a_rotated_key_keeps_its_shape_and_is_still_an_api_key() {
    let world = World::new().await;
    let (issued, _) = made(
        &world,
        ApiKeyRequest {
            prefix: Some("pk_".parse().unwrap()),
            ..request()
        },
    )
    .await;
    let id = issued.view.id();
    let rotated = world
        .licensing
        .acting(model::Actor::OPERATOR)
        .rotate(id, Duration::ZERO, model::KeyFormat::Tallygate)
        .await
        .unwrap();
    let credential = rotated.credential.unwrap();
    assert!(credential.expose().starts_with("pk_"));
    let entry = world.entry(&hash(&credential)).await;
    assert!(entry.api_key().is_some());
    assert_eq!(shown(&world, id).await.start, credential.expose()[..6]);
}

/// One call every five minutes for three hours, ten an hour.
async fn called_every_five_minutes(kind: WindowKind) -> Vec<bool> {
    let world = World::new().await;
    let policy = ApiKeyPolicy {
        windows: kind,
        ..ApiKeyPolicy::default()
    };
    let limit: RateLimit = "10/1h".parse().unwrap();
    let request = ApiKeyRequest {
        rate: Some(limit),
        ..request()
    };
    let issued = world
        .licensing
        .acting(model::Actor::OPERATOR)
        .create_api_key(&policy, request)
        .await;
    let hash = hash(&issued.unwrap().credential);
    let mut passed = Vec::new();
    for _ in 0..36 {
        passed.push(used(&world, &hash).await);
        world.advance(Duration::from_secs(300)).await;
    }
    passed
}

#[tokio::test]
async fn a_fixed_window_lets_ten_pass_in_each_hour() {
    let passed = called_every_five_minutes(WindowKind::Fixed).await;
    for hour in passed.chunks(12) {
        let expected: Vec<bool> = (0..12).map(|call| call < 10).collect();
        assert_eq!(hour, expected);
    }
}

#[tokio::test]
async fn an_idle_window_is_locked_until_no_call_has_passed_for_its_length() {
    let passed = called_every_five_minutes(WindowKind::Idle).await;
    let minutes = |minutes: u32| (minutes / 5) as usize;
    assert!(passed[..=minutes(45)].iter().all(|passed| *passed));
    assert!(
        !passed[minutes(50)..=minutes(105)]
            .iter()
            .any(|passed| *passed)
    );
    assert!(passed[minutes(110)]);
}
