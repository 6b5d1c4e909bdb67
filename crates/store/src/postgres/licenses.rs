//! The creation of licenses and the numbers of changes.

use model::{KeyHash, License, LicenseId, Limits, RefillMode, Timestamp};
use uuid::Uuid;

use super::backend_error::{BackendError, unique};
use super::conn::PooledConn;
use super::convert::{id, list, read};
use crate::licenses::{ChangeNumber, NewCredential, NewLicense, SealedKey};
use crate::rules::numbers;
use crate::sql::json;
use crate::sql::license_changes::variables;

/// The number of changes that are kept at least; a reader further behind sees a gap in the numbers
/// and begins anew.
const CHANGES_KEPT: i64 = 1_000_000;
/// The number of new changes after which old ones are removed.
const PRUNE_EVERY: u64 = 1_000;

pub(super) async fn create(
    conn: &PooledConn,
    new: &[NewLicense],
) -> Result<ChangeNumber, BackendError> {
    insert_licenses(conn, new).await?;
    let mut credentials = Vec::new();
    let mut changes = Vec::new();
    for NewLicense {
        license,
        credentials: added,
        devices: _,
    } in new
    {
        credentials.extend(added.iter().map(|credential| (license.id, credential)));
        changes.extend(
            added
                .iter()
                .map(|credential| (license.id, Some(&credential.hash))),
        );
        if added.is_empty() {
            changes.push((license.id, None));
        }
    }
    insert_credentials(conn, &credentials).await?;
    record_changes(conn, &changes).await
}

/// Writes changes down, as the last statement of a transaction: their numbers are given in commit
/// order, since the next transaction that wants numbers waits here until this one is over.
pub(super) async fn record_changes(
    conn: &PooledConn,
    changes: &[(LicenseId, Option<&KeyHash>)],
) -> Result<ChangeNumber, BackendError> {
    let licenses: Vec<Uuid> = changes
        .iter()
        .map(|(license, _)| id(license.as_u128()))
        .collect();
    let added: Vec<Option<i64>> = changes
        .iter()
        .map(|(_, hash)| hash.map(|hash| hash.fingerprint().0 as i64))
        .collect();
    let sql = "WITH counter AS (
          UPDATE change_counter SET last = last + $3 RETURNING last
        ), numbered AS (
          SELECT c.last - $3 + n.place AS number, n.license_id, n.added
          FROM counter c, unnest($1::uuid[], $2::bigint[]) WITH ORDINALITY AS n (license_id, added, place)
        ), noted AS (
          INSERT INTO changes (number, license_id, added, at)
            SELECT number, license_id, added, micros_now() FROM numbered
        ), versions AS (
          UPDATE licenses l SET version = v.number
          FROM (SELECT license_id, max(number) AS number FROM numbered GROUP BY license_id) v WHERE l.id = v.license_id
        )
        SELECT last FROM counter";
    let row = conn
        .row(sql, &[&licenses, &added, &(changes.len() as i64)])
        .await?;
    let row = row.ok_or_else(|| BackendError::corrupt("the counter of changes is gone"))?;
    Ok(ChangeNumber(read::<i64>(&row, 0)? as u64))
}

/// Returns whether old changes are to be removed, now that `written` changes were written up to
/// this number.
pub(super) fn is_time_to_prune(last: ChangeNumber, written: u64) -> bool {
    last.0 / PRUNE_EVERY != last.0.saturating_sub(written) / PRUNE_EVERY
}

/// Removes old changes; never within the transaction of a new one, which others wait for.
pub(super) async fn prune(conn: &PooledConn, last: ChangeNumber) -> Result<(), BackendError> {
    let oldest = (last.0 as i64).saturating_sub(CHANGES_KEPT);
    conn.change("DELETE FROM changes WHERE number <= $1", &[&oldest])
        .await?;
    Ok(())
}

/// The limits of licenses as columns: units, amount and seconds of a refill, whether it adds,
/// windows, concurrency.
struct LimitColumns {
    remaining: Option<i64>,
    refill_amount: Option<i64>,
    refill_every: Option<i64>,
    refill_adds: Option<bool>,
    rate_limits: Option<String>,
    concurrency: Option<i64>,
}

impl From<&Limits> for LimitColumns {
    fn from(limits: &Limits) -> Self {
        let refill = limits.refill;
        Self {
            remaining: limits.remaining.map(|units| units as i64),
            refill_amount: refill.map(|refill| refill.amount as i64),
            refill_every: refill.map(|refill| i64::from(refill.every.seconds())),
            refill_adds: refill.map(|refill| refill.mode == RefillMode::Add),
            rate_limits: list(&limits.rate_limits),
            concurrency: limits.concurrency.map(i64::from),
        }
    }
}

