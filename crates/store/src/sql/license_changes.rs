//! The changes of licenses, on both engines.

use model::{KeyHash, LicenseId, LicenseStatus, Limits, RefillMode, Variables};

use super::license_events::{is_told, tell_change};
use super::license_rows::{get, ids_of};
use super::{Engine, Outcome, Sql, Twins, Value, list, sql, values};
use crate::audit::Changed;
use crate::licenses::{LicenseChange, NewCredential, SealedKey, StoredLicense};
use crate::rules::license::{Renewed, changes_anything, parts};
use crate::rules::numbers::{self, CREDENTIAL_ACTIVE, CREDENTIAL_REVOKED, TELLS_KEYS};

/// Keeps others from changing a license until the transaction is over.
pub(crate) async fn lock<S: Sql>(sql: &S, license: LicenseId) -> Outcome<(), S> {
    if S::ENGINE == Engine::Postgres {
        let statement = sql!("SELECT 1 FROM licenses WHERE id = $1 FOR NO KEY UPDATE");
        sql.execute(statement, &values![license]).await?;
    }
    Ok(())
}

/// Makes a change of a license, unless it has no effect. Returns the states before and after; `None`:
/// there is no such license.
pub(super) async fn change_one<S: Twins>(
    sql: &S,
    license: LicenseId,
    change: &LicenseChange,
) -> Outcome<Option<Changed<StoredLicense>>, S> {
    lock(sql, license).await?;
    let Some(before) = get(sql, license).await? else {
        return Ok(None);
    };
    if !changes_anything(&before, change) {
        let after = before.clone();
        return Ok(Some(Changed { before, after }));
    }
    let added = apply(sql, &before, change).await?;
    let told = is_told(sql, &before.license.account).await?;
    sql.record_changes(&[(license, added)]).await?;
    let changed = Changed::of(Some(before), get(sql, license).await?);
    if let Some(changed) = changed.as_ref().filter(|_| told) {
        tell_change(sql, changed).await?;
    }
    Ok(changed)
}

/// Carries a change out. Returns the hash of the credential that it added, if any.
pub(super) async fn apply<'change, S: Sql>(
    sql: &S,
    stored: &StoredLicense,
    change: &'change LicenseChange,
) -> Outcome<Option<&'change KeyHash>, S> {
    let mut added = None;
    for part in parts(change) {
        if let LicenseChange::AddCredential {
            credential,
            others_expire_at,
        } = part
        {
            if let Some(end) = others_expire_at {
                let statement = sql!(
                    "UPDATE credentials SET expires_at = least(coalesce(expires_at, $2), $2), sealed = NULL
                    WHERE license_id = $1 AND status = {CREDENTIAL_ACTIVE} AND session_id IS NULL"
                );
                sql.execute(statement, &values![stored.license.id, *end])
                    .await?;
            }
            insert_credential(sql, stored.license.id, credential).await?;
            added = Some(&credential.hash);
        } else {
            apply_part(sql, stored, part).await?;
        }
    }
    Ok(added)
}

async fn apply_part<S: Sql>(
    sql: &S,
    stored: &StoredLicense,
    part: &LicenseChange,
) -> Outcome<(), S> {
    let id = stored.license.id;
    let (statement, value) = match part {
        LicenseChange::Status(status) => {
            if *status == LicenseStatus::Revoked {
                keep_told_keys(sql, id).await?;
                forget_keys(sql, &[id]).await?;
            }
            let statement = sql!("UPDATE licenses SET status = $2 WHERE id = $1");
            (statement, numbers::license(*status).into())
        }
        LicenseChange::ExpiresAt(end) => {
            let statement = sql!("UPDATE licenses SET expires_at = $2 WHERE id = $1");
            (statement, (*end).into())
        }
        LicenseChange::Plan(plan) => {
            let statement = sql!("UPDATE licenses SET plan = $2 WHERE id = $1");
            (statement, plan.as_ref().into())
        }
        LicenseChange::Label(label) => {
            let statement = sql!("UPDATE licenses SET label = $2 WHERE id = $1");
            (statement, label.as_ref().into())
        }
        LicenseChange::Permissions(permissions) => {
            let statement = sql!("UPDATE licenses SET permissions = $2 WHERE id = $1");
            (statement, list(permissions).into())
        }
        LicenseChange::AllowIps(nets) => {
            let statement = sql!("UPDATE licenses SET allow_ips = $2 WHERE id = $1");
            (statement, list(nets).into())
        }
        LicenseChange::DeviceSlots(slots) => {
            let statement = sql!("UPDATE licenses SET device_slots = $2 WHERE id = $1");
            (statement, slots.map(u32::from).into())
        }
        LicenseChange::UnlimitedDevices(unlimited) => {
            let statement = sql!("UPDATE licenses SET unlimited_devices = $2 WHERE id = $1");
            (statement, (*unlimited).into())
        }
        LicenseChange::Variables(variables) => {
            let statement = sql!("UPDATE licenses SET variables = $2 WHERE id = $1");
            (statement, self::variables(variables).into())
        }
        LicenseChange::ResetDevices => {
            let statement = sql!("UPDATE licenses SET devices = $2 WHERE id = $1");
            (statement, Value::Null)
        }
        LicenseChange::RevokeCredential(gone) => {
            let statement = sql!(
                "UPDATE credentials SET status = {CREDENTIAL_REVOKED}, sealed = NULL
                WHERE license_id = $1 AND id = $2"
            );
            (statement, Value::from(*gone))
        }
        LicenseChange::Limits { limits, balance } => {
            return apply_limits(sql, stored, limits, *balance).await;
        }
        LicenseChange::Together(_) | LicenseChange::AddCredential { .. } => return Ok(()),
    };
    sql.execute(statement, &[id.into(), value]).await.map(drop)
}

