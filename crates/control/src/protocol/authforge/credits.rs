//! Credits: what work for software costs, in units of the account's balance. The record of it is
//! the license's; the account pays, or nobody while its credits are unlimited.

use std::sync::Arc;

use gate::{Held, Holder, Payer, Refused, Spend};
use licensing::{CachedLicense, SoftwareApp};
use model::{Address, Mode, Refusal};

use crate::http::services::Services;

/// Work that costs credits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// A validation, with the digest of its device.
    Validation {
        /// What the record notes of the device.
        device: u64,
    },
    /// Ten heartbeats.
    Heartbeats,
    /// A file that a seller has made.
    File,
    /// A file that a device has made by itself.
    Activation,
}

/// The license that work is done for, and the one that pays.
pub(super) struct Parties {
    /// The license.
    pub(super) license: Arc<CachedLicense>,
    /// The wallet of its account; `None`: its credits are unlimited.
    wallet: Option<Arc<CachedLicense>>,
}

/// The reason why work is not paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotPaid {
    /// The account has too few credits.
    NoCredits,
    /// The license may not be used from this address.
    Address,
    /// The license was disabled, revoked or ended meanwhile.
    Standing(Refusal),
    /// Store or journal are out of reach.
    Unavailable,
}

impl Work {
    /// Returns the number of credits that it costs.
    pub(super) const fn credits(self) -> u64 {
        match self {
            Self::Validation { .. } | Self::Heartbeats | Self::File => 1,
            Self::Activation => 2,
        }
    }

    /// Returns what its record notes of the device; 0: nothing.
    const fn device(self) -> u64 {
        match self {
            Self::Validation { device } => device,
            Self::Heartbeats | Self::File | Self::Activation => 0,
        }
    }

    /// Returns the status in its record, which tells validations from other work.
    const fn status(self) -> u16 {
        match self {
            Self::Validation { .. } => 200,
            Self::File | Self::Activation => 201,
            Self::Heartbeats => 202,
        }
    }
}

impl Parties {
    /// Returns the parties of work for a license.
    ///
    /// # Errors
    /// [`NotPaid::Unavailable`] if the wallet cannot be looked up.
    pub(super) async fn of(
        services: &Services,
        license: Arc<CachedLicense>,
    ) -> Result<Self, NotPaid> {
        let wallet = services.spender().wallet(&license.license().account).await;
        let wallet = wallet.map_err(|_| NotPaid::Unavailable)?;
        Ok(Self { license, wallet })
    }

    /// Takes credits, to be recorded or given back.
    ///
    /// # Errors
    /// Why they are not taken.
    pub(super) async fn hold<'a>(
        &'a self,
        services: &'a Services,
        app: &'a SoftwareApp,
        work: Work,
        address: Option<Address>,
    ) -> Result<Held<'a>, NotPaid> {
        let spend = Spend {
            payer: match &self.wallet {
                Some(wallet) => Payer::Other(Holder::Found(wallet)),
                None => Payer::Nobody,
            },
            app: Some(&app.app),
            units: Some(work.credits()),
            status: work.status(),
            idempotency: work.device(),
            // Where software is told of, it is by the key that it has.
            notes_credential: matches!(work, Work::Validation { .. }),
            address,
            // Where the seller asks, no address of a user is known.
            elsewhere: address.is_none(),
            ..Spend::one(Holder::Found(&self.license), Mode::Verify)
        };
        services.spender().hold(spend).await.map_err(not_paid)
    }
}

/// Returns why work is not paid for by the gate's refusal.
pub(super) fn not_paid(refused: Refused) -> NotPaid {
    match refused.refusal {
        Refusal::QuotaExhausted | Refusal::QuotaExhaustedForNow => NotPaid::NoCredits,
        Refusal::IpNotAllowed => NotPaid::Address,
        standing @ (Refusal::LicenseDisabled
        | Refusal::LicenseRevoked
        | Refusal::LicenseExpired) => NotPaid::Standing(standing),
        _ => NotPaid::Unavailable,
    }
}
