//! Licenses, credentials and changes in SQL.

use std::sync::Arc;

use model::{
    CredentialId, CredentialInfo, Fingerprint, KeyHash, License, LicenseId, LicenseSpec,
    LicenseStatus, Limits, Timestamp,
};
use rusqlite::{Connection, Row, params, params_from_iter};

use super::backend_error::{BackendError, unique};
use super::convert::{
    id, list, read_id, read_list, read_optional_text, read_optional_time, read_text, read_time,
    read_word, rows,
};
use crate::audit::Changed;
use crate::licenses::{
    Change, ChangeNumber, LicenseChange, LicenseFilter, NewCredential, NewLicense, SealedKey,
    Snapshot, StoredLicense,
};
use crate::rules::license::{Renewed, changes_anything};
use crate::rules::numbers::{self, CREDENTIAL_ACTIVE, CREDENTIAL_REVOKED};

/// The number of changes that are kept; a reader further behind sees a gap in the numbers and
/// begins anew.
const CHANGES_KEPT: i64 = 1_000_000;

/// The columns in the order that [`read_license`] reads.
const LICENSE: &str = "l.id, l.account, l.app, l.plan, l.user, l.label, l.status, l.created_at, l.expires_at, \
    l.remaining, l.refill, l.rate_limits, l.concurrency, l.permissions, l.allow_ips, l.version";
const LICENSE_COLUMNS: usize = 16;
/// The columns in the order that [`read_credential`] reads.
const CREDENTIAL: &str = "c.id, c.kind, c.prefix, c.status, c.created_at, c.expires_at";
const CREDENTIAL_COLUMNS: usize = 6;

// === writing ===

pub(super) fn create(
    connection: &Connection,
    new: &[NewLicense],
    now: Timestamp,
) -> Result<ChangeNumber, BackendError> {
    let mut last = last_change(connection)?;
    for NewLicense {
        license,
        credentials,
    } in new
    {
        let changes = credentials.len().max(1) as u64;
        insert_license(connection, license, ChangeNumber(last.0 + changes), now)?;
        if credentials.is_empty() {
            last = record_change(connection, last, license.id, None, now)?;
        }
        for credential in credentials {
            insert_credential(connection, license.id, credential)?;
            last = record_change(connection, last, license.id, Some(&credential.hash), now)?;
        }
    }
    prune(connection, last)?;
    Ok(last)
}

fn insert_license(
    connection: &Connection,
    license: &License,
    version: ChangeNumber,
    now: Timestamp,
) -> Result<(), BackendError> {
    let sql = "INSERT INTO licenses (id, account, app, plan, user, label, status, created_at, expires_at, remaining,
        refill, rate_limits, concurrency, permissions, allow_ips, version, balance_stamp, refill_stamp)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?8)";
    let spec = &license.spec;
    let limits = &spec.limits;
    connection
        .prepare_cached(sql)?
        .execute(params![
            id(license.id.as_u128()),
            license.account.as_str(),
            license.app.as_str(),
            spec.plan.as_ref().map(|plan| plan.as_str()),
            spec.user,
            spec.label,
            numbers::license(license.status),
            license.created_at.micros(),
            spec.expires_at.map(Timestamp::micros),
            limits.remaining.map(|units| units as i64),
            limits.refill.map(|refill| refill.to_string()),
            list(&limits.rate_limits),
            limits.concurrency,
            list(&spec.permissions),
            list(&spec.allow_ips),
            version.0 as i64,
            now.micros(),
        ])
        .map_err(|error| unique(error, "a license with this id"))?;
    Ok(())
}

fn insert_credential(
    connection: &Connection,
    license_id: LicenseId,
    credential: &NewCredential,
) -> Result<(), BackendError> {
    let sql = "INSERT INTO credentials (id, license_id, hash, kind, prefix, status, created_at, expires_at, sealed)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let info = &credential.info;
    connection
        .prepare_cached(sql)?
        .execute(params![
            id(info.id.as_u128()),
            id(license_id.as_u128()),
            credential.hash.as_bytes(),
            info.kind,
            info.prefix,
            numbers::credential(info.status),
            info.created_at.micros(),
            info.expires_at.map(Timestamp::micros),
            credential.sealed.as_ref().map(SealedKey::as_bytes),
        ])
        .map_err(|error| unique(error, "a credential with this key"))?;
    Ok(())
}

/// Writes a change down. Numbers have no gaps: they are given within the transaction of the one
/// writer.
fn record_change(
    connection: &Connection,
    last: ChangeNumber,
    license_id: LicenseId,
    added: Option<&KeyHash>,
    now: Timestamp,
) -> Result<ChangeNumber, BackendError> {
    let number = ChangeNumber(last.0 + 1);
    connection
        .prepare_cached(
            "INSERT INTO changes (number, license_id, added, at) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![
            number.0 as i64,
            id(license_id.as_u128()),
            added.map(|hash| hash.fingerprint().0 as i64),
            now.micros(),
        ])?;
    Ok(number)
}

