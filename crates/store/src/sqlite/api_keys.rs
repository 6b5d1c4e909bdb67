//! API keys in SQL.

use model::{ApiKey, LicenseId, Timestamp};
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params, params_from_iter};

use super::backend_error::{BackendError, unique};
use super::convert::{
    counted, id, read_id, read_optional_text, read_optional_time, read_time, rows,
};
use super::licenses;
use crate::api_keys::{
    ApiKeyChange, ApiKeyFilter, ApiKeyPage, ApiKeySort, NewApiKey, StoredApiKey,
};
use crate::audit::Changed;
use crate::licenses::{ChangeNumber, LicenseChange};

/// The columns in the order that [`read`] reads.
const API_KEY: &str = "k.license_id, k.name, k.prefix, k.metadata, k.permissions, k.parked_rate, k.updated_at, \
    k.last_request";
/// The tables of API keys with the license of each, unless that is revoked.
const FROM: &str = "FROM api_keys k JOIN licenses l ON l.id = k.license_id AND l.status <> 2";

pub(super) fn create(
    connection: &Connection,
    new: &NewApiKey,
    now: Timestamp,
) -> Result<ChangeNumber, BackendError> {
    let version = licenses::create(connection, std::slice::from_ref(&new.license), now)?;
    let (key, license) = (&new.key, &new.license.license);
    let sql = "INSERT INTO api_keys (license_id, account, app, name, prefix, metadata, permissions, parked_rate,
        updated_at, last_request) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    connection
        .prepare_cached(sql)?
        .execute(params![
            id(key.license_id.as_u128()),
            license.account.as_str(),
            license.app.as_str(),
            key.name,
            text(key.prefix.as_ref()),
            text(key.metadata.as_ref()),
            text(key.permissions.as_ref()),
            text(key.parked_rate.as_ref()),
            key.updated_at.micros(),
            key.last_request.map(Timestamp::micros),
        ])
        .map_err(|error| unique(error, "an api key with this id"))?;
    Ok(version)
}

