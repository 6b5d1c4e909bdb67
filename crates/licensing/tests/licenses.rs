//! Who is let in, and how long it takes until who is no longer let in is not.

#![allow(clippy::unwrap_used, reason = "the panic of a test is its message")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use licensing::{Found, Freshness, IssueRequest, KeySource, LicensingOptions};
use model::{
    CallFacts, Clock, Credential, KeyDigest, KeyFormat, KeyHash, LicenseSpec, LicenseStatus,
    Limits, Method, Refusal,
};
use support::{FaultyStore, World, app, eventually, hash, hash_of, options, plans, windows};

fn facts(world: &World) -> CallFacts<'static> {
    CallFacts {
        now: world.now(),
        address: Some("10.0.0.1".parse().unwrap()),
        target: Some((Method::Get, "/")),
        features: &[],
        agent: None,
    }
}

fn stranger(number: u64) -> KeyHash {
    support::hasher().hash(&number.to_le_bytes())
}

#[tokio::test]
async fn a_license_is_cold_until_it_is_loaded_and_known_from_then_on() {
    let world = World::new().await;
    let issued = world.issue(Limits::default()).await;
    let hash = hash_of(&issued);
    assert!(matches!(world.find(&hash), Found::Cold));
    let entry = world
        .licensing
        .admission()
        .load(hash)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(entry.check(&facts(&world)), Ok(()));
    assert!(matches!(world.find(&hash), Found::Known(_)));
    assert_eq!(FaultyStore::count(&world.store.look_ups), 1);
    assert!(matches!(world.find(&stranger(1)), Found::Unknown));
}

#[tokio::test]
async fn keys_of_every_shape_and_keys_known_by_their_digest_alone_open_the_gate() {
    let world = World::new().await;
    let imported = Credential::parse("legacy-key-0001").unwrap();
    let digest = KeyDigest::of("legacy-key-0002");
    for source in [
        KeySource::Generate(KeyFormat::Uuid),
        KeySource::Generate(KeyFormat::Apifew),
        KeySource::Generate(KeyFormat::Authforge),
        KeySource::Import(imported.clone()),
        KeySource::ImportDigest(digest),
    ] {
        let request = IssueRequest {
            key: source,
            ..IssueRequest::for_app(app())
        };
        let issued = world
            .licensing
            .acting(model::Actor::OPERATOR)
            .issue(request)
            .await
            .unwrap()
            .remove(0);
        let known_by_digest = Credential::parse("legacy-key-0002").unwrap();
        let key = issued.credential.as_ref().unwrap_or(&known_by_digest);
        let entry = world.entry(&hash(key)).await;
        assert_eq!(entry.license().id, issued.license.license.id);
    }
    let again = IssueRequest {
        key: KeySource::Import(imported),
        ..IssueRequest::for_app(app())
    };
    let error = world
        .licensing
        .acting(model::Actor::OPERATOR)
        .issue(again)
        .await
        .unwrap_err();
    assert!(matches!(error, licensing::Error::Exists(_)), "{error}");
}

#[tokio::test]
async fn a_hundred_calls_with_one_cold_key_look_it_up_once() {
    let world = World::new().await;
    let hash = hash_of(&world.issue(Limits::default()).await);
    FaultyStore::close(&world.store.look_up_gate);
    let waiting = Arc::new(AtomicU64::new(0));
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let (licensing, waiting) = (world.licensing.clone(), waiting.clone());
            tokio::spawn(async move {
                waiting.fetch_add(1, Ordering::SeqCst);
                licensing.admission().load(hash).await.unwrap().is_some()
            })
        })
        .collect();
    eventually("all wait", || waiting.load(Ordering::SeqCst) == 100).await;
    FaultyStore::open(&world.store.look_up_gate);
    for call in calls {
        assert!(call.await.unwrap());
    }
    assert!(
        world
            .licensing
            .admission()
            .load(hash)
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(FaultyStore::count(&world.store.look_ups), 1);
}

