//! The events of licenses, written in the transaction of their change, for accounts that have a
//! webhook.

use std::borrow::Borrow;

use model::{AccountName, LicenseId};

use super::license_rows::get_all;
use super::webhooks::outbox::{with_webhook, write};
use super::{Outcome, Sql};
use crate::audit::Changed;
use crate::licenses::{ChangeNumber, NewLicense, StoredLicense};
use crate::rules::events::events_of;

/// The largest number of licenses that are read at once.
pub(super) const AT_ONCE: usize = 1_000;

/// Returns whether somebody is told of the licenses of an account. A change asks it before its
/// number is given, which others wait for.
pub(super) async fn is_told<S: Sql>(sql: &S, account: &AccountName) -> Outcome<bool, S> {
    let told = with_webhook(sql, std::iter::once(account)).await?;
    Ok(!told.is_empty())
}

/// Writes down what a change of a license is.
pub(super) async fn tell_change<S: Sql>(
    sql: &S,
    changed: &Changed<StoredLicense>,
) -> Outcome<(), S> {
    tell_changes(sql, std::iter::once(changed)).await
}

/// Writes down what changes of licenses are, as many as are read at once.
pub(super) async fn tell_changes<S: Sql>(
    sql: &S,
    changes: impl Iterator<Item = impl Borrow<Changed<StoredLicense>>> + Send,
) -> Outcome<(), S> {
    let now = sql.now();
    let events = changes.flat_map(|changed| {
        let Changed { before, after } = changed.borrow();
        events_of(Some(before), after, now)
    });
    let events: Vec<_> = events.collect();
    write(sql, &events).await
}

/// Writes down that the devices of licenses are freed, those of accounts that have a webhook.
/// Called before it is done.
pub(super) async fn tell_freed_devices<S: Sql>(
    sql: &S,
    licenses: &[(LicenseId, AccountName)],
) -> Outcome<(), S> {
    let told = with_webhook(sql, licenses.iter().map(|(_, account)| account)).await?;
    let told = licenses
        .iter()
        .filter(|(_, account)| told.contains(account));
    let told: Vec<_> = told.map(|(license, _)| *license).collect();
    for some in told.chunks(AT_ONCE) {
        let freed = get_all(sql, some).await?.into_iter().map(|before| {
            let after = StoredLicense {
                devices: Vec::new(),
                ..before.clone()
            };
            Changed { before, after }
        });
        tell_changes(sql, freed).await?;
    }
    Ok(())
}

/// Writes down that licenses are made and bound to their devices, those of accounts that have a
/// webhook. It costs one look-up where none has.
pub(super) async fn tell_new<S: Sql>(sql: &S, new: &[NewLicense]) -> Outcome<(), S> {
    let accounts = new.iter().map(|new| &new.license.account);
    let told = with_webhook(sql, accounts).await?;
    if told.is_empty() {
        return Ok(());
    }
    let of_told = |new: &&NewLicense| told.contains(&new.license.account);
    let made = new.iter().filter(of_told).flat_map(|new| {
        let stored = StoredLicense {
            license: new.license.clone(),
            credentials: Vec::new(),
            devices: new.devices.clone(),
            version: ChangeNumber(0),
        };
        events_of(None, &stored, sql.now())
    });
    write(sql, &made.collect::<Vec<_>>()).await
}
