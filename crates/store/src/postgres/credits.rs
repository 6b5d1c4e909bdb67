//! [`CreditStore`] on PostgreSQL, where license and balance are changed in one transaction.

use async_trait::async_trait;
use model::{License, LicenseId, Timestamp};

use super::conn::PooledConn;
use super::convert::{id as uuid_of, read};
use super::quota::balance;
use super::{PostgresStore, backend_error::BackendError};
use crate::audit::AuditEntries;
use crate::credits::{Adjusted, Adjustment, CreditStore};
use crate::error::Error;
use crate::licenses::StoredLicense;
use crate::sql::audit::add_entries;
use crate::sql::credits::{add_to_sums, create_wallet, number_change};
use crate::sql::license_changes::lock;
use crate::sql::{Backend, Kind, Part};

/// A change by hand that is asked for: of which license, by what, at what time, with which lines.
type Asked = (LicenseId, Adjustment, Option<i64>, AuditEntries<()>);

#[async_trait]
impl CreditStore for PostgresStore {
    async fn adjust_balance(
        &self,
        id: LicenseId,
        by: Adjustment,
        now: Timestamp,
        entries: AuditEntries<()>,
    ) -> Result<Option<Adjusted>, Error> {
        let asked = (id, by, self.at(now), entries);
        let adjusted = self
            .run(Part::Licenses, Kind::Transaction, asked, |conn, asked| {
                Box::pin(adjust(conn, asked))
            })
            .await?;
        if let Some(adjusted) = &adjusted {
            self.after_changes(adjusted.license.version, 1).await;
        }
        Ok(adjusted)
    }

    async fn create_wallet(
        &self,
        wallet: License,
        entries: AuditEntries<()>,
    ) -> Result<Option<StoredLicense>, Error> {
        create_wallet(self, wallet, entries).await
    }
}

async fn adjust(
    conn: &PooledConn,
    (id, by, at, entries): &Asked,
) -> Result<Option<Adjusted>, BackendError> {
    lock(conn, *id).await?;
    let Some(before) = refresh(conn, *id, *at).await? else {
        return Ok(None);
    };
    if !add_to_sums(conn, *id, *by, (0, 0)).await? {
        return Ok(None);
    }
    let after = refresh(conn, *id, *at).await?;
    let balance = balance(conn, *id, *at).await?;
    let (Some(after), Some(balance)) = (after, balance) else {
        return Err(BackendError::corrupt(
            "a balance vanished within its transaction",
        ));
    };
    let license = number_change(conn, *id).await?;
    add_entries(conn, entries, &()).await?;
    Ok(Some(Adjusted {
        license,
        units: match by {
            Adjustment::Credit(units) => *units,
            Adjustment::Debit(_) => (after - before).unsigned_abs(),
        },
        balance,
    }))
}

/// Brings a balance up to date. Returns what debits took of it so far; `None`: nothing is counted.
async fn refresh(
    conn: &PooledConn,
    id: LicenseId,
    at: Option<i64>,
) -> Result<Option<i64>, BackendError> {
    let sql = "SELECT refresh_balance($1, $2)";
    let row = conn.row(sql, &[&uuid_of(id.as_u128()), &at]).await?;
    row.map_or(Ok(None), |row| read(&row, 0))
}
