//! [`SessionStore`] on both engines.
//!
//! Rows are locked in this order: refresh token, session, management key, credentials, licenses,
//! and the counter of changes last. A key is locked while tokens of it are kept, so that none slips
//! in behind its end.

use std::collections::HashSet;

use async_trait::async_trait;
use ipnet::IpNet;
use model::{
    ACCESS_TOKEN_KIND, CredentialId, KeyHash, LicenseId, ManagementKeyId, RateLimit, Session,
    SessionId, Timestamp,
};

use super::audit::{add_changed, add_entries};
use super::management::{key, locked_key, shared_key};
use super::touched::{Touched, touch_licenses};
use super::{
    Backend, Engine, Kind, Outcome, Part, Row, Sql, Twins, Value, list, rows, sql, values,
};
use crate::audit::{AuditEntries, Changed};
use crate::error::Error;
use crate::management::ManagementKey;
use crate::rules::family::{end_of, last_end, refused};
use crate::rules::numbers::CREDENTIAL_ACTIVE;
use crate::rules::windows::{self, KeptWindow};
use crate::sessions::{KeyCall, NewTokens, RefreshOutcome, SessionStore, StoredRefreshToken};

/// The columns in the order that [`read_session`] reads.
const SESSION: &str = "id, key_id, license_id, created_at, ended_at";
/// The number of columns of [`SESSION`].
const SESSION_COLUMNS: usize = 5;

#[async_trait]
impl<B: Backend> SessionStore for B {
    async fn create_session(
        &self,
        session: Session,
        tokens: NewTokens,
        most: u32,
        entries: AuditEntries<()>,
    ) -> Result<bool, Error> {
        let new = (session, tokens, most, entries);
        self.run(Part::Licenses, Kind::Transaction, new, |sql, new| {
            Box::pin(async move {
                let (session, tokens, most, entries) = new;
                let kept = create(sql, session, tokens, *most).await?;
                if kept {
                    add_entries(sql, entries, &()).await?;
                }
                Ok(kept)
            })
        })
        .await
    }

    async fn session(&self, id: SessionId) -> Result<Option<Session>, Error> {
        self.run(Part::Licenses, Kind::Read, id, |sql, id| {
            Box::pin(async move {
                let statement = sql!("SELECT {SESSION} FROM sessions WHERE id = $1");
                let row = sql.query_opt(statement, &values![*id]).await?;
                Ok(row.as_ref().map(read_session).transpose()?)
            })
        })
        .await
    }

    async fn sessions_of(
        &self,
        key_id: ManagementKeyId,
        after: Option<SessionId>,
        limit: usize,
    ) -> Result<Vec<Session>, Error> {
        let asked = (key_id, after.unwrap_or_default(), limit);
        self.run(Part::Licenses, Kind::Report, asked, |sql, asked| {
            Box::pin(async move {
                let (key_id, after, limit) = *asked;
                let statement = sql!(
                    "SELECT {SESSION} FROM sessions WHERE key_id = $1 AND id > $2 ORDER BY id LIMIT $3"
                );
                let values = values![key_id, after, rows(limit)];
                let found = sql.query(statement, &values).await?;
                Ok(found.iter().map(read_session).collect::<Result<_, _>>()?)
            })
        })
        .await
    }

    async fn management_key(&self, id: ManagementKeyId) -> Result<Option<ManagementKey>, Error> {
        self.run(Part::Licenses, Kind::Read, id, |sql, id| {
            Box::pin(key(sql, *id))
        })
        .await
    }

    async fn refresh_token(&self, hash: KeyHash) -> Result<Option<StoredRefreshToken>, Error> {
        self.run(Part::Licenses, Kind::Read, hash, |sql, hash| {
            Box::pin(async move {
                let statement = sql!(
                    "SELECT {SESSION}, t.expires_at, t.used_at FROM refresh_tokens t
                    JOIN sessions s ON s.id = t.session_id WHERE t.hash = $1"
                );
                let row = sql.query_opt(statement, &values![hash]).await?;
                Ok(row.as_ref().map(read_token).transpose()?)
            })
        })
        .await
    }

    async fn refresh_session(
        &self,
        refresh_token: KeyHash,
        asked_at: Timestamp,
        next: NewTokens,
        entries: AuditEntries<RefreshOutcome>,
    ) -> Result<RefreshOutcome, Error> {
        let asked = (refresh_token, asked_at, next, entries);
        self.run(Part::Licenses, Kind::Transaction, asked, |sql, asked| {
            Box::pin(async move {
                let (token, asked_at, next, entries) = asked;
                let outcome = refresh(sql, token, *asked_at, next).await?;
                add_entries(sql, entries, &outcome).await?;
                Ok(outcome)
            })
        })
        .await
    }

