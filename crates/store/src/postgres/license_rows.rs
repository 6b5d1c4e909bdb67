//! Licenses and credentials as rows.

use model::{
    CredentialId, CredentialInfo, Interval, License, LicenseId, LicenseSpec, Limits, Refill,
    RefillMode, Timestamp,
};
use tokio_postgres::Row;
use uuid::Uuid;

use super::backend_error::{BackendError, unique};
use super::conn::PooledConn;
use super::convert::{
    id, list, read, read_bytes, read_id, read_list, read_number, read_optional_text,
    read_optional_time, read_text, read_time, read_word, unreadable,
};
use crate::licenses::{ChangeNumber, NewCredential, SealedKey, StoredLicense};
use crate::rules::numbers;

/// The columns in the order that [`read_license`] reads.
pub(super) const LICENSE: &str = "l.id, l.account, l.app, l.plan, l.\"user\", l.label, l.status, l.created_at, l.expires_at, \
    l.remaining, l.refill_amount, l.refill_every, l.refill_adds, l.rate_limits, l.concurrency, l.permissions, \
    l.allow_ips, l.version";
/// The number of columns of [`LICENSE`].
pub(super) const LICENSE_COLUMNS: usize = 18;
/// The columns in the order that [`read_credential`] reads.
pub(super) const CREDENTIAL: &str = "c.id, c.kind, c.prefix, c.status, c.created_at, c.expires_at";
/// The number of columns of [`CREDENTIAL`].
pub(super) const CREDENTIAL_COLUMNS: usize = 6;

/// The limits of licenses as columns: units, amount and seconds of a refill, whether it adds,
/// windows, concurrency.
pub(super) struct LimitColumns {
    pub(super) remaining: Option<i64>,
    pub(super) refill_amount: Option<i64>,
    pub(super) refill_every: Option<i64>,
    pub(super) refill_adds: Option<bool>,
    pub(super) rate_limits: Option<String>,
    pub(super) concurrency: Option<i64>,
}

impl From<&Limits> for LimitColumns {
    fn from(limits: &Limits) -> Self {
        let refill = limits.refill;
        Self {
            remaining: limits.remaining.map(|units| units as i64),
            refill_amount: refill.map(|refill| refill.amount as i64),
            refill_every: refill.map(|refill| i64::from(refill.every.seconds())),
            refill_adds: refill.map(|refill| refill.mode == RefillMode::Add),
            rate_limits: list(&limits.rate_limits),
            concurrency: limits.concurrency.map(i64::from),
        }
    }
}

/// Keeps licenses, whose version is given when their changes are numbered.
pub(super) async fn insert_licenses(
    conn: &PooledConn,
    licenses: &[&License],
) -> Result<(), BackendError> {
    fn all<'a, T>(licenses: &'a [&'a License], column: impl Fn(&'a License) -> T) -> Vec<T> {
        licenses.iter().map(|license| column(license)).collect()
    }
    let limits: Vec<_> = licenses
        .iter()
        .map(|license| LimitColumns::from(&license.spec.limits))
        .collect();
    fn each<'a, T>(limits: &'a [LimitColumns], column: impl Fn(&'a LimitColumns) -> T) -> Vec<T> {
        limits.iter().map(column).collect()
    }
    let sql = "INSERT INTO licenses (id, account, app, plan, \"user\", label, status, created_at, expires_at, remaining,
        refill_amount, refill_every, refill_adds, rate_limits, concurrency, permissions, allow_ips, version,
        balance_stamp, refill_stamp)
        SELECT n.id, n.account, n.app, n.plan, n.who, n.label, n.status, n.created_at, n.expires_at, n.remaining,
        n.refill_amount, n.refill_every, n.refill_adds, n.rate_limits, n.concurrency, n.permissions, n.allow_ips, 0,
        micros_now(), n.created_at
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::smallint[], $8::bigint[],
        $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::boolean[], $14::text[], $15::bigint[],
        $16::text[], $17::text[]) AS n (id, account, app, plan, who, label, status, created_at, expires_at, remaining,
        refill_amount, refill_every, refill_adds, rate_limits, concurrency, permissions, allow_ips)";
    conn.change(
        sql,
        &[
            &all(licenses, |license| id(license.id.as_u128())),
            &all(licenses, |license| license.account.as_str()),
            &all(licenses, |license| license.app.as_str()),
            &all(licenses, |license| {
                license.spec.plan.as_ref().map(|plan| plan.as_str())
            }),
            &all(licenses, |license| license.spec.user.as_deref()),
            &all(licenses, |license| license.spec.label.as_deref()),
            &all(licenses, |license| numbers::license(license.status)),
            &all(licenses, |license| license.created_at.micros()),
            &all(licenses, |license| {
                license.spec.expires_at.map(Timestamp::micros)
            }),
            &each(&limits, |limits| limits.remaining),
            &each(&limits, |limits| limits.refill_amount),
            &each(&limits, |limits| limits.refill_every),
            &each(&limits, |limits| limits.refill_adds),
            &each(&limits, |limits| limits.rate_limits.as_deref()),
            &each(&limits, |limits| limits.concurrency),
            &all(licenses, |license| list(&license.spec.permissions)),
            &all(licenses, |license| list(&license.spec.allow_ips)),
        ],
    )
    .await
    .map_err(|error| unique(error, "a license with this id"))?;
    Ok(())
}