/// Gives a license a new version, for a change of its credentials that was made elsewhere.
pub(super) fn touch(
    connection: &Connection,
    license_id: LicenseId,
    added: Option<&KeyHash>,
    now: Timestamp,
) -> Result<(), BackendError> {
    let number = record_change(connection, last_change(connection)?, license_id, added, now)?;
    connection
        .prepare_cached("UPDATE licenses SET version = ?2 WHERE id = ?1")?
        .execute(params![id(license_id.as_u128()), number.0 as i64])?;
    prune(connection, number)
}

fn last_change(connection: &Connection) -> Result<ChangeNumber, BackendError> {
    let number: Option<i64> = connection
        .prepare_cached("SELECT max(number) FROM changes")?
        .query_row([], |row| row.get(0))?;
    Ok(ChangeNumber(number.unwrap_or(0) as u64))
}

fn prune(connection: &Connection, last: ChangeNumber) -> Result<(), BackendError> {
    connection
        .prepare_cached("DELETE FROM changes WHERE number <= ?1")?
        .execute([last.0 as i64 - CHANGES_KEPT])?;
    Ok(())
}

pub(super) fn change(
    connection: &Connection,
    license_id: LicenseId,
    change: &LicenseChange,
    now: Timestamp,
) -> Result<Option<Changed<StoredLicense>>, BackendError> {
    let Some(before) = get(connection, license_id)? else {
        return Ok(None);
    };
    if !changes_anything(&before, change) {
        let after = before.clone();
        return Ok(Some(Changed { before, after }));
    }
    let added = apply(connection, &before, change, now)?;
    touch(connection, license_id, added, now)?;
    let after = get(connection, license_id)?;
    Ok(after.map(|after| Changed { before, after }))
}

/// Carries a change out. Returns the hash of the credential that it added, if any.
fn apply<'change>(
    connection: &Connection,
    stored: &StoredLicense,
    change: &'change LicenseChange,
    now: Timestamp,
) -> Result<Option<&'change KeyHash>, BackendError> {
    let license_id = stored.license.id;
    let key = id(license_id.as_u128());
    match change {
        LicenseChange::Status(status) => {
            connection
                .prepare_cached("UPDATE licenses SET status = ?2 WHERE id = ?1")?
                .execute(params![key, numbers::license(*status)])?;
            if *status == LicenseStatus::Revoked {
                forget_keys(connection, license_id)?;
            }
        }
        LicenseChange::ExpiresAt(end) => {
            connection
                .prepare_cached("UPDATE licenses SET expires_at = ?2 WHERE id = ?1")?
                .execute(params![key, end.map(Timestamp::micros)])?;
        }
        LicenseChange::Plan(plan) => {
            connection
                .prepare_cached("UPDATE licenses SET plan = ?2 WHERE id = ?1")?
                .execute(params![key, plan.as_ref().map(|plan| plan.as_str())])?;
        }
        LicenseChange::Label(label) => {
            connection
                .prepare_cached("UPDATE licenses SET label = ?2 WHERE id = ?1")?
                .execute(params![key, label])?;
        }
        LicenseChange::Permissions(permissions) => {
            connection
                .prepare_cached("UPDATE licenses SET permissions = ?2 WHERE id = ?1")?
                .execute(params![key, list(permissions)])?;
        }
        LicenseChange::AllowIps(nets) => {
            connection
                .prepare_cached("UPDATE licenses SET allow_ips = ?2 WHERE id = ?1")?
                .execute(params![key, list(nets)])?;
        }
        LicenseChange::Together(parts) => {
            let mut added = None;
            for part in parts {
                added = apply(connection, stored, part, now)?.or(added);
            }
            return Ok(added);
        }
        LicenseChange::Limits { limits, balance } => {
            apply_limits(connection, stored, limits, *balance, now)?;
        }
        LicenseChange::AddCredential {
            credential,
            others_expire_at,
        } => {
            if let Some(end) = others_expire_at {
                end_credentials(connection, license_id, *end)?;
            }
            insert_credential(connection, license_id, credential)?;
            return Ok(Some(&credential.hash));
        }
        LicenseChange::RevokeCredential(gone) => {
            revoke_credential(connection, license_id, *gone)?;
        }
    }
    Ok(None)
}