    async fn end_session(
        &self,
        id: SessionId,
        at: Timestamp,
        entries: AuditEntries<Changed<Session>>,
    ) -> Result<Option<Session>, Error> {
        let asked = (id, at, entries);
        self.run(Part::Licenses, Kind::Transaction, asked, |sql, asked| {
            Box::pin(async move {
                let (id, at, entries) = asked;
                let statement = sql!("SELECT {SESSION} FROM sessions WHERE id = $1 FOR UPDATE");
                let before = sql.query_opt(statement, &values![*id]).await?;
                let before = before.as_ref().map(read_session).transpose()?;
                let after = end(sql, *id, *at).await?;
                add_changed(sql, entries, before, after).await
            })
        })
        .await
    }

    async fn token_ends(
        &self,
        tokens: Vec<(LicenseId, CredentialId)>,
    ) -> Result<Vec<(CredentialId, Timestamp)>, Error> {
        self.run(Part::Licenses, Kind::Read, tokens, |sql, tokens| {
            Box::pin(token_ends(sql, tokens))
        })
        .await
    }

    async fn set_key_allow_ips(
        &self,
        id: ManagementKeyId,
        allow_ips: Vec<IpNet>,
        entries: AuditEntries<Changed<ManagementKey>>,
    ) -> Result<Option<ManagementKey>, Error> {
        let asked = (id, allow_ips, entries);
        self.run(Part::Licenses, Kind::Transaction, asked, |sql, asked| {
            Box::pin(async move {
                let (id, allow_ips, entries) = asked;
                let before = locked_key(sql, *id).await?;
                let statement = sql!("UPDATE management_keys SET allow_ips = $2 WHERE id = $1");
                sql.execute(statement, &values![*id, list(allow_ips)])
                    .await?;
                touch_licenses(sql, *id).await?;
                let after = key(sql, *id).await?;
                add_changed(sql, entries, before, after).await
            })
        })
        .await
    }

    async fn count_key_call(
        &self,
        id: ManagementKeyId,
        limits: Vec<RateLimit>,
        now: Timestamp,
        take: bool,
    ) -> Result<KeyCall, Error> {
        let asked = (id, limits, now);
        if take {
            let kind = Kind::Transaction;
            self.run(Part::Licenses, kind, asked, |sql, (id, limits, now)| {
                Box::pin(count_call(sql, *id, limits, *now))
            })
            .await
        } else {
            let kind = Kind::Read;
            self.run(Part::Licenses, kind, asked, |sql, (id, limits, now)| {
                Box::pin(judge_call(sql, *id, limits, *now))
            })
            .await
        }
    }

    async fn sweep_sessions(&self, before: Timestamp, limit: usize) -> Result<u64, Error> {
        let asked = (before, limit);
        self.run(Part::Licenses, Kind::Load, asked, |sql, (before, limit)| {
            Box::pin(sweep(sql, *before, *limit))
        })
        .await
    }
}

// === tokens ===

async fn create<S: Twins>(
    sql: &S,
    new: &Session,
    tokens: &NewTokens,
    most: u32,
) -> Outcome<bool, S> {
    let key = shared_key(sql, new.key_id).await?;
    let Some(end) = key.and_then(|key| end_of(&key, tokens.issued_at)) else {
        return Ok(false);
    };
    let mut touched = Touched::default();
    end_oldest(sql, new, most, &mut touched).await?;
    let statement = sql!(
        "INSERT INTO sessions (id, key_id, license_id, created_at, expires_at, ended_at)
        VALUES ($1, $2, $3, $4, $5, $6)"
    );
    let values = values![
        new.id,
        new.key_id,
        new.license_id,
        new.created_at,
        last_end(tokens),
        new.ended_at,
    ];
    sql.insert(statement, &values, "a session with this id")
        .await?;
    insert_tokens(sql, new, tokens, end, &mut touched).await?;
    touched.record(sql).await?;
    Ok(true)
}

