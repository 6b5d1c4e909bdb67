//! [`LicenseStore`] on both engines. The creation of many licenses and the numbers of changes are
//! each engine's own: [`Twins`].

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use model::{
    CredentialId, CredentialInfo, Fingerprint, Interval, KeyHash, License, LicenseId, LicenseSpec,
    LicenseStatus, Limits, Refill, RefillMode,
};

use super::audit::add_entries;
use super::filter::Filter;
use super::{
    Backend, Engine, Kind, Outcome, Part, Row, Sql, Statement, Twins, Value, list, rows, sql,
    values,
};
use crate::api_keys::ApiKeyStore;
use crate::audit::{AuditEntries, Changed};
use crate::error::Error;
use crate::licenses::{
    Change, ChangeNumber, LicenseChange, LicenseFilter, LicenseStore, NewCredential, NewLicense,
    SealedKey, Snapshot, StoredLicense,
};
use crate::rules::license::{Renewed, changes_anything, parts};
use crate::rules::numbers::{self, CREDENTIAL_ACTIVE, CREDENTIAL_REVOKED};

/// The largest number of licenses that are made as a command; more are an import, which lets
/// commands pass.
const BATCH_SIZE: usize = 100;

/// The columns in the order that [`read_license`] reads, in PostgreSQL.
const POSTGRES_LICENSE: &str = "l.id, l.account, l.app, l.plan, l.\"user\", l.label, l.status, l.created_at, l.expires_at, \
    l.remaining, l.refill_amount, l.refill_every, l.refill_adds, l.rate_limits, l.concurrency, l.permissions, \
    l.allow_ips, l.version";
/// The same in SQLite, where a refill is one column.
const SQLITE_LICENSE: &str = "l.id, l.account, l.app, l.plan, l.\"user\", l.label, l.status, l.created_at, l.expires_at, \
    l.remaining, l.refill, NULL, NULL, l.rate_limits, l.concurrency, l.permissions, l.allow_ips, l.version";
/// The number of these columns.
pub(super) const LICENSE_COLUMNS: usize = 18;
/// The columns in the order that [`read_credential`] reads.
pub(super) const CREDENTIAL: &str = "c.id, c.kind, c.prefix, c.status, c.created_at, c.expires_at";
/// The number of columns of [`CREDENTIAL`].
pub(super) const CREDENTIAL_COLUMNS: usize = 6;
/// The credentials of licenses `l` but access tokens.
pub(super) const WITH_CREDENTIALS: &str =
    "LEFT JOIN credentials c ON c.license_id = l.id AND c.session_id IS NULL";

/// Makes a statement of a text that is made from the columns of licenses `l`.
pub(super) fn with_license(text: impl Fn(&str) -> String) -> Statement {
    Statement::of_each(text(POSTGRES_LICENSE), text(SQLITE_LICENSE))
}

#[async_trait]
impl<B: Backend> LicenseStore for B {
    fn api_keys(&self) -> Result<&dyn ApiKeyStore, Error> {
        Ok(self)
    }

    async fn create_licenses(
        &self,
        new: Vec<NewLicense>,
        entries: AuditEntries<()>,
    ) -> Result<ChangeNumber, Error> {
        let kind = match new.len() > BATCH_SIZE {
            true => Kind::Load,
            false => Kind::Transaction,
        };
        let changes = new.iter().map(|new| new.credentials.len().max(1) as u64);
        let written = changes.sum();
        let last = self
            .run(
                Part::Licenses,
                kind,
                (new, entries),
                |sql, (new, entries)| {
                    Box::pin(async move {
                        let last = sql.create_licenses(new).await?;
                        add_entries(sql, entries, &()).await?;
                        Ok(last)
                    })
                },
            )
            .await?;
        self.after_changes(last, written).await;
        Ok(last)
    }

    async fn license(&self, id: LicenseId) -> Result<Option<StoredLicense>, Error> {
        self.run(Part::Licenses, Kind::Read, id, |sql, id| {
            Box::pin(get(sql, *id))
        })
        .await
    }

