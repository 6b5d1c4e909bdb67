//! [`ManagementStore`] on both engines: accounts, management keys, plan revisions and settings.

use async_trait::async_trait;
use model::{
    AccountName, KeyHash, ManagementKeyId, PlanName, PlanRevision, PlanRevisionId, Timestamp,
};

use super::audit::{add_changed, add_entries};
use super::touched::cut_key;
use super::{
    Backend, BackendError, Engine, Kind, Outcome, Part, Row, Sql, Twins, json, list, sql, values,
};
use crate::audit::{AuditEntries, AuditStore, Changed};
use crate::claims::ClaimStore;
use crate::error::Error;
use crate::management::{
    Account, AppNamed, ManagementKey, ManagementStore, Named, NewManagementKey, PlanNamed,
    plan_setting,
};
use crate::rules::numbers::LICENSE_REVOKED;
use crate::tokens::TokenStore;

/// The columns in the order that [`read_account`] reads.
const ACCOUNT: &str = "name, created_at, disabled_at, wallet";
/// The columns in the order that [`read_key`] reads.
const KEY: &str = "id, account, app, license_id, name, scopes, prefix, created_at, expires_at, revoked_at, \
    allow_ips, draws_on";
/// The number of columns of [`KEY`].
const KEY_COLUMNS: usize = 12;

#[async_trait]
impl<B: Backend + TokenStore> ManagementStore for B {
    fn claims(&self) -> Result<&dyn ClaimStore, Error> {
        Ok(self)
    }

    fn tokens(&self) -> Result<&dyn TokenStore, Error> {
        Ok(self)
    }

    fn audit_log(&self) -> Result<&dyn AuditStore, Error> {
        Ok(self)
    }

    async fn parts_up(&self) -> Vec<(&'static str, bool)> {
        Backend::parts_up(self).await
    }

    async fn create_account(
        &self,
        account: Account,
        entries: AuditEntries<()>,
    ) -> Result<(), Error> {
        let new = (account, entries);
        self.run(Part::Licenses, Kind::Transaction, new, |sql, new| {
            Box::pin(async move {
                let (account, entries) = new;
                let statement = sql!("INSERT INTO accounts ({ACCOUNT}) VALUES ($1, $2, $3, $4)");
                let values = values![
                    &account.name,
                    account.created_at,
                    account.disabled_at,
                    account.wallet,
                ];
                sql.insert(statement, &values, "an account with this name")
                    .await?;
                add_entries(sql, entries, &()).await
            })
        })
        .await
    }

    async fn accounts(&self) -> Result<Vec<Account>, Error> {
        self.run(Part::Licenses, Kind::Read, (), |sql, ()| {
            Box::pin(async move {
                let statement = sql!("SELECT {ACCOUNT} FROM accounts ORDER BY name");
                let found = sql.query(statement, &[]).await?;
                Ok(found.iter().map(read_account).collect::<Result<_, _>>()?)
            })
        })
        .await
    }

    async fn account(&self, name: &AccountName) -> Result<Option<Account>, Error> {
        self.run(Part::Licenses, Kind::Read, name.clone(), |sql, name| {
            Box::pin(async move {
                let statement = sql!("SELECT {ACCOUNT} FROM accounts WHERE name = $1");
                let row = sql.query_opt(statement, &values![name]).await?;
                Ok(row.as_ref().map(read_account).transpose()?)
            })
        })
        .await
    }

    async fn set_account_disabled(
        &self,
        name: &AccountName,
        at: Option<Timestamp>,
        entries: AuditEntries<Changed<Account>>,
    ) -> Result<Option<Account>, Error> {
        let asked = (name.clone(), at, entries);
        self.run(Part::Licenses, Kind::Transaction, asked, |sql, asked| {
            Box::pin(async move {
                let (name, at, entries) = asked;
                let statement =
                    sql!("SELECT {ACCOUNT} FROM accounts WHERE name = $1 FOR NO KEY UPDATE");
                let before = sql.query_opt(statement, &values![name]).await?;
                let before = before.as_ref().map(read_account).transpose()?;
                let statement = sql!(
                    "UPDATE accounts SET disabled_at = CASE WHEN $2::bigint IS NULL THEN NULL
                    ELSE coalesce(disabled_at, $2) END WHERE name = $1 RETURNING {ACCOUNT}"
                );
                let after = sql.query_opt(statement, &values![name, *at]).await?;
                let after = after.as_ref().map(read_account).transpose()?;
                add_changed(sql, entries, before, after).await
            })
        })
        .await
    }

