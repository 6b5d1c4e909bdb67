//! The balances of licenses, and what instances hold of them.

use std::collections::HashMap;

use model::{Counter, LicenseId, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::backend_error::BackendError;
use super::convert::{MAX_COUNT, count, counted, id, read_id};
use crate::ledger::Spent;
use crate::quota::{Balance, LeaseKey};
use crate::rules::refill::{BalanceRow, Terms, adjust, is_to_adjust, next_refill_at, present};

fn read_balance(
    connection: &Connection,
    license_id: LicenseId,
) -> Result<Option<BalanceRow>, BackendError> {
    let sql = "SELECT epoch, granted, settled, balance_stamp, refill_stamp, refilled_through, credited, debited,
        debits_taken FROM balances WHERE license = ?1";
    let row = connection
        .prepare_cached(sql)?
        .query_row([id(license_id.as_u128())], |row| {
            Ok(BalanceRow {
                epoch: row.get(0)?,
                granted: counted(row.get(1)?),
                settled: counted(row.get(2)?),
                balance_stamp: row.get(3)?,
                refill_stamp: row.get(4)?,
                refilled_through: row.get(5)?,
                credited: counted(row.get(6)?),
                debited: counted(row.get(7)?),
                debits_taken: counted(row.get(8)?),
            })
        })
        .optional()?;
    Ok(row)
}

fn write_balance(
    connection: &Connection,
    license_id: LicenseId,
    row: &BalanceRow,
    before: Option<BalanceRow>,
) -> Result<(), BackendError> {
    let sql = "INSERT OR REPLACE INTO balances (license, epoch, granted, settled, balance_stamp, refill_stamp,
        refilled_through, credited, debited, debits_taken) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    connection.prepare_cached(sql)?.execute(params![
        id(license_id.as_u128()),
        row.epoch,
        count(row.granted),
        count(row.settled),
        row.balance_stamp,
        row.refill_stamp,
        row.refilled_through,
        count(row.credited),
        count(row.debited),
        count(row.debits_taken),
    ])?;
    if before.is_some_and(|before| before.epoch != row.epoch) {
        // The leases of older epochs are void: spending that is reported for them later finds no
        // row and is ignored.
        connection
            .prepare_cached(
                "DELETE FROM leases WHERE license = ?1 AND counter = 0 AND period < ?2",
            )?
            .execute(params![id(license_id.as_u128()), row.epoch])?;
    }
    Ok(())
}

/// Returns the balance as it is at a time, after it was written down; `None`: nothing is counted.
pub(super) fn refresh_balance(
    connection: &Connection,
    license_id: LicenseId,
    terms: &Terms,
    now: Timestamp,
) -> Result<Option<BalanceRow>, BackendError> {
    let written = read_balance(connection, license_id)?;
    let row = adjusted(connection, license_id, terms, present(written, terms, now))?;
    if let Some(row) = row.filter(|row| written != Some(*row)) {
        write_balance(connection, license_id, &row, written)?;
    }
    Ok(row)
}

/// Applies credits and debits to a balance that is present.
fn adjusted(
    connection: &Connection,
    license_id: LicenseId,
    terms: &Terms,
    row: Option<BalanceRow>,
) -> Result<Option<BalanceRow>, BackendError> {
    let Some(mut row) = row else { return Ok(None) };
    if is_to_adjust(&row, terms) {
        let (held, _) = outstanding(connection, remaining_of(license_id, row.epoch))?;
        adjust(&mut row, terms, held);
    }
    Ok(Some(row))
}

pub(super) fn balance(
    connection: &Connection,
    terms: &Terms,
    license_id: LicenseId,
    now: Timestamp,
) -> Result<Option<Balance>, BackendError> {
    let snapshot = connection.unchecked_transaction()?;
    let written = read_balance(&snapshot, license_id)?;
    let row = present(written, terms, now);
    let Some(row) = adjusted(&snapshot, license_id, terms, row)? else {
        return Ok(None);
    };
    shown(&snapshot, terms, license_id, &row, now).map(Some)
}

/// Returns a balance as reports show it.
pub(super) fn shown(
    connection: &Connection,
    terms: &Terms,
    license_id: LicenseId,
    row: &BalanceRow,
    now: Timestamp,
) -> Result<Balance, BackendError> {
    let (held, spent) = outstanding(connection, remaining_of(license_id, row.epoch))?;
    Ok(Balance {
        granted: row.granted,
        spent: row.settled.saturating_add(spent),
        leased: held.saturating_sub(spent),
        epoch: row.epoch,
        next_refill_at: next_refill_at(terms, now),
    })
}

