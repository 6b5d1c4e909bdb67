//! [`TokenStore`] on `ledger.db`, where the leases are.

use std::iter;

use async_trait::async_trait;
use model::{
    CallId, Counter, InstanceId, KeyHash, LicenseId, Method, RequestToken, RequestTokenId,
    Timestamp, TokenState,
};
use rusqlite::{Connection, Row, params};

use super::backend_error::{BackendError, unique};
use super::convert::{
    count, id, read_count, read_id, read_optional_id, read_optional_time, read_text, read_time,
    read_word, rows,
};
use super::quota::{give_back, grant, lease};
use super::{LedgerSession, SqliteStore};
use crate::audit::{AuditEntries, AuditStore};
use crate::error::Error;
use crate::quota::{LeaseKey, LeaseRequest};
use crate::rules::numbers::{
    TOKEN_CLAIMED, TOKEN_CONFIRMED, TOKEN_CONSUMED, TOKEN_DISPUTED, TOKEN_EXPIRED, TOKEN_ISSUED,
};
use crate::tokens::{Kept, TOKENS, TokenClaim, TokenIssue, TokenStore};

/// The columns in the order that [`read_token`] reads.
const TOKEN: &str = "id, license, account, app, method, path, units, state, issued_at, expires_at, call_id, \
    consumed_at, status, confirmed_status, epoch, owner";

#[async_trait]
impl TokenStore for SqliteStore {
    async fn issue_token(
        &self,
        token: RequestToken,
        hash: KeyHash,
        now: Timestamp,
    ) -> Result<TokenIssue, Error> {
        self.ledger
            .write(move |session| issue(session, &token, &hash, now))
            .await
    }

    async fn token(&self, hash: KeyHash, now: Timestamp) -> Result<Option<RequestToken>, Error> {
        self.ledger
            .read(move |session| {
                let kept = by_hash(&session.connection(), &hash)?;
                Ok(kept.map(|kept| kept.at(now)))
            })
            .await
    }

    async fn token_by_id(
        &self,
        id: RequestTokenId,
        now: Timestamp,
    ) -> Result<Option<RequestToken>, Error> {
        self.ledger
            .read(move |session| {
                let kept = by_id(&session.connection(), id)?;
                Ok(kept.map(|kept| kept.at(now)))
            })
            .await
    }

