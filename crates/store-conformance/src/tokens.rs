//! The properties of request tokens: won once, and their units are never promised to anybody else.

use std::sync::Arc;

use model::{
    AccountName, CallId, InstanceId, KeyHash, LicenseId, Limits, Method, RequestToken,
    RequestTokenId, TokenState,
};

use crate::StoreFactory;
use crate::fixtures::{balance_figures, batch, hours, keep, lease, new_hash, spent_units, units};
use store::{AuditEntries, Error, LicenseChange, Store, TokenClaim, TokenIssue, TokenStore};

pub(super) fn tokens(store: &Arc<dyn Store>) -> &dyn TokenStore {
    store.tokens().expect("it keeps tokens")
}

fn new_token(license_id: LicenseId, units: u64) -> RequestToken {
    RequestToken {
        id: RequestTokenId::generate(),
        license_id,
        account: AccountName::default(),
        app: "api".parse().expect("valid"),
        method: Method::Post,
        path: "/reports/%C3%BC".to_owned(),
        units,
        state: TokenState::Issued,
        issued_at: hours(0),
        expires_at: hours(1),
        call_id: None,
        consumed_at: None,
        status: None,
        confirmed_status: None,
    }
}

pub(super) async fn issue(
    store: &Arc<dyn Store>,
    license_id: LicenseId,
    units: u64,
) -> (RequestToken, KeyHash) {
    let (token, hash) = (new_token(license_id, units), new_hash());
    let issued = tokens(store)
        .issue_token(token.clone(), hash, hours(0))
        .await;
    assert_eq!(issued, Ok(TokenIssue::Issued));
    (token, hash)
}

/// Returns the id of the call that claims, made of its number.
const fn call(number: u128) -> CallId {
    CallId::from_u128(number)
}

/// The token's units are held from the beginning, and its secret is known by its hash alone.
pub async fn a_token_comes_back_as_it_was_and_holds_its_units<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let license = keep(&*store, units(10, None)).await;
    let (token, hash) = issue(&store, license, 4).await;
    assert_eq!(
        tokens(&store).token(hash, hours(0)).await,
        Ok(Some(token.clone()))
    );
    assert_eq!(tokens(&store).token(new_hash(), hours(0)).await, Ok(None));
    let same = tokens(&store)
        .issue_token(new_token(license, 4), hash, hours(0))
        .await;
    assert!(matches!(same, Err(Error::Exists(_))), "{same:?}");
    assert_eq!(
        balance_figures(&*store, license, hours(0)).await,
        [10, 0, 4, 0]
    );
    let few = tokens(&store)
        .issue_token(new_token(license, 7), new_hash(), hours(0))
        .await;
    let exhausted = TokenIssue::Exhausted {
        next_refill_at: None,
    };
    assert_eq!(few, Ok(exhausted), "all of its units or none");
    let rest = lease(&*store, InstanceId::generate(), license, 99, hours(0)).await;
    assert_eq!((rest.units, rest.left), (6, 0));
    let uncounted = keep(&*store, Limits::default()).await;
    issue(&store, uncounted, 7).await;
}

/// Of any number of claims one wins, and its gate then holds the units (G7).
pub async fn of_many_claims_of_a_token_one_wins_and_has_its_units<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let license = keep(&*store, units(10, None)).await;
    let (token, hash) = issue(&store, license, 4).await;
    let mut tries = tokio::task::JoinSet::new();
    for number in 1..=50 {
        let store = Arc::clone(&store);
        tries.spawn(async move {
            let gate = InstanceId::from_u128(100 + number);
            let claim = tokens(&store).claim_token(hash, gate, call(number), hours(0));
            (number, claim.await.expect("answers"))
        });
    }
    let mut won = Vec::new();
    for (number, claim) in tries.join_all().await {
        match claim {
            TokenClaim::Won { token: of, leased } => {
                assert_eq!((of.id, of.state), (token.id, TokenState::Claimed));
                assert_eq!(of.call_id, Some(call(number)));
                assert_eq!(leased, Some((0, 4)));
                won.push(number);
            }
            TokenClaim::Lost(of) => assert_eq!(of.state, TokenState::Claimed),
            TokenClaim::Unknown => panic!("it is there"),
        }
    }
    assert_eq!(won.len(), 1, "{won:?}");
    assert_eq!(
        balance_figures(&*store, license, hours(0)).await,
        [10, 0, 4, 0]
    );
    let gate = InstanceId::from_u128(100 + won[0]);
    store
        .roll_up(batch(gate, 0, vec![spent_units(license, 0, 3)]))
        .await
        .expect("in place");
    store.settle_instance(gate).await.expect("settled");
    assert_eq!(
        balance_figures(&*store, license, hours(0)).await,
        [10, 3, 0, 0]
    );
    assert_eq!(
        tokens(&store)
            .claim_token(new_hash(), gate, call(1), hours(0))
            .await,
        Ok(TokenClaim::Unknown)
    );
}

