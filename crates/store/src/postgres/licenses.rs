//! Licenses, credentials and changes in SQL.

use std::sync::Arc;

use model::{CredentialId, Fingerprint, KeyHash, LicenseId, LicenseStatus, Limits, Timestamp};
use uuid::Uuid;

use super::backend_error::BackendError;
use super::conn::{PooledConn, Value};
use super::convert::{id, list, read, read_id, read_list, rows};
use super::license_rows::{
    CREDENTIAL, CREDENTIAL_COLUMNS, LICENSE, LICENSE_COLUMNS, LimitColumns, collect,
    insert_credentials, insert_licenses, read_credential, read_hash, read_license,
};
use crate::audit::Changed;
use crate::licenses::{
    Change, ChangeNumber, LicenseChange, LicenseFilter, NewLicense, SealedKey, Snapshot,
    StoredLicense,
};
use crate::rules::license::{Renewed, changes_anything};
use crate::rules::numbers::{self, CREDENTIAL_ACTIVE, CREDENTIAL_REVOKED};

/// The number of changes that are kept at least; a reader further behind sees a gap in the numbers
/// and begins anew.
const CHANGES_KEPT: i64 = 1_000_000;
/// The number of new changes after which old ones are removed.
const PRUNE_EVERY: u64 = 1_000;

// === writing ===

pub(super) async fn create(
    conn: &PooledConn,
    new: &[NewLicense],
) -> Result<ChangeNumber, BackendError> {
    let licenses: Vec<_> = new.iter().map(|new| &new.license).collect();
    insert_licenses(conn, &licenses).await?;
    let mut credentials = Vec::new();
    let mut changes = Vec::new();
    for NewLicense {
        license,
        credentials: added,
    } in new
    {
        credentials.extend(added.iter().map(|credential| (license.id, credential)));
        changes.extend(
            added
                .iter()
                .map(|credential| (license.id, Some(&credential.hash))),
        );
        if added.is_empty() {
            changes.push((license.id, None));
        }
    }
    insert_credentials(conn, &credentials).await?;
    record_changes(conn, &changes).await
}

/// Writes changes down, as the last statement of a transaction: their numbers are given in commit
/// order, since the next transaction that wants numbers waits here until this one is over.
pub(super) async fn record_changes(
    conn: &PooledConn,
    changes: &[(LicenseId, Option<&KeyHash>)],
) -> Result<ChangeNumber, BackendError> {
    let licenses: Vec<Uuid> = changes
        .iter()
        .map(|(license, _)| id(license.as_u128()))
        .collect();
    let added: Vec<Option<i64>> = changes
        .iter()
        .map(|(_, hash)| hash.map(|hash| hash.fingerprint().0 as i64))
        .collect();
    let sql = "WITH counter AS (
          UPDATE change_counter SET last = last + $3 RETURNING last
        ), numbered AS (
          SELECT c.last - $3 + n.place AS number, n.license_id, n.added
          FROM counter c, unnest($1::uuid[], $2::bigint[]) WITH ORDINALITY AS n (license_id, added, place)
        ), noted AS (
          INSERT INTO changes (number, license_id, added, at)
            SELECT number, license_id, added, micros_now() FROM numbered
        ), versions AS (
          UPDATE licenses l SET version = v.number
          FROM (SELECT license_id, max(number) AS number FROM numbered GROUP BY license_id) v WHERE l.id = v.license_id
        )
        SELECT last FROM counter";
    let row = conn
        .row(sql, &[&licenses, &added, &(changes.len() as i64)])
        .await?;
    let row = row.ok_or_else(|| BackendError::corrupt("the counter of changes is gone"))?;
    Ok(ChangeNumber(read::<i64>(&row, 0)? as u64))
}

/// Returns whether old changes are to be removed, now that `written` changes were written up to
/// this number.
pub(super) fn is_time_to_prune(last: ChangeNumber, written: u64) -> bool {
    last.0 / PRUNE_EVERY != last.0.saturating_sub(written) / PRUNE_EVERY
}

