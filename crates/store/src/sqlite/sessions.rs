//! Sessions and the windows of keys in SQL.

use ipnet::IpNet;
use model::{
    ACCESS_TOKEN_KIND, CredentialId, KeyHash, LicenseId, ManagementKeyId, RateLimit, Session,
    SessionId, Timestamp,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::backend_error::{BackendError, unique};
use super::convert::{id, list, read_id, read_optional_id, read_optional_time, read_time, rows};
use super::{licenses, management};
use crate::management::ManagementKey;
use crate::sessions::{KeyCall, NewTokens, RefreshOutcome, StoredRefreshToken, WindowCount};

/// The columns in the order that [`read_session`] reads.
const SESSION: &str = "s.id, s.key_id, s.license_id, s.created_at, s.ended_at";

// === writing ===

pub(super) fn create(
    connection: &Connection,
    session: &Session,
    tokens: &NewTokens,
    most: u32,
) -> Result<bool, BackendError> {
    let Some(end) = end_of_key(connection, session.key_id, tokens.issued_at)? else {
        return Ok(false);
    };
    end_oldest(connection, session, most)?;
    connection
        .prepare_cached(
            "INSERT INTO sessions (id, key_id, license_id, created_at, expires_at, ended_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            id(session.id.as_u128()),
            id(session.key_id.as_u128()),
            session.license_id.map(|license| id(license.as_u128())),
            session.created_at.micros(),
            last_end(tokens).micros(),
            session.ended_at.map(Timestamp::micros),
        ])
        .map_err(|error| unique(error, "a session with this id"))?;
    insert_tokens(connection, session, tokens, end)?;
    Ok(true)
}

/// Returns when a key ends; `None`: it has ended, or there is no such key. Asked within the
/// transaction that keeps tokens of it, so that no token outlives it.
fn end_of_key(
    connection: &Connection,
    key_id: ManagementKeyId,
    now: Timestamp,
) -> Result<Option<Timestamp>, BackendError> {
    let key = management::key(connection, key_id)?;
    let end = key.map_or(Timestamp::from_micros(i64::MIN), |key| {
        let ends = [key.expires_at, key.revoked_at].into_iter().flatten();
        ends.min().unwrap_or(Timestamp::from_micros(i64::MAX))
    });
    Ok((now < end).then_some(end))
}

/// Ends the oldest sessions of a key to make room for one more.
fn end_oldest(connection: &Connection, new: &Session, most: u32) -> Result<(), BackendError> {
    let sql = "SELECT id FROM sessions WHERE key_id = ?1 AND ended_at IS NULL AND expires_at > ?2
        ORDER BY created_at DESC, id DESC LIMIT -1 OFFSET ?3";
    let now = new.created_at;
    let oldest = connection
        .prepare_cached(sql)?
        .query_map(
            params![id(new.key_id.as_u128()), now.micros(), most.max(1) - 1],
            |row| read_id(row, 0).map(SessionId::from_u128),
        )?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    for session in oldest {
        end(connection, session, now)?;
    }
    Ok(())
}

fn last_end(tokens: &NewTokens) -> Timestamp {
    tokens.refresh_expires_at.max(tokens.access_expires_at)
}

fn insert_tokens(
    connection: &Connection,
    session: &Session,
    tokens: &NewTokens,
    end_of_key: Timestamp,
) -> Result<(), BackendError> {
    let key = id(session.id.as_u128());
    connection
        .prepare_cached(
            "INSERT INTO refresh_tokens (hash, session_id, issued_at, expires_at) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![
            tokens.refresh.as_bytes(),
            key,
            tokens.issued_at.micros(),
            tokens.refresh_expires_at.micros(),
        ])
        .map_err(|error| unique(error, "a refresh token with this hash"))?;
    let Some(license_id) = session.license_id else {
        return Ok(());
    };
    connection
        .prepare_cached(
            "INSERT INTO credentials (id, license_id, hash, kind, prefix, status, created_at, expires_at, session_id)
             VALUES (?1, ?2, ?3, ?4, '', 0, ?5, ?6, ?7)",
        )?
        .execute(params![
            id(tokens.access_id.as_u128()),
            id(license_id.as_u128()),
            tokens.access.as_bytes(),
            ACCESS_TOKEN_KIND,
            tokens.issued_at.micros(),
            tokens.access_expires_at.min(end_of_key).micros(),
            key,
        ])
        .map_err(|error| unique(error, "a credential with this key"))?;
    licenses::touch(
        connection,
        license_id,
        Some(&tokens.access),
        tokens.issued_at,
    )
}

