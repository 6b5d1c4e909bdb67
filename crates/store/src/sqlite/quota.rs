//! Leases in SQL: of balances, and of windows.

use std::collections::{BTreeMap, HashMap};

use model::{Counter, InstanceId, LicenseId, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::backend_error::BackendError;
use super::balances::{free_of_balance, outstanding, refresh_balance, settle_beyond};
use super::convert::{MAX_COUNT, count, counted, id};
use crate::ledger::Spent;
use crate::quota::{LeaseGrant, LeaseKey, LeaseRequest, LeaseRound};
use crate::rules::refill::{Terms, next_refill_at};
use crate::tokens::TOKENS;

/// The number of periods before the present one that are kept. In those before nothing is leased,
/// and their rows are removed. The previous one stays for gates whose clocks are behind.
const PERIODS_KEPT: u32 = 1;
/// The seconds after its end for which spending of a period stays written down: a clock that was
/// ahead for a while must not have made the period that is under way look long past.
const AHEAD: u32 = 6 * 3_600;

pub(super) fn lease(
    connection: &Connection,
    terms: &HashMap<LicenseId, Terms>,
    instance: InstanceId,
    requests: &[LeaseRequest],
    now: Timestamp,
) -> Result<Vec<LeaseGrant>, BackendError> {
    let finished = is_finished(connection, instance)?;
    let lease = |request: &LeaseRequest| match terms.get(&request.key.license_id) {
        Some(terms) if !finished => lease_one(connection, terms, instance, request, now),
        _ => Ok(nothing(request.key)),
    };
    requests.iter().map(lease).collect()
}

/// The grant of one request of a round as it is stored: period, units, units left, next refill.
type KeptGrant = (u32, u64, u64, Option<i64>);

pub(super) fn lease_round(
    connection: &Connection,
    terms: &HashMap<LicenseId, Terms>,
    instance: InstanceId,
    round: &LeaseRound,
    now: Timestamp,
) -> Result<Vec<LeaseGrant>, BackendError> {
    let unreadable = |_| BackendError::corrupt("the answer of a round of leases");
    let sql = "SELECT answer FROM lease_rounds WHERE instance = ?1 AND number >= ?2";
    let place = params![id(instance.as_u128()), count(round.number)];
    let answer: Option<String> = connection
        .prepare_cached(sql)?
        .query_row(place, |row| row.get(0))
        .optional()?;
    if let Some(answer) = answer {
        let kept: Vec<KeptGrant> = serde_json::from_str(&answer).map_err(unreadable)?;
        let grants = round.requests.iter().zip(kept);
        return grants
            .map(|(request, kept)| {
                let mut grant = unpack(request.key, kept);
                grant.elsewhere = held_elsewhere(connection, instance, &grant)?;
                Ok(grant)
            })
            .collect();
    }
    give_back(connection, instance, &round.returns)?;
    let grants = lease(connection, terms, instance, &round.requests, now)?;
    if is_finished(connection, instance)? {
        return Ok(grants);
    }
    let kept: Vec<KeptGrant> = grants.iter().map(pack).collect();
    let answer = serde_json::to_string(&kept).map_err(unreadable)?;
    let sql = "INSERT OR REPLACE INTO lease_rounds (instance, number, answer) VALUES (?1, ?2, ?3)";
    let row = params![id(instance.as_u128()), count(round.number), answer];
    connection.prepare_cached(sql)?.execute(row)?;
    Ok(grants)
}

fn pack(grant: &LeaseGrant) -> KeptGrant {
    let next = grant.next_refill_at.map(Timestamp::micros);
    (grant.key.period, grant.units, grant.left, next)
}

fn unpack(key: LeaseKey, (period, units, left, next): KeptGrant) -> LeaseGrant {
    LeaseGrant {
        key: LeaseKey { period, ..key },
        units,
        left,
        elsewhere: 0,
        next_refill_at: next.map(Timestamp::from_micros),
    }
}

/// Returns whether an instance's journal was read to its end. It never comes back: nobody would
/// settle what it leased now.
fn is_finished(connection: &Connection, instance: InstanceId) -> Result<bool, BackendError> {
    let sql = "SELECT finished_at IS NOT NULL FROM instances WHERE id = ?1";
    let finished: Option<bool> = connection
        .prepare_cached(sql)?
        .query_row([id(instance.as_u128())], |row| row.get(0))
        .optional()?;
    Ok(finished.unwrap_or(false))
}

fn nothing(key: LeaseKey) -> LeaseGrant {
    LeaseGrant {
        key,
        units: 0,
        left: 0,
        elsewhere: 0,
        next_refill_at: None,
    }
}

fn lease_one(
    connection: &Connection,
    terms: &Terms,
    instance: InstanceId,
    request: &LeaseRequest,
    now: Timestamp,
) -> Result<LeaseGrant, BackendError> {
    let license_id = request.key.license_id;
    let (key, free) = match request.key.counter {
        Counter::Remaining => {
            let Some(row) = refresh_balance(connection, license_id, terms, now)? else {
                return Ok(nothing(request.key));
            };
            let key = LeaseKey {
                period: row.epoch,
                ..request.key
            };
            (key, free_of_balance(connection, key, &row)?)
        }
        Counter::Window(seconds) => {
            let present = now.period(seconds);
            if request.key.period.saturating_add(PERIODS_KEPT) < present {
                return Ok(nothing(request.key));
            }
            prune_windows(connection, request.key, present)?;
            let free = free_of_window(connection, request.key, request.capacity)?;
            (request.key, free)
        }
    };
    let units = request.want.min(free);
    if units > 0 {
        grant(connection, instance, key, units)?;
    }
    let is_balance = key.counter == Counter::Remaining;
    let mut grant = LeaseGrant {
        key,
        units,
        left: free - units,
        elsewhere: 0,
        next_refill_at: is_balance.then(|| next_refill_at(terms, now)).flatten(),
    };
    grant.elsewhere = held_elsewhere(connection, instance, &grant)?;
    Ok(grant)
}

/// Returns [`LeaseGrant::elsewhere`], which is only looked up when nothing is left.
fn held_elsewhere(
    connection: &Connection,
    instance: InstanceId,
    grant: &LeaseGrant,
) -> Result<u64, BackendError> {
    if grant.left > 0 || grant.key.counter != Counter::Remaining {
        return Ok(0);
    }
    let sql = "SELECT granted - returned - spent FROM leases
        WHERE license = ?1 AND counter = 0 AND period = ?2 AND instance NOT IN (?3, ?4)";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![
        id(grant.key.license_id.as_u128()),
        grant.key.period,
        id(instance.as_u128()),
        id(TOKENS.as_u128()),
    ])?;
    let mut units = 0_u64;
    while let Some(row) = rows.next()? {
        units = units.saturating_add(counted(row.get(0)?));
    }
    Ok(units)
}

