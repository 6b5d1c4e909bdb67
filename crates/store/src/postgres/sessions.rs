//! Sessions and the windows of keys in SQL.
//!
//! Rows are locked in this order: refresh token, session, management key, credentials, licenses,
//! and the counter of changes last. A key is locked while tokens of it are kept, so that none slips
//! in behind its end.

use std::collections::BTreeSet;

use ipnet::IpNet;
use model::{
    ACCESS_TOKEN_KIND, Clock, CredentialId, KeyHash, LicenseId, ManagementKeyId, RateLimit,
    Session, SessionId, SystemClock, Timestamp,
};
use tokio_postgres::Row;
use uuid::Uuid;

use super::backend_error::{BackendError, unique};
use super::conn::{PooledConn, Value};
use super::convert::{
    id, list, read_id, read_number, read_optional_id, read_optional_time, read_time, rows,
};
use super::{licenses, management};
use crate::management::ManagementKey;
use crate::sessions::{KeyCall, NewTokens, RefreshOutcome, StoredRefreshToken, WindowCount};

/// The columns in the order that [`read_session`] reads.
const SESSION: &str = "s.id, s.key_id, s.license_id, s.created_at, s.ended_at";

/// The licenses whose credentials changed, and the credential that was added.
#[derive(Default)]
struct Touched<'a> {
    licenses: BTreeSet<LicenseId>,
    added: Option<(LicenseId, &'a KeyHash)>,
}

impl Touched<'_> {
    /// Writes the changes down, once, as the last statement of a transaction.
    async fn record(self, conn: &PooledConn) -> Result<(), BackendError> {
        let added = self
            .added
            .iter()
            .map(|(license, hash)| (*license, Some(*hash)));
        let known = self.added.map(|(license, _)| license);
        let others = self
            .licenses
            .iter()
            .filter(|license| known != Some(**license));
        let changes: Vec<_> = added
            .chain(others.map(|license| (*license, None)))
            .collect();
        if changes.is_empty() {
            return Ok(());
        }
        let locked: Vec<Uuid> = changes
            .iter()
            .map(|(license, _)| id(license.as_u128()))
            .collect();
        let lock = "SELECT FROM licenses WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE";
        conn.rows(lock, &[&locked]).await?;
        licenses::record_changes(conn, &changes).await?;
        Ok(())
    }
}

// === writing ===

pub(super) async fn create(
    conn: &PooledConn,
    new: &Session,
    tokens: &NewTokens,
    most: u32,
) -> Result<bool, BackendError> {
    let Some(end) = end_of_key(conn, new.key_id, tokens.issued_at).await? else {
        return Ok(false);
    };
    let mut touched = Touched::default();
    end_oldest(conn, new, most, &mut touched).await?;
    let sql = "INSERT INTO sessions (id, key_id, license_id, created_at, expires_at, ended_at)
        VALUES ($1, $2, $3, $4, $5, $6)";
    let values: [Value<'_>; 6] = [
        &id(new.id.as_u128()),
        &id(new.key_id.as_u128()),
        &new.license_id.map(|license| id(license.as_u128())),
        &new.created_at.micros(),
        &last_end(tokens).micros(),
        &new.ended_at.map(Timestamp::micros),
    ];
    let made = conn.change(sql, &values).await;
    made.map_err(|error| unique(error, "a session with this id"))?;
    insert_tokens(conn, new, tokens, end, &mut touched).await?;
    touched.record(conn).await?;
    Ok(true)
}

/// Returns when a key ends; `None`: it has ended, or there is no such key.
async fn end_of_key(
    conn: &PooledConn,
    key_id: ManagementKeyId,
    now: Timestamp,
) -> Result<Option<Timestamp>, BackendError> {
    let sql = "SELECT least(expires_at, revoked_at) FROM management_keys WHERE id = $1 FOR SHARE";
    let row = conn.row(sql, &[&id(key_id.as_u128())]).await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let end = read_optional_time(&row, 0)?.unwrap_or(Timestamp::from_micros(i64::MAX));
    Ok((now < end).then_some(end))
}

