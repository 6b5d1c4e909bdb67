//! The properties of sessions: refresh tokens for one use, access tokens as credentials, and the
//! windows of keys.

use std::sync::Arc;
use std::time::Duration;

use model::{
    ACCESS_TOKEN_KIND, Clock, CredentialId, CredentialStatus, KeyHash, LicenseId, Limits,
    ManagementKeyId, RateLimit, Session, SessionId, SystemClock, Timestamp,
};

use crate::StoreFactory;
use crate::fixtures::{BIRTH, keep, new_hash, new_management_key};
use store::{AuditEntries, ChangeNumber, Error, NewTokens, RefreshOutcome, Store};

const MAX_SESSIONS: u32 = 1_000;

fn now() -> Timestamp {
    SystemClock.now()
}

fn later(seconds: i64) -> Timestamp {
    now().plus_micros(seconds * 1_000_000)
}

/// Keeps the key of a pair.
pub(super) async fn key(store: &dyn Store, expires_at: Option<Timestamp>) -> ManagementKeyId {
    let mut new = new_management_key();
    new.key.expires_at = expires_at;
    let id = new.key.id;
    let creating = store.create_management_key(new, AuditEntries::none());
    creating.await.expect("new");
    id
}

pub(super) fn session(key_id: ManagementKeyId, license_id: Option<LicenseId>) -> Session {
    Session {
        id: SessionId::generate(),
        key_id,
        license_id,
        created_at: now(),
        ended_at: None,
    }
}

pub(super) fn tokens() -> NewTokens {
    NewTokens {
        access_id: CredentialId::generate(),
        access: new_hash(),
        access_expires_at: later(3_600),
        refresh: new_hash(),
        refresh_expires_at: later(86_400),
        issued_at: now(),
    }
}

/// Keeps a session with its first tokens.
async fn begun(
    store: &dyn Store,
    key_id: ManagementKeyId,
    license_id: Option<LicenseId>,
) -> (Session, NewTokens) {
    let (session, tokens) = (session(key_id, license_id), tokens());
    let kept = store
        .create_session(
            session.clone(),
            tokens.clone(),
            MAX_SESSIONS,
            AuditEntries::none(),
        )
        .await;
    assert_eq!(kept, Ok(true));
    (session, tokens)
}

/// Returns when the access token with this hash ends at the gate.
async fn end_at_the_gate(store: &dyn Store, hash: KeyHash) -> Option<Timestamp> {
    let found = store.license_by_key(hash).await.expect("answers")?;
    assert_eq!(found.credential.status, CredentialStatus::Active);
    found.credential.expires_at
}

async fn last_change(store: &dyn Store) -> ChangeNumber {
    let (_, last) = store
        .changes_since(ChangeNumber(0), 1)
        .await
        .expect("answers");
    last
}

/// The token's fingerprint comes with the changes and with the list of all.
pub async fn an_access_token_is_a_credential_of_the_license_that_its_session_draws_on<
    F: StoreFactory,
>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let license = keep(&*store, Limits::default()).await;
    let before = last_change(&*store).await;
    let key_id = key(&*store, None).await;
    let (session, first) = begun(&*store, key_id, Some(license)).await;
    assert_eq!(store.session(session.id).await, Ok(Some(session.clone())));

    let found = store
        .license_by_key(first.access)
        .await
        .expect("answers")
        .expect("there");
    assert_eq!(found.license.id, license);
    assert_eq!(found.credential.id, first.access_id);
    assert_eq!(found.credential.kind, ACCESS_TOKEN_KIND);
    assert_eq!(found.credential.expires_at, Some(first.access_expires_at));
    assert!(found.allow_ips.is_empty());
    let (changes, _) = store.changes_since(before, 10).await.expect("answers");
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].added, Some(first.access.fingerprint()));
    assert_eq!(changes[0].license_id, license);
    assert_eq!(found.version, changes[0].number);
    let (all, _) = store.fingerprints(None, 100).await.expect("answers");
    assert!(all.contains(&first.access.fingerprint()));
    let shown = store
        .license(license)
        .await
        .expect("answers")
        .expect("there");
    assert_eq!(
        shown.credentials.len(),
        1,
        "tokens are not shown among the keys"
    );

    let (_, unbound) = begun(&*store, key_id, None).await;
    assert_eq!(store.license_by_key(unbound.access).await, Ok(None));
}