    async fn create_management_key(
        &self,
        new: NewManagementKey,
        entries: AuditEntries<()>,
    ) -> Result<(), Error> {
        let new = (new, entries);
        self.run(
            Part::Licenses,
            Kind::Transaction,
            new,
            |sql, (new, entries)| {
                Box::pin(async move {
                    create_key(sql, new).await?;
                    add_entries(sql, entries, &()).await
                })
            },
        )
        .await
    }

    async fn replace_management_key(
        &self,
        old: ManagementKeyId,
        at: Timestamp,
        new: NewManagementKey,
        entries: AuditEntries<()>,
    ) -> Result<bool, Error> {
        let asked = (old, at, new, entries);
        self.run(Part::Licenses, Kind::Transaction, asked, |sql, asked| {
            Box::pin(async move {
                let (old, at, new, entries) = asked;
                let replaced = locked_key(sql, *old).await?;
                if replaced.is_none_or(|old| !old.is_live(sql.now())) {
                    return Ok(false);
                }
                create_key(sql, new).await?;
                end_key(sql, *old, *at).await?;
                add_entries(sql, entries, &()).await?;
                Ok(true)
            })
        })
        .await
    }

    async fn management_key_by_hash(
        &self,
        hash: KeyHash,
    ) -> Result<Option<(ManagementKey, Option<KeyHash>)>, Error> {
        self.run(Part::Licenses, Kind::Read, hash, |sql, hash| {
            Box::pin(async move {
                let statement = sql!(
                    "SELECT {KEY}, secret FROM management_keys k WHERE hash = $1 AND NOT EXISTS
                    (SELECT 1 FROM accounts a WHERE a.name = k.account AND a.disabled_at IS NOT NULL)"
                );
                let Some(row) = sql.query_opt(statement, &values![hash]).await? else {
                    return Ok(None);
                };
                Ok(Some((read_key(&row)?, row.get(KEY_COLUMNS)?)))
            })
        })
        .await
    }

    async fn management_keys(
        &self,
        account: Option<AccountName>,
    ) -> Result<Vec<ManagementKey>, Error> {
        self.run(Part::Licenses, Kind::Read, account, |sql, account| {
            Box::pin(async move {
                let statement = sql!(
                    "SELECT {KEY} FROM management_keys WHERE $1::text IS NULL OR account = $1
                    ORDER BY created_at, id"
                );
                let found = sql.query(statement, &values![account.as_ref()]).await?;
                Ok(found.iter().map(read_key).collect::<Result<_, _>>()?)
            })
        })
        .await
    }

    async fn end_management_key(
        &self,
        key: ManagementKeyId,
        at: Timestamp,
        entries: AuditEntries<Changed<ManagementKey>>,
    ) -> Result<Option<ManagementKey>, Error> {
        let asked = (key, at, entries);
        self.run(Part::Licenses, Kind::Transaction, asked, |sql, asked| {
            Box::pin(async move {
                let (key, at, entries) = asked;
                let before = locked_key(sql, *key).await?;
                let after = end_key(sql, *key, *at).await?;
                add_changed(sql, entries, before, after).await
            })
        })
        .await
    }

    async fn put_plan_revisions(&self, mut revisions: Vec<PlanRevision>) -> Result<(), Error> {
        // In one order for all gates, which start with the same plans at the same time.
        revisions.sort_by_key(|revision| revision.id);
        let kind = Kind::Transaction;
        self.run(Part::Licenses, kind, revisions, |sql, revisions| {
            Box::pin(put_revisions(sql, revisions))
        })
        .await
    }

    async fn plans_named(&self) -> Result<Vec<PlanNamed>, Error> {
        self.run(Part::Licenses, Kind::List, (), |sql, ()| {
            Box::pin(plans_named(sql))
        })
        .await
    }

    async fn apps_named(&self, at: Timestamp) -> Result<Vec<AppNamed>, Error> {
        self.run(Part::Licenses, Kind::List, at, |sql, at| {
            Box::pin(apps_named(sql, *at))
        })
        .await
    }

    async fn last_plan_revision(&self, name: PlanName) -> Result<Option<PlanRevision>, Error> {
        self.run(Part::Licenses, Kind::Read, name, |sql, name| {
            Box::pin(async move {
                // The version that made it did not record which is in force: of several revisions
                // any is better than none.
                let statement = sql!(
                    postgres: "SELECT p.id, p.terms FROM plan_revisions p
                    LEFT JOIN settings s ON s.name = $1
                    WHERE CASE WHEN s.value IS NULL THEN p.terms::json ->> 'name' = $2
                      ELSE p.id = encode(s.value, 'hex')::uuid END LIMIT 1",
                    sqlite: "SELECT p.id, p.terms FROM plan_revisions p
                    LEFT JOIN settings s ON s.name = $1
                    WHERE CASE WHEN s.value IS NULL THEN json_extract(p.terms, '$.name') = $2
                      ELSE p.id = s.value END LIMIT 1",
                );
                let values = values![plan_setting(name), name];
                let row = sql.query_opt(statement, &values).await?;
                Ok(row.as_ref().map(read_revision).transpose()?)
            })
        })
        .await
    }

