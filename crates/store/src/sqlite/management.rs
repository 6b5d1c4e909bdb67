//! Accounts, management keys, plan revisions and settings in SQL.

use model::{
    AccountName, KeyHash, LicenseId, ManagementKeyId, PlanName, PlanRevision, PlanRevisionId,
    Timestamp,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::backend_error::{BackendError, unique};
use super::convert::{
    id, json, list, read_id, read_list, read_optional_id, read_optional_text, read_optional_time,
    read_text, read_time,
};
use super::sessions;
use crate::management::{
    Account, AppNamed, ManagementKey, NewManagementKey, PlanNamed, plan_setting,
};

/// The columns in the order that [`read_key`] reads.
const KEY: &str = "id, account, app, license_id, name, scopes, prefix, created_at, expires_at, revoked_at, \
     allow_ips, draws_on";

pub(super) fn create_account(
    connection: &Connection,
    account: &Account,
) -> Result<(), BackendError> {
    connection
        .prepare_cached("INSERT INTO accounts (name, created_at, disabled_at) VALUES (?1, ?2, ?3)")?
        .execute(params![
            account.name.as_str(),
            account.created_at.micros(),
            account.disabled_at.map(Timestamp::micros),
        ])
        .map_err(|error| unique(error, "an account with this name"))?;
    Ok(())
}

pub(super) fn accounts(connection: &Connection) -> Result<Vec<Account>, BackendError> {
    connection
        .prepare_cached("SELECT name, created_at, disabled_at FROM accounts ORDER BY name")?
        .query_and_then([], read_account)?
        .collect()
}

pub(super) fn account(
    connection: &Connection,
    name: &AccountName,
) -> Result<Option<Account>, BackendError> {
    let sql = "SELECT name, created_at, disabled_at FROM accounts WHERE name = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let mut found = statement.query([name.as_str()])?;
    found.next()?.map(read_account).transpose()
}

pub(super) fn set_disabled(
    connection: &Connection,
    name: &AccountName,
    at: Option<Timestamp>,
) -> Result<(), BackendError> {
    let sql = "UPDATE accounts SET disabled_at = CASE WHEN ?2 IS NULL THEN NULL ELSE coalesce(disabled_at, ?2) END
        WHERE name = ?1";
    connection
        .prepare_cached(sql)?
        .execute(params![name.as_str(), at.map(Timestamp::micros)])?;
    Ok(())
}

fn read_account(row: &Row<'_>) -> Result<Account, BackendError> {
    Ok(Account {
        name: read_text(row, 0)?,
        created_at: read_time(row, 1)?,
        disabled_at: read_optional_time(row, 2)?,
    })
}

pub(super) fn create_key(
    connection: &Connection,
    new: &NewManagementKey,
) -> Result<(), BackendError> {
    let NewManagementKey { key, hash, secret } = new;
    let sql = "INSERT INTO management_keys (id, account, app, license_id, name, scopes, prefix, created_at, expires_at,
        revoked_at, hash, secret, allow_ips, draws_on) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
    connection
        .prepare_cached(sql)?
        .execute(params![
            id(key.id.as_u128()),
            key.account.as_str(),
            key.app.as_ref().map(|app| app.as_str()),
            key.license_id.map(|license| id(license.as_u128())),
            key.name,
            json(&key.scopes),
            key.prefix,
            key.created_at.micros(),
            key.expires_at.map(Timestamp::micros),
            key.revoked_at.map(Timestamp::micros),
            hash.as_bytes(),
            secret.as_ref().map(KeyHash::as_bytes),
            list(&key.allow_ips),
            key.draws_on.map(|license| id(license.as_u128())),
        ])
        .map_err(|error| unique(error, "a management key with this id or hash"))?;
    Ok(())
}

