//! [`ManagementStore`] on PostgreSQL: accounts, management keys, plan revisions and settings.

use std::sync::Arc;

use async_trait::async_trait;
use model::{
    AccountName, Clock, KeyHash, LicenseId, ManagementKeyId, PlanName, PlanRevision,
    PlanRevisionId, SystemClock, Timestamp,
};
use tokio_postgres::Row;
use uuid::Uuid;

use super::audit::{add_changed, add_entries};
use super::backend_error::{BackendError, unique};
use super::conn::{Conn, PooledConn, Value};
use super::convert::{
    id, json, list, read, read_id, read_list, read_optional_id, read_optional_text,
    read_optional_time, read_text, read_time, unreadable,
};
use super::license_rows::read_hash;
use super::server::TxOptions;
use super::{PostgresStore, sessions};
use crate::audit::{AuditEntries, AuditStore, Changed};
use crate::claims::ClaimStore;
use crate::error::Error;
use crate::management::{
    Account, AppNamed, ManagementKey, ManagementStore, NewManagementKey, PlanNamed, plan_setting,
};
use crate::tokens::TokenStore;

/// The columns in the order that [`read_key`] reads.
const KEY: &str = "id, account, app, license_id, name, scopes, prefix, created_at, expires_at, revoked_at, \
     allow_ips, draws_on";

/// The ids and terms of revisions.
type Kept = (Vec<Uuid>, Vec<String>);
/// The names and values of the settings that hold which revision is in force.
type InForce = (Vec<String>, Vec<Vec<u8>>);

/// The query for the plans that licenses name which are not revoked, and how many name each.
pub(super) const PLANS_NAMED: &str =
    "SELECT plan, count(*) FROM licenses WHERE plan IS NOT NULL AND status <> 2
    GROUP BY plan ORDER BY plan COLLATE \"C\"";

/// The query for the apps that licenses name which are in force at a time, how many name each, and
/// how many of those no plan.
pub(super) const APPS_NAMED: &str = "SELECT app, count(*), count(*) - count(plan) FROM licenses
    WHERE status <> 2 AND (expires_at IS NULL OR expires_at > $1) GROUP BY app ORDER BY app";

/// Reads a row of [`APPS_NAMED`].
pub(super) fn app_named(row: &Row) -> Result<AppNamed, BackendError> {
    let name: &str = read(row, 0)?;
    let counted = |column| {
        Ok::<_, BackendError>(u64::try_from(read::<i64>(row, column)?).unwrap_or_default())
    };
    Ok(AppNamed {
        name: name.parse().map_err(|_| unreadable(row, 0))?,
        licenses: counted(1)?,
        without_plan: counted(2)?,
    })
}

/// Reads a row of [`PLANS_NAMED`].
pub(super) fn plan_named(row: &Row) -> Result<PlanNamed, BackendError> {
    let name: &str = read(row, 0)?;
    Ok(PlanNamed {
        name: name.parse().map_err(|_| unreadable(row, 0))?,
        licenses: u64::try_from(read::<i64>(row, 1)?).unwrap_or_default(),
    })
}

#[async_trait]
impl ManagementStore for PostgresStore {
    fn claims(&self) -> Result<&dyn ClaimStore, Error> {
        Ok(self)
    }

    fn tokens(&self) -> Result<&dyn TokenStore, Error> {
        Ok(self)
    }

    fn audit_log(&self) -> Result<&dyn AuditStore, Error> {
        Ok(self)
    }

    async fn create_account(
        &self,
        account: Account,
        entries: AuditEntries<()>,
    ) -> Result<(), Error> {
        let create = move |conn: Conn, args: Arc<(Account, AuditEntries<()>)>| async move {
            let (account, entries) = &*args;
            let sql = "INSERT INTO accounts (name, created_at, disabled_at) VALUES ($1, $2, $3)";
            let values: [Value<'_>; 3] = [
                &account.name.as_str(),
                &account.created_at.micros(),
                &account.disabled_at.map(Timestamp::micros),
            ];
            let made = conn.change(sql, &values).await;
            made.map_err(|error| unique(error, "an account with this name"))?;
            add_entries(&conn, entries, &()).await
        };
        self.server
            .run_with(TxOptions::TRANSACTION, (account, entries), create)
            .await
    }

    async fn accounts(&self) -> Result<Vec<Account>, Error> {
        let list = |conn: Conn| async move {
            let rows = conn
                .rows(
                    "SELECT name, created_at, disabled_at FROM accounts ORDER BY name",
                    &[],
                )
                .await?;
            rows.iter().map(read_account).collect()
        };
        self.server.run(TxOptions::READ, list).await
    }

