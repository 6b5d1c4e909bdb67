//! [`TokenStore`] on PostgreSQL.

use std::sync::Arc;

use async_trait::async_trait;
use model::{
    CallId, Counter, InstanceId, KeyHash, LicenseId, RequestToken, RequestTokenId, Timestamp,
    TokenState,
};
use tokio_postgres::Row;

use super::PostgresStore;
use super::backend_error::{BackendError, unique};
use super::conn::{Conn, PooledConn, Value};
use super::convert::{
    count, id, read, read_count, read_id, read_number, read_optional_id, read_optional_time,
    read_text, read_time, read_word, rows,
};
use super::quota::lease;
use super::server::TxOptions;
use super::usage_dimensions::read_method;
use crate::audit::AuditEntries;
use crate::error::Error;
use crate::quota::{LeaseKey, LeaseRequest};
use crate::rules::numbers::{
    TOKEN_CLAIMED, TOKEN_CONFIRMED, TOKEN_CONSUMED, TOKEN_DISPUTED, TOKEN_EXPIRED, TOKEN_ISSUED,
};
use crate::sql::audit::add_entries;
use crate::tokens::{Kept, TOKENS, TokenClaim, TokenIssue, TokenStore};

/// The columns in the order that [`read_token`] reads.
const TOKEN: &str = "id, license, account, app, method, path, units, state, issued_at, expires_at, call_id, \
    consumed_at, status, confirmed_status, epoch, owner";

/// Returns the SQL that ends the tokens `over`, which were issued and not used, and frees their
/// units. It returns how many. `$3` is [`TOKENS`].
fn freeing() -> String {
    format!(
        ", freed AS (
      SELECT license, epoch, least(sum(units), 9223372036854775807)::bigint AS units FROM over
      WHERE epoch IS NOT NULL GROUP BY license, epoch
    ), back AS (
      UPDATE leases l SET returned = l.returned + least(l.granted - l.returned - l.spent, f.units)
      FROM freed f WHERE l.license = f.license AND l.counter = 0 AND l.period = f.epoch AND l.instance = $3
    ), ended AS (
      UPDATE tokens t SET state = {TOKEN_EXPIRED}, epoch = NULL FROM over o WHERE t.id = o.id
    )
    SELECT count(*) FROM over"
    )
}

#[async_trait]
impl TokenStore for PostgresStore {
    async fn issue_token(
        &self,
        token: RequestToken,
        hash: KeyHash,
        now: Timestamp,
    ) -> Result<TokenIssue, Error> {
        let at = self.at(now);
        let issue = move |conn: Conn, token: Arc<RequestToken>| async move {
            issue(&conn, &token, &hash, at).await
        };
        self.server
            .run_with(TxOptions::TRANSACTION, token, issue)
            .await
    }

    async fn token(&self, hash: KeyHash, now: Timestamp) -> Result<Option<RequestToken>, Error> {
        let find = move |conn: Conn| async move {
            let kept = by_hash(&conn, &hash).await?;
            Ok(kept.map(|kept| kept.at(now)))
        };
        self.server.run(TxOptions::READ, find).await
    }

    async fn token_by_id(
        &self,
        wanted: RequestTokenId,
        now: Timestamp,
    ) -> Result<Option<RequestToken>, Error> {
        let find = move |conn: Conn| async move {
            let kept = by_id(&conn, wanted).await?;
            Ok(kept.map(|kept| kept.at(now)))
        };
        self.server.run(TxOptions::READ, find).await
    }

