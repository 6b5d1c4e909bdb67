//! The properties of claims: won once, finished once, forgotten in time.

use std::sync::Arc;

use model::InstanceId;

use crate::StoreFactory;
use crate::fixtures::hours;
use store::{Claim, ClaimKey, ClaimKind, ClaimStore, Claimed, NewClaim, Store};

const DIGEST: [u8; 32] = [7; 32];

fn key(kind: ClaimKind) -> ClaimKey {
    ClaimKey {
        kind,
        digest: DIGEST,
    }
}

fn new(kind: ClaimKind, reference: u128) -> NewClaim {
    NewClaim {
        key: key(kind),
        content: [1; 32],
        owner: InstanceId::from_u128(9),
        reference,
        prepared: None,
        waits_for_disk: true,
        at: hours(0),
        expires_at: hours(1),
    }
}

fn claims(store: &Arc<dyn Store>) -> &dyn ClaimStore {
    store.claims().expect("it keeps claims")
}

async fn lost(store: &Arc<dyn Store>, new: NewClaim) -> Claim {
    match claims(store).claim(new).await.expect("answers") {
        Claimed::Lost(claim) => claim,
        Claimed::Won => panic!("won twice"),
    }
}

/// Many callers present the same key at once.
pub async fn of_many_tries_one_wins_and_the_others_see_what_it_gave<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let mut tries = tokio::task::JoinSet::new();
    for reference in 1..=32 {
        let store = Arc::clone(&store);
        tries.spawn(async move {
            let claimed = claims(&store).claim(new(ClaimKind::Stamp, reference)).await;
            (reference, claimed.expect("answers"))
        });
    }
    let answers = tries.join_all().await;
    let won: Vec<u128> = answers
        .iter()
        .filter(|(_, claimed)| *claimed == Claimed::Won)
        .map(|(reference, _)| *reference)
        .collect();
    assert_eq!(won.len(), 1, "{won:?}");
    for (_, claimed) in answers {
        if let Claimed::Lost(claim) = claimed {
            assert_eq!(claim.reference, won[0]);
            assert_eq!((claim.content, claim.attempt), ([1; 32], 0));
            assert_eq!(claim.owner, InstanceId::from_u128(9));
            assert_eq!((claim.claimed_at, claim.expires_at), (hours(0), hours(1)));
            assert!(!claim.is_finished());
        }
    }
    let other = claims(&store).claim(new(ClaimKind::Nonce, 1)).await;
    assert_eq!(other, Ok(Claimed::Won), "another kind has keys of its own");
}

/// Each of many claims gets its own answer, and no claim a second one.
pub async fn claims_are_finished_with_the_answers_that_they_were_prepared_with<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let prepared = |number: u8, answer: Option<&str>| {
        let mut new = new(ClaimKind::Nonce, number.into());
        new.key.digest = [number; 32];
        new.prepared = answer.map(|answer| answer.as_bytes().to_vec());
        new
    };
    let news = [
        prepared(1, Some("one")),
        prepared(2, Some("")),
        prepared(3, None),
        prepared(4, Some("four")),
        NewClaim {
            key: ClaimKey {
                kind: ClaimKind::Stamp,
                digest: [1; 32],
            },
            ..prepared(1, Some("another kind"))
        },
    ];
    for new in &news {
        let claimed = claims(&store).claim(new.clone()).await;
        assert_eq!(claimed, Ok(Claimed::Won));
        let seen = lost(&store, new.clone()).await;
        assert_eq!((seen.prepared, seen.answer), (new.prepared.clone(), None));
    }
    let first = claims(&store).finish_claim(news[3].key, b"first".to_vec(), hours(1));
    assert_eq!(first.await, Ok(true));
    let mut keys: Vec<ClaimKey> = news[..4].iter().map(|new| new.key).collect();
    keys.push(key(ClaimKind::Nonce));
    let finish = async || claims(&store).finish_prepared(keys.clone()).await;
    assert_eq!(finish().await, Ok(2));
    assert_eq!(finish().await, Ok(0));
    assert_eq!(claims(&store).finish_prepared(Vec::new()).await, Ok(0));
    let answers = [Some("one"), Some(""), None, Some("first"), None];
    for (new, answer) in news.iter().zip(answers) {
        let kept = lost(&store, new.clone()).await;
        let answer = answer.map(|answer| answer.as_bytes().to_vec());
        assert_eq!(kept.answer, answer, "{new:?}");
        assert_eq!(kept.expires_at, hours(1));
        let left = answer.is_none().then(|| new.prepared.clone()).flatten();
        assert_eq!(kept.prepared, left, "{new:?}");
    }
    let again = NewClaim {
        prepared: Some(b"anew".to_vec()),
        at: hours(2),
        expires_at: hours(3),
        ..news[0].clone()
    };
    assert_eq!(claims(&store).claim(again.clone()).await, Ok(Claimed::Won));
    let seen = lost(&store, again.clone()).await;
    assert_eq!((seen.prepared, seen.answer), (again.prepared, None));
}

