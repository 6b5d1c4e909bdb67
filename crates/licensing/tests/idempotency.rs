//! What happens once, however often it is asked for.

#![allow(clippy::unwrap_used, reason = "the panic of a test is its message")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use licensing::{Idempotency, IdempotencyGuard, IdempotentRequest};
use model::{Actor, Timestamp, Who};
use store::{ClaimKind, LedgerStore};
use support::{FaultyStore, World, options};
use testkit::eventually::eventually_async;

const NAME: &[&[u8]] = &[b"account", b"key"];

const fn request(content: &'static [&'static [u8]], reference: u128) -> IdempotentRequest<'static> {
    IdempotentRequest {
        kind: ClaimKind::IdempotencyKey,
        name: NAME,
        content,
        reference,
        prepared: None,
        waits_for_disk: true,
        lifetime: Duration::from_secs(3_600),
        dead: &[],
    }
}

fn mine(once: Idempotency) -> IdempotencyGuard {
    match once {
        Idempotency::Run(claim) => claim,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_ask_one_does_it_and_the_others_get_its_answer() {
    let world = Arc::new(World::new().await);
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let world = world.clone();
        asking.spawn(async move {
            let once = world.licensing.once(&request(&[b"a"], 0)).await.unwrap();
            matches!(once, Idempotency::Run(_)).then_some(once)
        });
    }
    let won: Vec<Idempotency> = asking.join_all().await.into_iter().flatten().collect();
    assert_eq!(won.len(), 1);
    let claim = mine(won.into_iter().next().unwrap());
    assert!(claim.broken_off.is_none());
    let again = world.licensing.once(&request(&[b"a"], 0)).await.unwrap();
    assert!(matches!(again, Idempotency::InProgress), "{again:?}");
    let answer = b"done".to_vec();
    world.licensing.finish_once(claim, answer).await.unwrap();
    let again = world.licensing.once(&request(&[b"a"], 0)).await.unwrap();
    assert!(matches!(again, Idempotency::Replay { answer, .. } if answer == b"done"));
    let other = world.licensing.once(&request(&[b"b"], 0)).await.unwrap();
    assert!(matches!(other, Idempotency::Conflict), "{other:?}");
}

#[tokio::test]
async fn what_came_to_nothing_can_be_asked_for_again() {
    let world = World::new().await;
    let claim = mine(world.licensing.once(&request(&[b"a"], 1)).await.unwrap());
    world.licensing.release_once(claim).await.unwrap();
    let claim = mine(world.licensing.once(&request(&[b"b"], 2)).await.unwrap());
    assert_eq!((claim.reference, claim.broken_off), (2, None));
}

#[tokio::test]
async fn what_was_broken_off_here_is_taken_over_with_its_reference() {
    let world = World::new().await;
    drop(mine(
        world.licensing.once(&request(&[b"a"], 1)).await.unwrap(),
    ));
    let claim = mine(world.licensing.once(&request(&[b"a"], 2)).await.unwrap());
    assert_eq!(claim.reference, 1, "what was recorded can be found");
    assert_eq!(claim.broken_off, Some(world.now()));
}

#[tokio::test]
async fn what_another_gate_left_is_taken_over_when_its_journal_was_read() {
    let world = World::new().await;
    let other = world.neighbour(options()).await;
    drop(mine(
        other.licensing.once(&request(&[b"a"], 1)).await.unwrap(),
    ));
    let once = world.licensing.once(&request(&[b"a"], 2)).await.unwrap();
    assert!(
        matches!(once, Idempotency::Elsewhere(_)),
        "the other gate may be at it"
    );
    let finished = world.store.finish_instance(other.instance, world.now());
    finished.await.unwrap();
    let claim = mine(world.licensing.once(&request(&[b"a"], 2)).await.unwrap());
    assert_eq!(claim.reference, 1);
}

#[tokio::test]
async fn what_a_dead_start_left_is_taken_over_where_its_journal_is_being_read() {
    let world = World::new().await;
    let dead = world.neighbour(options()).await;
    drop(mine(
        dead.licensing.once(&request(&[b"a"], 1)).await.unwrap(),
    ));
    let again = IdempotentRequest {
        dead: &[dead.instance],
        ..request(&[b"a"], 2)
    };
    let claim = mine(world.licensing.once(&again).await.unwrap());
    assert_eq!(claim.reference, 1, "what was recorded can be found");
}

#[tokio::test]
async fn what_a_dead_gate_left_may_be_done_where_the_audit_log_shows_that_it_did_nothing() {
    let world = World::new().await;
    let dead = world.neighbour(options()).await;
    let dead_too = [dead.instance];
    let again = |content| IdempotentRequest {
        dead: &dead_too,
        ..request(content, 2)
    };
    let who = Who::Operator;
    drop(mine(
        dead.licensing.once(&request(&[b"a"], 1)).await.unwrap(),
    ));
    let claim = mine(world.licensing.once(&again(&[b"a"])).await.unwrap());
    assert!(world.licensing.did_nothing(&claim, who).await.unwrap());
    let operator = dead.licensing.acting(Actor::OPERATOR);
    let app = support::app();
    let done = operator.renew_app_secret(&app, Duration::ZERO);
    done.await.unwrap();
    assert!(!world.licensing.did_nothing(&claim, who).await.unwrap());
    let other = world.licensing.did_nothing(&claim, Who::Gate);
    assert!(other.await.unwrap(), "that was the operator");
    drop(claim);
    // What broke off here may be under way in the store.
    let claim = mine(world.licensing.once(&again(&[b"a"])).await.unwrap());
    let other = world.licensing.did_nothing(&claim, Who::Gate);
    assert!(!other.await.unwrap());
}

const PREPARED: IdempotentRequest<'static> = IdempotentRequest {
    prepared: Some(b"prepared"),
    ..request(&[b"a"], 1)
};