/// Ends the oldest sessions of a key to make room for one more.
async fn end_oldest(
    conn: &PooledConn,
    new: &Session,
    most: u32,
    touched: &mut Touched<'_>,
) -> Result<(), BackendError> {
    let sql = "SELECT id FROM sessions WHERE key_id = $1 AND ended_at IS NULL AND expires_at > $2
        ORDER BY created_at DESC, id DESC OFFSET $3";
    let now = new.created_at;
    let kept = i64::from(most.max(1)) - 1;
    let values: [Value<'_>; 3] = [&id(new.key_id.as_u128()), &now.micros(), &kept];
    for row in conn.rows(sql, &values).await? {
        let oldest = SessionId::from_u128(read_id(&row, 0)?);
        end_one(conn, oldest, now, touched).await?;
    }
    Ok(())
}

fn last_end(tokens: &NewTokens) -> Timestamp {
    tokens.refresh_expires_at.max(tokens.access_expires_at)
}

async fn insert_tokens<'a>(
    conn: &PooledConn,
    owner: &Session,
    tokens: &'a NewTokens,
    end_of_key: Timestamp,
    touched: &mut Touched<'a>,
) -> Result<(), BackendError> {
    let key = id(owner.id.as_u128());
    let sql = "INSERT INTO refresh_tokens (hash, session_id, issued_at, expires_at) VALUES ($1, $2, $3, $4)";
    let values: [Value<'_>; 4] = [
        &tokens.refresh.as_bytes().as_slice(),
        &key,
        &tokens.issued_at.micros(),
        &tokens.refresh_expires_at.micros(),
    ];
    let kept = conn.change(sql, &values).await;
    kept.map_err(|error| unique(error, "a refresh token with this hash"))?;
    let Some(license_id) = owner.license_id else {
        return Ok(());
    };
    let sql = "INSERT INTO credentials (id, license_id, hash, kind, prefix, status, created_at, expires_at, session_id)
        VALUES ($1, $2, $3, $4, '', 0, $5, $6, $7)";
    let values: [Value<'_>; 7] = [
        &id(tokens.access_id.as_u128()),
        &id(license_id.as_u128()),
        &tokens.access.as_bytes().as_slice(),
        &ACCESS_TOKEN_KIND,
        &tokens.issued_at.micros(),
        &tokens.access_expires_at.min(end_of_key).micros(),
        &key,
    ];
    let kept = conn.change(sql, &values).await;
    kept.map_err(|error| unique(error, "a credential with this key"))?;
    touched.added = Some((license_id, &tokens.access));
    Ok(())
}

pub(super) async fn refresh(
    conn: &PooledConn,
    hash: &KeyHash,
    asked_at: Timestamp,
    next: &NewTokens,
) -> Result<RefreshOutcome, BackendError> {
    // A request that waited for the lock reads what the winner left.
    let sql = format!(
        "SELECT {SESSION}, t.expires_at, t.used_at FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id
        WHERE t.hash = $1 FOR UPDATE"
    );
    let Some(row) = conn.row(&sql, &[&hash.as_bytes().as_slice()]).await? else {
        return Ok(RefreshOutcome::Refused);
    };
    let token = read_token(&row)?;
    let owner = &token.session;
    // The time is read when it is its turn, by the clock of `asked_at`: the gates', not the
    // server's.
    let now = SystemClock.now();
    if owner.ended_at.is_some() {
        return Ok(RefreshOutcome::Refused);
    }
    match token.used_at {
        Some(used_at) if asked_at <= used_at => return Ok(RefreshOutcome::Lost),
        Some(_) => {
            end(conn, owner.id, now).await?;
            return Ok(RefreshOutcome::Replayed);
        }
        None if token.expires_at <= now => return Ok(RefreshOutcome::Refused),
        None => {}
    }
    let Some(end) = end_of_key(conn, owner.key_id, now).await? else {
        return Ok(RefreshOutcome::Refused);
    };
    let sql = "UPDATE refresh_tokens SET used_at = $2 WHERE hash = $1";
    conn.change(sql, &[&hash.as_bytes().as_slice(), &now.micros()])
        .await?;
    let sql = "UPDATE sessions SET expires_at = greatest(expires_at, $2) WHERE id = $1";
    conn.change(sql, &[&id(owner.id.as_u128()), &last_end(next).micros()])
        .await?;
    let mut touched = Touched::default();
    insert_tokens(conn, owner, next, end, &mut touched).await?;
    touched.record(conn).await?;
    Ok(RefreshOutcome::Refreshed)
}

pub(super) async fn end(
    conn: &PooledConn,
    ended: SessionId,
    at: Timestamp,
) -> Result<Option<Session>, BackendError> {
    let mut touched = Touched::default();
    let found = end_one(conn, ended, at, &mut touched).await?;
    touched.record(conn).await?;
    Ok(found)
}

async fn end_one(
    conn: &PooledConn,
    ended: SessionId,
    at: Timestamp,
    touched: &mut Touched<'_>,
) -> Result<Option<Session>, BackendError> {
    let key = id(ended.as_u128());
    let sql = format!(
        "UPDATE sessions s SET ended_at = coalesce(ended_at, $2) WHERE id = $1 RETURNING {SESSION}"
    );
    let Some(row) = conn.row(&sql, &[&key, &at.micros()]).await? else {
        return Ok(None);
    };
    let found = read_session(&row)?;
    let sql = "UPDATE credentials SET expires_at = $2 WHERE session_id = $1 AND expires_at > $2";
    let cut = conn.change(sql, &[&key, &at.micros()]).await?;
    if let (Some(license_id), 1..) = (found.license_id, cut) {
        touched.licenses.insert(license_id);
    }
    Ok(Some(found))
}