    async fn plan_revision(&self, revision: PlanRevisionId) -> Result<Option<PlanRevision>, Error> {
        self.run(Part::Licenses, Kind::Read, revision, |sql, revision| {
            Box::pin(async move {
                let statement = sql!("SELECT id, terms FROM plan_revisions WHERE id = $1");
                let row = sql.query_opt(statement, &values![*revision]).await?;
                Ok(row.as_ref().map(read_revision).transpose()?)
            })
        })
        .await
    }

    async fn put_if_absent(
        &self,
        name: &str,
        value: Vec<u8>,
        entries: AuditEntries<()>,
    ) -> Result<Vec<u8>, Error> {
        let new = (name.to_owned(), value, entries);
        self.run(Part::Licenses, Kind::Transaction, new, |sql, new| {
            Box::pin(async move {
                let (name, value, entries) = new;
                let statement = sql!(
                    "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING"
                );
                if sql.execute(statement, &values![name, value]).await? > 0 {
                    add_entries(sql, entries, &()).await?;
                }
                let kept = setting(sql, name).await?;
                kept.ok_or_else(|| {
                    BackendError::corrupt("a setting vanished within its transaction")
                })
            })
        })
        .await
    }

    async fn setting(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        self.run(Part::Licenses, Kind::Read, name.to_owned(), |sql, name| {
            Box::pin(setting(sql, name))
        })
        .await
    }
}

/// Returns the plans and apps that licenses name.
pub(crate) async fn named<S: Sql>(sql: &S, at: Timestamp) -> Outcome<Named, S> {
    Ok(Named {
        plans: plans_named(sql).await?,
        apps: apps_named(sql, at).await?,
    })
}

async fn plans_named<S: Sql>(sql: &S) -> Outcome<Vec<PlanNamed>, S> {
    let statement = sql!(
        "SELECT plan, count(*) FROM licenses WHERE plan IS NOT NULL AND status <> {LICENSE_REVOKED}
        GROUP BY plan ORDER BY plan COLLATE \"C\""
    );
    let read = |row: &Row| {
        Ok(PlanNamed {
            name: row.text(0)?,
            licenses: row.count(1)?,
        })
    };
    let found = sql.query(statement, &[]).await?;
    Ok(found.iter().map(read).collect::<Result<_, Error>>()?)
}

async fn apps_named<S: Sql>(sql: &S, at: Timestamp) -> Outcome<Vec<AppNamed>, S> {
    let statement = sql!(
        "SELECT app, count(*), count(*) - count(plan) FROM licenses WHERE status <> {LICENSE_REVOKED}
        AND (expires_at IS NULL OR expires_at > $1) GROUP BY app ORDER BY app"
    );
    let read = |row: &Row| {
        Ok(AppNamed {
            name: row.text(0)?,
            licenses: row.count(1)?,
            without_plan: row.count(2)?,
        })
    };
    let found = sql.query(statement, &values![at]).await?;
    Ok(found.iter().map(read).collect::<Result<_, Error>>()?)
}

/// Returns a management key.
pub(crate) async fn key<S: Sql>(
    sql: &S,
    key: ManagementKeyId,
) -> Outcome<Option<ManagementKey>, S> {
    let statement = sql!("SELECT {KEY} FROM management_keys WHERE id = $1");
    let row = sql.query_opt(statement, &values![key]).await?;
    Ok(row.as_ref().map(read_key).transpose()?)
}

/// Returns a key that nobody else may change until the transaction is over.
pub(crate) async fn locked_key<S: Sql>(
    sql: &S,
    key: ManagementKeyId,
) -> Outcome<Option<ManagementKey>, S> {
    let statement = sql!("SELECT {KEY} FROM management_keys WHERE id = $1 FOR NO KEY UPDATE");
    let row = sql.query_opt(statement, &values![key]).await?;
    Ok(row.as_ref().map(read_key).transpose()?)
}