pub(super) fn free_of_balance(
    connection: &Connection,
    key: LeaseKey,
    row: &BalanceRow,
) -> Result<u64, BackendError> {
    let (outstanding, _) = outstanding(connection, key)?;
    Ok(row
        .granted
        .saturating_sub(row.settled)
        .saturating_sub(outstanding))
}

/// Returns the units that instances hold of a key (granted and not given back), and how many of
/// them are known to be spent.
pub(super) fn outstanding(
    connection: &Connection,
    key: LeaseKey,
) -> Result<(u64, u64), BackendError> {
    let sql = "SELECT granted - returned, spent FROM leases WHERE license = ?1 AND counter = ?2 AND period = ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![
        id(key.license_id.as_u128()),
        key.counter.code(),
        key.period
    ])?;
    let (mut held, mut spent) = (0_u64, 0_u64);
    while let Some(row) = rows.next()? {
        held = held.saturating_add(counted(row.get(0)?));
        spent = spent.saturating_add(counted(row.get(1)?));
    }
    Ok((held, spent))
}

const fn remaining_of(license_id: LicenseId, epoch: u32) -> LeaseKey {
    LeaseKey {
        license_id,
        counter: Counter::Remaining,
        period: epoch,
    }
}

/// Counts units against a balance. Returns whether they are of its epoch, or of one that the store
/// does not know yet: then it goes on in that, and refills that fell due until now are past.
pub(super) fn settle_beyond(
    connection: &Connection,
    key: LeaseKey,
    units: u64,
) -> Result<bool, BackendError> {
    let Some(written) = read_balance(connection, key.license_id)? else {
        return Ok(false);
    };
    if key.period < written.epoch {
        return Ok(false);
    }
    let mut row = written;
    if key.period > row.epoch {
        // By the machine's own clock: a batch comes without a time, and this happens only after a
        // restore.
        let now = Timestamp::from(std::time::SystemTime::now()).micros();
        row.refilled_through = row.refilled_through.max(now);
        (row.epoch, row.settled) = (key.period, 0);
    }
    row.settled = row.settled.saturating_add(units).min(MAX_COUNT);
    write_balance(connection, key.license_id, &row, Some(written))?;
    Ok(true)
}

/// Returns those of these licenses that spent units and have no balance written down yet.
pub(super) fn without_balance(
    connection: &Connection,
    spent: &[Spent],
) -> Result<Vec<LicenseId>, BackendError> {
    let mut without_balance = Vec::new();
    for spent in spent.iter().filter(|spent| !spent.units.is_empty()) {
        if read_balance(connection, spent.license_id)?.is_none() {
            without_balance.push(spent.license_id);
        }
    }
    Ok(without_balance)
}

/// Writes down the balances that these licenses begin with.
pub(super) fn begin_balances(
    connection: &Connection,
    terms: &HashMap<LicenseId, Terms>,
) -> Result<(), BackendError> {
    for (license_id, terms) in terms {
        // No refill is claimed here: the first lease does that.
        let begun = Timestamp::from_micros(terms.created_at.micros().max(terms.refill_stamp));
        let unclaimed = Terms {
            refill: None,
            ..*terms
        };
        if let Some(row) = present(None, &unclaimed, begun) {
            write_balance(connection, *license_id, &row, None)?;
        }
    }
    Ok(())
}

/// Returns the epoch of each balance, and the units that are known to be spent in it.
pub(super) fn spent_by_epoch(
    connection: &Connection,
) -> Result<Vec<(LicenseId, u32, u64)>, BackendError> {
    let sql = "SELECT b.license, b.epoch, b.settled, coalesce((SELECT sum(l.spent) FROM leases l
          WHERE l.license = b.license AND l.counter = 0 AND l.period = b.epoch), 0)
        FROM balances b ORDER BY b.license";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut spent = Vec::new();
    while let Some(row) = rows.next()? {
        let license = LicenseId::from_u128(read_id(row, 0)?);
        let units = counted(row.get(2)?).saturating_add(counted(row.get(3)?));
        spent.push((license, row.get(1)?, units));
    }
    Ok(spent)
}