    async fn account(&self, name: &AccountName) -> Result<Option<Account>, Error> {
        let find =
            |conn: Conn, name: Arc<AccountName>| async move { account(&conn, &name, "").await };
        self.server
            .run_with(TxOptions::READ, name.clone(), find)
            .await
    }

    async fn set_account_disabled(
        &self,
        name: &AccountName,
        at: Option<Timestamp>,
        entries: AuditEntries<Changed<Account>>,
    ) -> Result<Option<Account>, Error> {
        type Args = Arc<(AccountName, AuditEntries<Changed<Account>>)>;
        let set = move |conn: Conn, args: Args| async move {
            let (name, entries) = &*args;
            let before = account(&conn, name, "FOR NO KEY UPDATE").await?;
            let sql = "UPDATE accounts SET disabled_at = CASE WHEN $2::bigint IS NULL THEN NULL
                ELSE coalesce(disabled_at, $2) END WHERE name = $1";
            let values: [Value<'_>; 2] = [&name.as_str(), &at.map(Timestamp::micros)];
            conn.change(sql, &values).await?;
            let after = account(&conn, name, "").await?;
            add_changed(&conn, entries, before, after).await
        };
        let args = (name.clone(), entries);
        self.server
            .run_with(TxOptions::TRANSACTION, args, set)
            .await
    }

    async fn create_management_key(
        &self,
        new: NewManagementKey,
        entries: AuditEntries<()>,
    ) -> Result<(), Error> {
        let create = move |conn: Conn, args: Arc<(NewManagementKey, AuditEntries<()>)>| async move {
            let (new, entries) = &*args;
            create_key(&conn, new).await?;
            add_entries(&conn, entries, &()).await
        };
        self.server
            .run_with(TxOptions::TRANSACTION, (new, entries), create)
            .await
    }

    async fn replace_management_key(
        &self,
        old: ManagementKeyId,
        at: Timestamp,
        new: NewManagementKey,
        entries: AuditEntries<()>,
    ) -> Result<bool, Error> {
        let replace = move |conn: Conn, args: Arc<(NewManagementKey, AuditEntries<()>)>| async move {
            let (new, entries) = &*args;
            // By the clock by which the ends of keys are given: the gates', not the server's.
            let now = SystemClock.now();
            let replaced = locked(&conn, old).await?;
            if replaced.is_none_or(|old| !old.is_live(now)) {
                return Ok(false);
            }
            create_key(&conn, new).await?;
            end_key(&conn, old, at).await?;
            add_entries(&conn, entries, &()).await?;
            Ok(true)
        };
        self.server
            .run_with(TxOptions::TRANSACTION, (new, entries), replace)
            .await
    }

    async fn management_key_by_hash(
        &self,
        hash: KeyHash,
    ) -> Result<Option<(ManagementKey, Option<KeyHash>)>, Error> {
        let find = move |conn: Conn| async move {
            let sql = format!(
                "SELECT {KEY}, secret FROM management_keys k WHERE hash = $1
                AND NOT EXISTS (SELECT FROM accounts a WHERE a.name = k.account AND a.disabled_at IS NOT NULL)"
            );
            let Some(row) = conn.row(&sql, &[&hash.as_bytes().as_slice()]).await? else {
                return Ok(None);
            };
            let secret = match read::<Option<&[u8]>>(&row, 12)? {
                None => None,
                Some(_) => Some(read_hash(&row, 12)?),
            };
            Ok(Some((read_key(&row)?, secret)))
        };
        self.server.run(TxOptions::READ, find).await
    }

    async fn management_keys(
        &self,
        account: Option<AccountName>,
    ) -> Result<Vec<ManagementKey>, Error> {
        let list = move |conn: Conn, account: Arc<Option<AccountName>>| async move {
            let sql = format!(
                "SELECT {KEY} FROM management_keys WHERE $1::text IS NULL OR account = $1 ORDER BY created_at, id"
            );
            let name = Option::as_ref(&account).map(AccountName::as_str);
            conn.rows(&sql, &[&name])
                .await?
                .iter()
                .map(read_key)
                .collect()
        };
        self.server.run_with(TxOptions::READ, account, list).await
    }

    async fn end_management_key(
        &self,
        key: ManagementKeyId,
        at: Timestamp,
        entries: AuditEntries<Changed<ManagementKey>>,
    ) -> Result<Option<ManagementKey>, Error> {
        let end = move |conn: Conn, entries: Arc<AuditEntries<_>>| async move {
            let before = locked(&conn, key).await?;
            let after = end_key(&conn, key, at).await?;
            add_changed(&conn, &entries, before, after).await
        };
        self.server
            .run_with(TxOptions::TRANSACTION, entries, end)
            .await
    }

    async fn put_plan_revisions(&self, revisions: Vec<PlanRevision>) -> Result<(), Error> {
        // In one order for all gates, which start with the same plans at the same time.
        let mut rows: Vec<(Uuid, String)> = revisions
            .iter()
            .map(|revision| (id(revision.id.as_u128()), json(&revision.plan)))
            .collect();
        rows.sort_by_key(|(revision, _)| *revision);
        let mut in_force: Vec<(String, Vec<u8>)> = revisions
            .iter()
            .map(|revision| {
                let bits = revision.id.as_u128().to_be_bytes();
                (plan_setting(&revision.plan.name), bits.to_vec())
            })
            .collect();
        in_force.sort();
        let rows: (Vec<Uuid>, Vec<String>) = rows.into_iter().unzip();
        let in_force: (Vec<String>, Vec<Vec<u8>>) = in_force.into_iter().unzip();
        let put = move |conn: Conn, wanted: Arc<(Kept, InForce)>| async move {
            let (rows, in_force) = &*wanted;
            let sql = "INSERT INTO plan_revisions (id, terms)
                    SELECT n.id, n.terms FROM unnest($1::uuid[], $2::text[]) WITH ORDINALITY AS n (id, terms, place)
                    ORDER BY n.place ON CONFLICT DO NOTHING";
            conn.change(sql, &[&rows.0, &rows.1]).await?;
            let sql = "INSERT INTO settings AS s (name, value)
                    SELECT n.name, n.value FROM unnest($1::text[], $2::bytea[]) WITH ORDINALITY AS n (name, value, place)
                    ORDER BY n.place ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE s.value <> excluded.value";
            conn.change(sql, &[&in_force.0, &in_force.1]).await?;
            Ok(())
        };
        self.server
            .run_with(TxOptions::TRANSACTION, (rows, in_force), put)
            .await
    }

    async fn plans_named(&self) -> Result<Vec<PlanNamed>, Error> {
        let find = move |conn: Conn| async move {
            let rows = conn.rows(PLANS_NAMED, &[]).await?;
            rows.iter().map(plan_named).collect()
        };
        self.server.run(TxOptions::READ, find).await
    }

    async fn apps_named(&self, at: Timestamp) -> Result<Vec<AppNamed>, Error> {
        let find = move |conn: Conn| async move {
            let rows = conn.rows(APPS_NAMED, &[&at.micros()]).await?;
            rows.iter().map(app_named).collect()
        };
        self.server.run(TxOptions::READ, find).await
    }

    async fn last_plan_revision(&self, name: PlanName) -> Result<Option<PlanRevision>, Error> {
        let name = Arc::new(name);
        let find = move |conn: Conn| {
            let name = Arc::clone(&name);
            async move {
                // The version that made it did not record which is in force: of several revisions
                // any is better than none.
                let sql = "SELECT p.id, p.terms FROM plan_revisions p
                    LEFT JOIN settings s ON s.name = $1
                    WHERE CASE WHEN s.value IS NULL THEN p.terms::json ->> 'name' = $2
                        ELSE p.id = encode(s.value, 'hex')::uuid END
                    LIMIT 1";
                let values: [&(dyn tokio_postgres::types::ToSql + Sync); 2] =
                    [&plan_setting(&name), &name.as_str()];
                let Some(row) = conn.row(sql, &values).await? else {
                    return Ok(None);
                };
                let id = PlanRevisionId::from_u128(read_id(&row, 0)?);
                let plan = serde_json::from_str(read(&row, 1)?).map_err(|_| unreadable(&row, 1))?;
                Ok(Some(PlanRevision { id, plan }))
            }
        };
        self.server.run(TxOptions::READ, find).await
    }

    async fn plan_revision(&self, revision: PlanRevisionId) -> Result<Option<PlanRevision>, Error> {
        let find = move |conn: Conn| async move {
            let sql = "SELECT terms FROM plan_revisions WHERE id = $1";
            let Some(row) = conn.row(sql, &[&id(revision.as_u128())]).await? else {
                return Ok(None);
            };
            let plan = serde_json::from_str(read(&row, 0)?).map_err(|_| unreadable(&row, 0))?;
            Ok(Some(PlanRevision { id: revision, plan }))
        };
        self.server.run(TxOptions::READ, find).await
    }

    async fn put_if_absent(
        &self,
        name: &str,
        value: Vec<u8>,
        entries: AuditEntries<()>,
    ) -> Result<Vec<u8>, Error> {
        let put = move |conn: Conn, wanted: Arc<(String, Vec<u8>, AuditEntries<()>)>| async move {
            let (name, value, entries) = &*wanted;
            let sql = "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING";
            if conn.change(sql, &[name, value]).await? > 0 {
                add_entries(&conn, entries, &()).await?;
            }
            let kept = setting(&conn, name).await?;
            kept.ok_or_else(|| BackendError::corrupt("a setting vanished within its transaction"))
        };
        self.server
            .run_with(
                TxOptions::TRANSACTION,
                (name.to_owned(), value, entries),
                put,
            )
            .await
    }

    async fn setting(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let name: Arc<str> = name.into();
        let find = move |conn: Conn| {
            let name = Arc::clone(&name);
            async move { setting(&conn, &name).await }
        };
        self.server.run(TxOptions::READ, find).await
    }
}

async fn account(
    conn: &PooledConn,
    name: &AccountName,
    lock: &str,
) -> Result<Option<Account>, BackendError> {
    let sql = format!("SELECT name, created_at, disabled_at FROM accounts WHERE name = $1 {lock}");
    let row = conn.row(&sql, &[&name.as_str()]).await?;
    row.as_ref().map(read_account).transpose()
}

fn read_account(row: &Row) -> Result<Account, BackendError> {
    Ok(Account {
        name: read_text(row, 0)?,
        created_at: read_time(row, 1)?,
        disabled_at: read_optional_time(row, 2)?,
    })
}

pub(super) async fn key(
    conn: &PooledConn,
    key: ManagementKeyId,
) -> Result<Option<ManagementKey>, BackendError> {
    let sql = format!("SELECT {KEY} FROM management_keys WHERE id = $1");
    let row = conn.row(&sql, &[&id(key.as_u128())]).await?;
    row.as_ref().map(read_key).transpose()
}

/// Returns a key that nobody else may change until the transaction is over.
pub(super) async fn locked(
    conn: &PooledConn,
    key: ManagementKeyId,
) -> Result<Option<ManagementKey>, BackendError> {
    let sql = format!("SELECT {KEY} FROM management_keys WHERE id = $1 FOR NO KEY UPDATE");
    let row = conn.row(&sql, &[&id(key.as_u128())]).await?;
    row.as_ref().map(read_key).transpose()
}

async fn end_key(
    conn: &PooledConn,
    key: ManagementKeyId,
    at: Timestamp,
) -> Result<Option<ManagementKey>, BackendError> {
    let sql = format!(
        "UPDATE management_keys SET
        revoked_at = CASE WHEN $2 <= micros_now() THEN coalesce(revoked_at, $2) ELSE revoked_at END,
        expires_at = CASE WHEN $2 <= micros_now() THEN expires_at ELSE $2 END
        WHERE id = $1 RETURNING {KEY}"
    );
    let row = conn.row(&sql, &[&id(key.as_u128()), &at.micros()]).await?;
    let ended = row.as_ref().map(read_key).transpose()?;
    if ended.is_some() {
        sessions::cut_key(conn, key, at).await?;
    }
    Ok(ended)
}

async fn create_key(conn: &PooledConn, new: &NewManagementKey) -> Result<(), BackendError> {
    let NewManagementKey { key, hash, secret } = new;
    let sql = "INSERT INTO management_keys (id, account, app, license_id, name, scopes, prefix, created_at, expires_at,
        revoked_at, hash, secret, allow_ips, draws_on)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
    let values: [Value<'_>; 14] = [
        &id(key.id.as_u128()),
        &key.account.as_str(),
        &key.app.as_ref().map(|app| app.as_str()),
        &key.license_id.map(|license| id(license.as_u128())),
        &key.name,
        &json(&key.scopes),
        &key.prefix,
        &key.created_at.micros(),
        &key.expires_at.map(Timestamp::micros),
        &key.revoked_at.map(Timestamp::micros),
        &hash.as_bytes().as_slice(),
        &secret.as_ref().map(|secret| secret.as_bytes().as_slice()),
        &list(&key.allow_ips),
        &key.draws_on.map(|license| id(license.as_u128())),
    ];
    let made = conn.change(sql, &values).await;
    made.map(drop)
        .map_err(|error| unique(error, "a management key with this id or hash"))
}

async fn setting(conn: &PooledConn, name: &str) -> Result<Option<Vec<u8>>, BackendError> {
    let row = conn
        .row("SELECT value FROM settings WHERE name = $1", &[&name])
        .await?;
    row.map(|row| read(&row, 0)).transpose()
}

fn read_key(row: &Row) -> Result<ManagementKey, BackendError> {
    Ok(ManagementKey {
        id: ManagementKeyId::from_u128(read_id(row, 0)?),
        account: read_text(row, 1)?,
        app: read_optional_text(row, 2)?,
        license_id: read_optional_id(row, 3)?.map(LicenseId::from_u128),
        name: read(row, 4)?,
        scopes: read_list(row, 5)?,
        prefix: read(row, 6)?,
        created_at: read_time(row, 7)?,
        expires_at: read_optional_time(row, 8)?,
        revoked_at: read_optional_time(row, 9)?,
        allow_ips: read_list(row, 10)?,
        draws_on: read_optional_id(row, 11)?.map(LicenseId::from_u128),
    })
}