/// Keeps licenses, whose version is given when their changes are numbered.
async fn insert_licenses(conn: &PooledConn, new: &[NewLicense]) -> Result<(), BackendError> {
    fn all<'a, T>(licenses: &'a [&'a License], column: impl Fn(&'a License) -> T) -> Vec<T> {
        licenses.iter().map(|license| column(license)).collect()
    }
    let licenses: &[&License] = &new.iter().map(|new| &new.license).collect::<Vec<_>>();
    let devices: Vec<_> = new.iter().map(|new| list(&new.devices)).collect();
    let limits: Vec<_> = licenses
        .iter()
        .map(|license| LimitColumns::from(&license.spec.limits))
        .collect();
    fn each<'a, T>(limits: &'a [LimitColumns], column: impl Fn(&'a LimitColumns) -> T) -> Vec<T> {
        limits.iter().map(column).collect()
    }
    let sql = "INSERT INTO licenses (id, account, app, plan, \"user\", label, status, created_at, expires_at, remaining,
        refill_amount, refill_every, refill_adds, rate_limits, concurrency, permissions, allow_ips, version,
        balance_stamp, refill_stamp, device_slots, unlimited_devices, variables, devices, agent)
        SELECT n.id, n.account, n.app, n.plan, n.who, n.label, n.status, n.created_at, n.expires_at, n.remaining,
        n.refill_amount, n.refill_every, n.refill_adds, n.rate_limits, n.concurrency, n.permissions, n.allow_ips, 0,
        micros_now(), n.created_at, n.device_slots, n.unlimited_devices, n.variables, n.devices, n.agent
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::smallint[], $8::bigint[],
        $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::boolean[], $14::text[], $15::bigint[],
        $16::text[], $17::text[], $18::smallint[], $19::boolean[], $20::text[], $21::text[],
        $22::text[]) AS n (id, account, app, plan, who, label, status, created_at, expires_at, remaining,
        refill_amount, refill_every, refill_adds, rate_limits, concurrency, permissions, allow_ips, device_slots,
        unlimited_devices, variables, devices, agent)";
    conn.change(
        sql,
        &[
            &all(licenses, |license| id(license.id.as_u128())),
            &all(licenses, |license| license.account.as_str()),
            &all(licenses, |license| license.app.as_str()),
            &all(licenses, |license| {
                license.spec.plan.as_ref().map(|plan| plan.as_str())
            }),
            &all(licenses, |license| license.spec.user.as_deref()),
            &all(licenses, |license| license.spec.label.as_deref()),
            &all(licenses, |license| numbers::license(license.status)),
            &all(licenses, |license| license.created_at.micros()),
            &all(licenses, |license| {
                license.spec.expires_at.map(Timestamp::micros)
            }),
            &each(&limits, |limits| limits.remaining),
            &each(&limits, |limits| limits.refill_amount),
            &each(&limits, |limits| limits.refill_every),
            &each(&limits, |limits| limits.refill_adds),
            &each(&limits, |limits| limits.rate_limits.as_deref()),
            &each(&limits, |limits| limits.concurrency),
            &all(licenses, |license| list(&license.spec.permissions)),
            &all(licenses, |license| list(&license.spec.allow_ips)),
            &all(licenses, |license| license.spec.device_slots.map(i16::from)),
            &all(licenses, |license| license.spec.unlimited_devices),
            &all(licenses, |license| variables(&license.spec.variables)),
            &devices,
            &all(licenses, |license| license.spec.agent.as_ref().map(json)),
        ],
    )
    .await
    .map_err(|error| unique(error, "a license with this id"))?;
    Ok(())
}

/// Keeps credentials, each of the license beside it, in this order.
async fn insert_credentials(
    conn: &PooledConn,
    credentials: &[(LicenseId, &NewCredential)],
) -> Result<(), BackendError> {
    fn all<'a, T>(
        credentials: &'a [(LicenseId, &'a NewCredential)],
        column: impl Fn(&'a NewCredential) -> T,
    ) -> Vec<T> {
        credentials
            .iter()
            .map(|(_, credential)| column(credential))
            .collect()
    }
    let licenses: Vec<Uuid> = credentials
        .iter()
        .map(|(license, _)| id(license.as_u128()))
        .collect();
    let sql = "INSERT INTO credentials (id, license_id, hash, kind, prefix, status, created_at, expires_at, sealed)
        SELECT n.id, n.license_id, n.hash, n.kind, n.prefix, n.status, n.created_at, n.expires_at, n.sealed
        FROM unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::text[], $5::text[], $6::smallint[], $7::bigint[],
        $8::bigint[], $9::bytea[])
        WITH ORDINALITY AS n (id, license_id, hash, kind, prefix, status, created_at, expires_at, sealed, place)
        ORDER BY n.place";
    conn.change(
        sql,
        &[
            &all(credentials, |new| id(new.info.id.as_u128())),
            &licenses,
            &all(credentials, |new| new.hash.as_bytes().as_slice()),
            &all(credentials, |new| new.info.kind.as_str()),
            &all(credentials, |new| new.info.prefix.as_str()),
            &all(credentials, |new| numbers::credential(new.info.status)),
            &all(credentials, |new| new.info.created_at.micros()),
            &all(credentials, |new| {
                new.info.expires_at.map(Timestamp::micros)
            }),
            &all(credentials, |new| {
                new.sealed.as_ref().map(SealedKey::as_bytes)
            }),
        ],
    )
    .await
    .map_err(|error| unique(error, "a credential with this key"))?;
    Ok(())
}
