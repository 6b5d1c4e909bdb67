//! [`TokenTwins`] on `ledger.db`, where the leases are.

use std::iter;
use std::sync::LazyLock;

use model::{
    Counter, InstanceId, KeyHash, LicenseId, RequestToken, RequestTokenId, Timestamp, TokenState,
};
use rusqlite::{Connection, params};

use super::backend_error::BackendError;
use super::convert::{count, id};
use super::quota::{give_back, grant, lease};
use super::{LedgerSession, SqliteStore};
use crate::audit::{AuditEntries, AuditStore};
use crate::error::Error;
use crate::quota::{LeaseKey, LeaseRequest};
use crate::rules::numbers::TOKEN_EXPIRED;
use crate::sql::tokens::{TokenTwins, by_id, insert, over};
use crate::sql::{Backend, Kind, Part, at_once};
use crate::tokens::{Kept, TOKENS, TokenIssue, TokenStore};

impl TokenTwins for SqliteStore {
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
        self.run(
            Part::Ledger,
            Kind::Transaction,
            (id, now),
            |sql, (id, now)| {
                Box::pin(async move {
                    let kept = by_id(sql, *id).await?;
                    if let Some(kept) = kept.filter(|kept| kept.token.state == TokenState::Issued) {
                        free(&sql.raw(), &kept)?;
                    }
                    Ok(by_id(sql, *id).await?.map(|kept| kept.at(*now)))
                })
            },
        )
        .await
    }

    async fn expire_tokens(&self, now: Timestamp, limit: usize) -> Result<usize, Error> {
        let asked = (now, limit);
        self.run(
            Part::Ledger,
            Kind::Transaction,
            asked,
            |sql, (now, limit)| {
                Box::pin(async move {
                    let over = over(sql, *now, *limit).await?;
                    over.iter().try_for_each(|kept| free(&sql.raw(), kept))?;
                    Ok(over.len())
                })
            },
        )
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
    let mut epoch = None;
    if counted && token.units > 0 {
        let connection = &session.connection();
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
    at_once(insert(&session.file.connection, token, hash, epoch))?;
    Ok(TokenIssue::Issued)
}

/// Ends a token that was issued and not used, and frees its units.
fn free(connection: &Connection, kept: &Kept) -> Result<(), BackendError> {
    if let Some(key) = kept.key() {
        give_back(connection, TOKENS, &[(key, kept.token.units)])?;
    }
    static EXPIRE: LazyLock<String> = LazyLock::new(|| {
        format!("UPDATE tokens SET state = {TOKEN_EXPIRED}, epoch = NULL WHERE id = ?1")
    });
    connection
        .prepare_cached(&EXPIRE)?
        .execute([id(kept.token.id.as_u128())])?;
    Ok(())
}

/// Moves units of an epoch from one instance's lease to another's, if that many of it are not spent.
/// Returns whether they were there; a lease of an epoch that is over is gone.
pub(super) fn move_units(
    connection: &Connection,
    license_id: LicenseId,
    (epoch, units): (u32, u64),
    from: InstanceId,
    to: InstanceId,
) -> Result<bool, BackendError> {
    let sql = "UPDATE leases SET returned = returned + ?4 WHERE license = ?1 AND counter = 0 AND period = ?2
        AND instance = ?3 AND granted - returned - spent >= ?4";
    let changed = connection.prepare_cached(sql)?.execute(params![
        id(license_id.as_u128()),
        epoch,
        id(from.as_u128()),
        count(units),
    ])?;
    if changed == 1 {
        grant(connection, to, balance(license_id, epoch), units)?;
    }
    Ok(changed == 1)
}
