//! Keys that can be shown again: sealed, bound to their credential, and kept for no app that does not ask for it.

#![allow(clippy::unwrap_used, reason = "the panic of a test is its message")]

use std::sync::Arc;
use std::time::Duration;

use licensing::{
    ApiKeyPolicy, ApiKeyRequest, AppTerms, IssueRequest, Issued, KeyEnd, KeySource, Keyring,
    KeyringSecret, LicenseKeys, Licensing, LicensingOptions, Plans,
};
use model::{
    Actor, AppName, Credential, CredentialId, InstanceId, KeyFormat, LicenseStatus, SystemClock,
};
use store::{
    AuditEntries, AuditFilter, LedgerStore, LicenseChange, LicenseStore, ManagementStore,
    NewCredential, NewLicense, SealedKey, SqliteOptions, SqliteStore, StoredLicense,
};
use tempfile::TempDir;

struct Site {
    store: Arc<SqliteStore>,
    _directory: TempDir,
}

const SECRET: KeyringSecret<'static> = KeyringSecret::Configured("a secret of the operator");

fn site() -> Site {
    let directory = tempfile::tempdir().unwrap();
    Site {
        store: Arc::new(SqliteStore::open(SqliteOptions::new(directory.path())).unwrap()),
        _directory: directory,
    }
}

fn app(name: &str) -> AppName {
    name.parse().unwrap()
}

impl Site {
    /// A gate whose app `api` shows keys again as it is said, and whose app `other` never does.
    async fn gate(&self, secret: KeyringSecret<'_>, key_recovery: bool) -> Arc<Licensing> {
        let terms = |name: &str, key_recovery| AppTerms {
            app: app(name),
            account: "default".parse().unwrap(),
            default_plan: None,
            grace: Duration::from_secs(60),
            allowance: 0,
            key_recovery,
            software: licensing::SoftwareTerms::default(),
            agents: None,
        };
        let keyring = Keyring::load(&*self.store, secret).await.unwrap();
        let (instance, clock) = (InstanceId::generate(), Arc::new(SystemClock));
        let now = model::Clock::now(&*clock);
        let began = self.store.begin_instance(instance, "test".to_owned(), now);
        began.await.unwrap();
        let plans = Plans::new(
            vec![],
            vec![terms("api", key_recovery), terms("other", false)],
        );
        let keys = LicenseKeys::of(&keyring, self.store.clone());
        let options = LicensingOptions::default();
        let opening = Licensing::open(options, self.store.clone(), keys, plans, instance, clock);
        opening.await.unwrap()
    }

    async fn copies(&self, issued: &Issued) -> Vec<(CredentialId, SealedKey)> {
        self.store
            .sealed_keys(issued.license.license.id)
            .await
            .unwrap()
    }

    async fn settings(&self) -> Vec<bool> {
        let mut there = Vec::new();
        for number in 1..=3 {
            let name = format!("keyring/seal/{number}");
            there.push(self.store.setting(&name).await.unwrap().is_some());
        }
        there
    }
}

async fn issue(gate: &Arc<Licensing>, name: &str) -> Issued {
    let request = IssueRequest::for_app(app(name));
    let operator = gate.acting(Actor::OPERATOR);
    operator.issue(request).await.unwrap().remove(0)
}