/// Ends the oldest sessions of a key to make room for one more.
async fn end_oldest<S: Twins>(
    sql: &S,
    new: &Session,
    most: u32,
    touched: &mut Touched<'_>,
) -> Outcome<(), S> {
    let statement = sql!(
        "SELECT id FROM sessions WHERE key_id = $1 AND ended_at IS NULL AND expires_at > $2
        ORDER BY created_at DESC, id DESC LIMIT 1000000000 OFFSET $3"
    );
    let now = new.created_at;
    let values = values![new.key_id, now, i64::from(most.max(1)) - 1];
    for row in sql.query(statement, &values).await? {
        end_one(sql, row.get(0)?, now, touched).await?;
    }
    Ok(())
}

async fn insert_tokens<'a, S: Twins>(
    sql: &S,
    owner: &Session,
    tokens: &'a NewTokens,
    end_of_key: Timestamp,
    touched: &mut Touched<'a>,
) -> Outcome<(), S> {
    let statement = sql!(
        "INSERT INTO refresh_tokens (hash, session_id, issued_at, expires_at) VALUES ($1, $2, $3, $4)"
    );
    let values = values![
        &tokens.refresh,
        owner.id,
        tokens.issued_at,
        tokens.refresh_expires_at,
    ];
    sql.insert(statement, &values, "a refresh token with this hash")
        .await?;
    let Some(license_id) = owner.license_id else {
        return Ok(());
    };
    let statement = sql!(
        "INSERT INTO credentials (id, license_id, hash, kind, prefix, status, created_at, expires_at, session_id)
        VALUES ($1, $2, $3, $4, '', {CREDENTIAL_ACTIVE}, $5, $6, $7)"
    );
    let values = values![
        tokens.access_id,
        license_id,
        &tokens.access,
        ACCESS_TOKEN_KIND,
        tokens.issued_at,
        tokens.access_expires_at.min(end_of_key),
        owner.id,
    ];
    sql.insert(statement, &values, "a credential with this key")
        .await?;
    touched.added = Some((license_id, &tokens.access));
    Ok(())
}

async fn refresh<S: Twins>(
    sql: &S,
    hash: &KeyHash,
    asked_at: Timestamp,
    next: &NewTokens,
) -> Outcome<RefreshOutcome, S> {
    // A request that waited for the lock reads what the winner left.
    let statement = sql!(
        "SELECT {SESSION}, t.expires_at, t.used_at FROM refresh_tokens t
        JOIN sessions s ON s.id = t.session_id WHERE t.hash = $1 FOR UPDATE"
    );
    let Some(row) = sql.query_opt(statement, &values![hash]).await? else {
        return Ok(RefreshOutcome::Refused);
    };
    let token = read_token(&row)?;
    let owner = &token.session;
    // The time is read when it is its turn, by the clock of `asked_at`.
    let now = sql.now();
    if let Some(outcome) = refused(&token, asked_at, now) {
        if outcome == RefreshOutcome::Replayed {
            end(sql, owner.id, now).await?;
        }
        return Ok(outcome);
    }
    let key = shared_key(sql, owner.key_id).await?;
    let Some(end) = key.and_then(|key| end_of(&key, now)) else {
        return Ok(RefreshOutcome::Refused);
    };
    let statement = sql!("UPDATE refresh_tokens SET used_at = $2 WHERE hash = $1");
    sql.execute(statement, &values![hash, now]).await?;
    let statement = sql!("UPDATE sessions SET expires_at = greatest(expires_at, $2) WHERE id = $1");
    sql.execute(statement, &values![owner.id, last_end(next)])
        .await?;
    let mut touched = Touched::default();
    insert_tokens(sql, owner, next, end, &mut touched).await?;
    touched.record(sql).await?;
    Ok(RefreshOutcome::Refreshed)
}

async fn end<S: Twins>(sql: &S, ended: SessionId, at: Timestamp) -> Outcome<Option<Session>, S> {
    let mut touched = Touched::default();
    let found = end_one(sql, ended, at, &mut touched).await?;
    touched.record(sql).await?;
    Ok(found)
}

async fn end_one<S: Twins>(
    sql: &S,
    ended: SessionId,
    at: Timestamp,
    touched: &mut Touched<'_>,
) -> Outcome<Option<Session>, S> {
    let statement = sql!(
        "UPDATE sessions SET ended_at = coalesce(ended_at, $2) WHERE id = $1 RETURNING {SESSION}"
    );
    let Some(row) = sql.query_opt(statement, &values![ended, at]).await? else {
        return Ok(None);
    };
    let found = read_session(&row)?;
    let statement =
        sql!("UPDATE credentials SET expires_at = $2 WHERE session_id = $1 AND expires_at > $2");
    let cut = sql.execute(statement, &values![ended, at]).await?;
    if let (Some(license_id), 1..) = (found.license_id, cut) {
        touched.licenses.insert(license_id);
    }
    Ok(Some(found))
}

