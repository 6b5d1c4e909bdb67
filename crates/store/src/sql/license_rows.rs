//! Licenses and credentials as rows of both engines.

use std::sync::LazyLock;

use model::{
    CredentialId, CredentialInfo, Device, Interval, License, LicenseId, LicenseSpec, Limits,
    Refill, RefillMode,
};

use super::{Outcome, Row, Sql, Statement, Value, values};
use crate::error::Error;
use crate::licenses::{ChangeNumber, StoredLicense};
use crate::rules::numbers;

/// The columns in the order that [`read_license`] reads, in PostgreSQL.
const POSTGRES_LICENSE: &str = "l.id, l.account, l.app, l.plan, l.\"user\", l.label, l.status, l.created_at, l.expires_at, \
    l.remaining, l.refill_amount, l.refill_every, l.refill_adds, l.rate_limits, l.concurrency, l.permissions, \
    l.allow_ips, l.version, l.device_slots, l.unlimited_devices, l.variables, l.devices, l.agent";
/// The same in SQLite, where a refill is one column, `l.refill`. Two `NULL` stand for
/// `refill_every` and `refill_adds`, so that each column after them has the same place in both.
const SQLITE_LICENSE: &str = "l.id, l.account, l.app, l.plan, l.\"user\", l.label, l.status, l.created_at, l.expires_at, \
    l.remaining, l.refill, NULL, NULL, l.rate_limits, l.concurrency, l.permissions, l.allow_ips, l.version, \
    l.device_slots, l.unlimited_devices, l.variables, l.devices, l.agent";
/// The number of these columns. In a row that has a credential, too, its columns begin at this
/// place.
pub(super) const LICENSE_COLUMNS: usize = 23;
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

/// Returns the ids of licenses as a value.
pub(super) fn ids_of(licenses: &[LicenseId]) -> Value {
    Value::Ids(licenses.iter().map(|license| license.as_u128()).collect())
}

/// Returns a license with its credentials.
pub(super) async fn get<S: Sql>(sql: &S, license: LicenseId) -> Outcome<Option<StoredLicense>, S> {
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

/// Returns those of these licenses that there are, with their credentials, in order of their ids.
pub(super) async fn get_all<S: Sql>(
    sql: &S,
    licenses: &[LicenseId],
) -> Outcome<Vec<StoredLicense>, S> {
    static GET_ALL: LazyLock<Statement> = LazyLock::new(|| {
        with_license(|license| {
            format!(
                "SELECT {license}, {CREDENTIAL} FROM licenses l {WITH_CREDENTIALS}
                WHERE l.id = ANY ($1::uuid[]) ORDER BY l.id, c.created_at, c.cursor"
            )
        })
    });
    let found = sql.query(&GET_ALL, &[ids_of(licenses)]).await?;
    Ok(collect(&found)?)
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
                devices: read_devices(row)?,
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

/// Reads a license, and the number of its last change.
pub(super) fn read_license(row: &Row) -> Result<(License, ChangeNumber), Error> {
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
            device_slots: row.get(18)?,
            unlimited_devices: row.get(19)?,
            variables: row.json(20)?.unwrap_or_default(),
            agent: row.json(22)?,
        },
    };
    Ok((license, ChangeNumber(row.get::<i64>(17)? as u64)))
}

/// Reads the devices that a license is bound to.
pub(super) fn read_devices(row: &Row) -> Result<Vec<Device>, Error> {
    row.list(21)
}

/// Reads a refill: a text in SQLite, three columns in PostgreSQL.
fn read_refill(row: &Row) -> Result<Option<Refill>, Error> {
    let Some(adds) = row.get::<Option<bool>>(12)? else {
        return row.optional_text(10);
    };
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

/// Reads a credential, whose columns begin at `first`.
pub(super) fn read_credential(row: &Row, first: usize) -> Result<CredentialInfo, Error> {
    Ok(CredentialInfo {
        id: row.get(first)?,
        kind: row.get(first + 1)?,
        prefix: row.get(first + 2)?,
        status: row.word(first + 3, numbers::credential_of)?,
        created_at: row.get(first + 4)?,
        expires_at: row.get(first + 5)?,
    })
}