/// Only the call that claimed it gives it back; then it can be claimed again, with its units.
pub async fn a_token_whose_call_reached_nobody_can_be_claimed_again<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let license = keep(&*store, units(4, None)).await;
    let (token, hash) = issue(&store, license, 4).await;
    let gate = InstanceId::generate();
    let claim = async |number| {
        let claim = tokens(&store).claim_token(hash, gate, call(number), hours(0));
        claim.await.expect("answers")
    };
    let leased = Some((0, 4));
    assert!(matches!(claim(1).await, TokenClaim::Won { .. }));
    let other = tokens(&store)
        .release_token(token.id, call(2), leased)
        .await;
    assert_eq!(other, Ok(false));
    let own = tokens(&store)
        .release_token(token.id, call(1), leased)
        .await;
    assert_eq!(own, Ok(true));
    assert_eq!(
        tokens(&store).token(hash, hours(0)).await,
        Ok(Some(token.clone()))
    );
    assert_eq!(
        lease(&*store, gate, license, 1, hours(0)).await.units,
        0,
        "the token holds them again"
    );
    let TokenClaim::Won { leased: again, .. } = claim(3).await else {
        panic!("it can be claimed again");
    };
    assert_eq!(again, leased);
    let finish = async |number, status| {
        let finished = tokens(&store).finish_token(token.id, call(number), status, hours(0));
        finished.await.expect("answers")
    };
    assert!(!finish(1, 200).await, "not the call that has it");
    assert!(finish(3, 200).await);
    assert!(!finish(3, 500).await, "the first status stands");
    let late = tokens(&store)
        .release_token(token.id, call(3), leased)
        .await;
    assert_eq!(late, Ok(false), "its use is final");
    let kept = tokens(&store).token(hash, hours(9)).await.expect("answers");
    let kept = kept.expect("there");
    assert_eq!((kept.state, kept.status), (TokenState::Consumed, Some(200)));
    assert_eq!(
        (kept.call_id, kept.consumed_at),
        (Some(call(3)), Some(hours(0)))
    );
    assert!(matches!(claim(4).await, TokenClaim::Lost(_)));
}

/// An answer may be lost on its way. No other call gets that answer, and it never names a lease of
/// an epoch that is over.
pub async fn the_call_that_has_a_token_is_told_the_same_each_time_that_it_asks<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let license = keep(&*store, units(10, None)).await;
    let (token, hash) = issue(&store, license, 4).await;
    let (_, late) = issue(&store, license, 3).await;
    let gate = InstanceId::generate();
    let claim = async |hash, instance, number| {
        let claim = tokens(&store).claim_token(hash, instance, call(number), hours(0));
        claim.await.expect("answers")
    };
    let first = claim(hash, gate, 1).await;
    assert!(matches!(
        first,
        TokenClaim::Won {
            leased: Some((0, 4)),
            ..
        }
    ));
    assert_eq!(claim(hash, gate, 1).await, first);
    let others = [(gate, 2), (InstanceId::generate(), 1)];
    for (instance, number) in others {
        assert!(matches!(
            claim(hash, instance, number).await,
            TokenClaim::Lost(_)
        ));
    }
    assert_eq!(
        balance_figures(&*store, license, hours(0)).await,
        [10, 0, 7, 0],
        "its units are moved once"
    );
    let change = LicenseChange::Limits {
        limits: units(5, None),
        balance: true,
    };
    store
        .change_license(license, change, AuditEntries::none())
        .await
        .expect("changed");
    // The new balance is begun, and with it a new epoch.
    lease(&*store, InstanceId::generate(), license, 1, hours(0)).await;
    for _ in 0..2 {
        let over = claim(late, gate, 3).await;
        assert!(
            matches!(over, TokenClaim::Won { leased: None, .. }),
            "{over:?}"
        );
    }
    let released = tokens(&store).release_token(token.id, call(1), None).await;
    assert_eq!(released, Ok(true));
    assert!(matches!(claim(hash, gate, 4).await, TokenClaim::Won { .. }));
}