/// Writes new limits. The balance itself is in the other file: here it only gets a newer stamp,
/// which the next lease applies.
fn apply_limits(
    connection: &Connection,
    stored: &StoredLicense,
    limits: &Limits,
    balance: bool,
    now: Timestamp,
) -> Result<(), BackendError> {
    let renewed = Renewed::by(&stored.license.spec.limits, limits, balance);
    let sql = "UPDATE licenses SET remaining = ?2, refill = ?3, rate_limits = ?4, concurrency = ?5,
        balance_stamp = CASE WHEN ?6 THEN max(balance_stamp + 1, ?8) ELSE balance_stamp END,
        refill_stamp = CASE WHEN ?7 THEN max(refill_stamp + 1, ?8) ELSE refill_stamp END
        WHERE id = ?1";
    connection.prepare_cached(sql)?.execute(params![
        id(stored.license.id.as_u128()),
        limits.remaining.map(|units| units as i64),
        limits.refill.map(|refill| refill.to_string()),
        list(&limits.rate_limits),
        limits.concurrency,
        renewed.balance,
        renewed.refill,
        now.micros(),
    ])?;
    Ok(())
}

fn end_credentials(
    connection: &Connection,
    license_id: LicenseId,
    end: Timestamp,
) -> Result<(), BackendError> {
    let sql = format!(
        "UPDATE credentials SET expires_at = min(coalesce(expires_at, ?2), ?2), sealed = NULL
        WHERE license_id = ?1 AND status = {CREDENTIAL_ACTIVE} AND session_id IS NULL"
    );
    connection
        .prepare_cached(&sql)?
        .execute(params![id(license_id.as_u128()), end.micros()])?;
    Ok(())
}

fn revoke_credential(
    connection: &Connection,
    license_id: LicenseId,
    gone: CredentialId,
) -> Result<(), BackendError> {
    let sql = format!(
        "UPDATE credentials SET status = {CREDENTIAL_REVOKED}, sealed = NULL WHERE license_id = ?1 AND id = ?2"
    );
    connection
        .prepare_cached(&sql)?
        .execute(params![id(license_id.as_u128()), id(gone.as_u128())])?;
    Ok(())
}

/// Removes the sealed copies of a license's keys.
pub(super) fn forget_keys(
    connection: &Connection,
    license_id: LicenseId,
) -> Result<(), BackendError> {
    let sql = "UPDATE credentials SET sealed = NULL WHERE license_id = ?1 AND sealed IS NOT NULL";
    connection
        .prepare_cached(sql)?
        .execute([id(license_id.as_u128())])?;
    Ok(())
}

// === reading ===

