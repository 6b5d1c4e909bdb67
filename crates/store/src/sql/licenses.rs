//! [`LicenseStore`] on both engines. The creation of many licenses and the numbers of changes are
//! each engine's own: [`Twins`].

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use model::{CredentialId, Fingerprint, KeyHash, LicenseId};

use super::audit::add_entries;
use super::filter::Filter;
use super::license_changes::change_one;
use super::license_events::tell_new;
use super::license_rows::{
    CREDENTIAL, CREDENTIAL_COLUMNS, LICENSE_COLUMNS, WITH_CREDENTIALS, collect, get, get_all,
    read_credential, read_devices, read_license, with_license,
};
use super::{Backend, Kind, Outcome, Part, Row, Sql, Statement, Twins, Value, rows, sql, values};
use crate::agents::AgentStore;
use crate::api_keys::ApiKeyStore;
use crate::audit::{AuditEntries, Changed};
use crate::error::Error;
use crate::licenses::{
    Change, ChangeNumber, KeyOwner, LicenseChange, LicenseFilter, LicenseStore, NewLicense,
    SealedKey, Snapshot, StoredLicense,
};
use crate::rules::numbers;
use crate::software::SoftwareStore;
use crate::webhooks::WebhookStore;

/// The largest number of licenses that are made as a command; more are an import, which lets
/// commands pass.
const BATCH_SIZE: usize = 100;

#[async_trait]
impl<B: Backend> LicenseStore for B {
    fn api_keys(&self) -> Result<&dyn ApiKeyStore, Error> {
        Ok(self)
    }

    fn webhooks(&self) -> Result<&dyn WebhookStore, Error> {
        Ok(self)
    }

    fn agents(&self) -> Result<&dyn AgentStore, Error> {
        Ok(self)
    }

    fn software(&self) -> Result<&dyn SoftwareStore, Error> {
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
                        tell_new(sql, new).await?;
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
            Box::pin(get_all(sql, ids))
        })
        .await
    }

    async fn license_by_key(&self, hash: KeyHash) -> Result<Option<Snapshot>, Error> {
        self.run(Part::Licenses, Kind::Read, hash, |sql, hash| {
            Box::pin(by_key(sql, hash))
        })
        .await
    }

    async fn owners_of_keys(&self, hashes: Vec<KeyHash>) -> Result<Vec<KeyOwner>, Error> {
        self.run(Part::Licenses, Kind::Read, hashes, |sql, hashes| {
            Box::pin(owners_of_keys(sql, hashes))
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
        devices: read_devices(&row)?,
        version,
    }))
}

async fn owners_of_keys<S: Sql>(sql: &S, hashes: &[KeyHash]) -> Outcome<Vec<KeyOwner>, S> {
    // A list of bytes goes as hexadecimal digits, which both engines take.
    let statement = sql!(
        postgres: "SELECT c.hash, l.id, l.account, l.app
        FROM unnest($1::text[]) AS n (digits) JOIN credentials c ON c.hash = decode(n.digits, 'hex')
        JOIN licenses l ON l.id = c.license_id",
        sqlite: "SELECT c.hash, l.id, l.account, l.app
        FROM json_each($1) n CROSS JOIN credentials c ON c.hash = unhex(n.value)
        JOIN licenses l ON l.id = c.license_id",
    );
    let digits = |hash: &KeyHash| {
        let bytes = hash.as_bytes().iter();
        bytes.map(|byte| format!("{byte:02x}")).collect()
    };
    let hashes = Value::Texts(hashes.iter().map(digits).collect());
    let found = sql.query(statement, &[hashes]).await?;
    let read = |row: &Row| {
        Ok(KeyOwner {
            hash: row.get(0)?,
            license_id: row.get(1)?,
            account: row.text(2)?,
            app: row.text(3)?,
        })
    };
    Ok(found.iter().map(read).collect::<Result<_, Error>>()?)
}

async fn page<S: Sql>(
    sql: &S,
    asked: &LicenseFilter,
    after: Option<LicenseId>,
    limit: usize,
) -> Outcome<Vec<StoredLicense>, S> {
    let mut filter = Filter::new();
    if let Some(of_agents) = asked.of_agents {
        let is = if of_agents { "IS NOT NULL" } else { "IS NULL" };
        filter.also(format!("l.agent {is}"));
    }
    filter
        .also("l.id NOT IN (SELECT wallet FROM accounts WHERE wallet IS NOT NULL)".to_owned())
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