/// A rotation of the license's keys leaves the tokens of a pair as they are.
pub async fn access_tokens_outlive_a_rotation_of_the_keys_of_their_license<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let license = keep(&*store, Limits::default()).await;
    let key_id = key(&*store, None).await;
    let (_, first) = begun(&*store, key_id, Some(license)).await;
    let new = super::fixtures::new_license(Limits::default())
        .credentials
        .remove(0);
    let change = store::LicenseChange::AddCredential {
        credential: new,
        others_expire_at: Some(now()),
    };
    store
        .change_license(license, change, AuditEntries::none())
        .await
        .expect("answers")
        .expect("there");
    assert_eq!(
        end_at_the_gate(&*store, first.access).await,
        Some(first.access_expires_at)
    );
}

/// The new pair is in force, the used one is not, and using it again ends the family.
pub async fn a_refresh_token_is_good_for_one_use_and_a_replay_ends_its_family<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let license = keep(&*store, Limits::default()).await;
    let key_id = key(&*store, None).await;
    let (session, first) = begun(&*store, key_id, Some(license)).await;
    let second = tokens();
    let outcome = store
        .refresh_session(first.refresh, now(), second.clone(), AuditEntries::none())
        .await;
    assert_eq!(outcome, Ok(RefreshOutcome::Refreshed));
    let used = store
        .refresh_token(first.refresh)
        .await
        .expect("answers")
        .expect("there");
    assert!(used.used_at.is_some());
    assert_eq!(used.session, session);
    let fresh = store
        .refresh_token(second.refresh)
        .await
        .expect("answers")
        .expect("there");
    assert_eq!(
        (fresh.used_at, fresh.expires_at),
        (None, second.refresh_expires_at)
    );
    for access in [first.access, second.access] {
        assert!(end_at_the_gate(&*store, access).await > Some(now()));
    }

    let before = last_change(&*store).await;
    let replay = store
        .refresh_session(first.refresh, later(1), tokens(), AuditEntries::none())
        .await;
    assert_eq!(replay, Ok(RefreshOutcome::Replayed));
    let ended = store
        .session(session.id)
        .await
        .expect("answers")
        .expect("there");
    assert!(ended.ended_at.is_some());
    for access in [first.access, second.access] {
        assert!(
            end_at_the_gate(&*store, access).await <= Some(now()),
            "the whole family ends"
        );
    }
    assert!(last_change(&*store).await > before, "other gates learn it");
    for refresh in [first.refresh, second.refresh] {
        let outcome = store
            .refresh_session(refresh, later(2), tokens(), AuditEntries::none())
            .await;
        assert_eq!(outcome, Ok(RefreshOutcome::Refused));
    }
    let unknown = store
        .refresh_session(new_hash(), now(), tokens(), AuditEntries::none())
        .await;
    assert_eq!(unknown, Ok(RefreshOutcome::Refused));
}

/// Of twenty refreshes at once, asked before any was answered, one wins, and none is taken for a
/// replay.
pub async fn exactly_one_of_many_parallel_refreshes_wins<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let key_id = key(&*store, None).await;
    let (session, first) = begun(&*store, key_id, None).await;
    let asked_at = now();
    let mut tries = Vec::new();
    for _ in 0..20 {
        let store = Arc::clone(&store);
        let refresh = first.refresh;
        tries.push(tokio::spawn(async move {
            store
                .refresh_session(refresh, asked_at, tokens(), AuditEntries::none())
                .await
        }));
    }
    let mut outcomes = Vec::new();
    for one in tries {
        outcomes.push(one.await.expect("no panic").expect("answers"));
    }
    let count = |outcome| outcomes.iter().filter(|other| **other == outcome).count();
    assert_eq!(count(RefreshOutcome::Refreshed), 1, "{outcomes:?}");
    assert_eq!(count(RefreshOutcome::Lost), 19, "{outcomes:?}");
    assert_eq!(store.session(session.id).await, Ok(Some(session)));
}