pub(super) fn get(
    connection: &Connection,
    license_id: LicenseId,
) -> Result<Option<StoredLicense>, BackendError> {
    let sql = format!("SELECT {LICENSE} FROM licenses l WHERE l.id = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query([id(license_id.as_u128())])?;
    match found.next()? {
        Some(row) => complete(connection, row).map(Some),
        None => Ok(None),
    }
}

/// Returns the license of a row with its credentials.
fn complete(connection: &Connection, row: &Row<'_>) -> Result<StoredLicense, BackendError> {
    let (license, version) = read_license(row)?;
    let sql = format!(
        "SELECT {CREDENTIAL} FROM credentials c WHERE c.license_id = ?1 AND c.session_id IS NULL ORDER BY c.created_at, c.cursor"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let credentials = statement
        .query_and_then([id(license.id.as_u128())], |row| read_credential(row, 0))?
        .collect::<Result<_, BackendError>>()?;
    Ok(StoredLicense {
        license,
        credentials,
        version,
    })
}

pub(super) fn sealed_keys(
    connection: &Connection,
    license_id: LicenseId,
) -> Result<Vec<(CredentialId, SealedKey)>, BackendError> {
    let sql = "SELECT id, sealed FROM credentials WHERE license_id = ?1 AND sealed IS NOT NULL
        ORDER BY created_at DESC, cursor DESC";
    let mut statement = connection.prepare_cached(sql)?;
    let read = |row: &Row<'_>| {
        let credential = CredentialId::from_u128(read_id(row, 0)?);
        Ok((credential, SealedKey::new(row.get(1)?)))
    };
    let keys = statement.query_map([id(license_id.as_u128())], read)?;
    Ok(keys.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn by_key(
    connection: &Connection,
    hash: &KeyHash,
) -> Result<Option<Snapshot>, BackendError> {
    let sql = format!(
        "SELECT {LICENSE}, {CREDENTIAL}, k.allow_ips FROM credentials c JOIN licenses l ON l.id = c.license_id
         LEFT JOIN sessions s ON s.id = c.session_id LEFT JOIN management_keys k ON k.id = s.key_id WHERE c.hash = ?1"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query([hash.as_bytes()])?;
    let Some(row) = found.next()? else {
        return Ok(None);
    };
    let (license, version) = read_license(row)?;
    Ok(Some(Snapshot {
        license: Arc::new(license),
        credential: read_credential(row, LICENSE_COLUMNS)?,
        allow_ips: read_list(row, LICENSE_COLUMNS + CREDENTIAL_COLUMNS)?,
        version,
    }))
}

pub(super) fn page(
    connection: &Connection,
    filter: &LicenseFilter,
    after: Option<LicenseId>,
    limit: usize,
) -> Result<Vec<StoredLicense>, BackendError> {
    let mut conditions = Vec::new();
    let mut values: Vec<rusqlite::types::Value> = Vec::new();
    let mut add = |condition: &'static str, value: Option<rusqlite::types::Value>| {
        if let Some(value) = value {
            conditions.push(condition);
            values.push(value);
        }
    };
    let text = |text: &str| text.to_owned().into();
    add(
        "l.account = ?",
        filter.account.as_ref().map(|name| text(name.as_str())),
    );
    add(
        "l.app = ?",
        filter.app.as_ref().map(|name| text(name.as_str())),
    );
    add("l.user = ?", filter.user.as_deref().map(text));
    add(
        "l.status = ?",
        filter.status.map(|status| numbers::license(status).into()),
    );
    add(
        "l.id > ?",
        after.map(|after| id(after.as_u128()).to_vec().into()),
    );
    let condition = if conditions.is_empty() {
        String::new()
    } else {
        format!("WHERE {}", conditions.join(" AND "))
    };
    let sql = format!(
        "SELECT {LICENSE} FROM licenses l {condition} ORDER BY l.id LIMIT {}",
        rows(limit)
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query(params_from_iter(values))?;
    let mut licenses = Vec::new();
    while let Some(row) = found.next()? {
        licenses.push(complete(connection, row)?);
    }
    Ok(licenses)
}

pub(super) fn changes_since(
    connection: &Connection,
    number: ChangeNumber,
    limit: usize,
) -> Result<(Vec<Change>, ChangeNumber), BackendError> {
    let sql = "SELECT number, license_id, added, at FROM changes WHERE number > ?1 ORDER BY number LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let read = |row: &Row<'_>| {
        let added: Option<i64> = row.get(2)?;
        Ok(Change {
            number: ChangeNumber(row.get::<_, i64>(0)? as u64),
            license_id: LicenseId::from_u128(read_id(row, 1)?),
            added: added.map(|bits| Fingerprint(bits as u64)),
            at: Timestamp::from_micros(row.get(3)?),
        })
    };
    let after = i64::try_from(number.0).unwrap_or(i64::MAX);
    let changes = statement
        .query_map(params![after, rows(limit) as i64], read)?
        .collect::<rusqlite::Result<_>>()?;
    Ok((changes, last_change(connection)?))
}

pub(super) fn fingerprints(
    connection: &Connection,
    after: Option<u64>,
    limit: usize,
) -> Result<(Vec<Fingerprint>, Option<u64>), BackendError> {
    let limit = rows(limit);
    let sql = "SELECT cursor, hash FROM credentials WHERE cursor > ?1 ORDER BY cursor LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let after = after.map_or(0, |after| i64::try_from(after).unwrap_or(i64::MAX));
    let mut found = statement.query(params![after, limit as i64 + 1])?;
    let mut fingerprints = Vec::new();
    let mut last = 0;
    while let Some(row) = found.next()? {
        if fingerprints.len() == limit {
            return Ok((fingerprints, Some(last)));
        }
        last = row.get::<_, i64>(0)? as u64;
        fingerprints.push(KeyHash::from_bytes(row.get(1)?).fingerprint());
    }
    Ok((fingerprints, None))
}

fn read_license(row: &Row<'_>) -> Result<(License, ChangeNumber), BackendError> {
    let remaining: Option<i64> = row.get(9)?;
    let license = License {
        id: LicenseId::from_u128(read_id(row, 0)?),
        account: read_text(row, 1)?,
        app: read_text(row, 2)?,
        status: read_word(row, 6, numbers::license_of)?,
        created_at: read_time(row, 7)?,
        spec: LicenseSpec {
            plan: read_optional_text(row, 3)?,
            user: row.get(4)?,
            label: row.get(5)?,
            expires_at: read_optional_time(row, 8)?,
            limits: Limits {
                remaining: remaining.map(|bits| bits as u64),
                refill: read_optional_text(row, 10)?,
                rate_limits: read_list(row, 11)?,
                concurrency: row.get(12)?,
            },
            permissions: read_list(row, 13)?,
            allow_ips: read_list(row, 14)?,
        },
    };
    Ok((license, ChangeNumber(row.get::<_, i64>(15)? as u64)))
}

fn read_credential(row: &Row<'_>, first: usize) -> Result<CredentialInfo, BackendError> {
    Ok(CredentialInfo {
        id: CredentialId::from_u128(read_id(row, first)?),
        kind: row.get(first + 1)?,
        prefix: row.get(first + 2)?,
        status: read_word(row, first + 3, numbers::credential_of)?,
        created_at: read_time(row, first + 4)?,
        expires_at: read_optional_time(row, first + 5)?,
    })
}
