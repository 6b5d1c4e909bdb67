//! The creation of licenses and the numbers of changes in `licenses.db`.

use model::{KeyHash, LicenseId, Timestamp};
use rusqlite::{Connection, params};

use super::backend_error::{BackendError, unique};
use super::conn::SqliteConn;
use super::convert::{id, list};
use crate::licenses::{ChangeNumber, NewLicense};
use crate::rules::numbers;
use crate::sql::license_changes::{insert_credential, variables};
use crate::sql::{at_once, json};

/// The number of changes that are kept; a reader further behind sees a gap in the numbers and
/// begins anew.
const CHANGES_KEPT: i64 = 1_000_000;

pub(super) fn create(
    conn: &SqliteConn,
    new: &[NewLicense],
    now: Timestamp,
) -> Result<ChangeNumber, BackendError> {
    let connection = &conn.raw();
    let mut last = last_change(connection)?;
    for new in new {
        let NewLicense {
            license,
            credentials,
            devices: _,
        } = new;
        let changes = credentials.len().max(1) as u64;
        insert_license(connection, new, ChangeNumber(last.0 + changes), now)?;
        if credentials.is_empty() {
            last = record_change(connection, last, license.id, None, now)?;
        }
        for credential in credentials {
            at_once(insert_credential(conn, license.id, credential))?;
            last = record_change(connection, last, license.id, Some(&credential.hash), now)?;
        }
    }
    prune(connection, last)?;
    Ok(last)
}

fn insert_license(
    connection: &Connection,
    NewLicense {
        license, devices, ..
    }: &NewLicense,
    version: ChangeNumber,
    now: Timestamp,
) -> Result<(), BackendError> {
    let sql = "INSERT INTO licenses (id, account, app, plan, user, label, status, created_at, expires_at, remaining,
        refill, rate_limits, concurrency, permissions, allow_ips, version, balance_stamp, refill_stamp,
        device_slots, unlimited_devices, variables, devices, agent)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?8, ?18, ?19, ?20, ?21, ?22)";
    let spec = &license.spec;
    let limits = &spec.limits;
    connection
        .prepare_cached(sql)?
        .execute(params![
            id(license.id.as_u128()),
            license.account.as_str(),
            license.app.as_str(),
            spec.plan.as_ref().map(|plan| plan.as_str()),
            spec.user,
            spec.label,
            numbers::license(license.status),
            license.created_at.micros(),
            spec.expires_at.map(Timestamp::micros),
            limits.remaining.map(|units| units as i64),
            limits.refill.map(|refill| refill.to_string()),
            list(&limits.rate_limits),
            limits.concurrency,
            list(&spec.permissions),
            list(&spec.allow_ips),
            version.0 as i64,
            now.micros(),
            spec.device_slots,
            spec.unlimited_devices,
            variables(&spec.variables),
            list(devices),
            spec.agent.as_ref().map(json),
        ])
        .map_err(|error| unique(error, "a license with this id"))?;
    Ok(())
}

/// Writes a change down. Numbers have no gaps: they are given within the transaction of the one
/// writer.
fn record_change(
    connection: &Connection,
    last: ChangeNumber,
    license_id: LicenseId,
    added: Option<&KeyHash>,
    now: Timestamp,
) -> Result<ChangeNumber, BackendError> {
    let number = ChangeNumber(last.0 + 1);
    connection
        .prepare_cached(
            "INSERT INTO changes (number, license_id, added, at) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![
            number.0 as i64,
            id(license_id.as_u128()),
            added.map(|hash| hash.fingerprint().0 as i64),
            now.micros(),
        ])?;
    Ok(number)
}

/// Gives a license a new version, for a change of its credentials that was made elsewhere. Returns
/// the version.
pub(super) fn touch(
    connection: &Connection,
    license_id: LicenseId,
    added: Option<&KeyHash>,
    now: Timestamp,
) -> Result<ChangeNumber, BackendError> {
    let number = record_change(connection, last_change(connection)?, license_id, added, now)?;
    connection
        .prepare_cached("UPDATE licenses SET version = ?2 WHERE id = ?1")?
        .execute(params![id(license_id.as_u128()), number.0 as i64])?;
    prune(connection, number)?;
    Ok(number)
}

fn last_change(connection: &Connection) -> Result<ChangeNumber, BackendError> {
    let number: Option<i64> = connection
        .prepare_cached("SELECT max(number) FROM changes")?
        .query_row([], |row| row.get(0))?;
    Ok(ChangeNumber(number.unwrap_or(0) as u64))
}

fn prune(connection: &Connection, last: ChangeNumber) -> Result<(), BackendError> {
    connection
        .prepare_cached("DELETE FROM changes WHERE number <= ?1")?
        .execute([last.0 as i64 - CHANGES_KEPT])?;
    Ok(())
}
