//! Licenses, credentials and instances to test with.

use model::{
    AccountName, Counter, CredentialId, InstanceId, KeyHash, License, LicenseId, LicenseStatus,
    Limits, Timestamp,
};

use crate::{
    CredentialInfo, CredentialStatus, LeaseGrant, LeaseKey, LeaseRequest, NewCredential,
    NewLicense, Store,
};

/// When licenses of these tests are made.
pub const BIRTH: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

/// Some hours after [`BIRTH`].
#[must_use]
pub fn hours(hours: i64) -> Timestamp {
    BIRTH.plus_micros(hours * Timestamp::HOUR)
}

/// A hash that is unlike any other.
#[must_use]
pub fn new_hash() -> KeyHash {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&CredentialId::generate().as_u128().to_le_bytes());
    bytes[16..].copy_from_slice(&CredentialId::generate().as_u128().to_be_bytes());
    KeyHash::from_bytes(bytes)
}

/// A new credential with a hash of its own.
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
    }
}

/// A new license with one credential.
#[must_use]
pub fn new_license(limits: Limits) -> NewLicense {
    NewLicense {
        license: License {
            id: LicenseId::generate(),
            account: AccountName::default(),
            app: "api".parse().expect("a valid name"),
            plan: None,
            user: None,
            label: None,
            status: LicenseStatus::Active,
            created_at: BIRTH,
            expires_at: None,
            limits,
            permissions: Vec::new(),
            allow_ips: Vec::new(),
        },
        credentials: vec![new_credential()],
    }
}

/// Limits with this many units and, perhaps, a refill.
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
        .create_licenses(vec![new])
        .await
        .expect("the license is new");
    id
}

/// The key of a license's balance; its period is ignored in requests.
#[must_use]
pub const fn balance_of(license_id: LicenseId) -> LeaseKey {
    LeaseKey {
        license_id,
        counter: Counter::Remaining,
        period: 0,
    }
}

/// The key of a license's window at a time.
#[must_use]
pub const fn window_of(license_id: LicenseId, seconds: u32, now: Timestamp) -> LeaseKey {
    LeaseKey {
        license_id,
        counter: Counter::Window(seconds),
        period: now.period(seconds),
    }
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
        .expect("the store answers");
    assert_eq!(grants.len(), 1, "one grant for one request");
    grants[0]
}
