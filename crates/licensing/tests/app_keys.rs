//! The signing keys of apps: shared by the gates of a store, imported, and rotated with notice.

#![allow(clippy::unwrap_used, reason = "the panic of a test is its message")]

use std::sync::Arc;
use std::time::Duration;

use licensing::signing::{AppKeySeed, AppKeys, NewAppKey};
use licensing::{Error, Keyring, KeyringSecret, Signing};
use model::{AccountName, Actor, AppName, Clock, ManualClock, SigningKeyId, SigningKeyState};
use ring::signature::{ED25519, UnparsedPublicKey};
use store::{AuditEntries, ManagementStore, SqliteOptions, SqliteStore};
use tempfile::TempDir;

struct Site {
    store: Arc<SqliteStore>,
    clock: Arc<ManualClock>,
    _directory: TempDir,
}

/// The first key of RFC 8032, section 7.1.
const SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
const PUBLIC_KEY: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
const HOUR: Duration = Duration::from_secs(3_600);

impl Site {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            store: Arc::new(SqliteStore::open(SqliteOptions::new(directory.path())).unwrap()),
            clock: Arc::new(ManualClock::at("2026-03-01T00:00:00Z".parse().unwrap())),
            _directory: directory,
        }
    }

    async fn gate(&self) -> Arc<Signing> {
        let secret = KeyringSecret::Configured("a secret of the operator");
        let keyring = Keyring::load(&*self.store, secret).await.unwrap();
        let signing = Signing::open(self.store.clone(), keyring, self.clock.clone());
        signing.await.unwrap()
    }
}

fn app(name: &str) -> AppName {
    name.parse().unwrap()
}

fn account() -> AccountName {
    "default".parse().unwrap()
}

async fn add(
    gate: &Signing,
    app: &AppName,
    new: NewAppKey,
) -> Result<(Arc<AppKeys>, SigningKeyId), Error> {
    gate.add_app_key(app, &account(), new, Actor::GATE).await
}

fn seed() -> Option<AppKeySeed> {
    Some(AppKeySeed::parse(SEED).unwrap())
}

#[tokio::test]
async fn every_gate_signs_for_an_app_with_the_same_key_and_for_each_app_with_another() {
    let site = Site::new();
    let (one, two) = (site.gate().await, site.gate().await);
    let keys = one.app_keys(&app("api")).await.unwrap();
    let same = two.app_keys(&app("api")).await.unwrap();
    let other = one.app_keys(&app("other")).await.unwrap();
    let now = site.clock.now();
    assert_eq!(keys.signer(now).id(), same.signer(now).id());
    assert_ne!(keys.signer(now).id(), other.signer(now).id());
    let signature = keys.signer(now).sign(b"message");
    assert_eq!(signature, same.signer(now).sign(b"message"));
    let public = UnparsedPublicKey::new(&ED25519, keys.signer(now).public_key());
    public.verify(b"message", &signature).unwrap();
    assert!(public.verify(b"another", &signature).is_err());
}

#[tokio::test]
async fn a_key_that_is_imported_signs_at_once_and_once_only() {
    let site = Site::new();
    let signing = site.gate().await;
    let import = async || {
        let new = NewAppKey {
            seed: seed(),
            lead: Duration::ZERO,
        };
        add(&signing, &app("api"), new).await.map(|(keys, _)| keys)
    };
    let keys = import().await.unwrap();
    let now = site.clock.now();
    assert_eq!(hex::encode(keys.signer(now).public_key()), PUBLIC_KEY);
    assert_eq!(keys.iter().count(), 2, "its own key, and the imported one");
    assert_eq!(import().await.unwrap().iter().count(), 2);
    // A gate that starts later reads it.
    let later = site.gate().await.app_keys(&app("api")).await.unwrap();
    assert_eq!(hex::encode(later.signer(now).public_key()), PUBLIC_KEY);
    // An old key does not sign again.
    let next = NewAppKey::default();
    let next = add(&signing, &app("api"), next).await;
    assert_eq!(next.unwrap().0.iter().count(), 3);
    let refused = import().await.unwrap_err();
    assert!(
        matches!(
            refused,
            Error::Invalid {
                field: "private_key",
                ..
            }
        ),
        "{refused}"
    );
}