    async fn tokens_of(
        &self,
        license_id: LicenseId,
        after: Option<RequestTokenId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<RequestToken>, Error> {
        let list = move |conn: Conn| async move {
            let sql = format!(
                "SELECT {TOKEN} FROM tokens WHERE license = $1 AND id > $2 ORDER BY id LIMIT $3"
            );
            let after = id(after.map_or(0, RequestTokenId::as_u128));
            let values: [Value<'_>; 3] = [&id(license_id.as_u128()), &after, &(rows(limit) as i64)];
            let found = conn.rows(&sql, &values).await?;
            let tokens = found.iter().map(|row| Ok(read_token(row)?.at(now)));
            tokens.collect()
        };
        self.server.run(TxOptions::REPORT, list).await
    }

    async fn end_token(
        &self,
        wanted: RequestTokenId,
        now: Timestamp,
        entries: AuditEntries<RequestToken>,
    ) -> Result<Option<RequestToken>, Error> {
        let end = move |conn: Conn, entries: Arc<AuditEntries<_>>| async move {
            let before = by_id(&conn, wanted).await?.map(|kept| kept.at(now));
            let sql = format!(
                "WITH over AS (
                  SELECT id, license, epoch, units FROM tokens WHERE state = {TOKEN_ISSUED} AND id = $1 LIMIT $2 FOR UPDATE
                ){}",
                freeing()
            );
            let values: [Value<'_>; 3] = [&id(wanted.as_u128()), &1_i64, &id(TOKENS.as_u128())];
            let row = conn.row(&sql, &values).await?;
            let ended = row.map_or(Ok(0), |row| read_count(&row, 0))? > 0;
            let after = by_id(&conn, wanted).await?.map(|kept| kept.at(now));
            if let Some(before) =
                before.filter(|before| ended && before.state == TokenState::Issued)
            {
                add_entries(&*conn, &entries, &before).await?;
            }
            Ok(after)
        };
        self.server
            .run_with(TxOptions::TRANSACTION, entries, end)
            .await
    }

    async fn claim_token(
        &self,
        hash: KeyHash,
        instance: InstanceId,
        call_id: CallId,
        now: Timestamp,
    ) -> Result<TokenClaim, Error> {
        let claim =
            move |conn: Conn| async move { claim(&conn, &hash, instance, call_id, now).await };
        self.server
            .run(TxOptions::REPEATABLE_TRANSACTION, claim)
            .await
    }

    async fn release_token(
        &self,
        token: RequestTokenId,
        call_id: CallId,
        leased: Option<(u32, u64)>,
    ) -> Result<bool, Error> {
        let release = move |conn: Conn| async move { release(&conn, token, call_id, leased).await };
        self.server.run(TxOptions::TRANSACTION, release).await
    }

    async fn finish_token(
        &self,
        token: RequestTokenId,
        call_id: CallId,
        status: u16,
        at: Timestamp,
    ) -> Result<bool, Error> {
        let finish = move |conn: Conn| async move {
            let sql = format!(
                "UPDATE tokens SET state = {TOKEN_CONSUMED}, status = $3, consumed_at = $4
                WHERE id = $1 AND call_id = $2 AND state = {TOKEN_CLAIMED}"
            );
            let (token, call) = (id(token.as_u128()), id(call_id.as_u128()));
            let values: [Value<'_>; 4] = [&token, &call, &i32::from(status), &at.micros()];
            Ok(conn.change(&sql, &values).await? == 1)
        };
        self.server.run(TxOptions::WRITE, finish).await
    }

    async fn confirm_token(
        &self,
        hash: KeyHash,
        license_id: LicenseId,
        status: u16,
    ) -> Result<Option<RequestToken>, Error> {
        let confirm = move |conn: Conn| async move {
            let sql = format!(
                "UPDATE tokens SET confirmed_status = $3, state = CASE WHEN status = $3 THEN {TOKEN_CONFIRMED} ELSE {TOKEN_DISPUTED} END
                WHERE hash = $1 AND license = $2 AND state IN ({TOKEN_CONSUMED}, {TOKEN_CONFIRMED}, {TOKEN_DISPUTED}) RETURNING {TOKEN}"
            );
            let (hash, license) = (hash.as_bytes().as_slice(), id(license_id.as_u128()));
            let kept = one(&conn, &sql, &[&hash, &license, &i32::from(status)]).await?;
            Ok(kept.map(|kept| kept.token))
        };
        self.server.run(TxOptions::WRITE, confirm).await
    }

    async fn expire_tokens(&self, now: Timestamp, limit: usize) -> Result<usize, Error> {
        let expire = move |conn: Conn| async move {
            let sql = format!(
                "WITH over AS (
                  SELECT id, license, epoch, units FROM tokens WHERE state = {TOKEN_ISSUED} AND expires_at <= $1
                  ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
                ){}",
                freeing()
            );
            let row = conn
                .row(
                    &sql,
                    &[&now.micros(), &(rows(limit) as i64), &id(TOKENS.as_u128())],
                )
                .await?;
            let ended = row.map_or(Ok(0), |row| read_count(&row, 0))?;
            Ok(usize::try_from(ended).unwrap_or(limit))
        };
        self.server.run(TxOptions::WRITE, expire).await
    }

    async fn forget_tokens(&self, before: Timestamp, limit: usize) -> Result<usize, Error> {
        let forget = move |conn: Conn| async move {
            let sql = format!("DELETE FROM tokens WHERE id IN
                (SELECT id FROM tokens WHERE issued_at < $1 AND state <> {TOKEN_ISSUED} ORDER BY issued_at LIMIT $2)");
            let gone = conn
                .change(&sql, &[&before.micros(), &(rows(limit) as i64)])
                .await?;
            Ok(usize::try_from(gone).unwrap_or(limit))
        };
        self.server.run(TxOptions::LOAD, forget).await
    }
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
            conn.change(
                sql,
                &[
                    &license,
                    &period,
                    &id(TOKENS.as_u128()),
                    &count(grant.units),
                ],
            )
            .await?;
            return Ok(TokenIssue::Exhausted {
                next_refill_at: grant.next_refill_at,
            });
        }
        epoch = Some(i64::from(grant.key.period));
    }
    let sql = format!("INSERT INTO tokens (id, hash, license, account, app, method, path, units, epoch, state, issued_at,
        expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, {TOKEN_ISSUED}, $10, $11)");
    let values: [Value<'_>; 11] = [
        &id(token.id.as_u128()),
        &hash.as_bytes().as_slice(),
        &license,
        &token.account.as_str(),
        &token.app.as_str(),
        &i16::from(token.method as u8),
        &token.path,
        &count(token.units),
        &epoch,
        &token.issued_at.micros(),
        &token.expires_at.micros(),
    ];
    let made = conn.change(&sql, &values).await;
    made.map_err(|error| unique(error, "a token with this id or hash"))?;
    Ok(TokenIssue::Issued)
}

async fn claim(
    conn: &PooledConn,
    hash: &KeyHash,
    instance: InstanceId,
    call_id: CallId,
    now: Timestamp,
) -> Result<TokenClaim, BackendError> {
    // Of several that try at once, all but the first wait here and then find another state.
    let sql = format!(
        "UPDATE tokens SET state = {TOKEN_CLAIMED}, call_id = $2, owner = $3, consumed_at = $4
        WHERE hash = $1 AND state = {TOKEN_ISSUED} AND expires_at > $4 RETURNING {TOKEN}"
    );
    let owner = id(instance.as_u128());
    let values: [Value<'_>; 4] = [
        &hash.as_bytes().as_slice(),
        &id(call_id.as_u128()),
        &owner,
        &now.micros(),
    ];
    let Some(won) = one(conn, &sql, &values).await? else {
        let kept = by_hash(conn, hash).await?;
        return Ok(match kept {
            None => TokenClaim::Unknown,
            Some(kept) if kept.is_claimed_by(instance, call_id) => kept.won(),
            Some(kept) => TokenClaim::Lost(kept.at(now)),
        });
    };
    let mut won = won;
    if let Some(epoch) = won.epoch {
        let units = (epoch, won.token.units);
        let license = won.token.license_id;
        if !move_units(conn, license, units, TOKENS, instance).await? {
            // It is over, and its units with it: a later try gets the same answer.
            let sql = "UPDATE tokens SET epoch = NULL WHERE id = $1";
            let token = id(won.token.id.as_u128());
            conn.change(sql, &[&token]).await?;
            won.epoch = None;
        }
    }
    Ok(won.won())
}

async fn release(
    conn: &PooledConn,
    token: RequestTokenId,
    call_id: CallId,
    leased: Option<(u32, u64)>,
) -> Result<bool, BackendError> {
    let sql = format!(
        "SELECT {TOKEN} FROM tokens WHERE id = $1 AND call_id = $2 AND state = {TOKEN_CLAIMED} FOR UPDATE"
    );
    let key = id(token.as_u128());
    let Some(kept) = one(conn, &sql, &[&key, &id(call_id.as_u128())]).await? else {
        return Ok(false);
    };
    let mut epoch = None;
    if let (Some(leased), Some(owner)) = (leased, kept.owner)
        && move_units(conn, kept.token.license_id, leased, owner, TOKENS).await?
    {
        epoch = Some(i64::from(leased.0));
    }
    let sql = format!(
        "UPDATE tokens SET state = {TOKEN_ISSUED}, call_id = NULL, owner = NULL, consumed_at = NULL, epoch = $2 WHERE id = $1"
    );
    conn.change(&sql, &[&key, &epoch]).await?;
    Ok(true)
}

/// Moves units of an epoch from one instance's lease to another's. Returns whether they were there.
async fn move_units(
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

async fn by_hash(conn: &PooledConn, hash: &KeyHash) -> Result<Option<Kept>, BackendError> {
    let sql = format!("SELECT {TOKEN} FROM tokens WHERE hash = $1");
    one(conn, &sql, &[&hash.as_bytes().as_slice()]).await
}

async fn by_id(conn: &PooledConn, wanted: RequestTokenId) -> Result<Option<Kept>, BackendError> {
    let sql = format!("SELECT {TOKEN} FROM tokens WHERE id = $1");
    one(conn, &sql, &[&id(wanted.as_u128())]).await
}

async fn one(
    conn: &PooledConn,
    sql: &str,
    values: &[Value<'_>],
) -> Result<Option<Kept>, BackendError> {
    let row = conn.row(sql, values).await?;
    row.as_ref().map(read_token).transpose()
}

fn read_token(row: &Row) -> Result<Kept, BackendError> {
    let status = |column| {
        let number: Option<i32> = read(row, column)?;
        Ok::<_, BackendError>(number.and_then(|number| u16::try_from(number).ok()))
    };
    let epoch = match read::<Option<i64>>(row, 14)? {
        None => None,
        Some(_) => Some(read_number(row, 14)?),
    };
    Ok(Kept {
        token: RequestToken {
            id: RequestTokenId::from_u128(read_id(row, 0)?),
            license_id: LicenseId::from_u128(read_id(row, 1)?),
            account: read_text(row, 2)?,
            app: read_text(row, 3)?,
            method: read_method(row, 4)?,
            path: read(row, 5)?,
            units: read_count(row, 6)?,
            state: read_word(row, 7, |number: i16| {
                TokenState::from_number(u8::try_from(number).ok()?)
            })?,
            issued_at: read_time(row, 8)?,
            expires_at: read_time(row, 9)?,
            call_id: read_optional_id(row, 10)?.map(CallId::from_u128),
            consumed_at: read_optional_time(row, 11)?,
            status: status(12)?,
            confirmed_status: status(13)?,
        },
        epoch,
        owner: read_optional_id(row, 15)?.map(InstanceId::from_u128),
    })
}
