//! [`ApiKeyStore`] on PostgreSQL.

use std::sync::Arc;

use async_trait::async_trait;
use model::{ApiKey, LicenseId, LicenseStatus, Timestamp};
use tokio_postgres::Row;
use uuid::Uuid;

use super::backend_error::{BackendError, unique};
use super::conn::{Conn, PooledConn, Value};
use super::convert::{id, read, read_id, read_optional_text, read_optional_time, read_time, rows};
use super::license_rows::{CREDENTIAL, LICENSE, LICENSE_COLUMNS, collect};
use super::server::TxOptions;
use super::{PostgresStore, licenses};
use crate::api_keys::{
    ApiKeyChange, ApiKeyFilter, ApiKeyPage, ApiKeySort, ApiKeyStore, NewApiKey, StoredApiKey,
};
use crate::audit::{AuditEntries, Changed};
use crate::error::Error;
use crate::licenses::{ChangeNumber, LicenseChange};
use crate::sql::audit::add_entries;

/// The columns in the order that [`read_key`] reads.
const API_KEY: &str = "k.license_id, k.name, k.prefix, k.metadata, k.permissions, k.parked_rate, k.updated_at, \
    k.last_request";
/// The index of the first of these columns, behind those of a license and a credential.
const FIRST: usize = LICENSE_COLUMNS + 6;
/// The tables of API keys with the license of each, unless that is revoked.
const FROM: &str = "FROM api_keys k JOIN licenses l ON l.id = k.license_id AND l.status <> 2";

#[async_trait]
impl ApiKeyStore for PostgresStore {
    async fn create_api_key(
        &self,
        new: NewApiKey,
        entries: AuditEntries<()>,
    ) -> Result<ChangeNumber, Error> {
        let create = |conn: Conn, args: Arc<(NewApiKey, AuditEntries<()>)>| async move {
            let (new, entries) = &*args;
            insert(&conn, new).await?;
            let last = licenses::create(&conn, std::slice::from_ref(&new.license)).await?;
            add_entries(&*conn, entries, &()).await?;
            Ok(last)
        };
        let options = TxOptions::TRANSACTION;
        let args = (new, entries);
        let last = self.server.run_with(options, args, create).await?;
        self.prune_after(last, 1).await;
        Ok(last)
    }

    async fn api_key(&self, id: LicenseId) -> Result<Option<StoredApiKey>, Error> {
        let find = move |conn: Conn| async move { get(&conn, id).await };
        self.server.run(TxOptions::READ, find).await
    }

    async fn api_keys(
        &self,
        filter: ApiKeyFilter,
        page: ApiKeyPage,
    ) -> Result<(Vec<StoredApiKey>, u64), Error> {
        let list = move |conn: Conn, filter: Arc<ApiKeyFilter>| async move {
            self::page(&conn, &filter, page).await
        };
        self.server.run_with(TxOptions::REPORT, filter, list).await
    }

    async fn change_api_key(
        &self,
        id: LicenseId,
        change: ApiKeyChange,
        entries: AuditEntries<Changed<StoredApiKey>>,
    ) -> Result<Option<StoredApiKey>, Error> {
        type Args = Arc<(ApiKeyChange, AuditEntries<Changed<StoredApiKey>>)>;
        let carry_out = move |conn: Conn, args: Args| async move {
            let (change, entries) = &*args;
            let Some(changed) = self::change(&conn, id, change).await? else {
                return Ok(None);
            };
            add_entries(&*conn, entries, &changed).await?;
            Ok(Some(changed.after))
        };
        let options = TxOptions::TRANSACTION;
        let args = (change, entries);
        let stored = self.server.run_with(options, args, carry_out).await?;
        if let Some(stored) = &stored {
            self.prune_after(stored.license.version, 1).await;
        }
        Ok(stored)
    }

    async fn note_requests(&self, requests: Vec<(LicenseId, Timestamp)>) -> Result<(), Error> {
        let write = |conn: Conn, requests: Arc<Vec<(LicenseId, Timestamp)>>| async move {
            let ids: Vec<Uuid> = requests.iter().map(|(of, _)| id(of.as_u128())).collect();
            let times: Vec<i64> = requests.iter().map(|(_, at)| at.micros()).collect();
            let sql = "UPDATE api_keys k SET last_request = n.at
                FROM (SELECT id, max(at) AS at FROM unnest($1::uuid[], $2::bigint[]) AS n (id, at) GROUP BY id) n
                WHERE k.license_id = n.id AND (k.last_request IS NULL OR k.last_request < n.at)";
            conn.change(sql, &[&ids, &times]).await?;
            Ok(())
        };
        self.server
            .run_with(TxOptions::WRITE, requests, write)
            .await
    }

