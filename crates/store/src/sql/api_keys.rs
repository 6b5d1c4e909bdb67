//! [`ApiKeyStore`] on both engines.

use std::sync::LazyLock;

use async_trait::async_trait;
use model::{ApiKey, LicenseId, LicenseStatus, Timestamp};

use super::audit::add_entries;
use super::filter::Filter;
use super::license_changes::{apply, lock};
use super::license_events::{is_told, tell_change, tell_new};
use super::license_rows::{
    CREDENTIAL, CREDENTIAL_COLUMNS, LICENSE_COLUMNS, WITH_CREDENTIALS, collect, with_license,
};
use super::{Backend, Kind, Outcome, Part, Row, Sql, Statement, Twins, Value, rows, sql, values};
use crate::api_keys::{
    ApiKeyChange, ApiKeyFilter, ApiKeyPage, ApiKeySort, ApiKeyStore, NewApiKey, StoredApiKey,
};
use crate::audit::{AuditEntries, Changed};
use crate::error::Error;
use crate::licenses::{ChangeNumber, LicenseChange};
use crate::rules::numbers::LICENSE_REVOKED;

/// The columns in the order that [`read_key`] reads, of API keys `k`.
const API_KEY: &str = "k.license_id, k.name, k.prefix, k.metadata, k.permissions, k.parked_rate, k.updated_at, \
    k.last_request";
/// The index of the first of these columns, behind those of a license and a credential.
const FIRST: usize = LICENSE_COLUMNS + CREDENTIAL_COLUMNS;

#[async_trait]
impl<B: Backend> ApiKeyStore for B {
    async fn create_api_key(
        &self,
        new: NewApiKey,
        entries: AuditEntries<()>,
    ) -> Result<ChangeNumber, Error> {
        let new = (new, entries);
        let last = self
            .run(Part::Licenses, Kind::Transaction, new, |sql, new| {
                Box::pin(async move {
                    let (new, entries) = new;
                    insert(sql, new).await?;
                    let license = std::slice::from_ref(&new.license);
                    tell_new(sql, license).await?;
                    let last = sql.create_licenses(license).await?;
                    add_entries(sql, entries, &()).await?;
                    Ok(last)
                })
            })
            .await?;
        self.after_changes(last, 1).await;
        Ok(last)
    }

    async fn api_key(&self, id: LicenseId) -> Result<Option<StoredApiKey>, Error> {
        self.run(Part::Licenses, Kind::Read, id, |sql, id| {
            Box::pin(get(sql, *id))
        })
        .await
    }

    async fn api_keys(
        &self,
        filter: ApiKeyFilter,
        page: ApiKeyPage,
    ) -> Result<(Vec<StoredApiKey>, u64), Error> {
        let asked = (filter, page);
        self.run(
            Part::Licenses,
            Kind::Report,
            asked,
            |sql, (filter, page)| Box::pin(list(sql, filter, *page)),
        )
        .await
    }

    async fn change_api_key(
        &self,
        id: LicenseId,
        change: ApiKeyChange,
        entries: AuditEntries<Changed<StoredApiKey>>,
    ) -> Result<Option<StoredApiKey>, Error> {
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
            self.after_changes(stored.license.version, 1).await;
        }
        Ok(stored)
    }

    async fn note_requests(&self, requests: Vec<(LicenseId, Timestamp)>) -> Result<(), Error> {
        self.run(Part::Licenses, Kind::Batch, requests, |sql, requests| {
            Box::pin(async move {
                // The cross join makes SQLite look times up by an index of its own: it would scan all
                // of them for each key.
                let statement = sql!(
                    postgres: "UPDATE api_keys AS k SET last_request = n.at
                    FROM (SELECT id, max(at) AS at FROM unnest($1::uuid[], $2::bigint[]) AS g (id, at) GROUP BY id) n
                    WHERE k.license_id = n.id AND (k.last_request IS NULL OR k.last_request < n.at)",
                    sqlite: "WITH times AS MATERIALIZED (SELECT key, value FROM json_each($2))
                    UPDATE api_keys AS k SET last_request = n.at
                    FROM (SELECT unhex(g.value) AS id, max(t.value) AS at FROM json_each($1) g
                      CROSS JOIN times t ON t.key = g.key GROUP BY 1) n
                    WHERE k.license_id = n.id AND (k.last_request IS NULL OR k.last_request < n.at)",
                );
                let ids = requests.iter().map(|(license, _)| license.as_u128());
                let times = requests.iter().map(|(_, at)| at.micros());
                let values = [Value::Ids(ids.collect()), Value::Integers(times.collect())];
                sql.execute(statement, &values).await.map(drop)
            })
        })
        .await
    }

    async fn expired_api_keys(
        &self,
        filter: ApiKeyFilter,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<LicenseId>, Error> {
        let asked = (filter, now, limit);
        self.run(Part::Licenses, Kind::Report, asked, |sql, asked| {
            Box::pin(async move {
                let (asked, now, limit) = asked;
                let mut filter = selected(asked);
                filter.and("l.expires_at <= ?", *now);
                let limit = filter.place(rows(*limit));
                let text = format!(
                    "SELECT k.license_id {} {} ORDER BY k.license_id LIMIT {limit}",
                    from(),
                    filter.clause()
                );
                let found = sql.query(&Statement::new(text), filter.values()).await?;
                Ok(found
                    .iter()
                    .map(|row| row.get(0))
                    .collect::<Result<_, _>>()?)
            })
        })
        .await
    }
}