#[tokio::test]
async fn a_key_with_notice_is_known_before_it_signs() {
    let site = Site::new();
    let (one, two) = (site.gate().await, site.gate().await);
    let first = two.app_keys(&app("api")).await.unwrap();
    let new = NewAppKey {
        lead: HOUR,
        ..NewAppKey::default()
    };
    let (keys, _) = add(&one, &app("api"), new).await.unwrap();
    let now = site.clock.now();
    let old = first.signer(now).id();
    assert_eq!(keys.signer(now).id(), old);
    site.clock.advance(HOUR);
    assert_ne!(keys.signer(site.clock.now()).id(), old);
    // The other gate learns of it with its next reading.
    let _running = tokio::spawn(two.clone().run());
    let other = two.clone();
    testkit::eventually::eventually_async("the other gate knows the new key", async || {
        let keys = other.app_keys(&app("api")).await.unwrap();
        keys.iter().count() == 2
    })
    .await;
}

#[tokio::test]
async fn a_key_that_is_retired_signs_no_more_on_any_gate_and_the_one_that_signs_stays() {
    let site = Site::new();
    let (one, two) = (site.gate().await, site.gate().await);
    let api = app("api");
    let first = two.app_keys(&api).await.unwrap();
    let first = first.signer(site.clock.now()).id();
    let retire = async |id| one.retire_app_key(&api, &account(), id, Actor::GATE).await;
    let is_refused = |result: Result<_, Error>| matches!(result, Err(Error::Invalid { field, .. }) if field == "id");
    assert!(is_refused(retire(first).await.map(drop)), "it signs");
    let lost = NewAppKey {
        lead: HOUR,
        ..NewAppKey::default()
    };
    let lost = add(&one, &api, lost).await;
    let (keys, lost) = lost.unwrap();
    let states = |keys: &AppKeys| {
        let now = site.clock.now();
        let state = |key| keys.state(key, now);
        keys.iter().map(state).collect::<Vec<_>>()
    };
    assert_eq!(
        states(&keys),
        [SigningKeyState::Signing, SigningKeyState::Next]
    );
    let twice = NewAppKey::default();
    let twice = add(&one, &api, twice).await;
    assert!(matches!(twice, Err(Error::RotationUnderWay { .. })));
    for _ in 0..2 {
        retire(lost).await.unwrap();
    }
    assert!(is_refused(retire(SigningKeyId::generate()).await.map(drop)));
    site.clock.advance(HOUR);
    for gate in [&two, &site.gate().await] {
        let keys = gate.read_app_keys(&api).await.unwrap();
        assert_eq!(keys.signer(site.clock.now()).id(), first);
        assert_eq!(keys.trusted().count(), 1);
        assert_eq!(
            states(&keys),
            [SigningKeyState::Signing, SigningKeyState::Retired]
        );
    }
    // An imported key takes over, and what it took over from can end then.
    let new = NewAppKey {
        seed: seed(),
        ..NewAppKey::default()
    };
    let new = add(&one, &api, new).await;
    assert_eq!(
        states(&new.unwrap().0)[0],
        SigningKeyState::Overlapping,
        "software trusts it"
    );
    retire(first).await.unwrap();
}

#[tokio::test]
async fn an_imported_key_and_a_made_one_sign_in_the_order_of_their_times() {
    let site = Site::new();
    let gate = site.gate().await;
    let made = NewAppKey {
        lead: HOUR,
        ..NewAppKey::default()
    };
    let api = app("api");
    let made = add(&gate, &api, made).await;
    let (_, made) = made.unwrap();
    let imported = NewAppKey {
        seed: seed(),
        ..NewAppKey::default()
    };
    let (keys, imported) = add(&gate, &api, imported).await.unwrap();
    assert_eq!(keys.signer(site.clock.now()).id(), imported);
    site.clock.advance(HOUR);
    assert_eq!(keys.signer(site.clock.now()).id(), made);
}

#[tokio::test]
async fn a_key_that_cannot_be_read_keeps_no_other_app_from_its_new_keys() {
    let site = Site::new();
    let (one, two) = (site.gate().await, site.gate().await);
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"].map(app);
    for (at, name) in names.iter().enumerate() {
        let _ = two.app_keys(name).await.unwrap();
        if at % 2 == 0 {
            let bad = b"{}\nno key".to_vec();
            let key = format!("keyring/app/{name}/2");
            let put = site.store.put_if_absent(&key, bad, AuditEntries::none());
            put.await.unwrap();
        } else {
            let new = NewAppKey::default();
            add(&one, name, new).await.unwrap();
        }
    }
    let _running = tokio::spawn(two.clone().run());
    testkit::eventually::eventually_async("the good ones are known", async || {
        for name in names.iter().skip(1).step_by(2) {
            if two.app_keys(name).await.unwrap().iter().count() != 2 {
                return false;
            }
        }
        true
    })
    .await;
}
