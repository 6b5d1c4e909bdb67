//! [`TokenTwins`] on PostgreSQL.

use std::sync::LazyLock;

use model::{
    Counter, InstanceId, KeyHash, LicenseId, RequestToken, RequestTokenId, Timestamp, TokenState,
};

use super::PostgresStore;
use super::backend_error::BackendError;
use super::conn::{PooledConn, Value};
use super::convert::{count, id, read};
use super::quota::lease;
use crate::audit::AuditEntries;
use crate::error::Error;
use crate::quota::{LeaseKey, LeaseRequest};
use crate::rules::numbers::{TOKEN_EXPIRED, TOKEN_ISSUED};
use crate::sql::audit::add_entries;
use crate::sql::tokens::{TokenTwins, by_id, insert};
use crate::sql::{Backend, Kind, Part, Sql, Statement, rows, values};
use crate::tokens::{TOKENS, TokenIssue};

impl TokenTwins for PostgresStore {
    async fn issue_token(
        &self,
        token: RequestToken,
        hash: KeyHash,
        now: Timestamp,
    ) -> Result<TokenIssue, Error> {
        let new = (token, hash, self.at(now));
        self.run(
            Part::Ledger,
            Kind::Transaction,
            new,
            |conn, (token, hash, at)| Box::pin(issue(conn, token, hash, *at)),
        )
        .await
    }

    async fn end_token(
        &self,
        id: RequestTokenId,
        now: Timestamp,
        entries: AuditEntries<RequestToken>,
    ) -> Result<Option<RequestToken>, Error> {
        let asked = (id, now, entries);
        self.run(Part::Ledger, Kind::Transaction, asked, |conn, asked| {
            Box::pin(async move {
                let (id, now, entries) = asked;
                let before = by_id(conn, *id).await?.map(|kept| kept.at(*now));
                static ENDING: LazyLock<Statement> =
                    LazyLock::new(|| ending("id = $1 LIMIT $2 FOR UPDATE"));
                let values = values![*id, 1_i64, TOKENS];
                let row = conn.query_opt(&ENDING, &values).await?;
                let ended = row.map_or(Ok(0), |row| row.count(0))? > 0;
                let after = by_id(conn, *id).await?.map(|kept| kept.at(*now));
                let before = before.filter(|before| ended && before.state == TokenState::Issued);
                if let Some(before) = before {
                    add_entries(conn, entries, &before).await?;
                }
                Ok(after)
            })
        })
        .await
    }

    async fn expire_tokens(&self, now: Timestamp, limit: usize) -> Result<usize, Error> {
        let asked = values![now, rows(limit), TOKENS];
        let ended = self.run(Part::Ledger, Kind::Write, asked, |conn, asked| {
            Box::pin(async move {
                static ENDING: LazyLock<Statement> = LazyLock::new(|| {
                    ending("expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED")
                });
                let row = conn.query_opt(&ENDING, asked).await?;
                Ok(row.map_or(Ok(0), |row| row.count(0))?)
            })
        });
        Ok(usize::try_from(ended.await?).unwrap_or(limit))
    }
}

/// Makes the statement that ends the tokens that a query selects for update, which were issued and
/// not used, and frees their units. It returns how many. `$3` is [`TOKENS`].
fn ending(over: &str) -> Statement {
    Statement::new(format!(
        "WITH over AS (
      SELECT id, license, epoch, units FROM tokens WHERE state = {TOKEN_ISSUED} AND {over}
    ), freed AS (
      SELECT license, epoch, least(sum(units), 9223372036854775807)::bigint AS units FROM over
      WHERE epoch IS NOT NULL GROUP BY license, epoch
    ), back AS (
      UPDATE leases l SET returned = l.returned + least(l.granted - l.returned - l.spent, f.units)
      FROM freed f WHERE l.license = f.license AND l.counter = 0 AND l.period = f.epoch AND l.instance = $3
    ), ended AS (
      UPDATE tokens t SET state = {TOKEN_EXPIRED}, epoch = NULL FROM over o WHERE t.id = o.id
    )
    SELECT count(*) FROM over"
    ))
}

async fn issue(
    conn: &PooledConn,
    token: &RequestToken,
    hash: &KeyHash,
    at: Option<i64>,
) -> Result<TokenIssue, BackendError> {
    let license = id(token.license_id.as_u128());
    let counted = "SELECT FROM licenses WHERE id = $1 AND remaining IS NOT NULL";
    let mut epoch = None;
    if token.units > 0 && conn.row(counted, &[&license]).await?.is_some() {
        let request = LeaseRequest {
            key: LeaseKey {
                license_id: token.license_id,
                counter: Counter::Remaining,
                period: 0,
            },
            want: token.units,
            capacity: 0,
        };
        let granted = lease(conn, TOKENS, &[request], at).await?;
        let grant = granted.first().copied();
        let grant = grant.ok_or_else(|| BackendError::corrupt("a wish without an answer"))?;
        if grant.units < token.units {
            let sql = "UPDATE leases SET returned = returned + $4
                WHERE license = $1 AND counter = 0 AND period = $2 AND instance = $3";
            let period = i64::from(grant.key.period);
            let tokens = id(TOKENS.as_u128());
            conn.change(sql, &[&license, &period, &tokens, &count(grant.units)])
                .await?;
            return Ok(TokenIssue::Exhausted {
                next_refill_at: grant.next_refill_at,
            });
        }
        epoch = Some(grant.key.period);
    }
    insert(conn, token, hash, epoch).await?;
    Ok(TokenIssue::Issued)
}

/// Moves units of an epoch from one instance's lease to another's. Returns whether they were there.
pub(super) async fn move_units(
    conn: &PooledConn,
    license_id: LicenseId,
    (epoch, units): (u32, u64),
    from: InstanceId,
    to: InstanceId,
) -> Result<bool, BackendError> {
    let values: [Value<'_>; 5] = [
        &id(license_id.as_u128()),
        &i64::from(epoch),
        &id(from.as_u128()),
        &id(to.as_u128()),
        &count(units),
    ];
    let row = conn
        .row("SELECT move_units($1, $2, $3, $4, $5)", &values)
        .await?;
    row.map_or(Ok(false), |row| read(&row, 0))
}