/// The answer is that of the first that finished, also after the store was opened again.
pub async fn a_finished_claim_keeps_its_first_answer_until_it_expires<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let kind = ClaimKind::IdempotencyKey;
    let finish = async |answer: &[u8]| {
        let finished = claims(&store).finish_claim(key(kind), answer.to_vec(), hours(24));
        finished.await.expect("answers")
    };
    assert!(!finish(b"early").await, "nobody claimed it yet");
    assert_eq!(claims(&store).claim(new(kind, 5)).await, Ok(Claimed::Won));
    assert!(finish(b"first").await);
    assert!(!finish(b"second").await);
    assert_eq!(claims(&store).release_claim(key(kind)).await, Ok(false));
    assert_eq!(
        claims(&store)
            .take_over_claim(key(kind), 0, InstanceId::from_u128(1))
            .await,
        Ok(false)
    );
    drop(store);
    let store = place.open().await;
    let claim = lost(&store, new(kind, 6)).await;
    assert_eq!(claim.answer.as_deref(), Some(&b"first"[..]));
    assert_eq!((claim.reference, claim.expires_at), (5, hours(24)));
    assert_eq!(
        claims(&store).claimed(key(kind)).await,
        Ok(Some(claim)),
        "it can be looked up too"
    );
    let later = NewClaim {
        at: hours(24),
        expires_at: hours(48),
        ..new(kind, 7)
    };
    assert_eq!(claims(&store).claim(later).await, Ok(Claimed::Won));
    let claim = lost(&store, new(kind, 8)).await;
    assert_eq!((claim.reference, claim.answer), (7, None));
}

/// A claim whose work had no effect can be won again, and one that was left behind is taken over by
/// one.
pub async fn a_claim_is_given_back_or_taken_over_by_one<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let kind = ClaimKind::Stamp;
    assert_eq!(claims(&store).claim(new(kind, 1)).await, Ok(Claimed::Won));
    assert_eq!(claims(&store).release_claim(key(kind)).await, Ok(true));
    assert_eq!(claims(&store).release_claim(key(kind)).await, Ok(false));
    assert_eq!(claims(&store).claim(new(kind, 2)).await, Ok(Claimed::Won));
    let mut tries = tokio::task::JoinSet::new();
    for owner in 1..=16 {
        let store = Arc::clone(&store);
        tries.spawn(async move {
            let owner = InstanceId::from_u128(owner);
            let taken = claims(&store).take_over_claim(key(kind), 0, owner).await;
            (owner, taken.expect("answers"))
        });
    }
    let taken = tries.join_all().await;
    let winners: Vec<_> = taken.iter().filter(|(_, taken)| *taken).collect();
    assert_eq!(winners.len(), 1, "{winners:?}");
    let claim = lost(&store, new(kind, 3)).await;
    assert_eq!((claim.owner, claim.attempt), (winners[0].0, 1));
    assert_eq!(claim.reference, 2, "what it is found by stays");
}

/// Claims are swept in pieces, the oldest first, and never one that still holds.
pub async fn claims_that_expired_are_swept_and_no_others<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    for number in 0..5_u8 {
        let claim = NewClaim {
            key: ClaimKey {
                kind: ClaimKind::Nonce,
                digest: [number; 32],
            },
            expires_at: hours(i64::from(number)),
            ..new(ClaimKind::Nonce, 0)
        };
        assert_eq!(claims(&store).claim(claim).await, Ok(Claimed::Won));
    }
    assert_eq!(claims(&store).sweep_claims(hours(2), 2).await, Ok(2));
    assert_eq!(claims(&store).sweep_claims(hours(2), 2).await, Ok(1));
    assert_eq!(claims(&store).sweep_claims(hours(2), 2).await, Ok(0));
    for (number, kept) in [(2, false), (3, true)] {
        let key = ClaimKey {
            kind: ClaimKind::Nonce,
            digest: [number; 32],
        };
        let found = claims(&store).claimed(key).await.expect("answers");
        assert_eq!(found.is_some(), kept);
    }
}
