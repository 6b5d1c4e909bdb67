//! [`QuotaStore`] on PostgreSQL. The rows of a lease are locked within one statement, which is a
//! function of the schema: see `schema/functions_1.sql`.

use std::sync::Arc;

use async_trait::async_trait;
use model::{Counter, InstanceId, LicenseId, Timestamp};
use tokio_postgres::Row;

use super::PostgresStore;
use super::backend_error::BackendError;
use super::conn::{Conn, PooledConn};
use super::convert::{count, id, read, read_count, read_number, read_optional_time};
use super::options::Times;
use super::server::TxOptions;
use crate::credits::CreditStore;
use crate::error::Error;
use crate::ledger::Spent;
use crate::quota::{Balance, LeaseGrant, LeaseKey, LeaseRequest, LeaseRound, QuotaStore};
use crate::tokens::TOKENS;

impl PostgresStore {
    /// Returns the time of a request as it is sent to the server; `None`: the server's own counts.
    pub(super) fn at(&self, now: Timestamp) -> Option<i64> {
        match self.times {
            Times::Server => None,
            Times::Caller => Some(now.micros()),
        }
    }
}

#[async_trait]
impl QuotaStore for PostgresStore {
    fn credits(&self) -> Result<&dyn CreditStore, Error> {
        Ok(self)
    }

    async fn lease(
        &self,
        instance: InstanceId,
        requests: Vec<LeaseRequest>,
        now: Timestamp,
    ) -> Result<Vec<LeaseGrant>, Error> {
        let at = self.at(now);
        let lease = move |conn: Conn, requests: Arc<Vec<LeaseRequest>>| async move {
            lease(&conn, instance, &requests, at).await
        };
        self.server
            .run_with(TxOptions::WRITE, requests, lease)
            .await
    }

    async fn lease_round(
        &self,
        instance: InstanceId,
        round: LeaseRound,
        now: Timestamp,
    ) -> Result<Vec<LeaseGrant>, Error> {
        let at = self.at(now);
        let lease = move |conn: Conn, round: Arc<LeaseRound>| async move {
            lease_round(&conn, instance, &round, at).await
        };
        self.server
            .run_with(TxOptions::REPEATABLE, round, lease)
            .await
    }

    async fn give_back(
        &self,
        instance: InstanceId,
        units: Vec<(LeaseKey, u64)>,
    ) -> Result<(), Error> {
        let give = move |conn: Conn, columns: Arc<Columns>| async move {
            let sql = "UPDATE leases l SET returned = l.returned + least(l.granted - l.returned - l.spent, g.units)
                    FROM (
                      SELECT license, counter, period, least(sum(units), 9223372036854775807)::bigint AS units
                      FROM unnest($2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[])
                        AS g (license, counter, period, units)
                      GROUP BY license, counter, period
                    ) g
                    WHERE l.license = g.license AND l.counter = g.counter AND l.period = g.period AND l.instance = $1";
            let Columns {
                licenses,
                counters,
                periods,
                units,
            } = &*columns;
            conn.change(
                sql,
                &[&id(instance.as_u128()), licenses, counters, periods, units],
            )
            .await?;
            Ok(())
        };
        self.server
            .run_with(TxOptions::WRITE, Columns::of(units.iter().copied()), give)
            .await
    }

    async fn balance(
        &self,
        license_id: LicenseId,
        now: Timestamp,
    ) -> Result<Option<Balance>, Error> {
        let at = self.at(now);
        let ask = move |conn: Conn| async move { balance(&conn, license_id, at).await };
        self.server.run(TxOptions::READ, ask).await
    }

    async fn settle_instance(&self, instance: InstanceId) -> Result<(), Error> {
        let settle = move |conn: Conn| async move {
            conn
                .change(
                    "WITH gone AS (DELETE FROM lease_rounds WHERE instance = $1) SELECT settle_units($1)",
                    &[&id(instance.as_u128())],
                )
                .await?;
            Ok(())
        };
        self.server.run(TxOptions::LOAD, settle).await
    }
}

/// The keys of leases and the units on them, column by column.
#[derive(Default)]
struct Columns {
    licenses: Vec<uuid::Uuid>,
    counters: Vec<i64>,
    periods: Vec<i64>,
    units: Vec<i64>,
}

impl Columns {
    fn of(keys: impl Iterator<Item = (LeaseKey, u64)>) -> Self {
        let mut columns = Self::default();
        for (key, units) in keys {
            columns.licenses.push(id(key.license_id.as_u128()));
            columns.counters.push(i64::from(key.counter.code()));
            columns.periods.push(i64::from(key.period));
            columns.units.push(count(units));
        }
        columns
    }
}