/// Removes old changes; never within the transaction of a new one, which others wait for.
pub(super) async fn prune(conn: &PooledConn, last: ChangeNumber) -> Result<(), BackendError> {
    let oldest = (last.0 as i64).saturating_sub(CHANGES_KEPT);
    conn.change("DELETE FROM changes WHERE number <= $1", &[&oldest])
        .await?;
    Ok(())
}

pub(super) async fn change(
    conn: &PooledConn,
    license_id: LicenseId,
    change: &LicenseChange,
) -> Result<Option<Changed<StoredLicense>>, BackendError> {
    let lock = "SELECT FROM licenses WHERE id = $1 FOR NO KEY UPDATE";
    if conn
        .row(lock, &[&id(license_id.as_u128())])
        .await?
        .is_none()
    {
        return Ok(None);
    }
    let Some(before) = get(conn, license_id).await? else {
        return Ok(None);
    };
    if !changes_anything(&before, change) {
        let after = before.clone();
        return Ok(Some(Changed { before, after }));
    }
    let added = apply(conn, &before, change).await?;
    record_changes(conn, &[(license_id, added)]).await?;
    let after = get(conn, license_id).await?;
    Ok(after.map(|after| Changed { before, after }))
}

/// Carries a change out. Returns the hash of the credential that it added, if any.
pub(super) async fn apply<'change>(
    conn: &PooledConn,
    stored: &StoredLicense,
    change: &'change LicenseChange,
) -> Result<Option<&'change KeyHash>, BackendError> {
    let license_id = stored.license.id;
    let key = id(license_id.as_u128());
    let set = async |column: &str, value: Value<'_>| {
        let sql = format!("UPDATE licenses SET {column} = $2 WHERE id = $1");
        conn.change(&sql, &[&key, value]).await
    };
    match change {
        LicenseChange::Status(status) => {
            if *status == LicenseStatus::Revoked {
                forget_keys(conn, &[key]).await?;
            }
            set("status", &numbers::license(*status)).await?
        }
        LicenseChange::ExpiresAt(end) => set("expires_at", &end.map(Timestamp::micros)).await?,
        LicenseChange::Plan(plan) => set("plan", &plan.as_ref().map(|plan| plan.as_str())).await?,
        LicenseChange::Label(label) => set("label", label).await?,
        LicenseChange::Permissions(permissions) => set("permissions", &list(permissions)).await?,
        LicenseChange::AllowIps(nets) => set("allow_ips", &list(nets)).await?,
        LicenseChange::Together(parts) => {
            let mut added = None;
            for part in parts {
                added = Box::pin(apply(conn, stored, part)).await?.or(added);
            }
            return Ok(added);
        }
        LicenseChange::Limits { limits, balance } => {
            apply_limits(conn, stored, limits, *balance).await?
        }
        LicenseChange::AddCredential {
            credential,
            others_expire_at,
        } => {
            if let Some(end) = others_expire_at {
                let sql = format!(
                    "UPDATE credentials SET expires_at = least(expires_at, $2), sealed = NULL WHERE license_id = $1
                    AND status = {CREDENTIAL_ACTIVE} AND session_id IS NULL"
                );
                conn.change(&sql, &[&key, &end.micros()]).await?;
            }
            insert_credentials(conn, &[(license_id, credential)]).await?;
            return Ok(Some(&credential.hash));
        }
        LicenseChange::RevokeCredential(gone) => {
            let sql = format!(
                "UPDATE credentials SET status = {CREDENTIAL_REVOKED}, sealed = NULL WHERE license_id = $1 AND id = $2"
            );
            conn.change(&sql, &[&key, &id(gone.as_u128())]).await?
        }
    };
    Ok(None)
}

/// Removes the sealed copies of these licenses' keys.
pub(super) async fn forget_keys(conn: &PooledConn, licenses: &[Uuid]) -> Result<(), BackendError> {
    let sql =
        "UPDATE credentials SET sealed = NULL WHERE license_id = ANY ($1) AND sealed IS NOT NULL";
    conn.change(sql, &[&licenses]).await?;
    Ok(())
}