/// What is shown of a license, as the store has it now.
async fn shown(gate: &Arc<Licensing>, license: &StoredLicense) -> Option<Credential> {
    let license = gate.license(license.license.id).await.unwrap();
    gate.acting(Actor::OPERATOR)
        .show_key(&license)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_key_is_shown_again_and_lies_in_the_store_sealed() {
    for secret in [SECRET, KeyringSecret::None] {
        let site = site();
        let gate = site.gate(secret, true).await;
        let issued = issue(&gate, "api").await;
        let key = issued.credential.clone().unwrap();
        assert_eq!(shown(&gate, &issued.license).await, Some(key.clone()));
        let copies = site.copies(&issued).await;
        let text = key.expose().as_bytes();
        let [(id, sealed)] = &copies[..] else {
            panic!("{copies:?}");
        };
        assert_eq!(*id, issued.credential_id);
        let holds = sealed
            .as_bytes()
            .windows(8)
            .any(|part| text.windows(8).any(|own| own == part));
        assert!(!holds, "not even a part of it");
        assert_eq!(format!("{sealed:?}"), "SealedKey(redacted)");
        // Another gate, after another start.
        let again = site.gate(secret, true).await;
        assert_eq!(shown(&again, &issued.license).await, Some(key));
        let audit = site.store.audit_log().unwrap();
        let filter = AuditFilter {
            action: Some("credential.show".to_owned()),
            ..AuditFilter::default()
        };
        let lines = audit.audit(filter, 0, 100).await.unwrap();
        assert_eq!(lines.len(), 2, "each gate tells it");
        assert_eq!(lines[0].entry.subject, issued.credential_id.to_string());
    }
}

#[tokio::test]
async fn nothing_is_kept_of_an_app_that_does_not_ask_for_it() {
    let site = site();
    let gate = site.gate(SECRET, false).await;
    for name in ["api", "other"] {
        let issued = issue(&gate, name).await;
        let source = KeySource::Generate(KeyFormat::Uuid);
        let operator = gate.acting(Actor::OPERATOR);
        let id = issued.license.license.id;
        operator.add_credential(id, &source, None).await.unwrap();
        assert_eq!(site.copies(&issued).await, []);
        assert_eq!(shown(&gate, &issued.license).await, None);
    }
    assert_eq!(
        site.settings().await,
        [false; 3],
        "nor is a key for it made"
    );

    // What was kept while it was asked for is not shown when it is not.
    let on = site.gate(SECRET, true).await;
    let issued = issue(&on, "api").await;
    let other = issue(&on, "other").await;
    assert_eq!(site.copies(&other).await, []);
    assert!(shown(&on, &issued.license).await.is_some());
    let off = site.gate(SECRET, false).await;
    assert_eq!(shown(&off, &issued.license).await, None);
}

#[tokio::test]
async fn a_copy_in_another_place_opens_for_nobody() {
    let site = site();
    let gate = site.gate(SECRET, true).await;
    let (victim, own) = (issue(&gate, "api").await, issue(&gate, "api").await);
    let stolen = site.copies(&victim).await.remove(0).1;
    let template = site
        .store
        .license(own.license.license.id)
        .await
        .unwrap()
        .unwrap();
    let credential = |byte: u8, id, sealed: &SealedKey| NewCredential {
        info: model::CredentialInfo {
            id,
            ..template.credentials[0].clone()
        },
        hash: model::KeyHash::from_bytes([byte; 32]),
        sealed: Some(sealed.clone()),
    };
    // Under another license, with the id of its credential even.
    let mut license = template.license.clone();
    license.id = model::LicenseId::generate();
    let moved = NewLicense {
        license: license.clone(),
        credentials: vec![credential(1, victim.credential_id, &stolen)],
        devices: Vec::new(),
    };
    let creating = site
        .store
        .create_licenses(vec![moved], AuditEntries::none());
    creating.await.unwrap();
    let moved = gate.license(license.id).await.unwrap();
    assert_eq!(shown(&gate, &moved).await, None);

    // At another credential of the same license: the copy beside it still opens.
    let change = LicenseChange::AddCredential {
        credential: credential(2, CredentialId::generate(), &stolen),
        others_expire_at: None,
    };
    let changing =
        site.store
            .change_license(victim.license.license.id, change, AuditEntries::none());
    changing.await.unwrap();
    assert_eq!(site.copies(&victim).await.len(), 2);
    assert_eq!(shown(&gate, &victim.license).await, victim.credential);

    // Changed, cut short, or of a sealing key that is not there.
    let bytes = stolen.as_bytes();
    let mut changed = bytes.to_vec();
    *changed.last_mut().unwrap() ^= 1;
    let unknown = [&[0, 0, 0, 9], &bytes[4..]].concat();
    let zero = [&[0, 0, 0, 0], &bytes[4..]].concat();
    for (number, bad) in [changed, bytes[..20].to_vec(), vec![], unknown, zero]
        .iter()
        .enumerate()
    {
        let mut license = template.license.clone();
        license.id = model::LicenseId::generate();
        let sealed = SealedKey::new(bad.clone());
        let bad = NewLicense {
            credentials: vec![credential(
                10 + number as u8,
                CredentialId::generate(),
                &sealed,
            )],
            license: license.clone(),
            devices: Vec::new(),
        };
        site.store
            .create_licenses(vec![bad], AuditEntries::none())
            .await
            .unwrap();
        let bad = gate.license(license.id).await.unwrap();
        assert_eq!(shown(&gate, &bad).await, None, "{number}");
    }
}

#[tokio::test]
async fn copies_outlive_the_rotation_of_the_key_that_sealed_them() {
    let site = site();
    let (one, two) = (site.gate(SECRET, true).await, site.gate(SECRET, true).await);
    let before = issue(&one, "api").await;
    assert_eq!(site.settings().await, [true, false, false]);
    let operator = one.acting(Actor::OPERATOR);
    assert_eq!(operator.rotate_seal_key().await.unwrap(), 2);
    assert_eq!(site.settings().await, [true, true, false]);
    // A gate that did not rotate seals with the new key too, and opens what it sealed.
    let after = issue(&two, "api").await;
    let number = |copies: &[(CredentialId, SealedKey)]| copies[0].1.as_bytes()[..4].to_vec();
    assert_eq!(number(&site.copies(&before).await), [0, 0, 0, 1]);
    assert_eq!(number(&site.copies(&after).await), [0, 0, 0, 2]);
    let late = site.gate(SECRET, true).await;
    for gate in [&one, &two, &late] {
        assert_eq!(shown(gate, &before.license).await, before.credential);
        assert_eq!(shown(gate, &after.license).await, after.credential);
    }
    let both = tokio::join!(operator.rotate_seal_key(), operator.rotate_seal_key());
    assert!(both.0.unwrap() >= 3 && both.1.unwrap() >= 3);
}

#[tokio::test]
async fn the_newest_key_in_force_is_shown_and_none_that_has_ended() {
    let site = site();
    let gate = site.gate(SECRET, true).await;
    let operator = gate.acting(Actor::OPERATOR);
    let first = issue(&gate, "api").await;
    let id = first.license.license.id;
    let imported = Credential::parse("an-imported-key").unwrap();
    let source = KeySource::Import(imported.clone());
    let second = operator.add_credential(id, &source, None).await.unwrap();
    assert_eq!(shown(&gate, &first.license).await, Some(imported));
    let unknown = KeySource::ImportDigest(model::KeyDigest::of("unknown"));
    operator.add_credential(id, &unknown, None).await.unwrap();
    assert_eq!(
        site.copies(&first).await.len(),
        2,
        "what is not known is not kept"
    );
    operator
        .revoke_credential(id, second.credential_id)
        .await
        .unwrap();
    assert_eq!(shown(&gate, &first.license).await, first.credential);
    let hour = Duration::from_secs(3_600);
    let third = operator.rotate(id, hour, KeyFormat::Apifew).await.unwrap();
    assert_eq!(shown(&gate, &first.license).await, third.credential);
    assert_eq!(site.copies(&first).await.len(), 1);
    operator
        .set_status(id, LicenseStatus::Disabled)
        .await
        .unwrap();
    assert_eq!(shown(&gate, &first.license).await, third.credential);
    operator
        .set_status(id, LicenseStatus::Revoked)
        .await
        .unwrap();
    assert_eq!(shown(&gate, &first.license).await, None);
    assert_eq!(site.copies(&first).await, []);
}

#[tokio::test]
async fn api_keys_are_shown_once_whatever_their_app_says() {
    let site = site();
    let gate = site.gate(SECRET, true).await;
    let operator = gate.acting(Actor::OPERATOR);
    let policy = ApiKeyPolicy::default();
    let request = ApiKeyRequest {
        app: Some(app("api")),
        account: None,
        user: None,
        name: None,
        prefix: None,
        metadata: None,
        permissions: None,
        end: KeyEnd::Never,
        remaining: None,
        refill: None,
        rate: None,
        rate_enabled: true,
    };
    let made = operator.create_api_key(&policy, request).await.unwrap();
    let id = made.view.license.id;
    operator
        .rotate(id, Duration::ZERO, KeyFormat::Tallygate)
        .await
        .unwrap();
    assert_eq!(site.store.sealed_keys(id).await, Ok(vec![]));
}

#[tokio::test]
async fn a_seller_is_told_a_whole_key_where_a_copy_is_kept_whether_or_not_its_app_asks_for_copies()
{
    let site = site();
    let gate = site.gate(SECRET, false).await;
    let operator = gate.acting(Actor::OPERATOR);
    for keeps_copy in [true, false] {
        let request = IssueRequest {
            key: KeySource::Generate(KeyFormat::Authforge),
            keeps_copy,
            ..IssueRequest::for_app(app("api"))
        };
        let issued = operator.issue(request).await.unwrap().remove(0);
        let stored = gate.license(issued.license.license.id).await.unwrap();
        let key = issued.credential.unwrap();
        let key = key.expose();
        let expected = match keeps_copy {
            true => key.to_owned(),
            false => format!("{}-****-****-****", &key[..4]),
        };
        let told = gate.key_for_seller(&stored, None).await.unwrap();
        assert_eq!(told.as_deref(), Some(&*expected));
        assert_eq!(operator.listed_key(&stored).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_seller_is_told_the_key_that_was_used_else_one_of_the_shape_that_software_knows() {
    let site = site();
    let gate = site.gate(SECRET, true).await;
    let operator = gate.acting(Actor::OPERATOR);
    let request = IssueRequest {
        key: KeySource::Generate(KeyFormat::Authforge),
        ..IssueRequest::for_app(app("api"))
    };
    let issued = operator.issue(request).await.unwrap().remove(0);
    let id = issued.license.license.id;
    let source = KeySource::Generate(KeyFormat::Tallygate);
    let added = operator.add_credential(id, &source, None).await.unwrap();
    let text = |key: &Option<Credential>| key.as_ref().unwrap().expose().to_owned();
    let (own, other) = (text(&issued.credential), text(&added.credential));
    let stored = gate.license(id).await.unwrap();
    let told = async |used| gate.key_for_seller(&stored, used).await.unwrap().unwrap();
    assert_eq!(told(None).await, own, "although the other is newer");
    assert_eq!(operator.listed_key(&stored).await.unwrap(), own);
    assert_eq!(told(Some(added.credential_id)).await, other);
    assert_eq!(told(Some(issued.credential_id)).await, own);
}
