//! The signing keys of apps: shared by the gates of a store, imported, and rotated with notice.

#![allow(clippy::unwrap_used, reason = "the panic of a test is its message")]

use std::sync::Arc;
use std::time::Duration;

use licensing::signing::NewAppKey;
use licensing::{Error, Keyring, KeyringSecret, Signing};
use model::{Actor, AppName, Clock, ManualClock};
use ring::signature::{ED25519, UnparsedPublicKey};
use store::{SqliteOptions, SqliteStore};
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

fn seed() -> [u8; 32] {
    hex::decode(SEED).unwrap().try_into().unwrap()
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
            seed: Some(seed()),
            lead: Duration::ZERO,
        };
        signing.add_app_key(&app("api"), new, Actor::GATE).await
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
    let next = signing.add_app_key(&app("api"), next, Actor::GATE).await;
    assert_eq!(next.unwrap().iter().count(), 3);
    let refused = import().await.unwrap_err();
    assert!(
        matches!(refused, Error::Invalid { field: "seed", .. }),
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
    let keys = one.add_app_key(&app("api"), new, Actor::GATE).await;
    let keys = keys.unwrap();
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