pub(super) async fn lease(
    conn: &PooledConn,
    instance: InstanceId,
    requests: &[LeaseRequest],
    at: Option<i64>,
) -> Result<Vec<LeaseGrant>, BackendError> {
    let (columns, capacities) = request_columns(requests);
    let sql = "SELECT r.place, r.leased_in, r.units, r.free_after, r.next_at,
          CASE WHEN r.free_after = 0 AND ($4::bigint[])[r.place] = 0
            THEN held_elsewhere($1, $8, ($3::uuid[])[r.place], r.leased_in) ELSE 0 END
        FROM lease_units($1, $2, $3, $4, $5, $6, $7) r";
    let rows = conn
        .rows(
            sql,
            &[
                &id(instance.as_u128()),
                &at,
                &columns.licenses,
                &columns.counters,
                &columns.periods,
                &columns.units,
                &capacities,
                &id(TOKENS.as_u128()),
            ],
        )
        .await?;
    grants(requests, &rows)
}

async fn lease_round(
    conn: &PooledConn,
    instance: InstanceId,
    round: &LeaseRound,
    at: Option<i64>,
) -> Result<Vec<LeaseGrant>, BackendError> {
    let returns = Columns::of(round.returns.iter().copied());
    let (requested, capacities) = request_columns(&round.requests);
    let sql = "SELECT r.place, r.leased_in, r.units, r.free_after, r.next_at,
          CASE WHEN r.free_after = 0 AND ($9::bigint[])[r.place] = 0
            THEN held_elsewhere($1, $13, ($8::uuid[])[r.place], r.leased_in) ELSE 0 END
        FROM lease_round($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) r";
    let rows = conn
        .rows(
            sql,
            &[
                &id(instance.as_u128()),
                &count(round.number),
                &at,
                &returns.licenses,
                &returns.counters,
                &returns.periods,
                &returns.units,
                &requested.licenses,
                &requested.counters,
                &requested.periods,
                &requested.units,
                &capacities,
                &id(TOKENS.as_u128()),
            ],
        )
        .await?;
    grants(&round.requests, &rows)
}

/// Returns requests column by column, and the capacities.
fn request_columns(requests: &[LeaseRequest]) -> (Columns, Vec<i64>) {
    let columns = Columns::of(requests.iter().map(|request| (request.key, request.want)));
    let capacities = requests.iter().map(|request| count(request.capacity));
    (columns, capacities.collect())
}

/// Returns the grants of rows that each name the place of their request.
fn grants(requests: &[LeaseRequest], rows: &[Row]) -> Result<Vec<LeaseGrant>, BackendError> {
    let nothing = |request: &LeaseRequest| LeaseGrant {
        key: request.key,
        units: 0,
        left: 0,
        elsewhere: 0,
        next_refill_at: None,
    };
    let mut grants: Vec<_> = requests.iter().map(nothing).collect();
    for row in rows {
        let place = read::<i64>(row, 0)? - 1;
        let Some(grant) = usize::try_from(place)
            .ok()
            .and_then(|place| grants.get_mut(place))
        else {
            return Err(BackendError::corrupt("a lease that nobody asked for"));
        };
        grant.key.period = read_number(row, 1)?;
        grant.units = read_count(row, 2)?;
        grant.left = read_count(row, 3)?;
        grant.next_refill_at = read_optional_time(row, 4)?;
        grant.elsewhere = read_count(row, 5)?;
    }
    Ok(grants)
}

pub(super) async fn balance(
    conn: &PooledConn,
    license_id: LicenseId,
    at: Option<i64>,
) -> Result<Option<Balance>, BackendError> {
    // One statement sees one moment: balance and leases fit together.
    let sql = "WITH clock AS MATERIALIZED (SELECT coalesce($2, micros_now()) AS at), present AS MATERIALIZED (
          SELECT present_balance(l, b, c.at) AS b, next_refill(l, c.at) AS next_at
          FROM clock c, licenses l LEFT JOIN balances b ON b.license = l.id WHERE l.id = $1 AND l.remaining IS NOT NULL
        )
        SELECT (p.b).epoch, (p.b).granted, least((p.b).settled + coalesce(s.spent, 0), 9223372036854775807)::bigint,
          least(coalesce(s.held - s.spent, 0), 9223372036854775807)::bigint, p.next_at
        FROM present p, LATERAL (
          SELECT sum(granted - returned) AS held, sum(spent) AS spent FROM leases
          WHERE license = $1 AND counter = 0 AND period = (p.b).epoch
        ) s";
    let Some(row) = conn.row(sql, &[&id(license_id.as_u128()), &at]).await? else {
        return Ok(None);
    };
    Ok(Some(Balance {
        epoch: read_number(&row, 0)?,
        granted: read_count(&row, 1)?,
        spent: read_count(&row, 2)?,
        leased: read_count(&row, 3)?,
        next_refill_at: read_optional_time(&row, 4)?,
    }))
}