    async fn tokens_of(
        &self,
        license_id: LicenseId,
        after: Option<RequestTokenId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<RequestToken>, Error> {
        let sql = format!(
            "SELECT {TOKEN} FROM tokens WHERE license = ?1 AND id > ?2 ORDER BY id LIMIT ?3"
        );
        let after = after.map_or(0, RequestTokenId::as_u128);
        self.ledger
            .read_background(move |session| {
                let connection = session.connection();
                let mut statement = connection.prepare_cached(&sql)?;
                let values = params![id(license_id.as_u128()), id(after), rows(limit) as i64];
                let found = statement.query_and_then(values, read_token)?;
                found.map(|kept| Ok(kept?.at(now))).collect()
            })
            .await
    }

    async fn end_token(
        &self,
        id: RequestTokenId,
        now: Timestamp,
        entries: AuditEntries<RequestToken>,
    ) -> Result<Option<RequestToken>, Error> {
        let Some(before) = self.token_by_id(id, now).await? else {
            return Ok(None);
        };
        if before.state == TokenState::Issued {
            // The log is in the other file: the line is written first, so that no end of a token is
            // without one.
            self.add_audit(entries.lines(&before)).await?;
        }
        self.ledger
            .write(move |session| {
                let connection = &session.connection();
                let kept = by_id(connection, id)?;
                if let Some(kept) = kept.filter(|kept| kept.token.state == TokenState::Issued) {
                    free(connection, &kept)?;
                }
                Ok(by_id(connection, id)?.map(|kept| kept.at(now)))
            })
            .await
    }

    async fn claim_token(
        &self,
        hash: KeyHash,
        instance: InstanceId,
        call_id: CallId,
        now: Timestamp,
    ) -> Result<TokenClaim, Error> {
        self.ledger
            .write(move |session| claim(&session.connection(), &hash, instance, call_id, now))
            .await
    }

    async fn release_token(
        &self,
        id: RequestTokenId,
        call_id: CallId,
        leased: Option<(u32, u64)>,
    ) -> Result<bool, Error> {
        self.ledger
            .write(move |session| release(&session.connection(), id, call_id, leased))
            .await
    }

    async fn finish_token(
        &self,
        token: RequestTokenId,
        call_id: CallId,
        status: u16,
        at: Timestamp,
    ) -> Result<bool, Error> {
        let sql = format!(
            "UPDATE tokens SET state = {TOKEN_CONSUMED}, status = ?3, consumed_at = ?4
            WHERE id = ?1 AND call_id = ?2 AND state = {TOKEN_CLAIMED}"
        );
        self.ledger
            .write(move |session| {
                let changed = session.connection().prepare_cached(&sql)?.execute(params![
                    id(token.as_u128()),
                    id(call_id.as_u128()),
                    status,
                    at.micros(),
                ])?;
                Ok(changed == 1)
            })
            .await
    }

    async fn confirm_token(
        &self,
        hash: KeyHash,
        license_id: LicenseId,
        status: u16,
    ) -> Result<Option<RequestToken>, Error> {
        let sql = format!(
            "UPDATE tokens SET confirmed_status = ?3, state = iif(status = ?3, {TOKEN_CONFIRMED}, {TOKEN_DISPUTED})
            WHERE hash = ?1 AND license = ?2 AND state IN ({TOKEN_CONSUMED}, {TOKEN_CONFIRMED}, {TOKEN_DISPUTED}) RETURNING {TOKEN}"
        );
        self.ledger
            .write(move |session| {
                let connection = session.connection();
                let mut statement = connection.prepare_cached(&sql)?;
                let license = id(license_id.as_u128());
                let mut found = statement.query(params![hash.as_bytes(), license, status])?;
                let kept = found.next()?.map(read_token).transpose()?;
                Ok(kept.map(|kept| kept.token))
            })
            .await
    }

    async fn expire_tokens(&self, now: Timestamp, limit: usize) -> Result<usize, Error> {
        self.ledger
            .write(move |session| expire(&session.connection(), now, limit))
            .await
    }

    async fn forget_tokens(&self, before: Timestamp, limit: usize) -> Result<usize, Error> {
        let sql = format!("DELETE FROM tokens WHERE id IN
            (SELECT id FROM tokens WHERE issued_at < ?1 AND state <> {TOKEN_ISSUED} ORDER BY issued_at LIMIT ?2)");
        self.ledger
            .write_background(move |session| {
                let connection = session.connection();
                let mut statement = connection.prepare_cached(&sql)?;
                Ok(statement.execute(params![before.micros(), rows(limit) as i64])?)
            })
            .await
    }
}

const fn balance(license_id: LicenseId, epoch: u32) -> LeaseKey {
    LeaseKey {
        license_id,
        counter: Counter::Remaining,
        period: epoch,
    }
}

fn issue(
    session: &mut LedgerSession,
    token: &RequestToken,
    hash: &KeyHash,
    now: Timestamp,
) -> Result<TokenIssue, BackendError> {
    let terms = session.terms.of(iter::once(token.license_id))?;
    let counted = terms
        .get(&token.license_id)
        .is_some_and(|terms| terms.remaining.is_some());
    let connection = &session.connection();
    let mut epoch = None;
    if counted && token.units > 0 {
        let request = LeaseRequest {
            key: balance(token.license_id, 0),
            want: token.units,
            capacity: 0,
        };
        let granted = lease(connection, &terms, TOKENS, &[request], now)?;
        let Some(grant) = granted.first() else {
            return Ok(TokenIssue::Exhausted {
                next_refill_at: None,
            });
        };
        if grant.units < token.units {
            give_back(connection, TOKENS, &[(grant.key, grant.units)])?;
            return Ok(TokenIssue::Exhausted {
                next_refill_at: grant.next_refill_at,
            });
        }
        epoch = Some(grant.key.period);
    }
    let sql = format!("INSERT INTO tokens (id, hash, license, account, app, method, path, units, epoch, state, issued_at,
        expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, {TOKEN_ISSUED}, ?10, ?11)");
    connection
        .prepare_cached(&sql)?
        .execute(params![
            id(token.id.as_u128()),
            hash.as_bytes(),
            id(token.license_id.as_u128()),
            token.account.as_str(),
            token.app.as_str(),
            token.method as u8,
            token.path,
            count(token.units),
            epoch,
            token.issued_at.micros(),
            token.expires_at.micros(),
        ])
        .map_err(|error| unique(error, "a token with this id or hash"))?;
    Ok(TokenIssue::Issued)
}

fn claim(
    connection: &Connection,
    hash: &KeyHash,
    instance: InstanceId,
    call_id: CallId,
    now: Timestamp,
) -> Result<TokenClaim, BackendError> {
    let Some(kept) = by_hash(connection, hash)? else {
        return Ok(TokenClaim::Unknown);
    };
    if kept.is_claimed_by(instance, call_id) {
        return Ok(kept.won());
    }
    let key = kept.key();
    let token = kept.at(now);
    if token.state != TokenState::Issued {
        return Ok(TokenClaim::Lost(token));
    }
    let mut leased = None;
    if let Some(key) = key
        && take_from(connection, TOKENS, key, token.units)?
    {
        grant(connection, instance, key, token.units)?;
        leased = Some((key.period, token.units));
    }
    let sql = format!(
        "UPDATE tokens SET state = {TOKEN_CLAIMED}, call_id = ?2, owner = ?3, consumed_at = ?4, epoch = ?5 WHERE id = ?1"
    );
    connection.prepare_cached(&sql)?.execute(params![
        id(token.id.as_u128()),
        id(call_id.as_u128()),
        id(instance.as_u128()),
        now.micros(),
        leased.map(|(epoch, _)| epoch),
    ])?;
    let token = RequestToken {
        state: TokenState::Claimed,
        call_id: Some(call_id),
        consumed_at: Some(now),
        ..token
    };
    Ok(TokenClaim::Won { token, leased })
}

fn release(
    connection: &Connection,
    token: RequestTokenId,
    call_id: CallId,
    leased: Option<(u32, u64)>,
) -> Result<bool, BackendError> {
    let sql = format!(
        "SELECT {TOKEN} FROM tokens WHERE id = ?1 AND call_id = ?2 AND state = {TOKEN_CLAIMED}"
    );
    let kept = one(
        connection,
        &sql,
        params![id(token.as_u128()), id(call_id.as_u128())],
    )?;
    let Some(kept) = kept else { return Ok(false) };
    let mut epoch = None;
    if let (Some((period, units)), Some(owner)) = (leased, kept.owner) {
        let key = balance(kept.token.license_id, period);
        if take_from(connection, owner, key, units)? {
            grant(connection, TOKENS, key, units)?;
            epoch = Some(period);
        }
    }
    let sql = format!(
        "UPDATE tokens SET state = {TOKEN_ISSUED}, call_id = NULL, owner = NULL, consumed_at = NULL, epoch = ?2 WHERE id = ?1"
    );
    connection
        .prepare_cached(&sql)?
        .execute(params![id(token.as_u128()), epoch])?;
    Ok(true)
}

fn expire(connection: &Connection, now: Timestamp, limit: usize) -> Result<usize, BackendError> {
    let sql = format!(
        "SELECT {TOKEN} FROM tokens WHERE state = {TOKEN_ISSUED} AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2"
    );
    let over: Vec<Kept> = connection
        .prepare_cached(&sql)?
        .query_and_then(params![now.micros(), rows(limit) as i64], read_token)?
        .collect::<Result<_, _>>()?;
    for kept in &over {
        free(connection, kept)?;
    }
    Ok(over.len())
}

/// Ends a token that was issued and not used, and frees its units.
fn free(connection: &Connection, kept: &Kept) -> Result<(), BackendError> {
    if let Some(key) = kept.key() {
        give_back(connection, TOKENS, &[(key, kept.token.units)])?;
    }
    let sql = format!("UPDATE tokens SET state = {TOKEN_EXPIRED}, epoch = NULL WHERE id = ?1");
    connection
        .prepare_cached(&sql)?
        .execute([id(kept.token.id.as_u128())])?;
    Ok(())
}

/// Takes units off a lease if that many of it are not spent. Returns whether they were; a lease of
/// an epoch that is over is gone.
fn take_from(
    connection: &Connection,
    instance: InstanceId,
    key: LeaseKey,
    units: u64,
) -> Result<bool, BackendError> {
    let sql = "UPDATE leases SET returned = returned + ?5 WHERE license = ?1 AND counter = ?2 AND period = ?3
        AND instance = ?4 AND granted - returned - spent >= ?5";
    let changed = connection.prepare_cached(sql)?.execute(params![
        id(key.license_id.as_u128()),
        key.counter.code(),
        key.period,
        id(instance.as_u128()),
        count(units),
    ])?;
    Ok(changed == 1)
}

fn by_hash(connection: &Connection, hash: &KeyHash) -> Result<Option<Kept>, BackendError> {
    let sql = format!("SELECT {TOKEN} FROM tokens WHERE hash = ?1");
    one(connection, &sql, params![hash.as_bytes()])
}

fn by_id(connection: &Connection, wanted: RequestTokenId) -> Result<Option<Kept>, BackendError> {
    let sql = format!("SELECT {TOKEN} FROM tokens WHERE id = ?1");
    one(connection, &sql, params![id(wanted.as_u128())])
}

fn one(
    connection: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
) -> Result<Option<Kept>, BackendError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut found = statement.query(values)?;
    found.next()?.map(read_token).transpose()
}

fn read_token(row: &Row<'_>) -> Result<Kept, BackendError> {
    Ok(Kept {
        token: RequestToken {
            id: RequestTokenId::from_u128(read_id(row, 0)?),
            license_id: LicenseId::from_u128(read_id(row, 1)?),
            account: read_text(row, 2)?,
            app: read_text(row, 3)?,
            method: read_word(row, 4, Method::from_number)?,
            path: row.get(5)?,
            units: read_count(row, 6)?,
            state: read_word(row, 7, TokenState::from_number)?,
            issued_at: read_time(row, 8)?,
            expires_at: read_time(row, 9)?,
            call_id: read_optional_id(row, 10)?.map(CallId::from_u128),
            consumed_at: read_optional_time(row, 11)?,
            status: row.get(12)?,
            confirmed_status: row.get(13)?,
        },
        epoch: row.get(14)?,
        owner: read_optional_id(row, 15)?.map(InstanceId::from_u128),
    })
}