/// Returns variables as JSON, none as NULL.
pub(crate) fn variables(variables: &Variables) -> Option<String> {
    (!variables.is_empty()).then(|| variables.to_string())
}

/// Writes new limits. The balance only gets a newer stamp, which the next lease applies.
async fn apply_limits<S: Sql>(
    sql: &S,
    stored: &StoredLicense,
    limits: &Limits,
    balance: bool,
) -> Outcome<(), S> {
    let renewed = Renewed::by(&stored.license.spec.limits, limits, balance);
    let statement = sql!(
        postgres: "UPDATE licenses SET remaining = $2, rate_limits = $3, concurrency = $4,
        balance_stamp = CASE WHEN $5 THEN greatest(balance_stamp + 1, micros_now()) ELSE balance_stamp END,
        refill_stamp = CASE WHEN $6 THEN greatest(refill_stamp + 1, micros_now()) ELSE refill_stamp END,
        refill_amount = $7, refill_every = $8, refill_adds = $9 WHERE id = $1",
        sqlite: "UPDATE licenses SET remaining = $2, rate_limits = $3, concurrency = $4,
        balance_stamp = CASE WHEN $5 THEN max(balance_stamp + 1, $8) ELSE balance_stamp END,
        refill_stamp = CASE WHEN $6 THEN max(refill_stamp + 1, $8) ELSE refill_stamp END,
        refill = $7 WHERE id = $1",
    );
    let mut values = values![
        stored.license.id,
        limits.remaining.map(|units| units as i64),
        list(&limits.rate_limits),
        limits.concurrency,
        renewed.balance,
        renewed.refill,
    ]
    .to_vec();
    let refill = limits.refill;
    match S::ENGINE {
        Engine::Postgres => values.extend(values![
            refill.map(|refill| refill.amount as i64),
            refill.map(|refill| i64::from(refill.every.seconds())),
            refill.map(|refill| refill.mode == RefillMode::Add),
        ]),
        Engine::Sqlite => {
            values.extend(values![refill.map(|refill| refill.to_string()), sql.now()])
        }
    }
    sql.execute(statement, &values).await.map(drop)
}

/// Adds a credential to a license.
pub(crate) async fn insert_credential<S: Sql>(
    sql: &S,
    license: LicenseId,
    credential: &NewCredential,
) -> Outcome<(), S> {
    let statement = sql!(
        "INSERT INTO credentials (id, license_id, hash, kind, prefix, status, created_at, expires_at, sealed)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
    );
    let info = &credential.info;
    let values = values![
        info.id,
        license,
        &credential.hash,
        &info.kind,
        &info.prefix,
        numbers::credential(info.status),
        info.created_at,
        info.expires_at,
        credential.sealed.as_ref().map(SealedKey::as_bytes),
    ];
    sql.insert(statement, &values, "a credential with this key")
        .await
}

/// Puts the sealed copies of a license's keys aside for its events, where a webhook tells keys: those
/// that wait, and that of its end.
async fn keep_told_keys<S: Sql>(sql: &S, license: LicenseId) -> Outcome<(), S> {
    let statement = sql!(
        "INSERT INTO told_keys (license_id, id, sealed, at)
        SELECT c.license_id, c.id, c.sealed, $2 FROM credentials c JOIN licenses l ON l.id = c.license_id
        WHERE c.license_id = $1 AND c.sealed IS NOT NULL AND EXISTS (
          SELECT 1 FROM webhooks h WHERE h.account = l.account AND h.form = {TELLS_KEYS})
        ON CONFLICT (license_id, id) DO NOTHING"
    );
    sql.execute(statement, &values![license, sql.now()])
        .await
        .map(drop)
}

/// Removes the sealed copies of these licenses' keys.
pub(super) async fn forget_keys<S: Sql>(sql: &S, licenses: &[LicenseId]) -> Outcome<(), S> {
    let statement = sql!(
        "UPDATE credentials SET sealed = NULL WHERE license_id = ANY ($1::uuid[]) AND sealed IS NOT NULL"
    );
    let licenses = [ids_of(licenses)];
    sql.execute(statement, &licenses).await.map(drop)
}
