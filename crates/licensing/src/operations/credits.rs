//! The operations that credit and debit what is left: of a license, and of the wallet of an account.

use model::{
    AccountName, AppName, License, LicenseId, LicenseSpec, LicenseStatus, Limits, MAX_SAFE_INTEGER,
};
use serde_json::{Value, json};
use store::{Account, Adjustment, AuditEntries, Balance};

use super::acting::AuditedLicensing;
use super::change::BalanceView;
use super::validate;
use crate::error::Error;
use crate::licensing::Licensing;

/// A balance after a credit or a debit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdjustedBalance {
    /// The units that were added or taken. A debit takes what is free: fewer than asked for where
    /// others are spent, or leased to gates that have not used them yet.
    pub units: u64,
    /// The balance after it.
    pub balance: BalanceView,
}

impl AuditedLicensing {
    /// Credits or debits an account. Its credits are counted from the first time on: a first credit
    /// is all that there is, and a first debit leaves nothing.
    ///
    /// # Errors
    /// `units` or the reason is not what it may be, there is no such account, or the store fails;
    /// then the change may have been made.
    pub async fn adjust_account(
        &self,
        name: &AccountName,
        by: Adjustment,
        reason: &str,
    ) -> Result<AdjustedBalance, Error> {
        check(by, reason)?;
        let account = self.account(name).await?;
        let note = self.adjustment("account", name, name, by, reason);
        if account.wallet.is_none()
            && let Some(begun) = self.begin_wallet(name, by, note.clone()).await?
        {
            return Ok(begun);
        }
        self.adjust(LicenseId::of_wallet(name), by, note).await
    }

    /// Credits or debits a license whose units are counted. Calls go on beside it, and the balance
    /// stays in its epoch.
    ///
    /// # Errors
    /// `units` or the reason is not what it may be, there is no such license, it is revoked, it is
    /// the wallet of an account, its units are not counted, or the store fails; then the change may
    /// have been made.
    pub async fn adjust_license(
        &self,
        id: LicenseId,
        by: Adjustment,
        reason: &str,
    ) -> Result<AdjustedBalance, Error> {
        check(by, reason)?;
        let license = self.unrevoked(id).await?.license;
        if license.spec.limits.remaining.is_none() {
            return Err(Error::UnitsNotCounted(id));
        }
        let note = self.adjustment("license", &id, &license.account, by, reason);
        self.adjust(id, by, note).await
    }

    /// Returns the line of a change by hand. It says what was asked for.
    fn adjustment(
        &self,
        of: &str,
        subject: &dyn std::fmt::Display,
        account: &AccountName,
        by: Adjustment,
        reason: &str,
    ) -> AuditEntries<()> {
        let (word, units) = match by {
            Adjustment::Credit(units) => ("credit", units),
            Adjustment::Debit(units) => ("debit", units),
        };
        let line = self
            .own_audit_writer()
            .line(&format!("{of}.{word}"), subject);
        let change = json!({ "units": units, "reason": reason });
        let line = line.of(account).between(None::<&Value>, Some(&change));
        AuditEntries::of(vec![line])
    }

    /// Makes the wallet of an account; `None`: it has one by now.
    async fn begin_wallet(
        &self,
        account: &AccountName,
        by: Adjustment,
        note: AuditEntries<()>,
    ) -> Result<Option<AdjustedBalance>, Error> {
        let (units, remaining) = match by {
            Adjustment::Credit(units) => (units, units),
            Adjustment::Debit(_) => (0, 0),
        };
        let wallet = License {
            id: LicenseId::of_wallet(account),
            account: account.clone(),
            app: AppName::every(),
            status: LicenseStatus::Active,
            created_at: self.clock.now(),
            spec: LicenseSpec {
                limits: Limits {
                    remaining: Some(remaining),
                    ..Limits::default()
                },
                ..LicenseSpec::default()
            },
        };
        let credits = self.store.credits()?;
        let Some(wallet) = credits.create_wallet(wallet, note).await? else {
            return Ok(None);
        };
        self.changes.note_own(&wallet, None);
        let balance = Balance {
            granted: remaining,
            spent: 0,
            leased: 0,
            epoch: 0,
            next_refill_at: None,
        };
        let balance = BalanceView::of(&balance, None);
        Ok(Some(AdjustedBalance { units, balance }))
    }

    async fn adjust(
        &self,
        id: LicenseId,
        by: Adjustment,
        note: AuditEntries<()>,
    ) -> Result<AdjustedBalance, Error> {
        let state = self.cache.state(id);
        if let Some(state) = &state {
            if let Adjustment::Debit(_) = by {
                // What this gate leased ahead and did not use is free, too.
                state.let_go();
            }
            self.queues.leases.settled(state).await;
        }
        let held = state.and_then(|state| state.meter().leased_units());
        let credits = self.store.credits()?;
        let adjusted = credits
            .adjust_balance(id, by, self.clock.now(), note)
            .await?;
        let Some(adjusted) = adjusted else {
            self.unrevoked_or_wallet(id).await?;
            return Err(Error::UnitsNotCounted(id));
        };
        self.changes.note_own(&adjusted.license, None);
        // By what came with the change: a store that does not answer from now on undoes nothing.
        Ok(AdjustedBalance {
            units: adjusted.units,
            balance: BalanceView::of(&adjusted.balance, held),
        })
    }
}

impl Licensing {
    /// Returns the balance of an account's credits; `None`: they are not counted.
    ///
    /// # Errors
    /// The store fails.
    pub async fn account_balance(&self, account: &Account) -> Result<Option<BalanceView>, Error> {
        match account.wallet {
            Some(wallet) => self.balance(wallet).await,
            None => Ok(None),
        }
    }
}

fn check(by: Adjustment, reason: &str) -> Result<(), Error> {
    let (Adjustment::Credit(units) | Adjustment::Debit(units)) = by;
    if !(1..=MAX_SAFE_INTEGER).contains(&units) {
        let reason = format!("must be at least 1 and at most {MAX_SAFE_INTEGER}");
        return Err(Error::invalid("units", reason));
    }
    validate::text("reason", Some(reason))
}