/// Keeps a key and ends the one it replaces. Returns `false` if there is none to replace.
pub(super) fn replace_key(
    connection: &Connection,
    old: ManagementKeyId,
    at: Timestamp,
    new: &NewManagementKey,
    now: Timestamp,
) -> Result<bool, BackendError> {
    let replaced = key(connection, old)?.filter(|old| old.is_live(now));
    if replaced.is_none() {
        return Ok(false);
    }
    create_key(connection, new)?;
    end_key(connection, old, at, now)?;
    Ok(true)
}

pub(super) fn key_by_hash(
    connection: &Connection,
    hash: &KeyHash,
) -> Result<Option<(ManagementKey, Option<KeyHash>)>, BackendError> {
    let sql = format!(
        "SELECT {KEY}, secret FROM management_keys k WHERE hash = ?1
        AND NOT EXISTS (SELECT 1 FROM accounts a WHERE a.name = k.account AND a.disabled_at IS NOT NULL)"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query([hash.as_bytes()])?;
    let Some(row) = found.next()? else {
        return Ok(None);
    };
    let secret: Option<[u8; 32]> = row.get(12)?;
    Ok(Some((read_key(row)?, secret.map(KeyHash::from_bytes))))
}

pub(super) fn keys(
    connection: &Connection,
    account: Option<&AccountName>,
) -> Result<Vec<ManagementKey>, BackendError> {
    let sql = format!(
        "SELECT {KEY} FROM management_keys WHERE ?1 IS NULL OR account = ?1 ORDER BY created_at, id"
    );
    connection
        .prepare_cached(&sql)?
        .query_and_then([account.map(AccountName::as_str)], read_key)?
        .collect()
}

pub(super) fn end_key(
    connection: &Connection,
    key: ManagementKeyId,
    at: Timestamp,
    now: Timestamp,
) -> Result<Option<ManagementKey>, BackendError> {
    let column = if at <= now {
        "revoked_at = coalesce(revoked_at, ?2)"
    } else {
        "expires_at = ?2"
    };
    let sql = format!("UPDATE management_keys SET {column} WHERE id = ?1 RETURNING {KEY}");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query(params![id(key.as_u128()), at.micros()])?;
    let ended = found.next()?.map(read_key).transpose()?;
    drop(found);
    if ended.is_some() {
        sessions::cut_key(connection, key, at)?;
    }
    Ok(ended)
}

pub(super) fn key(
    connection: &Connection,
    key: ManagementKeyId,
) -> Result<Option<ManagementKey>, BackendError> {
    let sql = format!("SELECT {KEY} FROM management_keys WHERE id = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query([id(key.as_u128())])?;
    found.next()?.map(read_key).transpose()
}

pub(super) fn put_plan_revisions(
    connection: &Connection,
    revisions: &[PlanRevision],
) -> Result<(), BackendError> {
    let sql = "INSERT INTO plan_revisions (id, terms) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
    let mut statement = connection.prepare_cached(sql)?;
    for revision in revisions {
        statement.execute(params![id(revision.id.as_u128()), json(&revision.plan)])?;
    }
    let sql = "INSERT INTO settings (name, value) VALUES (?1, ?2)
        ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE value <> excluded.value";
    let mut in_force = connection.prepare_cached(sql)?;
    for revision in revisions {
        let name = plan_setting(&revision.plan.name);
        in_force.execute(params![name, id(revision.id.as_u128())])?;
    }
    Ok(())
}

pub(super) fn plans_named(connection: &Connection) -> Result<Vec<PlanNamed>, BackendError> {
    let sql = "SELECT plan, count(*) FROM licenses WHERE plan IS NOT NULL AND status <> 2 GROUP BY plan ORDER BY plan";
    let mut statement = connection.prepare_cached(sql)?;
    let read = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?));
    let rows = statement.query_map([], read)?;
    rows.map(|row| {
        let (name, licenses) = row?;
        let wrong = |error| BackendError::corrupt(format!("the plan of a license: {error}"));
        let name = name.parse().map_err(wrong)?;
        Ok(PlanNamed {
            name,
            licenses: u64::try_from(licenses).unwrap_or_default(),
        })
    })
    .collect()
}