pub(super) fn refresh(
    connection: &Connection,
    hash: &KeyHash,
    asked_at: Timestamp,
    next: &NewTokens,
    now: Timestamp,
) -> Result<RefreshOutcome, BackendError> {
    let Some(token) = refresh_token(connection, hash)? else {
        return Ok(RefreshOutcome::Refused);
    };
    let session = &token.session;
    if session.ended_at.is_some() {
        return Ok(RefreshOutcome::Refused);
    }
    match token.used_at {
        Some(used_at) if asked_at <= used_at => return Ok(RefreshOutcome::Lost),
        Some(_) => {
            end(connection, session.id, now)?;
            return Ok(RefreshOutcome::Replayed);
        }
        None if token.expires_at <= now => return Ok(RefreshOutcome::Refused),
        None => {}
    }
    let Some(end) = end_of_key(connection, session.key_id, now)? else {
        return Ok(RefreshOutcome::Refused);
    };
    connection
        .prepare_cached("UPDATE refresh_tokens SET used_at = ?2 WHERE hash = ?1")?
        .execute(params![hash.as_bytes(), now.micros()])?;
    connection
        .prepare_cached("UPDATE sessions SET expires_at = max(expires_at, ?2) WHERE id = ?1")?
        .execute(params![id(session.id.as_u128()), last_end(next).micros()])?;
    insert_tokens(connection, session, next, end)?;
    Ok(RefreshOutcome::Refreshed)
}

pub(super) fn end(
    connection: &Connection,
    session: SessionId,
    at: Timestamp,
) -> Result<Option<Session>, BackendError> {
    let key = id(session.as_u128());
    connection
        .prepare_cached("UPDATE sessions SET ended_at = ?2 WHERE id = ?1 AND ended_at IS NULL")?
        .execute(params![key, at.micros()])?;
    let Some(ended) = self::session(connection, session)? else {
        return Ok(None);
    };
    let cut = connection
        .prepare_cached(
            "UPDATE credentials SET expires_at = ?2 WHERE session_id = ?1 AND expires_at > ?2",
        )?
        .execute(params![key, at.micros()])?;
    if let (Some(license_id), 1..) = (ended.license_id, cut) {
        licenses::touch(connection, license_id, None, at)?;
    }
    Ok(Some(ended))
}

pub(super) fn token_ends(
    connection: &Connection,
    tokens: &[(LicenseId, CredentialId)],
) -> Result<Vec<(CredentialId, Timestamp)>, BackendError> {
    let sql = "SELECT expires_at FROM credentials WHERE license_id = ?1 AND id = ?2 AND expires_at IS NOT NULL";
    let mut statement = connection.prepare_cached(sql)?;
    let mut ends = Vec::new();
    for (license, token) in tokens {
        let key = params![id(license.as_u128()), id(token.as_u128())];
        let end = statement
            .query_row(key, |row| read_time(row, 0))
            .optional()?;
        ends.extend(end.map(|end| (*token, end)));
    }
    Ok(ends)
}

/// Ends the access tokens of a key's sessions with the key itself.
pub(super) fn cut_key(
    connection: &Connection,
    key_id: ManagementKeyId,
    at: Timestamp,
) -> Result<(), BackendError> {
    let key = id(key_id.as_u128());
    connection
        .prepare_cached(
            "UPDATE credentials SET expires_at = ?2 WHERE expires_at > ?2
             AND session_id IN (SELECT id FROM sessions WHERE key_id = ?1)",
        )?
        .execute(params![key, at.micros()])?;
    touch_licenses(connection, key_id, at)
}