    async fn expired_api_keys(
        &self,
        filter: ApiKeyFilter,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<LicenseId>, Error> {
        let find = move |conn: Conn, filter: Arc<ApiKeyFilter>| async move {
            let asked = Asked::of(&filter);
            let sql = format!(
                "SELECT k.license_id {FROM} WHERE {CONDITION} AND l.expires_at <= $4 ORDER BY k.license_id LIMIT $5"
            );
            let [account, app, after] = asked.values();
            let values: [Value<'_>; 5] =
                [account, app, after, &now.micros(), &(rows(limit) as i64)];
            let found = conn.rows(&sql, &values).await?;
            let ids = found
                .iter()
                .map(|row| read_id(row, 0).map(LicenseId::from_u128));
            ids.collect()
        };
        self.server.run_with(TxOptions::REPORT, filter, find).await
    }
}

/// The WHERE clause of a filter, with parameters in the order of [`Asked::values`]; fields that are
/// not set are NULL.
const CONDITION: &str = "($1::text IS NULL OR k.account = $1) AND ($2::text IS NULL OR k.app = $2)
    AND ($3::uuid IS NULL OR k.license_id > $3)";

struct Asked<'a> {
    account: Option<&'a str>,
    app: Option<&'a str>,
    after: Option<Uuid>,
}

impl<'a> Asked<'a> {
    fn of(filter: &'a ApiKeyFilter) -> Self {
        Self {
            account: filter.account.as_ref().map(|name| name.as_str()),
            app: filter.app.as_ref().map(|name| name.as_str()),
            after: filter.after.map(|after| id(after.as_u128())),
        }
    }

    fn values(&self) -> [Value<'_>; 3] {
        [&self.account, &self.app, &self.after]
    }
}

async fn insert(conn: &PooledConn, new: &NewApiKey) -> Result<(), BackendError> {
    let (key, license) = (&new.key, &new.license.license);
    let sql = "INSERT INTO api_keys (license_id, account, app, name, prefix, metadata, permissions, parked_rate,
        updated_at, last_request) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    let values: [Value<'_>; 10] = [
        &id(key.license_id.as_u128()),
        &license.account.as_str(),
        &license.app.as_str(),
        &key.name,
        &text(key.prefix.as_ref()),
        &text(key.metadata.as_ref()),
        &text(key.permissions.as_ref()),
        &text(key.parked_rate.as_ref()),
        &key.updated_at.micros(),
        &key.last_request.map(Timestamp::micros),
    ];
    let made = conn.change(sql, &values).await;
    made.map(drop)
        .map_err(|error| unique(error, "an api key with this id"))
}

async fn get(
    conn: &PooledConn,
    license_id: LicenseId,
) -> Result<Option<StoredApiKey>, BackendError> {
    let sql = format!(
        "SELECT {LICENSE}, {CREDENTIAL}, {API_KEY} FROM api_keys k JOIN licenses l ON l.id = k.license_id
        LEFT JOIN credentials c ON c.license_id = l.id WHERE k.license_id = $1 ORDER BY c.created_at, c.cursor"
    );
    let found = conn.rows(&sql, &[&id(license_id.as_u128())]).await?;
    Ok(stored(&found)?.pop())
}