/// A token that nobody used in time costs nothing.
pub async fn a_token_that_expired_is_lost_and_its_units_are_free_again<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let license = keep(&*store, units(10, None)).await;
    let (_, hash) = issue(&store, license, 4).await;
    let (_, used) = issue(&store, license, 3).await;
    let gate = InstanceId::generate();
    let claim = async |hash, at| {
        let claim = tokens(&store).claim_token(hash, gate, call(1), at);
        claim.await.expect("answers")
    };
    assert!(matches!(
        claim(used, hours(0)).await,
        TokenClaim::Won { .. }
    ));
    let found = tokens(&store).token(hash, hours(1)).await.expect("answers");
    assert_eq!(found.map(|token| token.state), Some(TokenState::Expired));
    let TokenClaim::Lost(lost) = claim(hash, hours(1)).await else {
        panic!("its time is over");
    };
    assert_eq!(lost.state, TokenState::Expired);
    let expire = async |at| tokens(&store).expire_tokens(at, 10).await;
    assert_eq!(
        balance_figures(&*store, license, hours(1)).await,
        [10, 0, 7, 0]
    );
    assert_eq!(expire(hours(0)).await, Ok(0));
    assert_eq!(
        expire(hours(1)).await,
        Ok(1),
        "one that is used is not ended"
    );
    assert_eq!(expire(hours(1)).await, Ok(0));
    assert_eq!(
        balance_figures(&*store, license, hours(1)).await,
        [10, 0, 3, 0]
    );
    assert_eq!(tokens(&store).forget_tokens(hours(0), 10).await, Ok(0));
    assert_eq!(tokens(&store).forget_tokens(hours(1), 10).await, Ok(2));
    assert_eq!(tokens(&store).token(hash, hours(1)).await, Ok(None));
}

/// Tokens are listed in pages that miss none; one that was used stays as it is.
pub async fn the_tokens_of_a_license_are_listed_and_one_that_nobody_used_is_ended<
    F: StoreFactory,
>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let license = keep(&*store, units(20, None)).await;
    let other = keep(&*store, units(20, None)).await;
    let (strange, _) = issue(&store, other, 1).await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(issue(&store, license, 2).await);
    }
    made.sort_by_key(|(token, _)| token.id);
    let gate = InstanceId::generate();
    let claim = tokens(&store).claim_token(made[1].1, gate, call(1), hours(0));
    assert!(matches!(claim.await, Ok(TokenClaim::Won { .. })));
    let ended = async |id| {
        tokens(&store)
            .end_token(id, hours(0), AuditEntries::none())
            .await
    };
    for _ in 0..2 {
        let token = ended(made[0].0.id).await.expect("answers").expect("there");
        assert_eq!(token.state, TokenState::Expired);
        // Three tokens and the call under way hold two units each, and the ended one none.
        assert_eq!(balance_figures(&*store, license, hours(0)).await[2], 8);
    }
    let claimed = ended(made[1].0.id).await.expect("answers").expect("there");
    assert_eq!(claimed.state, TokenState::Claimed, "a call is under way");
    assert_eq!(ended(RequestTokenId::generate()).await, Ok(None));
    let lost = tokens(&store).claim_token(made[0].1, gate, call(2), hours(0));
    assert!(matches!(lost.await, Ok(TokenClaim::Lost(_))));
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = tokens(&store).tokens_of(license, after, 2, hours(0));
        let page = page.await.expect("answers");
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        if seen.is_empty() {
            issue(&store, license, 1).await;
        }
        seen.extend(page.iter().map(|token| (token.id, token.state)));
    }
    assert_eq!(seen.len(), 6);
    assert!(seen.is_sorted_by(|a, b| a.0 < b.0));
    assert_eq!(
        (seen[0].1, seen[1].1, seen[2].1),
        (TokenState::Expired, TokenState::Claimed, TokenState::Issued)
    );
    let one = tokens(&store).token_by_id(strange.id, hours(1)).await;
    let one = one.expect("answers").expect("there");
    assert_eq!((one.id, one.state), (strange.id, TokenState::Expired));
}

