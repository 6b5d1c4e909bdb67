//! The small numbers of the dimensions that rollup rows have in common, so that the rows stay
//! small.

use std::collections::HashMap;

use model::usage::UsageKey;
use model::{LicenseId, Method, Mode, Outcome, PlanName, PlanRevisionId, Timestamp};
use parking_lot::Mutex;
use tokio_postgres::Row;

use super::backend_error::BackendError;
use super::conn::{PooledConn, Value};
use super::convert::{id, read, read_id, read_nonempty, read_text, read_word};
pub(super) use crate::sql::usage::quarter_start;

/// The id that stands for no license, and for no revision.
pub(super) const NONE: u128 = 0;

/// A cache of the numbers that were looked up before, by keys without license and start. A number
/// never changes its meaning.
#[derive(Default)]
pub(super) struct UsageDimensions(Mutex<HashMap<UsageKey, i32>>);

impl UsageDimensions {
    /// The largest number of dimensions that are remembered.
    const REMEMBERED: usize = 100_000;

    /// Returns the numbers of dimensions, new ones for those that have none. Keys have neither
    /// license nor start.
    ///
    /// Call it outside a transaction: numbers that are remembered must not be undone.
    pub(super) async fn numbers(
        &self,
        conn: &PooledConn,
        keys: &[UsageKey],
    ) -> Result<Vec<i32>, BackendError> {
        let mut unknown: Vec<&UsageKey> = {
            let known = self.0.lock();
            keys.iter()
                .filter(|key| !known.contains_key(*key))
                .collect()
        };
        // In one order for all gates, so that none waits for another that waits for it.
        unknown.sort_unstable();
        unknown.dedup();
        for key in unknown {
            let number = number(conn, key).await?;
            let mut known = self.0.lock();
            if known.len() >= Self::REMEMBERED {
                known.clear();
            }
            known.insert(key.clone(), number);
        }
        let known = self.0.lock();
        let found = keys.iter().map(|key| known.get(key).copied());
        found.collect::<Option<_>>().ok_or_else(|| {
            BackendError::corrupt("a batch has more kinds of calls than can be remembered")
        })
    }
}

async fn number(conn: &PooledConn, key: &UsageKey) -> Result<i32, BackendError> {
    let revision = key
        .plan
        .as_ref()
        .map_or(NONE, |(_, revision)| revision.as_u128());
    let values: [Value<'_>; 11] = [
        &key.account.as_str(),
        &key.app.as_str(),
        &key.route,
        &i16::from(key.method as u8),
        &i32::from(key.status),
        &i16::from(key.outcome as u8),
        &i16::from(key.mode as u8),
        &key.test,
        &key.plan.as_ref().map_or("", |(name, _)| name.as_str()),
        &id(revision),
        &key.currency
            .as_ref()
            .map_or("", |currency| currency.as_str()),
    ];
    let find = "SELECT number FROM kinds WHERE account = $1 AND app = $2 AND route = $3 AND method = $4 AND status = $5
        AND outcome = $6 AND mode = $7 AND test = $8 AND plan = $9 AND revision = $10 AND currency = $11";
    if let Some(row) = conn.row(find, &values).await? {
        return read(&row, 0);
    }
    let sql = "INSERT INTO kinds (account, app, route, method, status, outcome, mode, test, plan, revision, currency)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING";
    conn.change(sql, &values).await?;
    let row = conn.row(find, &values).await?;
    read(
        &row.ok_or_else(|| BackendError::corrupt("a kind of calls vanished"))?,
        0,
    )
}

/// The columns in the order that [`read_key`] reads, of rollups `r` and `kinds k`.
pub(super) const KEY: &str = "r.license, r.quarter, k.account, k.app, k.route, k.method, k.status, k.outcome, k.mode, k.test, \
    k.plan, k.revision, k.currency";
/// The number of columns of [`KEY`].
pub(super) const KEY_COLUMNS: usize = 13;

pub(super) fn read_key(row: &Row) -> Result<UsageKey, BackendError> {
    let plan = match read_nonempty::<PlanName>(row, 10)? {
        Some(name) => Some((name, PlanRevisionId::from_u128(read_id(row, 11)?))),
        None => None,
    };
    Ok(UsageKey {
        license_id: read_license(row, 0)?,
        start: quarter_start(read(row, 1)?),
        account: read_text(row, 2)?,
        app: read_text(row, 3)?,
        route: read(row, 4)?,
        method: read_method(row, 5)?,
        status: read_status(row, 6)?,
        outcome: read_outcome(row, 7)?,
        mode: read_mode(row, 8)?,
        test: read(row, 9)?,
        plan,
        currency: read_nonempty(row, 12)?,
    })
}

pub(super) fn read_license(row: &Row, column: usize) -> Result<Option<LicenseId>, BackendError> {
    let bits = read_id(row, column)?;
    Ok((bits != NONE).then(|| LicenseId::from_u128(bits)))
}

pub(super) fn read_method(row: &Row, column: usize) -> Result<Method, BackendError> {
    read_word(row, column, |number: i16| {
        Method::from_number(u8::try_from(number).ok()?)
    })
}

pub(super) fn read_outcome(row: &Row, column: usize) -> Result<Outcome, BackendError> {
    read_word(row, column, |number: i16| {
        Outcome::from_number(u8::try_from(number).ok()?)
    })
}

pub(super) fn read_mode(row: &Row, column: usize) -> Result<Mode, BackendError> {
    read_word(row, column, |number: i16| {
        Mode::from_number(u8::try_from(number).ok()?)
    })
}

pub(super) fn read_status(row: &Row, column: usize) -> Result<u16, BackendError> {
    read_word(row, column, |number: i32| u16::try_from(number).ok())
}

/// Returns the quarter of an hour (counted from the UNIX epoch) that a time lies in, kept within
/// the column.
pub(super) fn quarter_number(time: Timestamp) -> i32 {
    kept(time.micros().div_euclid(Timestamp::QUARTER))
}

fn kept(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(if number < 0 { i32::MIN } else { i32::MAX })
}
