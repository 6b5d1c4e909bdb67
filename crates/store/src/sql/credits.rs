//! The parts of [`CreditStore`](crate::credits::CreditStore) that both engines have: what is written
//! with the license and with the account. The balance itself is each engine's own.

use model::{License, LicenseId};

use super::audit::add_entries;
use super::license_rows::get;
use super::{Backend, BackendError, Kind, Outcome, Part, Sql, Twins, count, sql, values};
use crate::audit::AuditEntries;
use crate::credits::Adjustment;
use crate::error::Error;
use crate::licenses::{NewLicense, StoredLicense};
use crate::rules::numbers::LICENSE_REVOKED;

/// Adds a change by hand to the sums of a license, which become at least those that its balance has
/// `applied`: licenses may have been restored from an older copy than their balances. Returns
/// whether there is such a license, whose units are counted and which is not revoked.
pub(crate) async fn add_to_sums<S: Sql>(
    sql: &S,
    id: LicenseId,
    by: Adjustment,
    applied: (u64, u64),
) -> Outcome<bool, S> {
    let (credit, debit) = by.credit_and_debit();
    let statement = sql!(
        "UPDATE licenses SET credited = least(greatest(credited, $4), 9223372036854775807 - $2) + $2,
        debited = least(greatest(debited, $5), 9223372036854775807 - $3) + $3
        WHERE id = $1 AND remaining IS NOT NULL AND status <> {LICENSE_REVOKED}"
    );
    let values = values![
        id,
        count(credit),
        count(debit),
        count(applied.0),
        count(applied.1),
    ];
    Ok(sql.execute(statement, &values).await? > 0)
}

/// Gives the change of a license its number, and returns the license with it. Only audit lines may
/// come after it.
pub(crate) async fn number_change<S: Twins>(sql: &S, id: LicenseId) -> Outcome<StoredLicense, S> {
    sql.record_changes(&[(id, None)]).await?;
    let license = get(sql, id).await?;
    license.ok_or_else(|| BackendError::corrupt("a license vanished within its transaction"))
}

/// Keeps a wallet: [`CreditStore::create_wallet`](crate::credits::CreditStore::create_wallet).
pub(crate) async fn create_wallet<B: Backend>(
    store: &B,
    wallet: License,
    entries: AuditEntries<()>,
) -> Result<Option<StoredLicense>, Error> {
    let new = NewLicense {
        license: wallet,
        credentials: Vec::new(),
        devices: Vec::new(),
    };
    let asked = ([new], entries);
    let kind = Kind::Transaction;
    let kept = store
        .run(Part::Licenses, kind, asked, |sql, (new, entries)| {
            Box::pin(async move {
                let license = &new[0].license;
                let statement =
                    sql!("UPDATE accounts SET wallet = $2 WHERE name = $1 AND wallet IS NULL");
                let values = values![&license.account, license.id];
                if sql.execute(statement, &values).await? == 0 {
                    return Ok(None);
                }
                sql.create_licenses(new).await?;
                let kept = get(sql, license.id).await?;
                add_entries(sql, entries, &()).await?;
                Ok(kept)
            })
        })
        .await?;
    if let Some(kept) = &kept {
        store.after_changes(kept.version, 1).await;
    }
    Ok(kept)
}