/// The holder reports the status of a call that was made; nobody else can, and not before.
pub async fn the_holder_of_a_consumed_token_confirms_or_disputes_its_status<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let license = keep(&*store, Limits::default()).await;
    let (token, hash) = issue(&store, license, 1).await;
    let confirm = async |license, status| {
        let word = tokens(&store).confirm_token(hash, license, status).await;
        word.expect("answers")
    };
    assert_eq!(confirm(license, 200).await, None, "nobody used it yet");
    let gate = InstanceId::generate();
    let claim = tokens(&store).claim_token(hash, gate, call(1), hours(0));
    assert!(matches!(
        claim.await,
        Ok(TokenClaim::Won { leased: None, .. })
    ));
    assert_eq!(confirm(license, 200).await, None, "it has no status yet");
    tokens(&store)
        .finish_token(token.id, call(1), 200, hours(0))
        .await
        .expect("answers");
    assert_eq!(confirm(LicenseId::generate(), 200).await, None);
    let disputed = confirm(license, 500).await.expect("consumed");
    assert_eq!(disputed.state, TokenState::Disputed);
    assert_eq!(
        (disputed.status, disputed.confirmed_status),
        (Some(200), Some(500))
    );
    let confirmed = confirm(license, 200).await.expect("consumed");
    assert_eq!(
        confirmed.state,
        TokenState::Confirmed,
        "the last word stands"
    );
}

/// A balance that is set anew owes nothing to the tokens before it, and a token finds its units
/// gone.
pub async fn an_epoch_that_is_over_takes_the_units_of_its_tokens_with_it<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let license = keep(&*store, units(10, None)).await;
    let (claimed, first) = issue(&store, license, 4).await;
    let (_, second) = issue(&store, license, 3).await;
    let gate = InstanceId::generate();
    let claim = async |hash| {
        let claim = tokens(&store).claim_token(hash, gate, call(1), hours(0));
        claim.await.expect("answers")
    };
    let TokenClaim::Won { leased, .. } = claim(first).await else {
        panic!("it is there to be won");
    };
    let change = LicenseChange::Limits {
        limits: units(5, None),
        balance: true,
    };
    store
        .change_license(license, change, AuditEntries::none())
        .await
        .expect("changed");
    // The new epoch begins with the next lease.
    assert_eq!(lease(&*store, gate, license, 1, hours(0)).await.units, 1);
    assert_eq!(
        balance_figures(&*store, license, hours(0)).await,
        [5, 0, 1, 1]
    );
    let released = tokens(&store)
        .release_token(claimed.id, call(1), leased)
        .await;
    assert_eq!(released, Ok(true));
    for hash in [first, second] {
        let TokenClaim::Won { leased, .. } = claim(hash).await else {
            panic!("it can still be used");
        };
        assert_eq!(leased, None, "and draws on the new epoch");
    }
    assert_eq!(tokens(&store).expire_tokens(hours(9), 10).await, Ok(0));
    assert_eq!(
        balance_figures(&*store, license, hours(0)).await,
        [5, 0, 1, 1]
    );
}