/// Returns the tables of API keys with the license of each, unless that is revoked.
fn from() -> String {
    format!(
        "FROM api_keys k JOIN licenses l ON l.id = k.license_id AND l.status <> {LICENSE_REVOKED}"
    )
}

fn selected(asked: &ApiKeyFilter) -> Filter {
    let mut filter = Filter::new();
    filter
        .and("k.account = ?", asked.account.as_ref())
        .and("k.app = ?", asked.app.as_ref())
        .and("k.license_id > ?", asked.after);
    filter
}

/// Returns the ORDER BY terms of a page.
fn order(page: ApiKeyPage) -> String {
    let column = match page.sort {
        ApiKeySort::Id => "k.license_id",
        ApiKeySort::CreatedAt => "l.created_at",
        ApiKeySort::UpdatedAt => "k.updated_at",
        ApiKeySort::LastRequest => "k.last_request",
        ApiKeySort::ExpiresAt => "l.expires_at",
        ApiKeySort::Name => "k.name",
        ApiKeySort::Prefix => "k.prefix",
        // Active is 0, disabled 1: the smaller number is the larger word.
        ApiKeySort::Enabled => "-l.status",
    };
    let (direction, nothing) = if page.descending {
        ("DESC", "LAST")
    } else {
        ("ASC", "FIRST")
    };
    format!("ORDER BY {column} {direction} NULLS {nothing}, k.license_id {direction}")
}

async fn insert<S: Sql>(sql: &S, new: &NewApiKey) -> Outcome<(), S> {
    let (key, license) = (&new.key, &new.license.license);
    let statement = sql!(
        "INSERT INTO api_keys (license_id, account, app, name, prefix, metadata, permissions, parked_rate,
        updated_at, last_request) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
    );
    let values = values![
        key.license_id,
        &license.account,
        &license.app,
        key.name.as_ref(),
        text(key.prefix.as_ref()),
        text(key.metadata.as_ref()),
        text(key.permissions.as_ref()),
        text(key.parked_rate.as_ref()),
        key.updated_at,
        key.last_request,
    ];
    sql.insert(statement, &values, "an api key with this id")
        .await
}

async fn get<S: Sql>(sql: &S, license: LicenseId) -> Outcome<Option<StoredApiKey>, S> {
    static GET: LazyLock<Statement> = LazyLock::new(|| {
        with_license(|license| {
            format!(
                "SELECT {license}, {CREDENTIAL}, {API_KEY} FROM api_keys k JOIN licenses l ON l.id = k.license_id
                {WITH_CREDENTIALS} WHERE k.license_id = $1 ORDER BY c.created_at, c.cursor"
            )
        })
    });
    let found = sql.query(&GET, &values![license]).await?;
    Ok(stored(&found)?.pop())
}