fn free_of_window(
    connection: &Connection,
    key: LeaseKey,
    capacity: u64,
) -> Result<u64, BackendError> {
    let (outstanding, _) = outstanding(connection, key)?;
    let sql = "SELECT spent FROM window_spent WHERE license = ?1 AND counter = ?2 AND period = ?3";
    let settled: Option<i64> = connection
        .prepare_cached(sql)?
        .query_row(
            params![id(key.license_id.as_u128()), key.counter.code(), key.period],
            |row| row.get(0),
        )
        .optional()?;
    Ok(capacity
        .min(MAX_COUNT)
        .saturating_sub(counted(settled.unwrap_or(0)))
        .saturating_sub(outstanding))
}

pub(super) fn grant(
    connection: &Connection,
    instance: InstanceId,
    key: LeaseKey,
    units: u64,
) -> Result<(), BackendError> {
    // Returned units are taken off both sides where the column would overflow: only the difference
    // counts.
    let sql = "INSERT INTO leases (license, counter, period, instance, granted) VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT (license, counter, period, instance) DO UPDATE SET
        granted = iif(granted > ?6 - excluded.granted, granted - returned, granted) + excluded.granted,
        returned = iif(granted > ?6 - excluded.granted, 0, returned)";
    connection.prepare_cached(sql)?.execute(params![
        id(key.license_id.as_u128()),
        key.counter.code(),
        key.period,
        id(instance.as_u128()),
        count(units),
        count(MAX_COUNT),
    ])?;
    Ok(())
}

fn prune_windows(connection: &Connection, key: LeaseKey, present: u32) -> Result<(), BackendError> {
    let counter = key.counter.code();
    let kept = match key.counter {
        Counter::Remaining => PERIODS_KEPT,
        Counter::Window(seconds) => PERIODS_KEPT.max(AHEAD / seconds.max(1)),
    };
    let oldest = present.min(key.period).saturating_sub(kept);
    let place = params![id(key.license_id.as_u128()), counter, oldest];
    for table in ["leases", "window_spent"] {
        let sql =
            format!("DELETE FROM {table} WHERE license = ?1 AND counter = ?2 AND period < ?3");
        connection.prepare_cached(&sql)?.execute(place)?;
    }
    Ok(())
}

// === what becomes of leases ===

pub(super) fn give_back(
    connection: &Connection,
    instance: InstanceId,
    units: &[(LeaseKey, u64)],
) -> Result<(), BackendError> {
    let sql = "UPDATE leases SET returned = returned + min(granted - returned - spent, ?5)
        WHERE license = ?1 AND counter = ?2 AND period = ?3 AND instance = ?4";
    let mut statement = connection.prepare_cached(sql)?;
    for (key, units) in units {
        statement.execute(params![
            id(key.license_id.as_u128()),
            key.counter.code(),
            key.period,
            id(instance.as_u128()),
            count(*units),
        ])?;
    }
    Ok(())
}

