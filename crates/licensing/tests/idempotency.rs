//! What happens once, however often it is asked for.

#![allow(clippy::unwrap_used, reason = "the panic of a test is its message")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use licensing::{Idempotency, IdempotencyGuard, IdempotentRequest};
use store::{ClaimKind, LedgerStore};
use support::{World, options};

const NAME: &[&[u8]] = &[b"account", b"key"];

const fn request(content: &'static [&'static [u8]], reference: u128) -> IdempotentRequest<'static> {
    IdempotentRequest {
        kind: ClaimKind::IdempotencyKey,
        name: NAME,
        content,
        reference,
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
    assert!(matches!(again, Idempotency::Replay(answer) if answer == b"done"));
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
        matches!(once, Idempotency::InProgress),
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
