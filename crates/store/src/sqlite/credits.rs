//! [`CreditStore`] on both files: a change is written down with the license, in `licenses.db`, and
//! applied to the balance, in `ledger.db`. If this process dies between the two, the next lease
//! applies it.

use async_trait::async_trait;
use model::{License, LicenseId, Timestamp};

use super::{LedgerSession, SqliteStore, balances};
use crate::audit::AuditEntries;
use crate::credits::{Adjusted, Adjustment, CreditStore};
use crate::error::Error;
use crate::licenses::StoredLicense;
use crate::quota::Balance;
use crate::rules::refill::BalanceRow;
use crate::sql::audit::add_entries;
use crate::sql::credits::{add_to_sums, create_wallet, number_change};
use crate::sql::{Backend, Kind, Part};

#[async_trait]
impl CreditStore for SqliteStore {
    async fn adjust_balance(
        &self,
        id: LicenseId,
        by: Adjustment,
        now: Timestamp,
        entries: AuditEntries<()>,
    ) -> Result<Option<Adjusted>, Error> {
        // One change by hand at a time, so that what the debits of a balance took between the two
        // steps is what this one took.
        let _turn = self.adjusting.lock().await;
        let Some((before, balance)) = self.refresh_balance(id, now).await? else {
            return Ok(None);
        };
        let asked = (id, by, before, entries);
        let noted = self
            .run(Part::Licenses, Kind::Transaction, asked, |sql, asked| {
                Box::pin(async move {
                    let (id, by, before, entries) = asked;
                    let applied = (before.credited, before.debited);
                    if !add_to_sums(sql, *id, *by, applied).await? {
                        return Ok(None);
                    }
                    let license = number_change(sql, *id).await?;
                    add_entries(sql, entries, &()).await?;
                    Ok(Some(license))
                })
            })
            .await?;
        let Some(license) = noted else {
            return Ok(None);
        };
        // Nothing, if the units are not counted any more since the change was written down.
        let refreshed = self.refresh_balance(id, now).await?;
        let (after, balance) = refreshed.unwrap_or((before, balance));
        Ok(Some(Adjusted {
            license,
            units: match by {
                Adjustment::Credit(units) => units,
                Adjustment::Debit(_) => after.debits_taken - before.debits_taken,
            },
            balance,
        }))
    }

    async fn create_wallet(
        &self,
        wallet: License,
        entries: AuditEntries<()>,
    ) -> Result<Option<StoredLicense>, Error> {
        create_wallet(self, wallet, entries).await
    }
}

impl SqliteStore {
    /// Brings a balance up to date, with all credits and debits of its license; `None`: nothing is
    /// counted.
    async fn refresh_balance(
        &self,
        id: LicenseId,
        now: Timestamp,
    ) -> Result<Option<(BalanceRow, Balance)>, Error> {
        self.ledger
            .write(move |session: &mut LedgerSession| {
                let terms = session.terms.of(std::iter::once(id))?;
                let Some(terms) = terms.get(&id) else {
                    return Ok(None);
                };
                let connection = session.connection();
                let Some(row) = balances::refresh_balance(&connection, id, terms, now)? else {
                    return Ok(None);
                };
                let balance = balances::shown(&connection, terms, id, &row, now)?;
                Ok(Some((row, balance)))
            })
            .await
    }
}