async fn answer_of(world: &World) -> Option<(Vec<u8>, Timestamp)> {
    match world.licensing.once(&PREPARED).await.unwrap() {
        Idempotency::Replay { answer, claimed_at } => Some((answer, claimed_at)),
        Idempotency::InProgress | Idempotency::Elsewhere(_) => None,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_prepared_answer_is_given_here_at_once_and_elsewhere_when_the_store_knows_that_it_is_done()
 {
    let world = World::new().await;
    let other = world.neighbour(options()).await;
    let claim = mine(world.licensing.once(&PREPARED).await.unwrap());
    let given = Some((b"prepared".to_vec(), world.now()));
    assert_eq!(answer_of(&world).await, None);
    assert_eq!(answer_of(&other).await, None);
    world.licensing.finish_prepared(claim);
    assert_eq!(answer_of(&world).await, given);
    let conflict = world.licensing.once(&request(&[b"b"], 1)).await.unwrap();
    assert!(matches!(conflict, Idempotency::Conflict), "{conflict:?}");
    // Nobody asks for it to be written.
    let known = async || answer_of(&other).await == given;
    eventually_async("another gate is told", known).await;
    assert_eq!(answer_of(&world).await, given);
}

#[tokio::test]
async fn an_answer_that_the_store_cannot_be_told_of_is_kept_until_it_can() {
    let world = World::new().await;
    let other = world.neighbour(options()).await;
    let claim = mine(world.licensing.once(&PREPARED).await.unwrap());
    let given = Some((b"prepared".to_vec(), world.now()));
    FaultyStore::set(&world.store.dead, true);
    world.licensing.finish_prepared(claim);
    world.licensing.write_finished().await;
    assert_eq!(answer_of(&world).await, given, "it is given from memory");
    assert_eq!(answer_of(&other).await, None, "this gate may be at it");
    FaultyStore::set(&world.store.dead, false);
    // At the stop, what waits is written.
    world.licensing.clone().run(async {}).await;
    assert_eq!(answer_of(&other).await, given);
}

#[tokio::test]
async fn whoever_takes_over_is_told_the_prepared_answer_of_the_first_try() {
    let world = World::new().await;
    let dead = world.neighbour(options()).await;
    drop(mine(dead.licensing.once(&PREPARED).await.unwrap()));
    let finished = world.store.finish_instance(dead.instance, world.now());
    finished.await.unwrap();
    let again = IdempotentRequest {
        prepared: Some(b"another"),
        reference: 2,
        ..PREPARED
    };
    let claim = mine(world.licensing.once(&again).await.unwrap());
    assert_eq!(claim.reference, 1);
    assert_eq!(claim.prepared.as_deref(), Some(&b"prepared"[..]));
    world.licensing.finish_prepared(claim);
    world.licensing.write_finished().await;
    let given = answer_of(&world).await.expect("it is done");
    assert_eq!(given.0, b"prepared");
}

#[tokio::test]
async fn a_sealed_answer_opens_under_its_name_only() {
    let world = World::new().await;
    let sealed = world.licensing.seal_answer(NAME, b"secret");
    assert!(!sealed.windows(6).any(|part| part == b"secret"));
    let open = |name, sealed: &[u8]| world.licensing.open_answer(name, sealed);
    assert_eq!(open(NAME, &sealed).as_deref(), Some(&b"secret"[..]));
    assert_eq!(open(&[b"accountkey"], &sealed), None);
    let mut changed = sealed.clone();
    *changed.last_mut().unwrap() ^= 1;
    assert_eq!(open(NAME, &changed), None);
    assert_eq!(open(NAME, &sealed[..10]), None);
}