/// Ends the access tokens of a key's sessions with the key itself, which is locked.
pub(super) async fn cut_key(
    conn: &PooledConn,
    key_id: ManagementKeyId,
    at: Timestamp,
) -> Result<(), BackendError> {
    let sql = "UPDATE credentials SET expires_at = $2 WHERE expires_at > $2
        AND session_id IN (SELECT id FROM sessions WHERE key_id = $1)";
    conn.change(sql, &[&id(key_id.as_u128()), &at.micros()])
        .await?;
    touch_licenses(conn, key_id).await
}

/// Gives the licenses of a key's sessions a new version: gates read their tokens again.
async fn touch_licenses(conn: &PooledConn, key_id: ManagementKeyId) -> Result<(), BackendError> {
    let sql =
        "SELECT DISTINCT license_id FROM sessions WHERE key_id = $1 AND license_id IS NOT NULL";
    let mut touched = Touched::default();
    for row in conn.rows(sql, &[&id(key_id.as_u128())]).await? {
        touched
            .licenses
            .insert(LicenseId::from_u128(read_id(&row, 0)?));
    }
    touched.record(conn).await
}

pub(super) async fn set_allow_ips(
    conn: &PooledConn,
    key_id: ManagementKeyId,
    allow_ips: &[IpNet],
) -> Result<Option<ManagementKey>, BackendError> {
    let sql = "UPDATE management_keys SET allow_ips = $2 WHERE id = $1";
    conn.change(sql, &[&id(key_id.as_u128()), &list(allow_ips)])
        .await?;
    touch_licenses(conn, key_id).await?;
    management::key(conn, key_id).await
}

/// Counts a call. Calls of one key wait for each other, so that all of its windows are judged
/// together.
pub(super) async fn count_call(
    conn: &PooledConn,
    key_id: ManagementKeyId,
    limits: &[RateLimit],
    now: Timestamp,
) -> Result<KeyCall, BackendError> {
    let key = id(key_id.as_u128());
    let lock =
        "SELECT pg_advisory_xact_lock(hashtextextended('tallygate key windows ' || $1::text, 0))";
    conn.row(lock, &[&key.to_string()]).await?;
    let mut call = tell_call(conn, key_id, limits, now).await?;
    if !call.admitted {
        return Ok(call);
    }
    for window in &mut call.windows {
        window.calls += 1;
    }
    let each =
        |column: fn(&WindowCount) -> i64| call.windows.iter().map(column).collect::<Vec<_>>();
    let seconds = each(|window| i64::from(window.limit.window.seconds()));
    let calls = each(|window| i64::from(window.calls));
    let periods = each(|window| {
        let length = i64::from(window.limit.window.seconds());
        window.resets_at.seconds() / length - 1
    });
    let sql = "INSERT INTO key_windows (key_id, seconds, period, calls)
        SELECT $1, n.seconds, n.period, n.calls FROM unnest($2::bigint[], $3::bigint[], $4::bigint[])
        AS n (seconds, period, calls)
        ON CONFLICT (key_id, seconds) DO UPDATE SET period = excluded.period, calls = excluded.calls";
    conn.change(sql, &[&key, &seconds, &periods, &calls])
        .await?;
    Ok(call)
}

/// Returns how full the windows of a key are. Their periods never go back, however the clocks of
/// gates differ.
pub(super) async fn tell_call(
    conn: &PooledConn,
    key_id: ManagementKeyId,
    limits: &[RateLimit],
    now: Timestamp,
) -> Result<KeyCall, BackendError> {
    let sql = "SELECT seconds, period, calls FROM key_windows WHERE key_id = $1";
    let kept = conn.rows(sql, &[&id(key_id.as_u128())]).await?;
    let mut windows = Vec::with_capacity(limits.len());
    for limit in limits {
        let seconds = limit.window.seconds();
        let (mut period, mut calls) = (now.period(seconds), 0);
        for row in &kept {
            let kept_period = read_number(row, 1)?;
            if read_number(row, 0)? == seconds && kept_period >= period {
                (period, calls) = (kept_period, read_number(row, 2)?);
            }
        }
        windows.push(WindowCount {
            limit: *limit,
            calls,
            resets_at: Timestamp::from_micros(
                (i64::from(period) + 1) * i64::from(seconds) * 1_000_000,
            ),
        });
    }
    Ok(KeyCall {
        admitted: windows
            .iter()
            .all(|window| window.calls < window.limit.calls),
        windows,
    })
}