async fn page(
    conn: &PooledConn,
    filter: &ApiKeyFilter,
    page: ApiKeyPage,
) -> Result<(Vec<StoredApiKey>, u64), BackendError> {
    let asked = Asked::of(filter);
    let sql = format!("SELECT count(*) {FROM} WHERE {CONDITION}");
    let row = conn.row(&sql, &asked.values()).await?;
    let total: i64 = match &row {
        Some(row) => read(row, 0)?,
        None => 0,
    };
    // The order of the page is kept in a column of its own while credentials are joined to it.
    let sql = format!(
        "SELECT {LICENSE}, {CREDENTIAL}, {API_KEY} FROM (
          SELECT k.license_id, row_number() OVER ({order}) AS place {FROM} WHERE {CONDITION}
          {order} LIMIT $4 OFFSET $5
        ) p JOIN api_keys k ON k.license_id = p.license_id JOIN licenses l ON l.id = p.license_id
        LEFT JOIN credentials c ON c.license_id = l.id ORDER BY p.place, c.created_at, c.cursor",
        order = order(page),
    );
    let [account, app, after] = asked.values();
    let offset = i64::try_from(page.offset).unwrap_or(i64::MAX);
    let values: [Value<'_>; 5] = [account, app, after, &(rows(page.limit) as i64), &offset];
    let found = conn.rows(&sql, &values).await?;
    Ok((stored(&found)?, u64::try_from(total).unwrap_or(0)))
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

async fn change(
    conn: &PooledConn,
    license_id: LicenseId,
    change: &ApiKeyChange,
) -> Result<Option<Changed<StoredApiKey>>, BackendError> {
    let lock = "SELECT FROM licenses WHERE id = $1 FOR NO KEY UPDATE";
    conn.row(lock, &[&id(license_id.as_u128())]).await?;
    let Some(before) = get(conn, license_id).await? else {
        return Ok(None);
    };
    if before.license.license.status == LicenseStatus::Revoked {
        return Ok(None);
    }
    write(conn, license_id, change).await?;
    let label = change.name.clone().map(LicenseChange::Label);
    let mut added = Vec::new();
    for part in change.license.iter().chain(&label) {
        added.extend(licenses::apply(conn, &before.license, part).await?);
    }
    let mut changes: Vec<_> = added
        .into_iter()
        .map(|hash| (license_id, Some(hash)))
        .collect();
    changes.push((license_id, None));
    licenses::record_changes(conn, &changes).await?;
    let after = get(conn, license_id).await?;
    Ok(after.map(|after| Changed { before, after }))
}

async fn write(
    conn: &PooledConn,
    license_id: LicenseId,
    change: &ApiKeyChange,
) -> Result<(), BackendError> {
    let sql = "UPDATE api_keys SET name = CASE WHEN $2 THEN $3 ELSE name END,
        metadata = CASE WHEN $4 THEN $5 ELSE metadata END,
        permissions = CASE WHEN $6 THEN $7 ELSE permissions END,
        parked_rate = CASE WHEN $8 THEN $9 ELSE parked_rate END, updated_at = $10 WHERE license_id = $1";
    let values: [Value<'_>; 10] = [
        &id(license_id.as_u128()),
        &change.name.is_some(),
        &change.name.as_ref().and_then(Option::as_deref),
        &change.metadata.is_some(),
        &text(change.metadata.as_ref().and_then(Option::as_ref)),
        &change.permissions.is_some(),
        &text(change.permissions.as_ref().and_then(Option::as_ref)),
        &change.parked_rate.is_some(),
        &text(change.parked_rate.as_ref().and_then(Option::as_ref)),
        &change.updated_at.micros(),
    ];
    conn.change(sql, &values).await?;
    Ok(())
}

/// Returns keys with their licenses, from rows that have one credential each.
fn stored(rows: &[Row]) -> Result<Vec<StoredApiKey>, BackendError> {
    let mut keys: Vec<ApiKey> = Vec::new();
    for row in rows {
        let license_id = LicenseId::from_u128(read_id(row, FIRST)?);
        if keys.last().is_none_or(|last| last.license_id != license_id) {
            keys.push(read_key(row, license_id)?);
        }
    }
    let licenses = collect(rows)?;
    let both = keys.into_iter().zip(licenses);
    Ok(both
        .map(|(key, license)| StoredApiKey { key, license })
        .collect())
}

fn read_key(row: &Row, license_id: LicenseId) -> Result<ApiKey, BackendError> {
    Ok(ApiKey {
        license_id,
        name: read(row, FIRST + 1)?,
        prefix: read_optional_text(row, FIRST + 2)?,
        metadata: read_optional_text(row, FIRST + 3)?,
        permissions: read_optional_text(row, FIRST + 4)?,
        parked_rate: read_optional_text(row, FIRST + 5)?,
        updated_at: read_time(row, FIRST + 6)?,
        last_request: read_optional_time(row, FIRST + 7)?,
    })
}

fn text<T: ToString>(value: Option<&T>) -> Option<String> {
    value.map(ToString::to_string)
}