/// An expired refresh token is refused, and its family goes on by its other tokens.
pub async fn a_refresh_token_ends_in_time<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let key_id = key(&*store, None).await;
    let (session, old) = (
        session(key_id, None),
        NewTokens {
            refresh_expires_at: now(),
            ..tokens()
        },
    );
    assert_eq!(
        store
            .create_session(
                session.clone(),
                old.clone(),
                MAX_SESSIONS,
                AuditEntries::none()
            )
            .await,
        Ok(true)
    );
    let outcome = store
        .refresh_session(old.refresh, now(), tokens(), AuditEntries::none())
        .await;
    assert_eq!(outcome, Ok(RefreshOutcome::Refused));
    assert_eq!(store.session(session.id).await, Ok(Some(session)));
}

/// A hash that is there already is not taken again, and nothing is half kept.
pub async fn tokens_are_kept_once_and_a_refresh_that_cannot_be_kept_uses_nothing<
    F: StoreFactory,
>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let license = keep(&*store, Limits::default()).await;
    let key_id = key(&*store, None).await;
    let (_, first) = begun(&*store, key_id, Some(license)).await;
    let again = store
        .create_session(
            session(key_id, Some(license)),
            first.clone(),
            MAX_SESSIONS,
            AuditEntries::none(),
        )
        .await;
    assert!(matches!(again, Err(Error::Exists(_))), "{again:?}");
    let clash = NewTokens {
        access: first.access,
        ..tokens()
    };
    let refused = store
        .refresh_session(first.refresh, now(), clash, AuditEntries::none())
        .await;
    assert!(matches!(refused, Err(Error::Exists(_))), "{refused:?}");
    let outcome = store
        .refresh_session(first.refresh, now(), tokens(), AuditEntries::none())
        .await;
    assert_eq!(outcome, Ok(RefreshOutcome::Refreshed));
}

/// The first end stands; ending it again changes nothing.
pub async fn a_session_is_ended_with_all_its_tokens<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let license = keep(&*store, Limits::default()).await;
    let key_id = key(&*store, None).await;
    let (session, first) = begun(&*store, key_id, Some(license)).await;
    let (_, other) = begun(&*store, key_id, Some(license)).await;
    let at = now();
    let ended = store
        .end_session(session.id, at, AuditEntries::none())
        .await
        .expect("answers")
        .expect("there");
    assert_eq!(ended.ended_at, Some(at));
    assert_eq!(end_at_the_gate(&*store, first.access).await, Some(at));
    assert_eq!(
        end_at_the_gate(&*store, other.access).await,
        Some(other.access_expires_at)
    );
    let asked = [first.access_id, other.access_id, CredentialId::generate()];
    let asked = asked.map(|token| (license, token)).to_vec();
    let mut ends = store.token_ends(asked).await.expect("answers");
    ends.sort_unstable();
    let mut expected = [
        (first.access_id, at),
        (other.access_id, other.access_expires_at),
    ];
    expected.sort_unstable();
    assert_eq!(ends, expected);
    assert_eq!(store.token_ends(Vec::new()).await, Ok(Vec::new()));
    let version = last_change(&*store).await;
    let again = store
        .end_session(session.id, later(5), AuditEntries::none())
        .await
        .expect("answers")
        .expect("there");
    assert_eq!(again.ended_at, Some(at));
    assert_eq!(last_change(&*store).await, version);
    assert_eq!(
        store
            .end_session(SessionId::from_u128(1), at, AuditEntries::none())
            .await,
        Ok(None)
    );
}

/// Sessions are listed whatever has become of them, and no other key's.
pub async fn the_sessions_of_a_key_are_listed_by_pages<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let (key_id, other) = (key(&*store, None).await, key(&*store, None).await);
    let _strange = begun(&*store, other, None).await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(begun(&*store, key_id, None).await.0.id);
    }
    made.sort();
    store
        .end_session(made[1], now(), AuditEntries::none())
        .await
        .expect("answers");
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.sessions_of(key_id, after, 2).await.expect("answers");
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        seen.extend(page);
    }
    let ids: Vec<_> = seen.iter().map(|session| session.id).collect();
    assert_eq!(ids, made);
    let ended: Vec<_> = seen
        .iter()
        .map(|session| session.ended_at.is_some())
        .collect();
    assert_eq!(ended, [false, true, false, false, false]);
}