pub(super) async fn sweep(
    conn: &PooledConn,
    before: Timestamp,
    limit: usize,
) -> Result<u64, BackendError> {
    let limit = rows(limit) as i64;
    let mut swept = 0;
    // Rows that another gate is sweeping are left to it.
    for sql in [
        "DELETE FROM credentials WHERE cursor IN (SELECT cursor FROM credentials
            WHERE session_id IS NOT NULL AND expires_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)",
        "DELETE FROM refresh_tokens WHERE hash IN (SELECT hash FROM refresh_tokens WHERE expires_at < $1
            LIMIT $2 FOR UPDATE SKIP LOCKED)",
        "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires_at < $1
            LIMIT $2 FOR UPDATE SKIP LOCKED)",
        "DELETE FROM key_windows WHERE (key_id, seconds) IN (SELECT key_id, seconds FROM key_windows
            WHERE (period + 1) * seconds * 1000000 < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)",
    ] {
        swept += conn.change(sql, &[&before.micros(), &limit]).await?;
    }
    Ok(swept)
}

// === reading ===

pub(super) async fn session(
    conn: &PooledConn,
    wanted: SessionId,
) -> Result<Option<Session>, BackendError> {
    let sql = format!("SELECT {SESSION} FROM sessions s WHERE s.id = $1");
    let row = conn.row(&sql, &[&id(wanted.as_u128())]).await?;
    row.as_ref().map(read_session).transpose()
}

/// Returns a session that nobody else may change until the transaction is over.
pub(super) async fn locked(
    conn: &PooledConn,
    wanted: SessionId,
) -> Result<Option<Session>, BackendError> {
    let sql = format!("SELECT {SESSION} FROM sessions s WHERE s.id = $1 FOR UPDATE");
    let row = conn.row(&sql, &[&id(wanted.as_u128())]).await?;
    row.as_ref().map(read_session).transpose()
}

pub(super) async fn token_ends(
    conn: &PooledConn,
    tokens: &[(LicenseId, CredentialId)],
) -> Result<Vec<(CredentialId, Timestamp)>, BackendError> {
    let licenses: Vec<Uuid> = tokens
        .iter()
        .map(|(license, _)| id(license.as_u128()))
        .collect();
    let ids: Vec<Uuid> = tokens
        .iter()
        .map(|(_, token)| id(token.as_u128()))
        .collect();
    let sql = "SELECT c.id, c.expires_at FROM unnest($1::uuid[], $2::uuid[]) AS n (license_id, id)
        JOIN credentials c ON c.license_id = n.license_id AND c.id = n.id WHERE c.expires_at IS NOT NULL";
    let found = conn.rows(sql, &[&licenses, &ids]).await?;
    let ends = found.iter().map(|row| {
        let token = CredentialId::from_u128(read_id(row, 0)?);
        Ok((token, read_time(row, 1)?))
    });
    ends.collect()
}

pub(super) async fn sessions_of(
    conn: &PooledConn,
    key_id: ManagementKeyId,
    after: Option<SessionId>,
    limit: usize,
) -> Result<Vec<Session>, BackendError> {
    let sql = format!(
        "SELECT {SESSION} FROM sessions s WHERE s.key_id = $1 AND s.id > $2 ORDER BY s.id LIMIT $3"
    );
    let after = id(after.map_or(0, SessionId::as_u128));
    let values: [Value<'_>; 3] = [&id(key_id.as_u128()), &after, &(rows(limit) as i64)];
    let found = conn.rows(&sql, &values).await?;
    found.iter().map(read_session).collect()
}

pub(super) async fn refresh_token(
    conn: &PooledConn,
    hash: &KeyHash,
) -> Result<Option<StoredRefreshToken>, BackendError> {
    let sql = format!(
        "SELECT {SESSION}, t.expires_at, t.used_at FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id
        WHERE t.hash = $1"
    );
    let row = conn.row(&sql, &[&hash.as_bytes().as_slice()]).await?;
    row.as_ref().map(read_token).transpose()
}

fn read_token(row: &Row) -> Result<StoredRefreshToken, BackendError> {
    Ok(StoredRefreshToken {
        session: read_session(row)?,
        expires_at: read_time(row, 5)?,
        used_at: read_optional_time(row, 6)?,
    })
}

fn read_session(row: &Row) -> Result<Session, BackendError> {
    Ok(Session {
        id: SessionId::from_u128(read_id(row, 0)?),
        key_id: ManagementKeyId::from_u128(read_id(row, 1)?),
        license_id: read_optional_id(row, 2)?.map(LicenseId::from_u128),
        created_at: read_time(row, 3)?,
        ended_at: read_optional_time(row, 4)?,
    })
}
