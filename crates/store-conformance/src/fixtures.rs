//! The licenses, credentials and instances that the properties are tested with.

use model::{
    AccountName, Counter, CredentialId, CredentialInfo, CredentialStatus, InstanceId, KeyHash,
    License, LicenseId, LicenseSpec, LicenseStatus, Limits, ManagementKeyId, Timestamp,
};
use store::{
    AuditEntries, LeaseGrant, LeaseKey, LeaseRequest, LicenseChange, ManagementKey, NewCredential,
    NewLicense, NewManagementKey, RollupBatch, Spent, Store, StoredLicense,
};

/// The time at which licenses of these tests are made: the beginning of 2020, so that no clock is
/// behind it.
pub const BIRTH: Timestamp = Timestamp::from_micros(1_577_836_800_000_000);

/// Returns a time some hours after [`BIRTH`].
#[must_use]
pub fn hours(hours: i64) -> Timestamp {
    BIRTH.plus_micros(hours * Timestamp::HOUR)
}

/// Returns a hash that is unlike any other.
#[must_use]
pub fn new_hash() -> KeyHash {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&CredentialId::generate().as_u128().to_le_bytes());
    bytes[16..].copy_from_slice(&CredentialId::generate().as_u128().to_be_bytes());
    KeyHash::from_bytes(bytes)
}

/// Returns a new credential with a hash of its own.
#[must_use]
pub fn new_credential() -> NewCredential {
    NewCredential {
        info: CredentialInfo {
            id: CredentialId::generate(),
            kind: "tallygate".to_owned(),
            prefix: "tg_abcd".to_owned(),
            status: CredentialStatus::Active,
            created_at: BIRTH,
            expires_at: None,
        },
        hash: new_hash(),
        sealed: None,
    }
}

/// Returns a new license with one credential.
#[must_use]
pub fn new_license(limits: Limits) -> NewLicense {
    NewLicense {
        license: License {
            id: LicenseId::generate(),
            account: AccountName::default(),
            app: "api".parse().expect("a valid name"),
            status: LicenseStatus::Active,
            created_at: BIRTH,
            spec: LicenseSpec {
                limits,
                ..LicenseSpec::default()
            },
        },
        credentials: vec![new_credential()],
        devices: Vec::new(),
    }
}

/// Returns limits with this many units and, perhaps, a refill.
#[must_use]
pub fn units(remaining: u64, refill: Option<&str>) -> Limits {
    Limits {
        remaining: Some(remaining),
        refill: refill.map(|text| text.parse().expect("a valid refill")),
        ..Limits::default()
    }
}

/// Keeps a new license with these limits.
pub async fn keep(store: &dyn Store, limits: Limits) -> LicenseId {
    let new = new_license(limits);
    let id = new.license.id;
    store
        .create_licenses(vec![new], AuditEntries::none())
        .await
        .expect("the license is new");
    id
}

/// Returns the key of a license's balance; its period is ignored in requests.
#[must_use]
pub const fn balance_of(license_id: LicenseId) -> LeaseKey {
    LeaseKey {
        license_id,
        counter: Counter::Remaining,
        period: 0,
    }
}

/// Returns the key of a license's window at a time.
#[must_use]
pub const fn window_of(license_id: LicenseId, seconds: u32, now: Timestamp) -> LeaseKey {
    LeaseKey {
        license_id,
        counter: Counter::Window(seconds),
        period: now.period(seconds),
    }
}

/// Returns a batch that only moves spending, and the position by one.
#[must_use]
pub fn batch(instance: InstanceId, from: u64, spent: Vec<Spent>) -> RollupBatch {
    RollupBatch {
        instance,
        lane: 0,
        from,
        through: from + 1,
        rows: Vec::new(),
        spent,
        ..RollupBatch::default()
    }
}

/// Returns units spent from one epoch of a balance.
#[must_use]
pub fn spent_units(license_id: LicenseId, epoch: u32, units: u64) -> Spent {
    Spent {
        license_id,
        units: vec![(epoch, units)],
        calls: Vec::new(),
    }
}

/// Returns calls that count against windows, all in the minute of `at`.
#[must_use]
pub fn spent_calls(license_id: LicenseId, at: Timestamp, calls: u64) -> Spent {
    Spent {
        license_id,
        units: Vec::new(),
        calls: vec![(at.period(60), calls)],
    }
}

/// Returns the balance of a license that has one, as (granted, spent, leased, epoch).
pub async fn balance_figures(store: &dyn Store, license_id: LicenseId, now: Timestamp) -> [u64; 4] {
    let balance = store.balance(license_id, now).await.expect("answers");
    let balance = balance.expect("it is counted");
    [
        balance.granted,
        balance.spent,
        balance.leased,
        u64::from(balance.epoch),
    ]
}

/// Leases calls of a window.
pub async fn lease_window(
    store: &dyn Store,
    instance: InstanceId,
    key: LeaseKey,
    [want, capacity]: [u64; 2],
    now: Timestamp,
) -> LeaseGrant {
    let request = LeaseRequest {
        key,
        want,
        capacity,
    };
    let grants = store.lease(instance, vec![request], now).await;
    grants.expect("answers")[0]
}

/// Leases from a balance.
pub async fn lease(
    store: &dyn Store,
    instance: InstanceId,
    license_id: LicenseId,
    want: u64,
    now: Timestamp,
) -> LeaseGrant {
    let request = LeaseRequest {
        key: balance_of(license_id),
        want,
        capacity: 0,
    };
    let grants = store
        .lease(instance, vec![request], now)
        .await
        .expect("answers");
    assert_eq!(grants.len(), 1, "one grant for one request");
    grants[0]
}

/// Returns a management key of the default account that may do everything and never ends.
pub fn new_management_key() -> NewManagementKey {
    NewManagementKey {
        key: ManagementKey {
            id: ManagementKeyId::generate(),
            account: "default".parse().expect("valid"),
            app: None,
            license_id: None,
            draws_on: None,
            name: None,
            scopes: vec![],
            allow_ips: vec![],
            prefix: "0123".to_owned(),
            created_at: BIRTH,
            expires_at: None,
            revoked_at: None,
        },
        hash: new_hash(),
        secret: Some(new_hash()),
    }
}

/// Returns a license that is there.
pub async fn known(store: &dyn Store, id: LicenseId) -> StoredLicense {
    store
        .license(id)
        .await
        .expect("answers")
        .expect("it is there")
}

/// Changes a license that is there, and returns it as it is then.
pub async fn changed(store: &dyn Store, id: LicenseId, change: LicenseChange) -> StoredLicense {
    let stored = store.change_license(id, change, AuditEntries::none()).await;
    let stored = stored.expect("answers").expect("it is there");
    assert_eq!(
        known(store, id).await,
        stored,
        "what was returned is in force"
    );
    stored
}