/// Tokens end with their key at once or when an overlap is over; and no new token is kept behind
/// its end.
pub async fn tokens_end_with_their_key<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let license = keep(&*store, Limits::default()).await;
    let key_id = key(&*store, None).await;
    let (_, first) = begun(&*store, key_id, Some(license)).await;
    let soon = later(60);
    let before = last_change(&*store).await;
    store
        .end_management_key(key_id, soon, AuditEntries::none())
        .await
        .expect("answers")
        .expect("there");
    assert!(last_change(&*store).await > before);
    assert_eq!(end_at_the_gate(&*store, first.access).await, Some(soon));
    let (_, second) = begun(&*store, key_id, Some(license)).await;
    assert_eq!(
        end_at_the_gate(&*store, second.access).await,
        Some(soon),
        "it does not outlive the key"
    );
    let at = now();
    store
        .end_management_key(key_id, at, AuditEntries::none())
        .await
        .expect("answers")
        .expect("there");
    for access in [first.access, second.access] {
        assert!(end_at_the_gate(&*store, access).await <= Some(at));
    }
    let late = store
        .create_session(
            session(key_id, Some(license)),
            tokens(),
            MAX_SESSIONS,
            AuditEntries::none(),
        )
        .await;
    assert_eq!(late, Ok(false));
    let late = store
        .refresh_session(second.refresh, now(), tokens(), AuditEntries::none())
        .await;
    assert_eq!(late, Ok(RefreshOutcome::Refused));
    let nobody = session(ManagementKeyId::from_u128(1), None);
    assert_eq!(
        store
            .create_session(nobody, tokens(), MAX_SESSIONS, AuditEntries::none())
            .await,
        Ok(false)
    );
}

/// A client that logs in for every call does not fill the store.
pub async fn the_oldest_sessions_of_a_key_end_when_there_are_too_many<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let (key_id, other) = (key(&*store, None).await, key(&*store, None).await);
    let mut sessions = vec![begun(&*store, other, None).await.0];
    for number in 0..5 {
        let new = Session {
            created_at: later(number),
            ..session(key_id, None)
        };
        assert_eq!(
            store
                .create_session(new.clone(), tokens(), 3, AuditEntries::none())
                .await,
            Ok(true)
        );
        sessions.push(new);
    }
    let mut alive = Vec::new();
    for session in sessions {
        let found = store
            .session(session.id)
            .await
            .expect("answers")
            .expect("there");
        alive.push(found.ended_at.is_none());
    }
    assert_eq!(alive, [true, false, false, true, true, true]);
}

/// The addresses come with the state that the gate reads of a token, and their change is one of the
/// license.
pub async fn the_addresses_of_a_key_hold_for_its_tokens<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let license = keep(&*store, Limits::default()).await;
    let key_id = key(&*store, None).await;
    let (_, first) = begun(&*store, key_id, Some(license)).await;
    let nets: Vec<ipnet::IpNet> = ["10.0.0.0/24", "2001:db8::/32"]
        .map(|net| net.parse().expect("valid"))
        .into();
    let before = last_change(&*store).await;
    let changed = store
        .set_key_allow_ips(key_id, nets.clone(), AuditEntries::none())
        .await
        .expect("answers")
        .expect("there");
    assert_eq!(changed.allow_ips, nets);
    let found = store
        .license_by_key(first.access)
        .await
        .expect("answers")
        .expect("there");
    assert_eq!(found.allow_ips, nets);
    assert!(found.version > before);
    let listed = store.management_keys(None).await.expect("answers");
    assert_eq!(listed[0].allow_ips, nets);
    let open = store
        .set_key_allow_ips(key_id, vec![], AuditEntries::none())
        .await
        .expect("answers")
        .expect("there");
    assert!(open.allow_ips.is_empty());
    let nobody = store
        .set_key_allow_ips(ManagementKeyId::from_u128(1), nets, AuditEntries::none())
        .await;
    assert_eq!(nobody, Ok(None));
}

