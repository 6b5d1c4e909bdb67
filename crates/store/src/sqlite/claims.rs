//! [`ClaimStore`] on `licenses.db`.

use async_trait::async_trait;
use model::{InstanceId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::SqliteStore;
use super::backend_error::BackendError;
use super::convert::{id, read_id, read_time, rows};
use crate::claims::{Claim, ClaimKey, ClaimStore, Claimed, NewClaim};
use crate::error::Error;

/// The columns in the order that [`read_claim`] reads.
const CLAIM: &str = "content, owner, reference, attempt, answer, claimed_at, expires_at";

#[async_trait]
impl ClaimStore for SqliteStore {
    async fn claim(&self, new: NewClaim) -> Result<Claimed, Error> {
        self.licenses
            .write(move |session| claim(session.connection(), &new))
            .await
    }

    async fn claimed(&self, key: ClaimKey) -> Result<Option<Claim>, Error> {
        self.licenses
            .read(move |session| find(session.connection(), &key))
            .await
    }

    async fn take_over_claim(
        &self,
        key: ClaimKey,
        attempt: u32,
        owner: InstanceId,
    ) -> Result<bool, Error> {
        let sql = "UPDATE claims SET owner = ?4, attempt = attempt + 1
            WHERE kind = ?1 AND digest = ?2 AND attempt = ?3 AND answer IS NULL";
        self.licenses
            .write(move |session| {
                let owner = id(owner.as_u128());
                let changed = session.connection().prepare_cached(sql)?.execute(params![
                    key.kind as u8,
                    key.digest,
                    attempt,
                    owner
                ])?;
                Ok(changed == 1)
            })
            .await
    }

    async fn finish_claim(
        &self,
        key: ClaimKey,
        answer: Vec<u8>,
        expires_at: Timestamp,
    ) -> Result<bool, Error> {
        let sql = "UPDATE claims SET answer = ?3, expires_at = ?4
            WHERE kind = ?1 AND digest = ?2 AND answer IS NULL";
        self.licenses
            .write(move |session| {
                let changed = session.connection().prepare_cached(sql)?.execute(params![
                    key.kind as u8,
                    key.digest,
                    answer,
                    expires_at.micros()
                ])?;
                Ok(changed == 1)
            })
            .await
    }

    async fn release_claim(&self, key: ClaimKey) -> Result<bool, Error> {
        let sql = "DELETE FROM claims WHERE kind = ?1 AND digest = ?2 AND answer IS NULL";
        self.licenses
            .write(move |session| {
                let place = params![key.kind as u8, key.digest];
                let removed = session.connection().prepare_cached(sql)?.execute(place)?;
                Ok(removed == 1)
            })
            .await
    }

    async fn sweep_claims(&self, now: Timestamp, limit: usize) -> Result<usize, Error> {
        let sql = "DELETE FROM claims WHERE rowid IN
            (SELECT rowid FROM claims WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)";
        let limit = rows(limit) as i64;
        self.licenses
            .write(move |session| {
                let mut statement = session.connection().prepare_cached(sql)?;
                Ok(statement.execute(params![now.micros(), limit])?)
            })
            .await
    }
}

fn claim(connection: &Connection, new: &NewClaim) -> Result<Claimed, BackendError> {
    let sql = "INSERT INTO claims (kind, digest, content, owner, reference, claimed_at, expires_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
        ON CONFLICT (kind, digest) DO UPDATE SET content = excluded.content, owner = excluded.owner,
        reference = excluded.reference, attempt = 0, answer = NULL, claimed_at = excluded.claimed_at,
        expires_at = excluded.expires_at WHERE claims.expires_at <= excluded.claimed_at";
    let written = connection.prepare_cached(sql)?.execute(params![
        new.key.kind as u8,
        new.key.digest,
        new.content,
        id(new.owner.as_u128()),
        id(new.reference),
        new.at.micros(),
        new.expires_at.micros(),
    ])?;
    if written == 1 {
        return Ok(Claimed::Won);
    }
    find(connection, &new.key)?
        .map(Claimed::Lost)
        .ok_or_else(|| BackendError::corrupt("a claim vanished within its transaction"))
}

fn find(connection: &Connection, key: &ClaimKey) -> Result<Option<Claim>, BackendError> {
    let sql = format!("SELECT {CLAIM} FROM claims WHERE kind = ?1 AND digest = ?2");
    let found = connection
        .prepare_cached(&sql)?
        .query_row(params![key.kind as u8, key.digest], read_claim)
        .optional()?;
    Ok(found)
}

fn read_claim(row: &Row<'_>) -> rusqlite::Result<Claim> {
    Ok(Claim {
        content: row.get(0)?,
        owner: InstanceId::from_u128(read_id(row, 1)?),
        reference: read_id(row, 2)?,
        attempt: row.get(3)?,
        answer: row.get(4)?,
        claimed_at: read_time(row, 5)?,
        expires_at: read_time(row, 6)?,
    })
}