/// Writes new limits. The balance only gets a newer stamp, which the next lease applies.
async fn apply_limits(
    conn: &PooledConn,
    stored: &StoredLicense,
    limits: &Limits,
    balance: bool,
) -> Result<u64, BackendError> {
    let renewed = Renewed::by(&stored.license.spec.limits, limits, balance);
    let columns = LimitColumns::from(limits);
    let sql = "UPDATE licenses SET remaining = $2, refill_amount = $3, refill_every = $4, refill_adds = $5,
        rate_limits = $6, concurrency = $7,
        balance_stamp = CASE WHEN $8 THEN greatest(balance_stamp + 1, micros_now()) ELSE balance_stamp END,
        refill_stamp = CASE WHEN $9 THEN greatest(refill_stamp + 1, micros_now()) ELSE refill_stamp END
        WHERE id = $1";
    let values: [Value<'_>; 9] = [
        &id(stored.license.id.as_u128()),
        &columns.remaining,
        &columns.refill_amount,
        &columns.refill_every,
        &columns.refill_adds,
        &columns.rate_limits,
        &columns.concurrency,
        &renewed.balance,
        &renewed.refill,
    ];
    Ok(conn.change(sql, &values).await?)
}

// === reading ===

pub(super) async fn get(
    conn: &PooledConn,
    license_id: LicenseId,
) -> Result<Option<StoredLicense>, BackendError> {
    let sql = format!(
        "SELECT {LICENSE}, {CREDENTIAL} FROM licenses l LEFT JOIN credentials c ON c.license_id = l.id AND c.session_id IS NULL
        WHERE l.id = $1 ORDER BY c.created_at, c.cursor"
    );
    let found = conn.rows(&sql, &[&id(license_id.as_u128())]).await?;
    Ok(collect(&found)?.pop())
}

pub(super) async fn by_ids(
    conn: &PooledConn,
    ids: &[LicenseId],
) -> Result<Vec<StoredLicense>, BackendError> {
    let sql = format!(
        "SELECT {LICENSE}, {CREDENTIAL} FROM licenses l LEFT JOIN credentials c ON c.license_id = l.id AND c.session_id IS NULL
        WHERE l.id = ANY ($1) ORDER BY l.id, c.created_at, c.cursor"
    );
    let ids: Vec<Uuid> = ids.iter().map(|license| id(license.as_u128())).collect();
    collect(&conn.rows(&sql, &[&ids]).await?)
}

pub(super) async fn sealed_keys(
    conn: &PooledConn,
    license_id: LicenseId,
) -> Result<Vec<(CredentialId, SealedKey)>, BackendError> {
    let sql = "SELECT id, sealed FROM credentials WHERE license_id = $1 AND sealed IS NOT NULL
        ORDER BY created_at DESC, cursor DESC";
    let found = conn.rows(sql, &[&id(license_id.as_u128())]).await?;
    let keys = found.iter().map(|row| {
        let credential = CredentialId::from_u128(read_id(row, 0)?);
        Ok((credential, SealedKey::new(read(row, 1)?)))
    });
    keys.collect()
}

pub(super) async fn by_key(
    conn: &PooledConn,
    hash: &KeyHash,
) -> Result<Option<Snapshot>, BackendError> {
    let sql = format!(
        "SELECT {LICENSE}, {CREDENTIAL}, k.allow_ips FROM credentials c JOIN licenses l ON l.id = c.license_id
        LEFT JOIN sessions s ON s.id = c.session_id LEFT JOIN management_keys k ON k.id = s.key_id WHERE c.hash = $1"
    );
    let Some(row) = conn.row(&sql, &[&hash.as_bytes().as_slice()]).await? else {
        return Ok(None);
    };
    let (license, version) = read_license(&row)?;
    Ok(Some(Snapshot {
        license: Arc::new(license),
        credential: read_credential(&row, LICENSE_COLUMNS)?,
        allow_ips: read_list(&row, LICENSE_COLUMNS + CREDENTIAL_COLUMNS)?,
        version,
    }))
}