    async fn licenses_by_ids(&self, ids: Vec<LicenseId>) -> Result<Vec<StoredLicense>, Error> {
        self.run(Part::Licenses, Kind::Read, ids, |sql, ids| {
            Box::pin(async move {
                static BY_IDS: LazyLock<Statement> = LazyLock::new(|| {
                    with_license(|license| {
                        format!(
                            "SELECT {license}, {CREDENTIAL} FROM licenses l {WITH_CREDENTIALS}
                            WHERE l.id = ANY ($1::uuid[]) ORDER BY l.id, c.created_at, c.cursor"
                        )
                    })
                });
                let found = sql.query(&BY_IDS, &[ids_of(ids)]).await?;
                Ok(collect(&found)?)
            })
        })
        .await
    }

    async fn license_by_key(&self, hash: KeyHash) -> Result<Option<Snapshot>, Error> {
        self.run(Part::Licenses, Kind::Read, hash, |sql, hash| {
            Box::pin(by_key(sql, hash))
        })
        .await
    }

    async fn sealed_keys(&self, id: LicenseId) -> Result<Vec<(CredentialId, SealedKey)>, Error> {
        self.run(Part::Licenses, Kind::Read, id, |sql, id| {
            Box::pin(async move {
                let statement = sql!(
                    "SELECT id, sealed FROM credentials WHERE license_id = $1 AND sealed IS NOT NULL
                    ORDER BY created_at DESC, cursor DESC"
                );
                let read = |row: &Row| Ok((row.get(0)?, SealedKey::new(row.get(1)?)));
                let found = sql.query(statement, &values![*id]).await?;
                Ok(found.iter().map(read).collect::<Result<_, Error>>()?)
            })
        })
        .await
    }

    async fn licenses(
        &self,
        filter: LicenseFilter,
        after: Option<LicenseId>,
        limit: usize,
    ) -> Result<Vec<StoredLicense>, Error> {
        let asked = (filter, after, limit);
        self.run(Part::Licenses, Kind::Report, asked, |sql, asked| {
            Box::pin(page(sql, &asked.0, asked.1, asked.2))
        })
        .await
    }

    async fn change_license(
        &self,
        id: LicenseId,
        change: LicenseChange,
        entries: AuditEntries<Changed<StoredLicense>>,
    ) -> Result<Option<StoredLicense>, Error> {
        let asked = (id, change, entries);
        let stored = self
            .run(Part::Licenses, Kind::Transaction, asked, |sql, asked| {
                Box::pin(async move {
                    let (id, requested, entries) = asked;
                    let Some(changed) = change_one(sql, *id, requested).await? else {
                        return Ok(None);
                    };
                    add_entries(sql, entries, &changed).await?;
                    Ok(Some(changed.after))
                })
            })
            .await?;
        if let Some(stored) = &stored {
            self.after_changes(stored.version, 1).await;
        }
        Ok(stored)
    }

    async fn changes_since(
        &self,
        number: ChangeNumber,
        limit: usize,
    ) -> Result<(Vec<Change>, ChangeNumber), Error> {
        let asked = (number, limit);
        self.run(Part::Licenses, Kind::Read, asked, |sql, (number, limit)| {
            Box::pin(changes_since(sql, *number, *limit))
        })
        .await
    }

    async fn fingerprints(
        &self,
        after: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<Fingerprint>, Option<u64>), Error> {
        let asked = (after, limit);
        self.run(
            Part::Licenses,
            Kind::Report,
            asked,
            |sql, (after, limit)| Box::pin(fingerprints(sql, *after, *limit)),
        )
        .await
    }
}

// === writing ===

/// Keeps others from changing a license until the transaction is over.
pub(super) async fn lock<S: Sql>(sql: &S, license: LicenseId) -> Outcome<(), S> {
    if S::ENGINE == Engine::Postgres {
        let statement = sql!("SELECT 1 FROM licenses WHERE id = $1 FOR NO KEY UPDATE");
        sql.execute(statement, &values![license]).await?;
    }
    Ok(())
}