/// Moves the spending of a batch's records. Units that no lease holds count against the balance
/// itself and are logged: the calls were made. That happens in a store that was restored from a
/// backup older than the lease.
pub(super) fn spend(
    connection: &Connection,
    instance: InstanceId,
    spent: &[Spent],
) -> Result<(), BackendError> {
    let mut clipped = 0_u64;
    for Spent {
        license_id,
        units,
        calls,
    } in spent
    {
        for (epoch, units) in units {
            let key = LeaseKey {
                license_id: *license_id,
                counter: Counter::Remaining,
                period: *epoch,
            };
            let beyond = spend_on(connection, instance, key, *units)?.unwrap_or(*units);
            if beyond > 0 && settle_beyond(connection, key, beyond)? {
                clipped = clipped.saturating_add(beyond);
            }
        }
        if !calls.is_empty() {
            for (key, calls) in calls_by_window(connection, instance, *license_id, calls)? {
                let beyond = spend_on(connection, instance, key, calls)?;
                clipped = clipped.saturating_add(beyond.unwrap_or(0));
            }
        }
    }
    if clipped > 0 {
        tracing::warn!(%instance, units = clipped, "more was spent than the store knows leases for");
    }
    Ok(())
}

/// Adds to the spending of a lease. Returns the units beyond those that it holds, `None` if there
/// is no such lease.
fn spend_on(
    connection: &Connection,
    instance: InstanceId,
    key: LeaseKey,
    units: u64,
) -> Result<Option<u64>, BackendError> {
    let place = params![
        id(key.license_id.as_u128()),
        key.counter.code(),
        key.period,
        id(instance.as_u128()),
    ];
    let sql = "SELECT granted - returned - spent FROM leases
        WHERE license = ?1 AND counter = ?2 AND period = ?3 AND instance = ?4";
    let free: Option<i64> = connection
        .prepare_cached(sql)?
        .query_row(place, |row| row.get(0))
        .optional()?;
    let Some(free) = free.map(counted) else {
        return Ok(None);
    };
    let sql = "UPDATE leases SET spent = spent + ?5
        WHERE license = ?1 AND counter = ?2 AND period = ?3 AND instance = ?4";
    connection.prepare_cached(sql)?.execute(params![
        id(key.license_id.as_u128()),
        key.counter.code(),
        key.period,
        id(instance.as_u128()),
        count(units.min(free)),
    ])?;
    Ok(Some(units.saturating_sub(free)))
}

/// Returns how many of the calls by minute count for each window that the instance holds a lease
/// on.
fn calls_by_window(
    connection: &Connection,
    instance: InstanceId,
    license_id: LicenseId,
    calls: &[(u32, u64)],
) -> Result<BTreeMap<LeaseKey, u64>, BackendError> {
    let sql =
        "SELECT counter, period FROM leases WHERE instance = ?1 AND license = ?2 AND counter > 0";
    let mut statement = connection.prepare_cached(sql)?;
    let place = params![id(instance.as_u128()), id(license_id.as_u128())];
    let windows = statement
        .query_map(place, |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<(u32, u32)>>>()?;
    let mut sums = BTreeMap::new();
    for (seconds, period) in windows {
        let within = calls
            .iter()
            .filter(|(minute, _)| lies_within(*minute, seconds, period))
            .fold(0_u64, |sum, (_, calls)| sum.saturating_add(*calls));
        let key = LeaseKey {
            license_id,
            counter: Counter::Window(seconds),
            period,
        };
        sums.insert(key, within);
    }
    sums.retain(|_, calls| *calls > 0);
    Ok(sums)
}

/// Returns whether some second of a minute lies in a period. A window that is no whole number of
/// minutes has minutes in two periods: they count in both, for too much is safe and too little is
/// not.
fn lies_within(minute: u32, seconds: u32, period: u32) -> bool {
    let first = u64::from(minute) * 60;
    let length = u64::from(seconds);
    let period = u64::from(period);
    first / length <= period && period <= (first + 59) / length
}

pub(super) fn settle(connection: &Connection, instance: InstanceId) -> Result<(), BackendError> {
    let instance = [id(instance.as_u128())];
    let balances = "UPDATE balances SET settled = settled + l.spent FROM leases l
        WHERE l.instance = ?1 AND l.counter = 0 AND l.license = balances.license AND l.period = balances.epoch";
    connection.prepare_cached(balances)?.execute(instance)?;
    let windows = "INSERT INTO window_spent (license, counter, period, spent)
        SELECT license, counter, period, spent FROM leases WHERE instance = ?1 AND counter > 0 AND spent > 0
        ON CONFLICT (license, counter, period) DO UPDATE SET spent = spent + excluded.spent";
    connection.prepare_cached(windows)?.execute(instance)?;
    for table in ["leases", "lease_rounds"] {
        let sql = format!("DELETE FROM {table} WHERE instance = ?1");
        connection.prepare_cached(&sql)?.execute(instance)?;
    }
    Ok(())
}