#[tokio::test]
async fn calls_beyond_the_bound_of_look_ups_are_refused_at_once() {
    let world = World::with(LicensingOptions {
        loads_in_flight: 1,
        ..options()
    })
    .await;
    let first = hash_of(&world.issue(Limits::default()).await);
    let second = hash_of(&world.issue(Limits::default()).await);
    FaultyStore::close(&world.store.look_up_gate);
    let licensing = world.licensing.clone();
    let waits = tokio::spawn(async move { licensing.admission().load(first).await });
    eventually("one look-up", || FaultyStore::count(&world.store.held) == 1).await;
    let refused = world.licensing.admission().load(second).await.unwrap_err();
    assert_eq!(refused, Refusal::LicenseStoreUnavailable);
    FaultyStore::open(&world.store.look_up_gate);
    assert!(waits.await.unwrap().unwrap().is_some());
    assert!(
        world
            .licensing
            .admission()
            .load(second)
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn a_flood_of_random_keys_neither_reaches_the_store_nor_evicts_anybody() {
    let world = World::new().await;
    let (issued, _) = world.issued_entry(Limits::default()).await;
    let before = (
        FaultyStore::count(&world.store.look_ups),
        world.licensing.cache_size(),
    );
    for number in 0_u64..1_000_000 {
        let mut bytes = [0; 32];
        let word = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bytes[..8].copy_from_slice(&word.to_le_bytes());
        bytes[8..16].copy_from_slice(&number.to_le_bytes());
        let found = world.find(&KeyHash::from_bytes(bytes));
        assert!(matches!(found, Found::Unknown));
    }
    let after = (
        FaultyStore::count(&world.store.look_ups),
        world.licensing.cache_size(),
    );
    assert_eq!(before, after);
    assert!(matches!(world.find(&hash_of(&issued)), Found::Known(_)));
}

#[tokio::test]
async fn a_key_that_shares_a_fingerprint_is_looked_up_once_in_a_while() {
    let world = World::new().await;
    let issued = world.issue(Limits::default()).await;
    // Read back, the new license would make its twin unknown no longer.
    while world.licensing.shareable() < issued.license.version {
        world.licensing.wake();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let hash = hash_of(&issued);
    let mut bytes = *hash.as_bytes();
    bytes[31] ^= 1;
    let twin = KeyHash::from_bytes(bytes);
    assert!(matches!(world.find(&twin), Found::Cold));
    assert!(
        world
            .licensing
            .admission()
            .load(twin)
            .await
            .unwrap()
            .is_none()
    );
    assert!(matches!(world.find(&twin), Found::Unknown));
    assert!(
        matches!(world.find(&hash), Found::Cold),
        "its twin is not meant"
    );
    world.advance(Duration::from_secs(6)).await;
    assert!(matches!(world.find(&twin), Found::Cold));
}

#[tokio::test]
async fn a_change_made_here_is_in_force_when_the_operation_returns() {
    let world = World::new().await;
    // Nothing is learned from the store: what is known is known from the operation itself.
    FaultyStore::set(&world.store.blind, true);
    let (issued, entry) = world.issued_entry(Limits::default()).await;
    let (id, hash) = (issued.license.license.id, hash_of(&issued));
    let signal = entry.state().cut_signal();
    for (status, refusal) in [
        (LicenseStatus::Disabled, Some(Refusal::LicenseDisabled)),
        (LicenseStatus::Active, None),
        (LicenseStatus::Revoked, Some(Refusal::LicenseRevoked)),
    ] {
        world
            .licensing
            .acting(model::Actor::OPERATOR)
            .set_status(id, status)
            .await
            .unwrap();
        assert_eq!(signal.refusal(world.now()), refusal, "streams see it");
        assert!(
            matches!(world.find(&hash), Found::Cold),
            "what was known is not"
        );
        let fresh = world.entry(&hash).await;
        assert_eq!(fresh.check(&facts(&world)).err(), refusal);
    }
    let error = world
        .licensing
        .acting(model::Actor::OPERATOR)
        .set_status(id, LicenseStatus::Active)
        .await;
    assert!(matches!(error, Err(licensing::Error::LicenseRevoked(_))));
    let error = world
        .licensing
        .acting(model::Actor::OPERATOR)
        .extend(id, None)
        .await;
    assert!(matches!(error, Err(licensing::Error::LicenseRevoked(_))));
}

#[tokio::test]
async fn a_change_made_elsewhere_comes_with_the_next_reading_and_cuts_streams() {
    let here = World::new().await;
    let there = here.neighbour(options()).await;
    let (issued, entry) = here.issued_entry(Limits::default()).await;
    let (id, hash) = (issued.license.license.id, hash_of(&issued));
    eventually("the new key is known there", || {
        matches!(there.find(&hash), Found::Cold)
    })
    .await;
    let state = entry.state().clone();
    let clock = here.clock.clone();
    let stream = tokio::spawn(async move { state.cut(&*clock).await });
    there
        .licensing
        .acting(model::Actor::OPERATOR)
        .set_status(id, LicenseStatus::Revoked)
        .await
        .unwrap();
    assert_eq!(stream.await.unwrap(), Refusal::LicenseRevoked);
    eventually("it is not known any more", || {
        matches!(here.find(&hash), Found::Cold)
    })
    .await;
    let fresh = here.entry(&hash).await;
    assert_eq!(fresh.check(&facts(&here)), Err(Refusal::LicenseRevoked));
}

#[tokio::test]
async fn a_call_is_cut_when_its_credential_ends_here_or_elsewhere_and_those_of_others_are_not() {
    let here = World::new().await;
    let there = here.neighbour(options()).await;
    let (first, entry) = here.issued_entry(Limits::default()).await;
    let id = first.license.license.id;
    let operator = here.licensing.acting(model::Actor::OPERATOR);
    let mut entries = vec![entry];
    let mut ids = vec![first.credential_id];
    for _ in 0..3 {
        let source = KeySource::Generate(KeyFormat::Tallygate);
        let further = operator.add_credential(id, &source, None).await.unwrap();
        ids.push(further.credential_id);
        entries.push(here.entry(&hash_of(&further)).await);
    }
    let cut = |at: usize| entries[at].cut(here.now());
    assert_eq!([0, 1, 2, 3].map(cut), [None; 4]);

    operator.revoke_credential(id, ids[1]).await.unwrap();
    let revoked = Some(Refusal::LicenseRevoked);
    assert_eq!([0, 1, 2, 3].map(cut), [None, revoked, None, None]);

    let elsewhere = there.licensing.acting(model::Actor::OPERATOR);
    elsewhere.revoke_credential(id, ids[2]).await.unwrap();
    eventually("the other gate's revocation is known", || cut(2).is_some()).await;
    assert_eq!([0, 1, 2, 3].map(cut), [None, revoked, revoked, None]);

    // A look-up of another credential may see the change before its notification comes.
    FaultyStore::set(&here.store.blind, true);
    elsewhere.revoke_credential(id, ids[3]).await.unwrap();
    let unread = here
        .licensing
        .admission()
        .load(hash_of(&first))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(unread.cut(here.now()), None);
    eventually("what the look-up showed is followed", || cut(3).is_some()).await;
    FaultyStore::set(&here.store.blind, false);

    let minute = Duration::from_secs(60);
    let format = KeyFormat::Tallygate;
    let new = operator.rotate(id, minute, format).await.unwrap();
    let new = here.entry(&hash_of(&new)).await;
    assert_eq!(cut(0), None, "its overlap is not over");
    here.advance(minute).await;
    assert_eq!(cut(0), Some(Refusal::LicenseExpired));
    assert_eq!(new.cut(here.now()), None);
    operator.rotate(id, Duration::ZERO, format).await.unwrap();
    assert_eq!(new.cut(here.now()), Some(Refusal::LicenseExpired));
}

#[tokio::test]
async fn a_stream_is_cut_when_its_license_expires_and_lives_on_when_it_is_extended() {
    let world = World::new().await;
    let request = IssueRequest {
        spec: LicenseSpec {
            expires_at: Some(world.now().plus_micros(1_000_000)),
            ..LicenseSpec::default()
        },
        ..IssueRequest::for_app(app())
    };
    let issued = world
        .licensing
        .acting(model::Actor::OPERATOR)
        .issue(request)
        .await
        .unwrap()
        .remove(0);
    let id = issued.license.license.id;
    let entry = world.entry(&hash_of(&issued)).await;
    let signal = entry.state().cut_signal();
    assert_eq!(signal.refusal(world.now()), None);
    let later = world.now().plus_micros(60_000_000);
    world
        .licensing
        .acting(model::Actor::OPERATOR)
        .extend(id, Some(later))
        .await
        .unwrap();
    world.advance(Duration::from_secs(2)).await;
    assert_eq!(signal.refusal(world.now()), None);
    world
        .licensing
        .acting(model::Actor::OPERATOR)
        .extend(id, Some(world.now().plus_micros(1_000_000)))
        .await
        .unwrap();
    world.advance(Duration::from_secs(2)).await;
    let cut = entry.state().cut(&*world.clock).await;
    assert_eq!(cut, Refusal::LicenseExpired);
}

#[tokio::test]
async fn a_late_fill_does_not_bring_back_what_was_revoked_meanwhile() {
    let world = World::new().await;
    let issued = world.issue(Limits::default()).await;
    let (id, hash) = (issued.license.license.id, hash_of(&issued));
    FaultyStore::close(&world.store.look_up_gate);
    let licensing = world.licensing.clone();
    let fill = tokio::spawn(async move { licensing.admission().load(hash).await });
    eventually("it was read", || FaultyStore::count(&world.store.held) == 1).await;
    world
        .licensing
        .acting(model::Actor::OPERATOR)
        .set_status(id, LicenseStatus::Revoked)
        .await
        .unwrap();
    FaultyStore::open(&world.store.look_up_gate);
    let entry = fill.await.unwrap().unwrap().unwrap();
    assert_eq!(entry.check(&facts(&world)), Err(Refusal::LicenseRevoked));
    assert_eq!(
        FaultyStore::count(&world.store.look_ups),
        2,
        "the first was too old"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fills_and_changes_that_race_never_leave_an_old_entry_behind() {
    let world = Arc::new(World::new().await);
    let issued = world.issue(Limits::default()).await;
    let (id, hash) = (issued.license.license.id, hash_of(&issued));
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (world, done) = (world.clone(), done.clone());
            tokio::spawn(async move {
                while !done.load(Ordering::SeqCst) {
                    if let Found::Cold = world.find(&hash) {
                        world
                            .licensing
                            .admission()
                            .load(hash)
                            .await
                            .unwrap()
                            .unwrap();
                    }
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for round in 0..60 {
        let status = match round % 2 {
            0 => LicenseStatus::Disabled,
            _ => LicenseStatus::Active,
        };
        world
            .licensing
            .acting(model::Actor::OPERATOR)
            .set_status(id, status)
            .await
            .unwrap();
        // From here on, nothing older may be known.
        let entry = world.entry(&hash).await;
        assert_eq!(entry.license().status, status, "round {round}");
    }
    done.store(true, Ordering::SeqCst);
    for reader in readers {
        reader.await.unwrap();
    }
}

#[tokio::test]
async fn the_old_key_of_a_rotation_works_until_the_overlap_is_over() {
    let world = World::new().await;
    let (issued, _) = world.issued_entry(Limits::default()).await;
    let (id, old) = (issued.license.license.id, hash_of(&issued));
    let overlap = Duration::from_secs(60);
    let rotated = world
        .licensing
        .acting(model::Actor::OPERATOR)
        .rotate(id, overlap, KeyFormat::Tallygate)
        .await
        .unwrap();
    let new = hash_of(&rotated);
    assert_eq!(rotated.license.credentials.len(), 2);
    for hash in [old, new] {
        assert_eq!(world.entry(&hash).await.check(&facts(&world)), Ok(()));
    }
    let shared = world.entry(&old).await.state().clone();
    assert!(Arc::ptr_eq(&shared, world.entry(&new).await.state()));
    world.advance(overlap).await;
    let ended = world.entry(&old).await.check(&facts(&world));
    assert_eq!(ended, Err(Refusal::LicenseExpired));
    assert_eq!(world.entry(&new).await.check(&facts(&world)), Ok(()));

    let operator = world.licensing.acting(model::Actor::OPERATOR);
    let again = operator.rotate(id, Duration::ZERO, KeyFormat::Uuid);
    let newest = hash_of(&again.await.unwrap());
    let ended = world.entry(&new).await.check(&facts(&world));
    assert_eq!(ended, Err(Refusal::LicenseExpired));
    let credential = world.entry(&newest).await.credential().id;
    world
        .licensing
        .acting(model::Actor::OPERATOR)
        .revoke_credential(id, credential)
        .await
        .unwrap();
    let ended = world.entry(&newest).await.check(&facts(&world));
    assert_eq!(ended, Err(Refusal::LicenseRevoked));
}

#[tokio::test]
async fn known_licenses_live_on_their_grace_while_the_store_is_away_and_unknown_keys_are_not_judged()
 {
    let world = World::new().await;
    let (issued, _) = world.issued_entry(Limits::default()).await;
    let known = hash_of(&issued);
    let cold = hash_of(&world.issue(Limits::default()).await);
    FaultyStore::set(&world.store.dead, true);
    let refused = world.licensing.admission().load(cold).await.unwrap_err();
    assert_eq!(refused, Refusal::LicenseStoreUnavailable);

    world.clock.advance(Duration::from_secs(3));
    eventually("the store is seen to fail", || {
        let freshness = world.licensing.freshness(world.clock.since_boot());
        matches!(freshness, Freshness::Stale { .. })
    })
    .await;
    assert!(matches!(world.find(&known), Found::Known(_)));
    assert!(matches!(world.find(&cold), Found::Unavailable));
    assert!(
        matches!(world.find(&stranger(1)), Found::Unavailable),
        "never 401"
    );

    world.clock.advance(Duration::from_secs(60));
    eventually("the grace is over", || {
        matches!(world.find(&known), Found::Unavailable)
    })
    .await;

    FaultyStore::set(&world.store.dead, false);
    eventually("the store is read again", || world.is_fresh()).await;
    assert!(matches!(world.find(&known), Found::Known(_)));
    assert!(matches!(world.find(&cold), Found::Cold));
    assert!(matches!(world.find(&stranger(1)), Found::Unknown));
}

#[tokio::test]
async fn a_wall_clock_that_is_set_back_by_the_length_of_an_outage_makes_no_old_knowledge_fresh() {
    let world = World::new().await;
    let (issued, _) = world.issued_entry(Limits::default()).await;
    let hash = hash_of(&issued);
    FaultyStore::set(&world.store.dead, true);
    let before = world.now();
    world.clock.advance(Duration::from_secs(61));
    world.clock.set(before);
    eventually("the grace is over", || {
        matches!(world.find(&hash), Found::Unavailable)
    })
    .await;
    FaultyStore::set(&world.store.dead, false);
    eventually("the store is read again", || world.is_fresh()).await;
    // Nor is new knowledge old by it.
    world.clock.set(before.plus_micros(86_400_000_000));
    assert!(world.is_fresh());
}

#[tokio::test]
async fn streams_of_many_licenses_that_another_gate_revokes_are_cut_by_few_look_ups() {
    let here = World::new().await;
    let there = here.neighbour(options()).await;
    let mut entries = Vec::new();
    for _ in 0..400 {
        entries.push(here.issued_entry(Limits::default()).await.1);
    }
    for entry in &entries {
        let operator = there.licensing.acting(model::Actor::OPERATOR);
        let revoked = operator.set_status(entry.license().id, LicenseStatus::Revoked);
        revoked.await.unwrap();
    }
    for entry in &entries {
        let signal = entry.state().cut_signal();
        eventually("it is cut", || signal.refusal(here.now()).is_some()).await;
    }
    // However the changes came in, no license was looked up by itself.
    let asked = FaultyStore::count(&here.store.look_ups_by_ids);
    assert!(
        asked > 0 && FaultyStore::count(&here.store.single_look_ups) == 0,
        "{asked}"
    );
}

#[tokio::test]
async fn a_gate_that_stood_still_hears_of_the_changes_before_it_judges() {
    let never = LicensingOptions {
        change_poll: Duration::from_secs(86_400),
        ..options()
    };
    let world = World::with(never).await;
    let (issued, _) = world.issued_entry(Limits::default()).await;
    let hash = hash_of(&issued);
    let there = world.neighbour(options()).await;
    let operator = there.licensing.acting(model::Actor::OPERATOR);
    let revoked = operator.set_status(issued.license.license.id, LicenseStatus::Revoked);
    revoked.await.unwrap();
    assert!(
        matches!(world.find(&hash), Found::Known(_)),
        "not heard yet"
    );
    world.clock.advance(Duration::from_secs(30));
    assert!(matches!(world.find(&hash), Found::Unread));
    let now = world.clock.since_boot();
    let found = world
        .licensing
        .admission()
        .find_after_refresh(&hash, now)
        .await;
    assert!(matches!(found, Found::Cold), "{found:?}");
    let judged = world.entry(&hash).await.check(&facts(&world));
    assert_eq!(judged, Err(Refusal::LicenseRevoked));
    // What cannot be read for lack of a store is known at once, and the grace begins.
    world.clock.advance(Duration::from_secs(30));
    FaultyStore::set(&world.store.dead, true);
    let now = world.clock.since_boot();
    let found = world
        .licensing
        .admission()
        .find_after_refresh(&hash, now)
        .await;
    assert!(matches!(found, Found::Known(_)), "{found:?}");
}

#[tokio::test]
async fn changes_that_were_removed_before_they_were_read_make_everything_known_void() {
    let world = World::new().await;
    let (issued, _) = world.issued_entry(Limits::default()).await;
    let hash = hash_of(&issued);
    world.advance(Duration::from_secs(3)).await;
    FaultyStore::set(&world.store.blind, true);
    let there = world.neighbour(options()).await;
    let id = issued.license.license.id;
    let operator = there.licensing.acting(model::Actor::OPERATOR);
    let revoked = operator.set_status(id, LicenseStatus::Revoked);
    revoked.await.unwrap();
    let last = there.issue(Limits::default()).await.license.version.0;
    // Of all these changes the last alone is left.
    world.store.forgotten.store(last - 1, Ordering::SeqCst);
    assert!(
        matches!(world.find(&hash), Found::Known(_)),
        "not heard yet"
    );
    FaultyStore::set(&world.store.blind, false);
    eventually("what was cached is dropped", || {
        matches!(world.find(&hash), Found::Cold)
    })
    .await;
    let judged = world.entry(&hash).await.check(&facts(&world));
    assert_eq!(judged, Err(Refusal::LicenseRevoked));
    eventually("the store is read again", || world.is_fresh()).await;
}

#[tokio::test]
async fn changes_with_the_numbers_of_others_are_told_from_them() {
    let world = World::new().await;
    let (issued, _) = world.issued_entry(Limits::default()).await;
    let hash = hash_of(&issued);
    world.advance(Duration::from_secs(3)).await;
    assert!(matches!(world.find(&hash), Found::Known(_)));
    FaultyStore::set(&world.store.redated, true);
    eventually("what was cached is dropped", || {
        matches!(world.find(&hash), Found::Cold)
    })
    .await;
    // Everything has been read anew when this returns.
    world.advance(Duration::from_secs(3)).await;
    assert!(world.entry(&hash).await.check(&facts(&world)).is_ok());
    world.advance(Duration::from_secs(3)).await;
    assert!(matches!(world.find(&hash), Found::Known(_)), "and stays");
}

#[tokio::test]
async fn a_store_that_went_back_in_time_is_believed_and_nothing_else_is() {
    let world = World::new().await;
    let (issued, entry) = world.issued_entry(support::remaining(20)).await;
    let hash = hash_of(&issued);
    let taken = entry.acquire(&world.ask(1)).await.unwrap();
    // Longer than what counts as fresh, so that the changes so far have been read when this returns.
    world.advance(Duration::from_secs(3)).await;
    FaultyStore::set(&world.store.rewound, true);
    eventually("what was cached is dropped", || {
        matches!(world.find(&hash), Found::Cold)
    })
    .await;
    let fresh = world.entry(&hash).await;
    entry.settle(taken, 1);
    assert_eq!(world.passes(&fresh).await.0, 19, "leases are counted on");
    assert!(matches!(world.find(&stranger(1)), Found::Unknown));
}

#[tokio::test]
async fn plans_that_change_fit_known_licenses_anew_without_a_look_up() {
    let world = World::new().await;
    let request = IssueRequest {
        spec: LicenseSpec {
            plan: Some("free".parse().unwrap()),
            ..LicenseSpec::default()
        },
        ..IssueRequest::for_app(app())
    };
    let issued = world
        .licensing
        .acting(model::Actor::OPERATOR)
        .issue(request)
        .await
        .unwrap()
        .remove(0);
    let hash = hash_of(&issued);
    let entry = world.entry(&hash).await;
    assert_eq!(entry.effective().rate_limits.len(), 1);
    let (passed, refused) = world.passes(&entry).await;
    assert_eq!(
        (passed, refused.unwrap().refusal),
        (2, Refusal::RateLimited)
    );

    let looked_up = FaultyStore::count(&world.store.look_ups);
    let mut revision = plans()
        .plan(&"free".parse().unwrap())
        .unwrap()
        .as_ref()
        .clone();
    revision.plan.rate_limits = windows(&["5/1m"]).rate_limits;
    let revision = model::PlanRevision::from(revision.plan);
    let apps = plans().apps().cloned().collect();
    let changed = licensing::Plans::new(vec![revision.clone()], apps);
    world.licensing.set_plans(changed).await.unwrap();
    let entry = world.entry(&hash).await;
    assert_eq!(entry.plan().unwrap().id, revision.id);
    let (passed, _) = world.passes(&entry).await;
    assert_eq!(passed, 3, "two of the minute's five calls were made before");
    assert_eq!(FaultyStore::count(&world.store.look_ups), looked_up);
}

#[tokio::test]
async fn what_nobody_uses_any_more_is_dropped_from_memory() {
    let world = World::with(LicensingOptions {
        cache_capacity: 10,
        ..options()
    })
    .await;
    let request = IssueRequest {
        spec: LicenseSpec {
            limits: windows(&["5/1s"]),
            ..LicenseSpec::default()
        },
        quantity: 1_000,
        ..IssueRequest::for_app(app())
    };
    for issued in world
        .licensing
        .acting(model::Actor::OPERATOR)
        .issue(request)
        .await
        .unwrap()
    {
        let entry = world.entry(&hash_of(&issued)).await;
        let taken = entry.acquire(&world.ask(1)).await.unwrap();
        entry.settle(taken, 1);
    }
    world.advance(Duration::from_secs(1)).await;
    eventually("states are dropped", || {
        let size = world.licensing.cache_size();
        size.states <= 20 && size.entries <= 20
    })
    .await;
    assert_eq!(world.licensing.cache_size().fingerprints, 1_000);
}