/// Returns a key that nobody else may change until the transaction is over, though others may read
/// it like this.
pub(crate) async fn shared_key<S: Sql>(
    sql: &S,
    key: ManagementKeyId,
) -> Outcome<Option<ManagementKey>, S> {
    let statement = sql!("SELECT {KEY} FROM management_keys WHERE id = $1 FOR SHARE");
    let row = sql.query_opt(statement, &values![key]).await?;
    Ok(row.as_ref().map(read_key).transpose()?)
}

async fn create_key<S: Sql>(sql: &S, new: &NewManagementKey) -> Outcome<(), S> {
    let NewManagementKey { key, hash, secret } = new;
    let statement = sql!(
        "INSERT INTO management_keys ({KEY}, hash, secret)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
    );
    let values = values![
        key.id,
        &key.account,
        key.app.as_ref(),
        key.license_id,
        key.name.as_ref(),
        json(&key.scopes),
        &key.prefix,
        key.created_at,
        key.expires_at,
        key.revoked_at,
        list(&key.allow_ips),
        key.draws_on,
        hash,
        secret.as_ref(),
    ];
    sql.insert(statement, &values, "a management key with this id or hash")
        .await
}

/// Ends a key, and access tokens of its sessions no later.
async fn end_key<S: Twins>(
    sql: &S,
    key: ManagementKeyId,
    at: Timestamp,
) -> Outcome<Option<ManagementKey>, S> {
    // The server's clock says whether the end is past, where there is a server.
    let statement = sql!(
        postgres: "UPDATE management_keys SET
        revoked_at = CASE WHEN $2 <= micros_now() THEN coalesce(revoked_at, $2) ELSE revoked_at END,
        expires_at = CASE WHEN $2 <= micros_now() THEN expires_at ELSE $2 END
        WHERE id = $1 RETURNING {KEY}",
        sqlite: "UPDATE management_keys SET
        revoked_at = CASE WHEN $2 <= $3 THEN coalesce(revoked_at, $2) ELSE revoked_at END,
        expires_at = CASE WHEN $2 <= $3 THEN expires_at ELSE $2 END
        WHERE id = $1 RETURNING {KEY}",
    );
    let values = values![key, at, sql.now()];
    let values = match S::ENGINE {
        Engine::Postgres => &values[..2],
        Engine::Sqlite => &values[..],
    };
    let row = sql.query_opt(statement, values).await?;
    let ended = row.as_ref().map(read_key).transpose()?;
    if ended.is_some() {
        cut_key(sql, key, at).await?;
    }
    Ok(ended)
}

async fn put_revisions<S: Sql>(sql: &S, revisions: &[PlanRevision]) -> Outcome<(), S> {
    let rows = revisions.iter();
    let rows = rows.map(|revision| values![revision.id, json(&revision.plan)]);
    sql.insert_all(
        "plan_revisions (id, terms)",
        rows.collect(),
        "ON CONFLICT DO NOTHING",
    )
    .await?;
    let in_force = revisions.iter().map(|revision| {
        let bits = revision.id.as_u128().to_be_bytes();
        (plan_setting(&revision.plan.name), bits.to_vec())
    });
    let mut in_force: Vec<_> = in_force.collect();
    in_force.sort();
    let rows = in_force.into_iter().map(|(name, bits)| values![name, bits]);
    sql.insert_all(
        "settings AS s (name, value)",
        rows.collect(),
        "ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE s.value <> excluded.value",
    )
    .await
}

async fn setting<S: Sql>(sql: &S, name: &str) -> Outcome<Option<Vec<u8>>, S> {
    let statement = sql!("SELECT value FROM settings WHERE name = $1");
    let row = sql.query_opt(statement, &values![name]).await?;
    Ok(row.map(|row| row.get(0)).transpose()?)
}

fn read_account(row: &Row) -> Result<Account, Error> {
    Ok(Account {
        name: row.text(0)?,
        created_at: row.get(1)?,
        disabled_at: row.get(2)?,
        wallet: row.get(3)?,
    })
}

fn read_key(row: &Row) -> Result<ManagementKey, Error> {
    Ok(ManagementKey {
        id: row.get(0)?,
        account: row.text(1)?,
        app: row.optional_text(2)?,
        license_id: row.get(3)?,
        name: row.get(4)?,
        scopes: row.list(5)?,
        prefix: row.get(6)?,
        created_at: row.get(7)?,
        expires_at: row.get(8)?,
        revoked_at: row.get(9)?,
        allow_ips: row.list(10)?,
        draws_on: row.get(11)?,
    })
}

fn read_revision(row: &Row) -> Result<PlanRevision, Error> {
    Ok(PlanRevision {
        id: row.get(0)?,
        plan: row.json(1)?.ok_or_else(|| row.unreadable(1))?,
    })
}
