//! [`ClaimStore`] on both engines.

use async_trait::async_trait;
use model::{InstanceId, Timestamp};

use super::{Backend, Kind, Outcome, Part, Row, Sql, Value, rows, sql, values};
use crate::claims::{Claim, ClaimKey, ClaimStore, Claimed, NewClaim};
use crate::error::Error;

/// The columns in the order that [`read_claim`] reads.
const CLAIM: &str = "content, owner, reference, attempt, answer, prepared, claimed_at, expires_at";

#[async_trait]
impl<B: Backend> ClaimStore for B {
    async fn claim(&self, new: NewClaim) -> Result<Claimed, Error> {
        let kind = match new.waits_for_disk {
            true => Kind::Write,
            false => Kind::UnsyncedWrite,
        };
        self.run(Part::Licenses, kind, new, |sql, new| {
            Box::pin(claim(sql, new))
        })
        .await
    }

    async fn claimed(&self, key: ClaimKey) -> Result<Option<Claim>, Error> {
        self.run(Part::Licenses, Kind::Read, key, |sql, key| {
            Box::pin(find(sql, key))
        })
        .await
    }

    async fn take_over_claim(
        &self,
        key: ClaimKey,
        attempt: u32,
        owner: InstanceId,
    ) -> Result<bool, Error> {
        let asked = (key, attempt, owner);
        self.run(Part::Licenses, Kind::Write, asked, |sql, asked| {
            Box::pin(async move {
                let (key, attempt, owner) = asked;
                let statement = sql!(
                    "UPDATE claims SET owner = $4, attempt = attempt + 1
                    WHERE kind = $1 AND digest = $2 AND attempt = $3 AND answer IS NULL"
                );
                let values = values![kind(key), &key.digest, *attempt, *owner];
                Ok(sql.execute(statement, &values).await? == 1)
            })
        })
        .await
    }

    async fn finish_claim(
        &self,
        key: ClaimKey,
        answer: Vec<u8>,
        expires_at: Timestamp,
    ) -> Result<bool, Error> {
        let asked = (key, answer, expires_at);
        self.run(Part::Licenses, Kind::Write, asked, |sql, asked| {
            Box::pin(async move {
                let (key, answer, expires_at) = asked;
                let statement = sql!(
                    "UPDATE claims SET answer = $3, prepared = NULL, expires_at = $4
                    WHERE kind = $1 AND digest = $2 AND answer IS NULL"
                );
                let values = values![kind(key), &key.digest, answer, *expires_at];
                Ok(sql.execute(statement, &values).await? == 1)
            })
        })
        .await
    }

    async fn finish_prepared(&self, keys: Vec<ClaimKey>) -> Result<u64, Error> {
        // Two digits of the kind, then the digest in hexadecimal digits.
        let text = |key: &ClaimKey| format!("{:02}{}", kind(key), hex::encode(key.digest));
        let keys: Vec<String> = keys.iter().map(text).collect();
        self.run(Part::Licenses, Kind::UnsyncedBatch, keys, |sql, keys| {
            Box::pin(async move {
                // The cross join makes SQLite look claims up by their index: it would scan all of
                // them for each key.
                let statement = sql!(
                    postgres: "UPDATE claims AS c SET answer = c.prepared, prepared = NULL
                    FROM unnest($1::text[]) AS n (key)
                    WHERE c.kind = substr(n.key, 1, 2)::smallint AND c.digest = decode(substr(n.key, 3), 'hex')
                    AND c.answer IS NULL AND c.prepared IS NOT NULL",
                    sqlite: "UPDATE claims SET answer = prepared, prepared = NULL WHERE rowid IN (
                      SELECT c.rowid FROM json_each($1) n CROSS JOIN claims c
                      ON c.kind = CAST(substr(n.value, 1, 2) AS INTEGER) AND c.digest = unhex(substr(n.value, 3))
                    ) AND answer IS NULL AND prepared IS NOT NULL",
                );
                sql.execute(statement, &[Value::Texts(keys.clone())]).await
            })
        })
        .await
    }

    async fn release_claim(&self, key: ClaimKey) -> Result<bool, Error> {
        self.run(Part::Licenses, Kind::Write, key, |sql, key| {
            Box::pin(async move {
                let statement =
                    sql!("DELETE FROM claims WHERE kind = $1 AND digest = $2 AND answer IS NULL");
                let values = values![kind(key), &key.digest];
                Ok(sql.execute(statement, &values).await? == 1)
            })
        })
        .await
    }

    async fn sweep_claims(&self, now: Timestamp, limit: usize) -> Result<usize, Error> {
        let asked = (now, limit);
        self.run(Part::Licenses, Kind::Write, asked, |sql, (now, limit)| {
            Box::pin(async move {
                // Claims that another gate is sweeping are left to it.
                let statement = sql!(
                    postgres: "DELETE FROM claims c USING (
                      SELECT kind, digest FROM claims WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2
                      FOR UPDATE SKIP LOCKED
                    ) o WHERE c.kind = o.kind AND c.digest = o.digest",
                    sqlite: "DELETE FROM claims WHERE rowid IN
                      (SELECT rowid FROM claims WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)",
                );
                let gone = sql.execute(statement, &values![*now, rows(*limit)]).await?;
                Ok(usize::try_from(gone).unwrap_or(*limit))
            })
        })
        .await
    }
}

fn kind(key: &ClaimKey) -> i64 {
    i64::from(key.kind as u8)
}

async fn claim<S: Sql>(sql: &S, new: &NewClaim) -> Outcome<Claimed, S> {
    let statement = sql!(
        "INSERT INTO claims AS c (kind, digest, content, owner, reference, prepared, claimed_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (kind, digest) DO UPDATE SET content = excluded.content, owner = excluded.owner,
        reference = excluded.reference, attempt = 0, answer = NULL, prepared = excluded.prepared,
        claimed_at = excluded.claimed_at,
        expires_at = excluded.expires_at WHERE c.expires_at <= excluded.claimed_at"
    );
    let values = values![
        kind(&new.key),
        &new.key.digest,
        &new.content,
        new.owner,
        Value::Id(new.reference),
        new.prepared.as_ref(),
        new.at,
        new.expires_at,
    ];
    // The winner may release it before it is read: then it can be won again.
    for _ in 0..100 {
        if sql.execute(statement, &values).await? == 1 {
            return Ok(Claimed::Won);
        }
        if let Some(claim) = find(sql, &new.key).await? {
            return Ok(Claimed::Lost(claim));
        }
    }
    Err(Error::Unavailable("a claim was won and given back again and again".to_owned()).into())
}

async fn find<S: Sql>(sql: &S, key: &ClaimKey) -> Outcome<Option<Claim>, S> {
    let statement = sql!("SELECT {CLAIM} FROM claims WHERE kind = $1 AND digest = $2");
    let row = sql
        .query_opt(statement, &values![kind(key), &key.digest])
        .await?;
    Ok(row.as_ref().map(read_claim).transpose()?)
}

fn read_claim(row: &Row) -> Result<Claim, Error> {
    Ok(Claim {
        content: row.get(0)?,
        owner: row.get(1)?,
        reference: row.get(2)?,
        attempt: row.get(3)?,
        answer: row.get(4)?,
        prepared: row.get(5)?,
        claimed_at: row.get(6)?,
        expires_at: row.get(7)?,
    })
}