async fn list<S: Sql>(
    sql: &S,
    asked: &ApiKeyFilter,
    page: ApiKeyPage,
) -> Outcome<(Vec<StoredApiKey>, u64), S> {
    let mut filter = selected(asked);
    let (from, condition) = (from(), filter.clause());
    let total = Statement::new(format!("SELECT count(*) {from} {condition}"));
    let total = sql.query_opt(&total, filter.values()).await?;
    let total = total.map_or(Ok(0), |row| row.count(0))?;
    let limit = filter.place(rows(page.limit));
    let offset = filter.place(i64::try_from(page.offset).unwrap_or(i64::MAX));
    let order = order(page);
    // The order of the page is kept in a column of its own while credentials are joined to it.
    let statement = with_license(|license| {
        format!(
            "SELECT {license}, {CREDENTIAL}, {API_KEY} FROM (
              SELECT k.license_id, row_number() OVER ({order}) AS place {from} {condition}
              {order} LIMIT {limit} OFFSET {offset}
            ) p JOIN api_keys k ON k.license_id = p.license_id JOIN licenses l ON l.id = p.license_id
            {WITH_CREDENTIALS} ORDER BY p.place, c.created_at, c.cursor"
        )
    });
    let found = sql.query(&statement, filter.values()).await?;
    Ok((stored(&found)?, total))
}

async fn change_one<S: Twins>(
    sql: &S,
    license: LicenseId,
    change: &ApiKeyChange,
) -> Outcome<Option<Changed<StoredApiKey>>, S> {
    lock(sql, license).await?;
    let Some(before) = get(sql, license).await? else {
        return Ok(None);
    };
    if before.license.license.status == LicenseStatus::Revoked {
        return Ok(None);
    }
    write(sql, license, change).await?;
    let label = change.name.clone().map(LicenseChange::Label);
    let mut changes = Vec::new();
    for part in change.license.iter().chain(&label) {
        let added = apply(sql, &before.license, part).await?;
        changes.extend(added.map(|hash| (license, Some(hash))));
    }
    changes.push((license, None));
    let told = is_told(sql, &before.license.license.account).await?;
    sql.record_changes(&changes).await?;
    let changed = Changed::of(Some(before), get(sql, license).await?);
    if let Some(Changed { before, after }) = changed.as_ref().filter(|_| told) {
        let (before, after) = (before.license.clone(), after.license.clone());
        tell_change(sql, &Changed { before, after }).await?;
    }
    Ok(changed)
}

async fn write<S: Sql>(sql: &S, license: LicenseId, change: &ApiKeyChange) -> Outcome<(), S> {
    let statement = sql!(
        "UPDATE api_keys SET name = CASE WHEN $2 THEN $3 ELSE name END,
        metadata = CASE WHEN $4 THEN $5 ELSE metadata END,
        permissions = CASE WHEN $6 THEN $7 ELSE permissions END,
        parked_rate = CASE WHEN $8 THEN $9 ELSE parked_rate END, updated_at = $10 WHERE license_id = $1"
    );
    let values = values![
        license,
        change.name.is_some(),
        change.name.as_ref().and_then(Option::as_ref),
        change.metadata.is_some(),
        text(change.metadata.as_ref().and_then(Option::as_ref)),
        change.permissions.is_some(),
        text(change.permissions.as_ref().and_then(Option::as_ref)),
        change.parked_rate.is_some(),
        text(change.parked_rate.as_ref().and_then(Option::as_ref)),
        change.updated_at,
    ];
    sql.execute(statement, &values).await.map(drop)
}

/// Returns keys with their licenses, from rows that have one credential each.
fn stored(found: &[Row]) -> Result<Vec<StoredApiKey>, Error> {
    let mut keys: Vec<ApiKey> = Vec::new();
    for row in found {
        let license_id: LicenseId = row.get(FIRST)?;
        if keys.last().is_none_or(|last| last.license_id != license_id) {
            keys.push(read_key(row)?);
        }
    }
    let both = keys.into_iter().zip(collect(found)?);
    Ok(both
        .map(|(key, license)| StoredApiKey { key, license })
        .collect())
}

fn read_key(row: &Row) -> Result<ApiKey, Error> {
    Ok(ApiKey {
        license_id: row.get(FIRST)?,
        name: row.get(FIRST + 1)?,
        prefix: row.optional_text(FIRST + 2)?,
        metadata: row.optional_text(FIRST + 3)?,
        permissions: row.optional_text(FIRST + 4)?,
        parked_rate: row.optional_text(FIRST + 5)?,
        updated_at: row.get(FIRST + 6)?,
        last_request: row.get(FIRST + 7)?,
    })
}

fn text<T: ToString>(value: Option<&T>) -> Option<String> {
    value.map(ToString::to_string)
}
