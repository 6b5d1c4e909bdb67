//! [`TokenStore`] on both engines. Issuing leases units and ending frees them, which each engine
//! does by a way of its own: [`TokenTwins`].

use std::future::Future;

use async_trait::async_trait;
use model::{CallId, InstanceId, KeyHash, LicenseId, RequestToken, RequestTokenId, Timestamp};

use super::{Backend, Kind, Outcome, Part, Row, Sql, Statement, Twins, Value, rows, sql, values};
use crate::audit::AuditEntries;
use crate::error::Error;
use crate::rules::numbers::{
    TOKEN_CLAIMED, TOKEN_CONFIRMED, TOKEN_CONSUMED, TOKEN_DISPUTED, TOKEN_ISSUED,
};
use crate::tokens::{Kept, TOKENS, TokenClaim, TokenIssue, TokenStore};

/// The columns in the order that [`read`] reads.
const TOKEN: &str = "id, license, account, app, method, path, units, state, issued_at, expires_at, call_id, \
    consumed_at, status, confirmed_status, epoch, owner";

/// The methods of [`TokenStore`] that each engine has by a way of its own.
pub(crate) trait TokenTwins: Backend {
    /// Keeps a new token and holds its units: [`TokenStore::issue_token`].
    fn issue_token(
        &self,
        token: RequestToken,
        hash: KeyHash,
        now: Timestamp,
    ) -> impl Future<Output = Result<TokenIssue, Error>> + Send;

    /// Ends a token that nobody used: [`TokenStore::end_token`].
    fn end_token(
        &self,
        id: RequestTokenId,
        now: Timestamp,
        entries: AuditEntries<RequestToken>,
    ) -> impl Future<Output = Result<Option<RequestToken>, Error>> + Send;

    /// Ends tokens whose time is over: [`TokenStore::expire_tokens`].
    fn expire_tokens(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> impl Future<Output = Result<usize, Error>> + Send;
}

#[async_trait]
impl<B: TokenTwins> TokenStore for B {
    async fn issue_token(
        &self,
        token: RequestToken,
        hash: KeyHash,
        now: Timestamp,
    ) -> Result<TokenIssue, Error> {
        TokenTwins::issue_token(self, token, hash, now).await
    }

    async fn token(&self, hash: KeyHash, now: Timestamp) -> Result<Option<RequestToken>, Error> {
        let asked = (hash, now);
        self.run(Part::Ledger, Kind::Read, asked, |sql, (hash, now)| {
            Box::pin(async move { Ok(by_hash(sql, hash).await?.map(|kept| kept.at(*now))) })
        })
        .await
    }