pub(super) fn get(
    connection: &Connection,
    license_id: LicenseId,
) -> Result<Option<StoredApiKey>, BackendError> {
    let sql = format!("SELECT {API_KEY} FROM api_keys k WHERE k.license_id = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query([id(license_id.as_u128())])?;
    match found.next()? {
        Some(row) => with_license(connection, read(row)?),
        None => Ok(None),
    }
}

pub(super) fn page(
    connection: &Connection,
    filter: &ApiKeyFilter,
    page: ApiKeyPage,
) -> Result<(Vec<StoredApiKey>, u64), BackendError> {
    let (condition, values) = conditions(filter);
    let sql = format!("SELECT count(*) {FROM} {condition}");
    let total: i64 = connection
        .prepare_cached(&sql)?
        .query_row(params_from_iter(&values), |row| row.get(0))?;
    let sql = format!(
        "SELECT {API_KEY} {FROM} {condition} {} LIMIT {} OFFSET {}",
        order(page),
        rows(page.limit),
        i64::try_from(page.offset).unwrap_or(i64::MAX),
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query(params_from_iter(&values))?;
    let mut keys = Vec::new();
    while let Some(row) = found.next()? {
        keys.extend(with_license(connection, read(row)?)?);
    }
    Ok((keys, counted(total)))
}

pub(super) fn expired(
    connection: &Connection,
    filter: &ApiKeyFilter,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<LicenseId>, BackendError> {
    let (condition, mut values) = conditions(filter);
    values.push(now.micros().into());
    let sql = format!(
        "SELECT k.license_id {FROM} {condition} AND l.expires_at <= ? ORDER BY k.license_id LIMIT {}",
        rows(limit)
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let ids = statement
        .query_map(params_from_iter(values), |row| read_id(row, 0))?
        .map(|bits| bits.map(LicenseId::from_u128))
        .collect::<rusqlite::Result<_>>()?;
    Ok(ids)
}

/// Returns the WHERE clause of a filter and its values.
fn conditions(filter: &ApiKeyFilter) -> (String, Vec<Value>) {
    let text = |text: &str| Value::from(text.to_owned());
    let asked = [
        (
            "k.account = ?",
            filter.account.as_ref().map(|name| text(name.as_str())),
        ),
        (
            "k.app = ?",
            filter.app.as_ref().map(|name| text(name.as_str())),
        ),
        (
            "k.license_id > ?",
            filter
                .after
                .map(|after| id(after.as_u128()).to_vec().into()),
        ),
    ];
    let (mut condition, mut values) = ("WHERE true".to_owned(), Vec::new());
    for (asked, value) in asked {
        if let Some(value) = value {
            condition.push_str(" AND ");
            condition.push_str(asked);
            values.push(value);
        }
    }
    (condition, values)
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

pub(super) fn change(
    connection: &Connection,
    license_id: LicenseId,
    change: &ApiKeyChange,
    now: Timestamp,
) -> Result<Option<Changed<StoredApiKey>>, BackendError> {
    let Some(before) = get(connection, license_id)? else {
        return Ok(None);
    };
    if before.license.license.status == model::LicenseStatus::Revoked {
        return Ok(None);
    }
    write(connection, before.key.clone(), change)?;
    let label = change.name.clone().map(LicenseChange::Label);
    for part in change.license.iter().chain(&label) {
        licenses::change(connection, license_id, part, now)?;
    }
    licenses::touch(connection, license_id, None, now)?;
    let after = get(connection, license_id)?;
    Ok(after.map(|after| Changed { before, after }))
}

fn write(
    connection: &Connection,
    mut key: ApiKey,
    change: &ApiKeyChange,
) -> Result<(), BackendError> {
    fn put<T: Clone>(field: &mut T, value: Option<&T>) {
        if let Some(value) = value {
            *field = value.clone();
        }
    }
    put(&mut key.name, change.name.as_ref());
    put(&mut key.metadata, change.metadata.as_ref());
    put(&mut key.permissions, change.permissions.as_ref());
    put(&mut key.parked_rate, change.parked_rate.as_ref());
    let sql = "UPDATE api_keys SET name = ?2, metadata = ?3, permissions = ?4, parked_rate = ?5, updated_at = ?6
        WHERE license_id = ?1";
    connection.prepare_cached(sql)?.execute(params![
        id(key.license_id.as_u128()),
        key.name,
        text(key.metadata.as_ref()),
        text(key.permissions.as_ref()),
        text(key.parked_rate.as_ref()),
        change.updated_at.micros(),
    ])?;
    Ok(())
}

pub(super) fn note_requests(
    connection: &Connection,
    requests: &[(LicenseId, Timestamp)],
) -> Result<(), BackendError> {
    let sql = "UPDATE api_keys SET last_request = ?2
        WHERE license_id = ?1 AND (last_request IS NULL OR last_request < ?2)";
    let mut statement = connection.prepare_cached(sql)?;
    for (license_id, at) in requests {
        statement.execute(params![id(license_id.as_u128()), at.micros()])?;
    }
    Ok(())
}

fn with_license(
    connection: &Connection,
    key: ApiKey,
) -> Result<Option<StoredApiKey>, BackendError> {
    let license = licenses::get(connection, key.license_id)?;
    Ok(license.map(|license| StoredApiKey { key, license }))
}

fn read(row: &Row<'_>) -> Result<ApiKey, BackendError> {
    Ok(ApiKey {
        license_id: LicenseId::from_u128(read_id(row, 0)?),
        name: row.get(1)?,
        prefix: read_optional_text(row, 2)?,
        metadata: read_optional_text(row, 3)?,
        permissions: read_optional_text(row, 4)?,
        parked_rate: read_optional_text(row, 5)?,
        updated_at: read_time(row, 6)?,
        last_request: read_optional_time(row, 7)?,
    })
}

fn text<T: ToString>(value: Option<&T>) -> Option<String> {
    value.map(ToString::to_string)
}