/// Keeps credentials, each of the license beside it, in this order.
pub(super) async fn insert_credentials(
    conn: &PooledConn,
    credentials: &[(LicenseId, &NewCredential)],
) -> Result<(), BackendError> {
    fn all<'a, T>(
        credentials: &'a [(LicenseId, &'a NewCredential)],
        column: impl Fn(&'a NewCredential) -> T,
    ) -> Vec<T> {
        credentials
            .iter()
            .map(|(_, credential)| column(credential))
            .collect()
    }
    let licenses: Vec<Uuid> = credentials
        .iter()
        .map(|(license, _)| id(license.as_u128()))
        .collect();
    let sql = "INSERT INTO credentials (id, license_id, hash, kind, prefix, status, created_at, expires_at, sealed)
        SELECT n.id, n.license_id, n.hash, n.kind, n.prefix, n.status, n.created_at, n.expires_at, n.sealed
        FROM unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::text[], $5::text[], $6::smallint[], $7::bigint[],
        $8::bigint[], $9::bytea[])
        WITH ORDINALITY AS n (id, license_id, hash, kind, prefix, status, created_at, expires_at, sealed, place)
        ORDER BY n.place";
    conn.change(
        sql,
        &[
            &all(credentials, |new| id(new.info.id.as_u128())),
            &licenses,
            &all(credentials, |new| new.hash.as_bytes().as_slice()),
            &all(credentials, |new| new.info.kind.as_str()),
            &all(credentials, |new| new.info.prefix.as_str()),
            &all(credentials, |new| numbers::credential(new.info.status)),
            &all(credentials, |new| new.info.created_at.micros()),
            &all(credentials, |new| {
                new.info.expires_at.map(Timestamp::micros)
            }),
            &all(credentials, |new| {
                new.sealed.as_ref().map(SealedKey::as_bytes)
            }),
        ],
    )
    .await
    .map_err(|error| unique(error, "a credential with this key"))?;
    Ok(())
}

/// Returns the licenses of rows that hold one credential each, or none; those of one license are
/// next to each other.
pub(super) fn collect(rows: &[Row]) -> Result<Vec<StoredLicense>, BackendError> {
    let mut licenses: Vec<StoredLicense> = Vec::new();
    for row in rows {
        let license_id = LicenseId::from_u128(read_id(row, 0)?);
        if licenses
            .last()
            .is_none_or(|last| last.license.id != license_id)
        {
            let (license, version) = read_license(row)?;
            licenses.push(StoredLicense {
                license,
                credentials: Vec::new(),
                version,
            });
        }
        if read::<Option<Uuid>>(row, LICENSE_COLUMNS)?.is_some() {
            let credentials = &mut licenses.last_mut().expect("one was pushed").credentials;
            credentials.push(read_credential(row, LICENSE_COLUMNS)?);
        }
    }
    Ok(licenses)
}

pub(super) fn read_license(row: &Row) -> Result<(License, ChangeNumber), BackendError> {
    let remaining: Option<i64> = read(row, 9)?;
    let concurrency: Option<i64> = read(row, 14)?;
    let license = License {
        id: LicenseId::from_u128(read_id(row, 0)?),
        account: read_text(row, 1)?,
        app: read_text(row, 2)?,
        status: read_word(row, 6, numbers::license_of)?,
        created_at: read_time(row, 7)?,
        spec: LicenseSpec {
            plan: read_optional_text(row, 3)?,
            user: read(row, 4)?,
            label: read(row, 5)?,
            expires_at: read_optional_time(row, 8)?,
            limits: Limits {
                remaining: remaining.map(|bits| bits as u64),
                refill: read_refill(row)?,
                rate_limits: read_list(row, 13)?,
                concurrency: match concurrency {
                    None => None,
                    Some(_) => Some(read_number(row, 14)?),
                },
            },
            permissions: read_list(row, 15)?,
            allow_ips: read_list(row, 16)?,
        },
    };
    Ok((license, ChangeNumber(read::<i64>(row, 17)? as u64)))
}

fn read_refill(row: &Row) -> Result<Option<Refill>, BackendError> {
    let Some(amount) = read::<Option<i64>>(row, 10)? else {
        return Ok(None);
    };
    let seconds = u64::try_from(read::<i64>(row, 11)?).unwrap_or(0);
    Ok(Some(Refill {
        amount: amount as u64,
        every: Interval::from_seconds(seconds).ok_or_else(|| unreadable(row, 11))?,
        mode: if read(row, 12)? {
            RefillMode::Add
        } else {
            RefillMode::Set
        },
    }))
}

pub(super) fn read_credential(row: &Row, first: usize) -> Result<CredentialInfo, BackendError> {
    Ok(CredentialInfo {
        id: CredentialId::from_u128(read_id(row, first)?),
        kind: read(row, first + 1)?,
        prefix: read(row, first + 2)?,
        status: read_word(row, first + 3, numbers::credential_of)?,
        created_at: read_time(row, first + 4)?,
        expires_at: read_optional_time(row, first + 5)?,
    })
}

/// Reads the hash of a credential's key.
pub(super) fn read_hash(row: &Row, column: usize) -> Result<model::KeyHash, BackendError> {
    read_bytes(row, column).map(model::KeyHash::from_bytes)
}
