//! The keyring: one for a store, and of no use without its secret.

#![allow(clippy::unwrap_used, reason = "the panic of a test is its message")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use licensing::{Error, Keyring, KeyringSecret};
use model::{Blame, KeyHash};
use store::{ManagementStore, SqliteOptions, SqliteStore};
use tempfile::TempDir;

struct Host {
    store: SqliteStore,
    secret: PathBuf,
    _directory: TempDir,
}

fn host() -> Host {
    let directory = tempfile::tempdir().unwrap();
    Host {
        store: SqliteStore::open(SqliteOptions::new(directory.path())).unwrap(),
        secret: directory.path().join("secret"),
        _directory: directory,
    }
}

impl Host {
    async fn hash(&self, secret: KeyringSecret<'_>) -> Result<KeyHash, Error> {
        let keyring = Keyring::load(&self.store, secret).await?;
        assert_eq!(format!("{keyring:?}"), "Keyring(redacted)");
        Ok(keyring.hasher().hash(b"some key"))
    }

    async fn sealed(&self) -> Vec<u8> {
        self.store.setting("keyring/hash/1").await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn a_keyring_is_the_same_at_every_start_and_another_for_every_store() {
    let (host, other) = (host(), self::host());
    let secret = KeyringSecret::Configured("a secret of the operator");
    let first = host.hash(secret).await.unwrap();
    assert_eq!(host.hash(secret).await.unwrap(), first);
    assert_ne!(other.hash(secret).await.unwrap(), first);
    assert_ne!(host.sealed().await, other.sealed().await);
}

#[tokio::test]
async fn a_wrong_secret_is_told_apart_and_said() {
    let host = host();
    host.hash(KeyringSecret::Configured("right")).await.unwrap();
    let error = host
        .hash(KeyringSecret::Configured("wrong"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::SecretWrong(_)), "{error}");
    assert!(error.to_string().contains("[server] secret"), "{error}");
    assert!(
        !error.to_string().contains("wrong"),
        "no secret in a message: {error}"
    );
    assert_eq!(error.blame(), Blame::Caller);
    let error = host.hash(KeyringSecret::None).await.unwrap_err();
    assert!(matches!(error, Error::SecretWrong(_)), "{error}");
}

#[tokio::test]
async fn a_generated_secret_is_for_its_owner_alone_and_is_never_generated_twice() {
    let host = host();
    let secret = KeyringSecret::File(&host.secret);
    let first = host.hash(secret).await.unwrap();
    let mode = fs::metadata(&host.secret).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = fs::read(&host.secret).unwrap();
    assert_eq!(host.hash(secret).await.unwrap(), first);
    assert_eq!(fs::read(&host.secret).unwrap(), text);
    let parent = host.secret.parent().unwrap();
    let names = fs::read_dir(parent).unwrap();
    let drafts = names.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with(".secret")
    });
    assert_eq!(drafts.count(), 0, "nothing is left behind");

    fs::remove_file(&host.secret).unwrap();
    let error = host.hash(secret).await.unwrap_err();
    assert!(matches!(error, Error::SecretMissing(_)), "{error}");
    assert!(!host.secret.exists(), "a new one would open nothing");
    // Put back so that everybody may read it, then for its owner alone.
    fs::write(&host.secret, &text).unwrap();
    fs::set_permissions(&host.secret, fs::Permissions::from_mode(0o644)).unwrap();
    let error = host.hash(secret).await.unwrap_err();
    assert!(error.to_string().contains("mode 0644"), "{error}");
    fs::set_permissions(&host.secret, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(host.hash(secret).await.unwrap(), first);
}

#[tokio::test]
async fn a_damaged_secret_file_is_named() {
    let host = host();
    fs::write(&host.secret, "half a sec").unwrap();
    let error = host
        .hash(KeyringSecret::File(&host.secret))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::SecretFile { .. }), "{error}");
    let missing = host.secret.join("no/such/directory");
    let error = host.hash(KeyringSecret::File(&missing)).await.unwrap_err();
    assert!(matches!(error, Error::SecretFile { .. }), "{error}");
}

#[tokio::test]
async fn a_keyring_that_is_no_keyring_is_refused_without_panic() {
    for bytes in [
        &b""[..],
        b"TGK1",
        b"TGK1u123",
        b"TGK1s",
        b"TGK9s0000000000000000",
    ] {
        let host = host();
        let put = host.store.put_if_absent(
            "keyring/hash/1",
            bytes.to_vec(),
            store::AuditEntries::none(),
        );
        put.await.unwrap();
        let error = host
            .hash(KeyringSecret::Configured("any"))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::KeyringMalformed), "{error}");
    }
}

#[tokio::test]
async fn a_sealed_keyring_does_not_survive_a_changed_bit() {
    let (host, other) = (host(), self::host());
    let secret = KeyringSecret::Configured("right");
    host.hash(secret).await.unwrap();
    let mut sealed = host.sealed().await;
    *sealed.last_mut().unwrap() ^= 1;
    let put = other
        .store
        .put_if_absent("keyring/hash/1", sealed, store::AuditEntries::none());
    put.await.unwrap();
    let error = other.hash(secret).await.unwrap_err();
    assert!(matches!(error, Error::SecretWrong(_)), "{error}");
}

#[tokio::test]
async fn a_keyring_without_a_secret_lies_open_in_the_store() {
    let host = host();
    let first = host.hash(KeyringSecret::None).await.unwrap();
    assert_eq!(host.hash(KeyringSecret::None).await.unwrap(), first);
    // A secret that is set later does not lock the operator out.
    let later = host.hash(KeyringSecret::Configured("later")).await.unwrap();
    assert_eq!(later, first);
}

#[tokio::test]
async fn gates_that_start_at_once_on_a_new_store_agree() {
    let host = host();
    let secret = KeyringSecret::File(&host.secret);
    let (one, two, three) = tokio::join!(host.hash(secret), host.hash(secret), host.hash(secret));
    let one = one.unwrap();
    assert_eq!([two.unwrap(), three.unwrap()], [one, one]);
}