async fn change_one<S: Twins>(
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
    sql.record_changes(&[(license, added)]).await?;
    let after = get(sql, license).await?;
    Ok(after.map(|after| Changed { before, after }))
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

async fn insert_credential<S: Sql>(
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

/// Removes the sealed copies of these licenses' keys.
pub(super) async fn forget_keys<S: Sql>(sql: &S, licenses: &[LicenseId]) -> Outcome<(), S> {
    let statement = sql!(
        "UPDATE credentials SET sealed = NULL WHERE license_id = ANY ($1::uuid[]) AND sealed IS NOT NULL"
    );
    let licenses = [ids_of(licenses)];
    sql.execute(statement, &licenses).await.map(drop)
}

// === reading ===

fn ids_of(licenses: &[LicenseId]) -> Value {
    Value::Ids(licenses.iter().map(|license| license.as_u128()).collect())
}

async fn get<S: Sql>(sql: &S, license: LicenseId) -> Outcome<Option<StoredLicense>, S> {
    static GET: LazyLock<Statement> = LazyLock::new(|| {
        with_license(|license| {
            format!(
                "SELECT {license}, {CREDENTIAL} FROM licenses l {WITH_CREDENTIALS}
                WHERE l.id = $1 ORDER BY c.created_at, c.cursor"
            )
        })
    });
    let found = sql.query(&GET, &values![license]).await?;
    Ok(collect(&found)?.pop())
}

async fn by_key<S: Sql>(sql: &S, hash: &KeyHash) -> Outcome<Option<Snapshot>, S> {
    static BY_KEY: LazyLock<Statement> = LazyLock::new(|| {
        with_license(|license| {
            format!(
                "SELECT {license}, {CREDENTIAL}, k.allow_ips FROM credentials c JOIN licenses l ON l.id = c.license_id
                LEFT JOIN sessions s ON s.id = c.session_id LEFT JOIN management_keys k ON k.id = s.key_id
                WHERE c.hash = $1"
            )
        })
    });
    let Some(row) = sql.query_opt(&BY_KEY, &values![hash]).await? else {
        return Ok(None);
    };
    let (license, version) = read_license(&row)?;
    Ok(Some(Snapshot {
        license: Arc::new(license),
        credential: read_credential(&row, LICENSE_COLUMNS)?,
        allow_ips: row.list(LICENSE_COLUMNS + CREDENTIAL_COLUMNS)?,
        version,
    }))
}

async fn page<S: Sql>(
    sql: &S,
    asked: &LicenseFilter,
    after: Option<LicenseId>,
    limit: usize,
) -> Outcome<Vec<StoredLicense>, S> {
    let mut filter = Filter::new();
    filter
        .and("l.account = ?", asked.account.as_ref())
        .and("l.app = ?", asked.app.as_ref())
        .and("l.\"user\" = ?", asked.user.as_ref())
        .and("l.status = ?", asked.status.map(numbers::license))
        .and("l.id > ?", after);
    let limit = filter.place(rows(limit));
    let condition = filter.clause();
    let statement = with_license(|license| {
        format!(
            "SELECT {license}, {CREDENTIAL} FROM
            (SELECT * FROM licenses l {condition} ORDER BY l.id LIMIT {limit}) l
            {WITH_CREDENTIALS} ORDER BY l.id, c.created_at, c.cursor"
        )
    });
    let found = sql.query(&statement, filter.values()).await?;
    Ok(collect(&found)?)
}

async fn changes_since<S: Sql>(
    sql: &S,
    number: ChangeNumber,
    limit: usize,
) -> Outcome<(Vec<Change>, ChangeNumber), S> {
    // One statement sees one moment: the number of the last change fits the changes beside it.
    let statement = sql!(
        postgres: "SELECT c.last, n.number, n.license_id, n.added, n.at FROM change_counter c LEFT JOIN LATERAL (
          SELECT number, license_id, added, at FROM changes WHERE number > $1 ORDER BY number LIMIT $2
        ) n ON true ORDER BY n.number",
        sqlite: "SELECT c.last, n.number, n.license_id, n.added, n.at FROM
        (SELECT coalesce(max(number), 0) AS last FROM changes) c LEFT JOIN (
          SELECT number, license_id, added, at FROM changes WHERE number > $1 ORDER BY number LIMIT $2
        ) n ON true ORDER BY n.number",
    );
    let after = i64::try_from(number.0).unwrap_or(i64::MAX);
    let found = sql.query(statement, &values![after, rows(limit)]).await?;
    let mut changes = Vec::with_capacity(found.len());
    let mut last = 0;
    for row in &found {
        last = row.get::<i64>(0)?;
        if let Some(number) = row.get::<Option<i64>>(1)? {
            changes.push(Change {
                number: ChangeNumber(number as u64),
                license_id: row.get(2)?,
                added: row
                    .get::<Option<i64>>(3)?
                    .map(|bits| Fingerprint(bits as u64)),
                at: row.get(4)?,
            });
        }
    }
    Ok((changes, ChangeNumber(last as u64)))
}

async fn fingerprints<S: Sql>(
    sql: &S,
    after: Option<u64>,
    limit: usize,
) -> Outcome<(Vec<Fingerprint>, Option<u64>), S> {
    let limit = rows(limit);
    let statement =
        sql!("SELECT cursor, hash FROM credentials WHERE cursor > $1 ORDER BY cursor LIMIT $2");
    let after = after.map_or(0, |after| i64::try_from(after).unwrap_or(i64::MAX));
    let mut found = sql.query(statement, &values![after, limit + 1]).await?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let last = found.last().filter(|_| more);
    let next = last.map(|row| row.get::<i64>(0)).transpose()?;
    let read = |row: &Row| Ok(row.get::<KeyHash>(1)?.fingerprint());
    let fingerprints = found.iter().map(read).collect::<Result<_, Error>>()?;
    Ok((fingerprints, next.map(|cursor| cursor as u64)))
}

/// Returns the licenses of rows that hold one credential each, or none; those of one license are
/// next to each other.
pub(super) fn collect(found: &[Row]) -> Result<Vec<StoredLicense>, Error> {
    let mut licenses: Vec<StoredLicense> = Vec::new();
    for row in found {
        let id: LicenseId = row.get(0)?;
        if licenses.last().is_none_or(|last| last.license.id != id) {
            let (license, version) = read_license(row)?;
            licenses.push(StoredLicense {
                license,
                credentials: Vec::new(),
                version,
            });
        }
        if row.get::<Option<CredentialId>>(LICENSE_COLUMNS)?.is_some() {
            let credentials = &mut licenses.last_mut().expect("one was pushed").credentials;
            credentials.push(read_credential(row, LICENSE_COLUMNS)?);
        }
    }
    Ok(licenses)
}

fn read_license(row: &Row) -> Result<(License, ChangeNumber), Error> {
    let license = License {
        id: row.get(0)?,
        account: row.text(1)?,
        app: row.text(2)?,
        status: row.word(6, numbers::license_of)?,
        created_at: row.get(7)?,
        spec: LicenseSpec {
            plan: row.optional_text(3)?,
            user: row.get(4)?,
            label: row.get(5)?,
            expires_at: row.get(8)?,
            limits: Limits {
                remaining: row.get::<Option<i64>>(9)?.map(|bits| bits as u64),
                refill: read_refill(row)?,
                rate_limits: row.list(13)?,
                concurrency: row.get(14)?,
            },
            permissions: row.list(15)?,
            allow_ips: row.list(16)?,
        },
    };
    Ok((license, ChangeNumber(row.get::<i64>(17)? as u64)))
}

/// Reads a refill: a text in SQLite, three columns in PostgreSQL.
fn read_refill(row: &Row) -> Result<Option<Refill>, Error> {
    if let Ok(refill) = row.optional_text(10) {
        return Ok(refill);
    }
    let adds: bool = row.get(12)?;
    Ok(Some(Refill {
        amount: row.get::<i64>(10)? as u64,
        every: row.word(11, Interval::from_seconds)?,
        mode: if adds {
            RefillMode::Add
        } else {
            RefillMode::Set
        },
    }))
}

fn read_credential(row: &Row, first: usize) -> Result<CredentialInfo, Error> {
    Ok(CredentialInfo {
        id: row.get(first)?,
        kind: row.get(first + 1)?,
        prefix: row.get(first + 2)?,
        status: row.word(first + 3, numbers::credential_of)?,
        created_at: row.get(first + 4)?,
        expires_at: row.get(first + 5)?,
    })
}