    async fn token_by_id(
        &self,
        id: RequestTokenId,
        now: Timestamp,
    ) -> Result<Option<RequestToken>, Error> {
        self.run(Part::Ledger, Kind::Read, (id, now), |sql, (id, now)| {
            Box::pin(async move { Ok(by_id(sql, *id).await?.map(|kept| kept.at(*now))) })
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
        let asked = (license_id, after.unwrap_or_default(), limit, now);
        self.run(Part::Ledger, Kind::Report, asked, |sql, asked| {
            Box::pin(async move {
                let (license, after, limit, now) = *asked;
                let statement = sql!(
                    "SELECT {TOKEN} FROM tokens WHERE license = $1 AND id > $2 ORDER BY id LIMIT $3"
                );
                let found = sql
                    .query(statement, &values![license, after, rows(limit)])
                    .await?;
                let tokens = found.iter().map(|row| Ok(read(row)?.at(now)));
                Ok(tokens.collect::<Result<_, Error>>()?)
            })
        })
        .await
    }

    async fn end_token(
        &self,
        id: RequestTokenId,
        now: Timestamp,
        entries: AuditEntries<RequestToken>,
    ) -> Result<Option<RequestToken>, Error> {
        TokenTwins::end_token(self, id, now, entries).await
    }

    async fn claim_token(
        &self,
        hash: KeyHash,
        instance: InstanceId,
        call_id: CallId,
        now: Timestamp,
    ) -> Result<TokenClaim, Error> {
        let asked = (hash, instance, call_id, now);
        let kind = Kind::RepeatableTransaction;
        self.run(Part::Ledger, kind, asked, |sql, asked| {
            Box::pin(claim(sql, &asked.0, asked.1, asked.2, asked.3))
        })
        .await
    }

    async fn release_token(
        &self,
        id: RequestTokenId,
        call_id: CallId,
        leased: Option<(u32, u64)>,
    ) -> Result<bool, Error> {
        let asked = (id, call_id, leased);
        self.run(Part::Ledger, Kind::Transaction, asked, |sql, asked| {
            Box::pin(release(sql, asked.0, asked.1, asked.2))
        })
        .await
    }

    async fn finish_token(
        &self,
        token: RequestTokenId,
        call_id: CallId,
        status: u16,
        at: Timestamp,
    ) -> Result<bool, Error> {
        let values = values![token, call_id, status, at];
        self.run(Part::Ledger, Kind::Write, values, |sql, values| {
            Box::pin(async move {
                let statement = sql!(
                    "UPDATE tokens SET state = {TOKEN_CONSUMED}, status = $3, consumed_at = $4
                    WHERE id = $1 AND call_id = $2 AND state = {TOKEN_CLAIMED}"
                );
                Ok(sql.execute(statement, values).await? == 1)
            })
        })
        .await
    }

    async fn confirm_token(
        &self,
        hash: KeyHash,
        license_id: LicenseId,
        status: u16,
    ) -> Result<Option<RequestToken>, Error> {
        let values = values![&hash, license_id, status];
        self.run(Part::Ledger, Kind::Write, values, |sql, values| {
            Box::pin(async move {
                let statement = sql!(
                    "UPDATE tokens SET confirmed_status = $3,
                    state = CASE WHEN status = $3 THEN {TOKEN_CONFIRMED} ELSE {TOKEN_DISPUTED} END
                    WHERE hash = $1 AND license = $2
                    AND state IN ({TOKEN_CONSUMED}, {TOKEN_CONFIRMED}, {TOKEN_DISPUTED}) RETURNING {TOKEN}"
                );
                let kept = one(sql, statement, values).await?;
                Ok(kept.map(|kept| kept.token))
            })
        })
        .await
    }

    async fn expire_tokens(&self, now: Timestamp, limit: usize) -> Result<usize, Error> {
        TokenTwins::expire_tokens(self, now, limit).await
    }

    async fn forget_tokens(&self, before: Timestamp, limit: usize) -> Result<usize, Error> {
        let values = values![before, rows(limit)];
        let gone = self.run(Part::Ledger, Kind::Load, values, |sql, values| {
            Box::pin(async move {
                let statement = sql!(
                    "DELETE FROM tokens WHERE id IN (SELECT id FROM tokens
                    WHERE issued_at < $1 AND state <> {TOKEN_ISSUED} ORDER BY issued_at LIMIT $2)"
                );
                sql.execute(statement, values).await
            })
        });
        Ok(usize::try_from(gone.await?).unwrap_or(limit))
    }
}

async fn claim<S: Twins>(
    sql: &S,
    hash: &KeyHash,
    instance: InstanceId,
    call_id: CallId,
    now: Timestamp,
) -> Outcome<TokenClaim, S> {
    // Of several that try at once, all but the first wait here and then find another state.
    let statement = sql!(
        "UPDATE tokens SET state = {TOKEN_CLAIMED}, call_id = $2, owner = $3, consumed_at = $4
        WHERE hash = $1 AND state = {TOKEN_ISSUED} AND expires_at > $4 RETURNING {TOKEN}"
    );
    let values = values![hash, call_id, instance, now];
    let Some(mut won) = one(sql, statement, &values).await? else {
        return Ok(match by_hash(sql, hash).await? {
            None => TokenClaim::Unknown,
            Some(kept) if kept.is_claimed_by(instance, call_id) => kept.won(),
            Some(kept) => TokenClaim::Lost(kept.at(now)),
        });
    };
    if let Some(epoch) = won.epoch {
        let units = (epoch, won.token.units);
        let license = won.token.license_id;
        if !sql.move_units(license, units, TOKENS, instance).await? {
            // It is over, and its units with it: a later try gets the same answer.
            let statement = sql!("UPDATE tokens SET epoch = NULL WHERE id = $1");
            sql.execute(statement, &values![won.token.id]).await?;
            won.epoch = None;
        }
    }
    Ok(won.won())
}

async fn release<S: Twins>(
    sql: &S,
    token: RequestTokenId,
    call_id: CallId,
    leased: Option<(u32, u64)>,
) -> Outcome<bool, S> {
    let statement = sql!(
        "SELECT {TOKEN} FROM tokens WHERE id = $1 AND call_id = $2 AND state = {TOKEN_CLAIMED} FOR UPDATE"
    );
    let Some(kept) = one(sql, statement, &values![token, call_id]).await? else {
        return Ok(false);
    };
    let mut epoch = None;
    if let (Some(units), Some(owner)) = (leased, kept.owner)
        && sql
            .move_units(kept.token.license_id, units, owner, TOKENS)
            .await?
    {
        epoch = Some(units.0);
    }
    let statement = sql!(
        "UPDATE tokens SET state = {TOKEN_ISSUED}, call_id = NULL, owner = NULL, consumed_at = NULL, epoch = $2
        WHERE id = $1"
    );
    sql.execute(statement, &values![token, epoch]).await?;
    Ok(true)
}

async fn by_hash<S: Sql>(sql: &S, hash: &KeyHash) -> Outcome<Option<Kept>, S> {
    let statement = sql!("SELECT {TOKEN} FROM tokens WHERE hash = $1");
    one(sql, statement, &values![hash]).await
}

/// Returns the token with this id.
pub(crate) async fn by_id<S: Sql>(sql: &S, id: RequestTokenId) -> Outcome<Option<Kept>, S> {
    let statement = sql!("SELECT {TOKEN} FROM tokens WHERE id = $1");
    one(sql, statement, &values![id]).await
}

/// Returns up to `limit` tokens that nobody used and whose time was over at `now`.
pub(crate) async fn over<S: Sql>(sql: &S, now: Timestamp, limit: usize) -> Outcome<Vec<Kept>, S> {
    let statement = sql!(
        "SELECT {TOKEN} FROM tokens WHERE state = {TOKEN_ISSUED} AND expires_at <= $1
        ORDER BY expires_at LIMIT $2"
    );
    let found = sql.query(statement, &values![now, rows(limit)]).await?;
    Ok(found.iter().map(read).collect::<Result<_, _>>()?)
}

async fn one<S: Sql>(sql: &S, statement: &Statement, values: &[Value]) -> Outcome<Option<Kept>, S> {
    let row = sql.query_opt(statement, values).await?;
    Ok(row.as_ref().map(read).transpose()?)
}

/// Keeps a token that was issued, whose units were taken from an epoch, if any were.
pub(crate) async fn insert<S: Sql>(
    sql: &S,
    token: &RequestToken,
    hash: &KeyHash,
    epoch: Option<u32>,
) -> Outcome<(), S> {
    let statement = sql!(
        "INSERT INTO tokens (id, hash, license, account, app, method, path, units, epoch, state, issued_at,
        expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, {TOKEN_ISSUED}, $10, $11)"
    );
    let values = values![
        token.id,
        hash,
        token.license_id,
        &token.account,
        &token.app,
        i64::from(token.method as u8),
        &token.path,
        super::count(token.units),
        epoch,
        token.issued_at,
        token.expires_at,
    ];
    sql.insert(statement, &values, "a token with this id or hash")
        .await
}

fn read(row: &Row) -> Result<Kept, Error> {
    Ok(Kept {
        token: RequestToken {
            id: row.get(0)?,
            license_id: row.get(1)?,
            account: row.text(2)?,
            app: row.text(3)?,
            method: row.word(4, model::Method::from_number)?,
            path: row.get(5)?,
            units: row.count(6)?,
            state: row.word(7, model::TokenState::from_number)?,
            issued_at: row.get(8)?,
            expires_at: row.get(9)?,
            call_id: row.get(10)?,
            consumed_at: row.get(11)?,
            status: row.get(12)?,
            confirmed_status: row.get(13)?,
        },
        epoch: row.get(14)?,
        owner: row.get(15)?,
    })
}