/// Moves the spending of a batch's records. Units that no lease holds count against the balance
/// itself and are logged: the calls were made. That happens in a store that was restored from a
/// backup older than the lease.
pub(super) async fn spend(
    conn: &PooledConn,
    instance: InstanceId,
    spent: &[Spent],
) -> Result<(), BackendError> {
    let units = spent.iter().flat_map(|spent| {
        let key = |epoch| LeaseKey {
            license_id: spent.license_id,
            counter: Counter::Remaining,
            period: epoch,
        };
        spent
            .units
            .iter()
            .map(move |(epoch, units)| (key(*epoch), *units))
    });
    let mut columns = Columns::of(units);
    let calls = calls_by_window(conn, instance, spent).await?;
    let windows = Columns::of(calls.into_iter());
    columns.licenses.extend(windows.licenses);
    columns.counters.extend(windows.counters);
    columns.periods.extend(windows.periods);
    columns.units.extend(windows.units);
    if columns.licenses.is_empty() {
        return Ok(());
    }
    let Columns {
        licenses,
        counters,
        periods,
        units,
    } = &columns;
    let sql = "SELECT spend_units($1, $2, $3, $4, $5)";
    let row = conn
        .row(
            sql,
            &[&id(instance.as_u128()), licenses, counters, periods, units],
        )
        .await?;
    let clipped = row.map_or(Ok(0), |row| read_count(&row, 0))?;
    if clipped > 0 {
        tracing::warn!(%instance, units = clipped, "more was spent than the store knows leases for");
    }
    Ok(())
}

/// Returns the epoch of each balance, and the units that are known to be spent in it.
pub(super) async fn spent_by_epoch(
    conn: &PooledConn,
) -> Result<Vec<(LicenseId, u32, u64)>, BackendError> {
    let sql = "SELECT b.license, b.epoch, least(b.settled + coalesce(sum(l.spent), 0), 9223372036854775807)::bigint
        FROM balances b LEFT JOIN leases l ON l.license = b.license AND l.counter = 0 AND l.period = b.epoch
        GROUP BY b.license ORDER BY b.license";
    let rows = conn.rows(sql, &[]).await?;
    let read = |row: &Row| {
        let license = LicenseId::from_u128(super::convert::read_id(row, 0)?);
        Ok((license, read_number(row, 1)?, read_count(row, 2)?))
    };
    rows.iter().map(read).collect()
}

/// Returns how many of the calls by minute count for each window that the instance holds a lease
/// on. A window that is no whole number of minutes has minutes in two periods: they count in both,
/// for too much is safe and too little is not.
async fn calls_by_window(
    conn: &PooledConn,
    instance: InstanceId,
    spent: &[Spent],
) -> Result<Vec<(LeaseKey, u64)>, BackendError> {
    let (mut licenses, mut minutes, mut calls) = (Vec::new(), Vec::new(), Vec::new());
    for spent in spent {
        for (minute, count_of) in &spent.calls {
            licenses.push(id(spent.license_id.as_u128()));
            minutes.push(i64::from(*minute));
            calls.push(count(*count_of));
        }
    }
    if licenses.is_empty() {
        return Ok(Vec::new());
    }
    let sql =
        "SELECT l.license, l.counter, l.period, least(sum(c.calls), 9223372036854775807)::bigint
        FROM unnest($2::uuid[], $3::bigint[], $4::bigint[]) AS c (license, minute, calls)
        JOIN leases l ON l.instance = $1 AND l.license = c.license AND l.counter > 0
          AND c.minute * 60 / l.counter <= l.period AND l.period <= (c.minute * 60 + 59) / l.counter
        WHERE c.calls > 0 GROUP BY l.license, l.counter, l.period";
    let rows = conn
        .rows(sql, &[&id(instance.as_u128()), &licenses, &minutes, &calls])
        .await?;
    let window = |row: &Row| {
        let key = LeaseKey {
            license_id: LicenseId::from_u128(super::convert::read_id(row, 0)?),
            counter: Counter::Window(read_number(row, 1)?),
            period: read_number(row, 2)?,
        };
        Ok((key, read_count(row, 3)?))
    };
    rows.iter().map(window).collect()
}
