//! A dictionary of small numbers for the dimensions that rollup rows have in common, so that the
//! rows stay small.

use std::collections::HashMap;
use std::str::FromStr;

use model::usage::UsageKey;
use model::{LicenseId, Method, Mode, Outcome, PlanName, PlanRevisionId, Timestamp};
use rusqlite::types::{FromSql, ToSql};
use rusqlite::{Connection, OptionalExtension, Row};

use super::backend_error::BackendError;
use super::convert::{id, read_id, read_optional_id, read_text, read_word, unreadable};
pub(super) use crate::sql::usage::quarter_start;

/// The number that stands for no license.
pub(super) const NO_LICENSE: i64 = 0;

/// The numbers that were looked up before; emptied when a transaction that may have given some of
/// them is undone.
#[derive(Default)]
pub(super) struct Dictionary {
    licenses: HashMap<LicenseId, i64>,
    /// The numbers of kinds, by keys without license and start.
    kinds: HashMap<UsageKey, i64>,
}

impl Dictionary {
    /// The largest number of entries of each sort that are remembered.
    const REMEMBERED: usize = 100_000;

    pub(super) fn forget(&mut self) {
        self.licenses.clear();
        self.kinds.clear();
    }

    /// Returns the number of a license, a new one if it has none.
    pub(super) fn license(
        &mut self,
        connection: &Connection,
        license: Option<LicenseId>,
    ) -> Result<i64, BackendError> {
        let Some(license) = license else {
            return Ok(NO_LICENSE);
        };
        if let Some(number) = self.licenses.get(&license) {
            return Ok(*number);
        }
        let number = match number_of_license(connection, license)? {
            Some(number) => number,
            None => connection
                .prepare_cached("INSERT INTO license_numbers (id) VALUES (?1)")?
                .insert([id(license.as_u128())])?,
        };
        if self.licenses.len() >= Self::REMEMBERED {
            self.licenses.clear();
        }
        self.licenses.insert(license, number);
        Ok(number)
    }

    /// Returns the number of a kind of call, a new one if it has none. `key` has neither license
    /// nor start.
    pub(super) fn kind(
        &mut self,
        connection: &Connection,
        key: UsageKey,
    ) -> Result<i64, BackendError> {
        if let Some(number) = self.kinds.get(&key) {
            return Ok(*number);
        }
        let number = number_of_kind(connection, &key)?;
        if self.kinds.len() >= Self::REMEMBERED {
            self.kinds.clear();
        }
        self.kinds.insert(key, number);
        Ok(number)
    }
}

/// Returns the number of a license that has rollups.
pub(super) fn number_of_license(
    connection: &Connection,
    license: LicenseId,
) -> Result<Option<i64>, BackendError> {
    let number = connection
        .prepare_cached("SELECT number FROM license_numbers WHERE id = ?1")?
        .query_row([id(license.as_u128())], |row| row.get(0))
        .optional()?;
    Ok(number)
}

fn number_of_kind(connection: &Connection, key: &UsageKey) -> Result<i64, BackendError> {
    let revision = key
        .plan
        .as_ref()
        .map(|(_, revision)| id(revision.as_u128()));
    let revision: &[u8] = revision.as_ref().map_or(&[], |bytes| bytes);
    let values: [&dyn ToSql; 11] = [
        &key.account.as_str(),
        &key.app.as_str(),
        &key.route,
        &(key.method as u8),
        &key.status,
        &(key.outcome as u8),
        &(key.mode as u8),
        &key.test,
        &key.plan.as_ref().map_or("", |(name, _)| name.as_str()),
        &revision,
        &key.currency
            .as_ref()
            .map_or("", |currency| currency.as_str()),
    ];
    let sql = "SELECT number FROM kinds WHERE account = ?1 AND app = ?2 AND route = ?3 AND method = ?4 AND status = ?5
        AND outcome = ?6 AND mode = ?7 AND test = ?8 AND plan = ?9 AND revision = ?10 AND currency = ?11";
    let number = connection
        .prepare_cached(sql)?
        .query_row(&values[..], |row| row.get(0))
        .optional()?;
    if let Some(number) = number {
        return Ok(number);
    }
    let sql = "INSERT INTO kinds (account, app, route, method, status, outcome, mode, test, plan, revision, currency)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    Ok(connection.prepare_cached(sql)?.insert(&values[..])?)
}

/// The columns in the order that [`read_key`] reads, of `license_numbers l`, `rollups r` and `kinds
/// k`.
pub(super) const KEY: &str = "l.id, r.quarter, k.account, k.app, k.route, k.method, k.status, k.outcome, k.mode, k.test, \
    k.plan, k.revision, k.currency";
/// The number of columns of [`KEY`].
pub(super) const KEY_COLUMNS: usize = 13;

pub(super) fn read_key(row: &Row<'_>) -> Result<UsageKey, BackendError> {
    let plan = match read_nonempty::<PlanName>(row, 10)? {
        Some(name) => Some((name, PlanRevisionId::from_u128(read_id(row, 11)?))),
        None => None,
    };
    Ok(UsageKey {
        license_id: read_optional_id(row, 0)?.map(LicenseId::from_u128),
        start: quarter_start(row.get(1)?),
        account: read_text(row, 2)?,
        app: read_text(row, 3)?,
        route: row.get(4)?,
        method: read_word(row, 5, Method::from_number)?,
        status: row.get(6)?,
        outcome: read_word(row, 7, Outcome::from_number)?,
        mode: read_word(row, 8, Mode::from_number)?,
        test: row.get(9)?,
        plan,
        currency: read_nonempty(row, 12)?,
    })
}

/// Reads a value by its text form; the empty text stands for none.
pub(super) fn read_nonempty<T: FromStr>(
    row: &Row<'_>,
    column: usize,
) -> Result<Option<T>, BackendError> {
    let text = String::column_result(row.get_ref(column)?).map_err(|_| unreadable(row, column))?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| unreadable(row, column))
}

/// Returns the quarter of an hour (counted from the UNIX epoch) that a time lies in.
pub(super) fn quarter_number(time: Timestamp) -> i64 {
    time.micros().div_euclid(Timestamp::QUARTER)
}