async fn token_ends<S: Sql>(
    sql: &S,
    tokens: &[(LicenseId, CredentialId)],
) -> Outcome<Vec<(CredentialId, Timestamp)>, S> {
    let licenses = tokens.iter().map(|(license, _)| license.as_u128());
    let ids = tokens.iter().map(|(_, token)| token.as_u128());
    let values = [Value::Ids(licenses.collect()), Value::Ids(ids.collect())];
    let statement = sql!(
        "SELECT license_id, id, expires_at FROM credentials WHERE license_id = ANY ($1::uuid[])
        AND id = ANY ($2::uuid[]) AND expires_at IS NOT NULL"
    );
    let asked: HashSet<_> = tokens.iter().copied().collect();
    let mut ends = Vec::new();
    for row in sql.query(statement, &values).await? {
        let (license, token) = (row.get(0)?, row.get(1)?);
        if asked.contains(&(license, token)) {
            ends.push((token, row.get(2)?));
        }
    }
    Ok(ends)
}

// === windows ===

/// Counts a call. Calls of one key wait for each other, so that all of its windows are judged
/// together.
async fn count_call<S: Sql>(
    sql: &S,
    key: ManagementKeyId,
    limits: &[RateLimit],
    now: Timestamp,
) -> Outcome<KeyCall, S> {
    if S::ENGINE == Engine::Postgres {
        let statement = sql!(
            "SELECT pg_advisory_xact_lock(hashtextextended('tallygate key windows ' || $1::uuid, 0))"
        );
        sql.execute(statement, &values![key]).await?;
    }
    let mut call = judge_call(sql, key, limits, now).await?;
    if !call.admitted {
        return Ok(call);
    }
    let counted = windows::count(&mut call).into_iter();
    let counted = counted.map(|window| values![key, window.seconds, window.period, window.calls]);
    sql.insert_all(
        "key_windows (key_id, seconds, period, calls)",
        counted.collect(),
        "ON CONFLICT (key_id, seconds) DO UPDATE SET period = excluded.period, calls = excluded.calls",
    )
    .await?;
    Ok(call)
}

async fn judge_call<S: Sql>(
    sql: &S,
    key: ManagementKeyId,
    limits: &[RateLimit],
    now: Timestamp,
) -> Outcome<KeyCall, S> {
    let statement = sql!("SELECT seconds, period, calls FROM key_windows WHERE key_id = $1");
    let read = |row: &Row| {
        Ok(KeptWindow {
            seconds: row.get(0)?,
            period: row.get(1)?,
            calls: row.get(2)?,
        })
    };
    let kept = sql.query(statement, &values![key]).await?;
    let kept = kept.iter().map(read).collect::<Result<Vec<_>, Error>>()?;
    Ok(windows::judge(&kept, limits, now))
}

async fn sweep<S: Sql>(sql: &S, before: Timestamp, limit: usize) -> Outcome<u64, S> {
    // Rows that another gate is sweeping are left to it.
    let statements = [
        sql!(
            "DELETE FROM credentials WHERE cursor IN (SELECT cursor FROM credentials
            WHERE session_id IS NOT NULL AND expires_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)"
        ),
        sql!(
            "DELETE FROM refresh_tokens WHERE hash IN (SELECT hash FROM refresh_tokens
            WHERE expires_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)"
        ),
        sql!(
            "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires_at < $1
            LIMIT $2 FOR UPDATE SKIP LOCKED)"
        ),
        sql!(
            "DELETE FROM key_windows WHERE (key_id, seconds) IN (SELECT key_id, seconds FROM key_windows
            WHERE (period + 1) * seconds * 1000000 < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)"
        ),
    ];
    let mut swept = 0;
    for statement in statements {
        swept += sql
            .execute(statement, &values![before, rows(limit)])
            .await?;
    }
    Ok(swept)
}

fn read_token(row: &Row) -> Result<StoredRefreshToken, Error> {
    Ok(StoredRefreshToken {
        session: read_session(row)?,
        expires_at: row.get(SESSION_COLUMNS)?,
        used_at: row.get(SESSION_COLUMNS + 1)?,
    })
}

fn read_session(row: &Row) -> Result<Session, Error> {
    Ok(Session {
        id: row.get(0)?,
        key_id: row.get(1)?,
        license_id: row.get(2)?,
        created_at: row.get(3)?,
        ended_at: row.get(4)?,
    })
}
