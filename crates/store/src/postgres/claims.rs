//! [`ClaimStore`] on PostgreSQL.

use std::sync::Arc;

use async_trait::async_trait;
use model::{InstanceId, Timestamp};
use tokio_postgres::Row;

use super::PostgresStore;
use super::backend_error::BackendError;
use super::conn::{Conn, PooledConn, Value};
use super::convert::{id, read, read_bytes, read_id, read_number, read_time, rows};
use super::server::TxOptions;
use crate::claims::{Claim, ClaimKey, ClaimStore, Claimed, NewClaim};
use crate::error::Error;

/// The columns in the order that [`read_claim`] reads.
const CLAIM: &str = "content, owner, reference, attempt, answer, claimed_at, expires_at";

#[async_trait]
impl ClaimStore for PostgresStore {
    async fn claim(&self, new: NewClaim) -> Result<Claimed, Error> {
        let try_it = |conn: Conn, new: Arc<NewClaim>| async move { claim(&conn, &new).await };
        self.server.run_with(TxOptions::WRITE, new, try_it).await
    }

    async fn claimed(&self, key: ClaimKey) -> Result<Option<Claim>, Error> {
        let find = move |conn: Conn| async move { find(&conn, &key).await };
        self.server.run(TxOptions::READ, find).await
    }

    async fn take_over_claim(
        &self,
        key: ClaimKey,
        attempt: u32,
        owner: InstanceId,
    ) -> Result<bool, Error> {
        let take = move |conn: Conn| async move {
            let sql = "UPDATE claims SET owner = $4, attempt = attempt + 1
                WHERE kind = $1 AND digest = $2 AND attempt = $3 AND answer IS NULL";
            let (kind, digest) = place(&key);
            let owner = id(owner.as_u128());
            Ok(conn
                .change(sql, &[&kind, &digest, &i64::from(attempt), &owner])
                .await?
                == 1)
        };
        self.server.run(TxOptions::WRITE, take).await
    }

    async fn finish_claim(
        &self,
        key: ClaimKey,
        answer: Vec<u8>,
        expires_at: Timestamp,
    ) -> Result<bool, Error> {
        let finish = move |conn: Conn, answer: Arc<Vec<u8>>| async move {
            let sql = "UPDATE claims SET answer = $3, expires_at = $4 WHERE kind = $1 AND digest = $2 AND answer IS NULL";
            let (kind, digest) = place(&key);
            Ok(conn
                .change(sql, &[&kind, &digest, &*answer, &expires_at.micros()])
                .await?
                == 1)
        };
        self.server.run_with(TxOptions::WRITE, answer, finish).await
    }

    async fn release_claim(&self, key: ClaimKey) -> Result<bool, Error> {
        let release = move |conn: Conn| async move {
            let sql = "DELETE FROM claims WHERE kind = $1 AND digest = $2 AND answer IS NULL";
            let (kind, digest) = place(&key);
            Ok(conn.change(sql, &[&kind, &digest]).await? == 1)
        };
        self.server.run(TxOptions::WRITE, release).await
    }

    async fn sweep_claims(&self, now: Timestamp, limit: usize) -> Result<usize, Error> {
        let sweep = move |conn: Conn| async move {
            let sql = "DELETE FROM claims c USING (
                  SELECT kind, digest FROM claims WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2
                  FOR UPDATE SKIP LOCKED
                ) o WHERE c.kind = o.kind AND c.digest = o.digest";
            let gone = conn
                .change(sql, &[&now.micros(), &(rows(limit) as i64)])
                .await?;
            Ok(usize::try_from(gone).unwrap_or(limit))
        };
        self.server.run(TxOptions::WRITE, sweep).await
    }
}

fn place(key: &ClaimKey) -> (i16, &[u8]) {
    (key.kind as i16, &key.digest)
}

async fn claim(conn: &PooledConn, new: &NewClaim) -> Result<Claimed, BackendError> {
    let sql = "INSERT INTO claims AS c (kind, digest, content, owner, reference, claimed_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (kind, digest) DO UPDATE SET content = excluded.content, owner = excluded.owner,
        reference = excluded.reference, attempt = 0, answer = NULL, claimed_at = excluded.claimed_at,
        expires_at = excluded.expires_at WHERE c.expires_at <= excluded.claimed_at";
    let (kind, digest) = place(&new.key);
    let values: [Value<'_>; 7] = [
        &kind,
        &digest,
        &new.content.as_slice(),
        &id(new.owner.as_u128()),
        &id(new.reference),
        &new.at.micros(),
        &new.expires_at.micros(),
    ];
    // The winner may release it before it is read: then it can be won again.
    for _ in 0..100 {
        if conn.change(sql, &values).await? == 1 {
            return Ok(Claimed::Won);
        }
        if let Some(claim) = find(conn, &new.key).await? {
            return Ok(Claimed::Lost(claim));
        }
    }
    Err(Error::Unavailable("a claim was won and given back again and again".to_owned()).into())
}

async fn find(conn: &PooledConn, key: &ClaimKey) -> Result<Option<Claim>, BackendError> {
    let sql = format!("SELECT {CLAIM} FROM claims WHERE kind = $1 AND digest = $2");
    let (kind, digest) = place(key);
    let row = conn.row(&sql, &[&kind, &digest]).await?;
    row.as_ref().map(read_claim).transpose()
}

fn read_claim(row: &Row) -> Result<Claim, BackendError> {
    Ok(Claim {
        content: read_bytes(row, 0)?,
        owner: InstanceId::from_u128(read_id(row, 1)?),
        reference: read_id(row, 2)?,
        attempt: read_number(row, 3)?,
        answer: read(row, 4)?,
        claimed_at: read_time(row, 5)?,
        expires_at: read_time(row, 6)?,
    })
}