pub(super) async fn page(
    conn: &PooledConn,
    filter: &LicenseFilter,
    after: Option<LicenseId>,
    limit: usize,
) -> Result<Vec<StoredLicense>, BackendError> {
    let account = filter.account.as_ref().map(|name| name.as_str());
    let app = filter.app.as_ref().map(|name| name.as_str());
    let status = filter.status.map(numbers::license);
    let after = after.map(|after| id(after.as_u128()));
    let mut conditions = Vec::new();
    let mut values: Vec<Value<'_>> = Vec::new();
    let mut when = |there: bool, column: &str, value| {
        if there {
            values.push(value);
            conditions.push(format!("l.{column} ${}", values.len()));
        }
    };
    when(account.is_some(), "account =", &account as Value<'_>);
    when(app.is_some(), "app =", &app);
    when(filter.user.is_some(), "\"user\" =", &filter.user);
    when(status.is_some(), "status =", &status);
    when(after.is_some(), "id >", &after);
    let condition = if conditions.is_empty() {
        String::new()
    } else {
        format!("WHERE {}", conditions.join(" AND "))
    };
    let limit = rows(limit) as i64;
    values.push(&limit);
    let sql = format!(
        "SELECT {LICENSE}, {CREDENTIAL} FROM (SELECT * FROM licenses l {condition} ORDER BY l.id LIMIT ${}) l
        LEFT JOIN credentials c ON c.license_id = l.id AND c.session_id IS NULL ORDER BY l.id, c.created_at, c.cursor",
        values.len()
    );
    collect(&conn.rows(&sql, &values).await?)
}

pub(super) async fn changes_since(
    conn: &PooledConn,
    number: ChangeNumber,
    limit: usize,
) -> Result<(Vec<Change>, ChangeNumber), BackendError> {
    // One statement sees one moment: the number of the last change fits the changes beside it.
    let sql =
        "SELECT c.last, n.number, n.license_id, n.added, n.at FROM change_counter c LEFT JOIN LATERAL (
          SELECT number, license_id, added, at FROM changes WHERE number > $1 ORDER BY number LIMIT $2
        ) n ON true ORDER BY n.number";
    let after = i64::try_from(number.0).unwrap_or(i64::MAX);
    let found = conn.rows(sql, &[&after, &(rows(limit) as i64)]).await?;
    let mut changes = Vec::with_capacity(found.len());
    let mut last = 0;
    for row in &found {
        last = read::<i64>(row, 0)?;
        if let Some(number) = read::<Option<i64>>(row, 1)? {
            changes.push(Change {
                number: ChangeNumber(number as u64),
                license_id: LicenseId::from_u128(read_id(row, 2)?),
                added: read::<Option<i64>>(row, 3)?.map(|bits| Fingerprint(bits as u64)),
                at: Timestamp::from_micros(read(row, 4)?),
            });
        }
    }
    Ok((changes, ChangeNumber(last as u64)))
}

pub(super) async fn fingerprints(
    conn: &PooledConn,
    after: Option<u64>,
    limit: usize,
) -> Result<(Vec<Fingerprint>, Option<u64>), BackendError> {
    let limit = rows(limit);
    let sql = "SELECT cursor, hash FROM credentials WHERE cursor > $1 ORDER BY cursor LIMIT $2";
    let after = after.map_or(0, |after| i64::try_from(after).unwrap_or(i64::MAX));
    let found = conn.rows(sql, &[&after, &(limit as i64 + 1)]).await?;
    let mut fingerprints = Vec::with_capacity(found.len().min(limit));
    for row in found.iter().take(limit) {
        fingerprints.push(read_hash(row, 1)?.fingerprint());
    }
    let more = found.len() > limit;
    let next = if more {
        Some(read::<i64>(&found[limit - 1], 0)? as u64)
    } else {
        None
    };
    Ok((fingerprints, next))
}
