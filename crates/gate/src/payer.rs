//! The license that pays for a use: its own, or another in its place.

use std::sync::Arc;

use licensing::{Ask, CachedLicense, HeldUnits, Refused, Reservation};
use model::{LicenseId, Refusal};

use crate::gate::Gate;
use crate::reserve::{refused_by_rule, reserve};
use crate::routed::Routed;
use crate::spend::{Payer, Spend};
use crate::worker::Worker;

/// The license of a use, and the one that pays for it if that is another.
pub(crate) struct Parties {
    /// The license that the use is recorded for.
    pub(crate) user: Arc<CachedLicense>,
    paying: Paying,
}

/// The license that pays.
enum Paying {
    /// That of the use.
    User,
    /// Another in its place.
    Other(Arc<CachedLicense>),
    /// None.
    Nobody,
}

impl Parties {
    /// Returns the license whose units are taken.
    pub(crate) fn payer(&self) -> &Arc<CachedLicense> {
        match &self.paying {
            Paying::Other(other) => other,
            Paying::User | Paying::Nobody => &self.user,
        }
    }

    /// Returns the id of another license that pays; `None`: none does.
    pub(crate) fn other_id(&self) -> Option<LicenseId> {
        match &self.paying {
            Paying::Other(other) => Some(other.license().id),
            Paying::User | Paying::Nobody => None,
        }
    }

    /// Returns whether the license of the use pays for it.
    pub(crate) const fn pays_for_itself(&self) -> bool {
        matches!(self.paying, Paying::User)
    }

    /// Reserves what a use needs of the payer's limits, as [`reserve`] does.
    ///
    /// # Errors
    /// The limit of the payer that is reached; [`Refusal::QuotaExhausted`] if another that should
    /// pay may not be used itself; a revocation of the user that came into force while this waited.
    pub(crate) async fn reserve(
        &self,
        ask: Ask,
        held: &mut Option<HeldUnits>,
    ) -> Result<Reservation, Refused> {
        let other = match &self.paying {
            Paying::User => return reserve(&self.user, ask, held).await,
            Paying::Nobody => return Ok(Reservation::unlimited(&ask)),
            Paying::Other(other) => other,
        };
        let standing = other.standing(ask.now);
        standing.map_err(|refusal| of_payer(refused_by_rule(refusal)))?;
        let reservation = reserve(other, ask, &mut None).await.map_err(of_payer)?;
        if let Some(refusal) = self.user.cut(ask.now) {
            other.cancel(reservation);
            return Err(refused_by_rule(refusal));
        }
        Ok(reservation)
    }

    /// Ends the reservation of a use that is recorded, with the units that stay spent.
    pub(crate) fn settle(&self, reservation: Reservation, spent: u64) {
        if !self.pays_for_itself() {
            self.user.note_use(reservation.counted_at());
        }
        self.payer().settle(reservation, spent);
    }
}

/// Returns how a user is refused where another that should pay is refused. One that may not be used
/// itself, also if that came into force while its units were waited for, has nothing to pay with.
fn of_payer(refused: Refused) -> Refused {
    match refused.refusal {
        Refusal::LicenseUnknown
        | Refusal::LicenseDisabled
        | Refusal::LicenseRevoked
        | Refusal::LicenseExpired => refused_by_rule(Refusal::QuotaExhausted),
        _ => refused,
    }
}

impl Gate {
    /// Returns the parties of a use of this license.
    ///
    /// # Errors
    /// The license that should pay in its place cannot be found out, or there is none
    /// ([`Refusal::QuotaUnavailable`]).
    pub(crate) async fn parties(
        &self,
        worker: &Worker,
        routed: &Routed,
        spend: &Spend<'_>,
        user: &Arc<CachedLicense>,
    ) -> Result<Parties, Refusal> {
        let paying = match spend.payer {
            Payer::Holder => Paying::User,
            Payer::Nobody => Paying::Nobody,
            Payer::Other(payer) => {
                let found = self.holder(worker, payer, routed.started).await;
                // The user is known: what is wrong with the payer is not theirs to mend.
                let other = found.map_err(|_| Refusal::QuotaUnavailable)?;
                match other.license().id == user.license().id {
                    true => Paying::User,
                    false => Paying::Other(other),
                }
            }
        };
        Ok(Parties {
            user: user.clone(),
            paying,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_user_is_refused_by_the_state_of_another_that_should_pay() {
        for (refusal, told) in [
            (Refusal::LicenseRevoked, Refusal::QuotaExhausted),
            (Refusal::LicenseDisabled, Refusal::QuotaExhausted),
            (Refusal::LicenseExpired, Refusal::QuotaExhausted),
            (Refusal::LicenseUnknown, Refusal::QuotaExhausted),
            (Refusal::QuotaExhaustedForNow, Refusal::QuotaExhaustedForNow),
            (Refusal::QuotaUnavailable, Refusal::QuotaUnavailable),
        ] {
            assert_eq!(of_payer(refused_by_rule(refusal)).refusal, told);
        }
    }
}