/// All windows hold at once, begin at multiples of their length, and a refused call counts in none.
pub async fn calls_of_a_key_are_counted_in_every_window_or_in_none<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let id = ManagementKeyId::generate();
    let limits: Vec<RateLimit> = ["2/1m", "3/1h"]
        .map(|limit| limit.parse().expect("valid"))
        .into();
    let call = async |seconds: i64, take: bool| {
        let at = BIRTH.plus_micros(seconds * 1_000_000);
        let call = store
            .count_key_call(id, limits.clone(), at, take)
            .await
            .expect("answers");
        let calls: Vec<u32> = call.windows.iter().map(|window| window.calls).collect();
        (call.admitted, calls)
    };
    assert_eq!(call(0, false).await, (true, vec![0, 0]));
    assert_eq!(call(0, true).await, (true, vec![1, 1]));
    assert_eq!(call(59, true).await, (true, vec![2, 2]));
    assert_eq!(call(59, true).await, (false, vec![2, 2]));
    assert_eq!(call(60, true).await, (true, vec![1, 3]));
    assert_eq!(call(120, true).await, (false, vec![0, 3]));
    assert_eq!(call(3_600, true).await, (true, vec![1, 1]));
    // A gate whose clock is behind does not begin an old period anew.
    assert_eq!(call(3_599, true).await, (true, vec![2, 2]));
    let counted = store
        .count_key_call(id, limits.clone(), BIRTH, false)
        .await
        .expect("answers");
    assert_eq!(
        counted.windows[1].resets_at,
        BIRTH.plus_micros(2 * 3_600 * 1_000_000)
    );
    let other = store
        .count_key_call(ManagementKeyId::generate(), limits, BIRTH, true)
        .await;
    assert!(other.expect("answers").admitted);
}

/// The calls are made with real parallelism.
pub async fn parallel_calls_of_a_key_never_exceed_its_window<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let id = ManagementKeyId::generate();
    let limits: Vec<RateLimit> = vec!["10/1d".parse().expect("valid")];
    let mut calls = Vec::new();
    for _ in 0..40 {
        let (store, limits) = (Arc::clone(&store), limits.clone());
        calls.push(tokio::spawn(async move {
            store
                .count_key_call(id, limits, BIRTH, true)
                .await
                .expect("answers")
                .admitted
        }));
    }
    let mut admitted = 0;
    for call in calls {
        admitted += u32::from(call.await.expect("no panic"));
    }
    assert_eq!(admitted, 10);
}

/// Rows that are in force stay.
pub async fn what_has_ended_is_swept_and_nothing_else<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let license = keep(&*store, Limits::default()).await;
    let key_id = key(&*store, None).await;
    let (live, present) = begun(&*store, key_id, Some(license)).await;
    let past = |seconds: i64| now().plus_micros(-seconds * 1_000_000);
    let old = NewTokens {
        access_expires_at: past(7_200),
        refresh_expires_at: past(7_100),
        ..tokens()
    };
    let gone = session(key_id, Some(license));
    assert_eq!(
        store
            .create_session(
                gone.clone(),
                old.clone(),
                MAX_SESSIONS,
                AuditEntries::none()
            )
            .await,
        Ok(true)
    );
    let minute = vec!["1/1m".parse().expect("valid")];
    store
        .count_key_call(key_id, minute, BIRTH, true)
        .await
        .expect("answers");

    let before =
        now().plus_micros(-i64::try_from(Duration::from_secs(3_600).as_micros()).expect("small"));
    assert_eq!(store.sweep_sessions(before, 100).await, Ok(4));
    assert_eq!(store.sweep_sessions(before, 100).await, Ok(0));
    assert_eq!(store.session(gone.id).await, Ok(None));
    assert_eq!(store.refresh_token(old.refresh).await, Ok(None));
    assert_eq!(store.license_by_key(old.access).await, Ok(None));
    assert!(store.session(live.id).await.expect("answers").is_some());
    assert!(
        store
            .license_by_key(present.access)
            .await
            .expect("answers")
            .is_some()
    );
    let kept = store
        .license(license)
        .await
        .expect("answers")
        .expect("there");
    assert_eq!(kept.credentials.len(), 1);
}