/// Gives the licenses of a key's sessions a new version: gates read their tokens again.
fn touch_licenses(
    connection: &Connection,
    key_id: ManagementKeyId,
    at: Timestamp,
) -> Result<(), BackendError> {
    let sql =
        "SELECT DISTINCT license_id FROM sessions WHERE key_id = ?1 AND license_id IS NOT NULL";
    let touched = connection
        .prepare_cached(sql)?
        .query_map([id(key_id.as_u128())], |row| {
            read_id(row, 0).map(LicenseId::from_u128)
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    for license_id in touched {
        licenses::touch(connection, license_id, None, at)?;
    }
    Ok(())
}

pub(super) fn set_allow_ips(
    connection: &Connection,
    key_id: ManagementKeyId,
    allow_ips: &[IpNet],
    now: Timestamp,
) -> Result<Option<ManagementKey>, BackendError> {
    connection
        .prepare_cached("UPDATE management_keys SET allow_ips = ?2 WHERE id = ?1")?
        .execute(params![id(key_id.as_u128()), list(allow_ips)])?;
    touch_licenses(connection, key_id, now)?;
    management::key(connection, key_id)
}

pub(super) fn count_call(
    connection: &Connection,
    key_id: ManagementKeyId,
    limits: &[RateLimit],
    now: Timestamp,
    take: bool,
) -> Result<KeyCall, BackendError> {
    let mut windows = Vec::with_capacity(limits.len());
    let mut periods = Vec::with_capacity(limits.len());
    for limit in limits {
        let (period, calls) = window(connection, key_id, limit, now)?;
        let seconds = i64::from(limit.window.seconds());
        periods.push(period);
        windows.push(WindowCount {
            limit: *limit,
            calls,
            resets_at: Timestamp::from_micros((i64::from(period) + 1) * seconds * 1_000_000),
        });
    }
    let admitted = windows
        .iter()
        .all(|window| window.calls < window.limit.calls);
    if !(take && admitted) {
        return Ok(KeyCall { admitted, windows });
    }
    for (window, period) in windows.iter_mut().zip(periods) {
        window.calls += 1;
        connection
            .prepare_cached(
                "INSERT INTO key_windows (key_id, seconds, period, calls) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET period = ?3, calls = ?4",
            )?
            .execute(params![
                id(key_id.as_u128()),
                window.limit.window.seconds(),
                period,
                window.calls,
            ])?;
    }
    Ok(KeyCall { admitted, windows })
}

/// Returns the present period of a window and its calls. It never goes back, however the clocks of
/// gates differ.
fn window(
    connection: &Connection,
    key_id: ManagementKeyId,
    limit: &RateLimit,
    now: Timestamp,
) -> Result<(u32, u32), BackendError> {
    let seconds = limit.window.seconds();
    let present = now.period(seconds);
    let kept: Option<(u32, u32)> = connection
        .prepare_cached("SELECT period, calls FROM key_windows WHERE key_id = ?1 AND seconds = ?2")?
        .query_row(params![id(key_id.as_u128()), seconds], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    Ok(match kept {
        Some((period, calls)) if period >= present => (period, calls),
        _ => (present, 0),
    })
}

pub(super) fn sweep(
    connection: &Connection,
    before: Timestamp,
    limit: usize,
) -> Result<u64, BackendError> {
    let limit = rows(limit) as i64;
    let mut swept = 0;
    for sql in [
        "DELETE FROM credentials WHERE cursor IN (SELECT cursor FROM credentials
            WHERE session_id IS NOT NULL AND expires_at < ?1 LIMIT ?2)",
        "DELETE FROM refresh_tokens WHERE hash IN (SELECT hash FROM refresh_tokens WHERE expires_at < ?1 LIMIT ?2)",
        "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires_at < ?1 LIMIT ?2)",
        "DELETE FROM key_windows WHERE (key_id, seconds) IN (SELECT key_id, seconds FROM key_windows
            WHERE (period + 1) * seconds * 1000000 < ?1 LIMIT ?2)",
    ] {
        swept += connection
            .prepare_cached(sql)?
            .execute(params![before.micros(), limit])?;
    }
    Ok(swept as u64)
}

// === reading ===

pub(super) fn session(
    connection: &Connection,
    session: SessionId,
) -> Result<Option<Session>, BackendError> {
    let sql = format!("SELECT {SESSION} FROM sessions s WHERE s.id = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query([id(session.as_u128())])?;
    found.next()?.map(read_session).transpose()
}

pub(super) fn sessions_of(
    connection: &Connection,
    key_id: ManagementKeyId,
    after: Option<SessionId>,
    limit: usize,
) -> Result<Vec<Session>, BackendError> {
    let sql = format!(
        "SELECT {SESSION} FROM sessions s WHERE s.key_id = ?1 AND s.id > ?2 ORDER BY s.id LIMIT ?3"
    );
    let after = id(after.map_or(0, SessionId::as_u128));
    connection
        .prepare_cached(&sql)?
        .query_and_then(
            params![id(key_id.as_u128()), after, rows(limit) as i64],
            read_session,
        )?
        .collect()
}

pub(super) fn refresh_token(
    connection: &Connection,
    hash: &KeyHash,
) -> Result<Option<StoredRefreshToken>, BackendError> {
    let sql = format!(
        "SELECT {SESSION}, t.expires_at, t.used_at FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id
         WHERE t.hash = ?1"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query([hash.as_bytes()])?;
    let Some(row) = found.next()? else {
        return Ok(None);
    };
    Ok(Some(StoredRefreshToken {
        session: read_session(row)?,
        expires_at: read_time(row, 5)?,
        used_at: read_optional_time(row, 6)?,
    }))
}

fn read_session(row: &Row<'_>) -> Result<Session, BackendError> {
    Ok(Session {
        id: SessionId::from_u128(read_id(row, 0)?),
        key_id: ManagementKeyId::from_u128(read_id(row, 1)?),
        license_id: read_optional_id(row, 2)?.map(LicenseId::from_u128),
        created_at: read_time(row, 3)?,
        ended_at: read_optional_time(row, 4)?,
    })
}