pub(super) fn apps_named(
    connection: &Connection,
    at: Timestamp,
) -> Result<Vec<AppNamed>, BackendError> {
    let sql = "SELECT app, count(*), count(*) - count(plan) FROM licenses
        WHERE status <> 2 AND (expires_at IS NULL OR expires_at > ?1) GROUP BY app ORDER BY app";
    let mut statement = connection.prepare_cached(sql)?;
    let read = |row: &Row<'_>| {
        Ok((
            row.get::<_, String>(0)?,
            row.get::<_, i64>(1)?,
            row.get::<_, i64>(2)?,
        ))
    };
    let rows = statement.query_map([at.micros()], read)?;
    rows.map(|row| {
        let (name, licenses, without_plan) = row?;
        let wrong = |error| BackendError::corrupt(format!("the app of a license: {error}"));
        Ok(AppNamed {
            name: name.parse().map_err(wrong)?,
            licenses: u64::try_from(licenses).unwrap_or_default(),
            without_plan: u64::try_from(without_plan).unwrap_or_default(),
        })
    })
    .collect()
}

pub(super) fn last_plan_revision(
    connection: &Connection,
    name: &PlanName,
) -> Result<Option<PlanRevision>, BackendError> {
    let in_force: Option<[u8; 16]> = connection
        .prepare_cached("SELECT value FROM settings WHERE name = ?1")?
        .query_row([plan_setting(name)], |row| row.get(0))
        .optional()?;
    let found = match in_force {
        Some(in_force) => Some(in_force),
        // The version that made it did not record which is in force: of several revisions any is
        // better than none.
        None => connection
            .prepare_cached(
                "SELECT id FROM plan_revisions WHERE json_extract(terms, '$.name') = ?1",
            )?
            .query_row([name.as_str()], |row| row.get(0))
            .optional()?,
    };
    match found {
        Some(bits) => plan_revision(
            connection,
            PlanRevisionId::from_u128(u128::from_be_bytes(bits)),
        ),
        None => Ok(None),
    }
}

pub(super) fn plan_revision(
    connection: &Connection,
    revision: PlanRevisionId,
) -> Result<Option<PlanRevision>, BackendError> {
    let terms: Option<String> = connection
        .prepare_cached("SELECT terms FROM plan_revisions WHERE id = ?1")?
        .query_row([id(revision.as_u128())], |row| row.get(0))
        .optional()?;
    terms
        .map(|terms| serde_json::from_str(&terms))
        .transpose()
        .map(|plan| plan.map(|plan| PlanRevision { id: revision, plan }))
        .map_err(|error| BackendError::corrupt(format!("plan revision {revision}: {error}")))
}

/// Keeps a setting if nothing is there yet. Returns whether it was kept.
pub(super) fn put_setting(
    connection: &Connection,
    name: &str,
    value: &[u8],
) -> Result<bool, BackendError> {
    let kept = connection
        .prepare_cached(
            "INSERT INTO settings (name, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        )?
        .execute(params![name, value])?;
    Ok(kept > 0)
}

pub(super) fn setting(
    connection: &Connection,
    name: &str,
) -> Result<Option<Vec<u8>>, BackendError> {
    let value = connection
        .prepare_cached("SELECT value FROM settings WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?;
    Ok(value)
}

fn read_key(row: &Row<'_>) -> Result<ManagementKey, BackendError> {
    Ok(ManagementKey {
        id: ManagementKeyId::from_u128(read_id(row, 0)?),
        account: read_text(row, 1)?,
        app: read_optional_text(row, 2)?,
        license_id: read_optional_id(row, 3)?.map(LicenseId::from_u128),
        name: row.get(4)?,
        scopes: read_list(row, 5)?,
        prefix: row.get(6)?,
        created_at: read_time(row, 7)?,
        expires_at: read_optional_time(row, 8)?,
        revoked_at: read_optional_time(row, 9)?,
        allow_ips: read_list(row, 10)?,
        draws_on: read_optional_id(row, 11)?.map(LicenseId::from_u128),
    })
}
