//! The license that pays for a use: its own, or another in its place.

use std::sync::Arc;

use licensing::{Ask, CachedLicense, HeldUnits, Reservation};
use model::{LicenseId, Refusal};

use crate::gate::Gate;
use crate::reserve::{refused_by_rule, reserve};
use crate::routed::Routed;
use crate::spend::Spend;
use crate::worker::Worker;

/// The license of a use, and the one that pays for it if that is another.
#[derive(Clone)]
pub(crate) struct Parties {
    /// The license that the use is recorded for.
    pub(crate) user: Arc<CachedLicense>,
    /// The license that pays in its place; `None`: it pays for itself.
    other: Option<Arc<CachedLicense>>,
    /// Whether nobody pays.
    free: bool,
}

impl Parties {
    /// Returns the license whose units are taken.
    pub(crate) fn payer(&self) -> &Arc<CachedLicense> {
        self.other.as_ref().unwrap_or(&self.user)
    }

    /// Returns the id of another license that pays; `None`: the use pays for itself.
    pub(crate) fn other_id(&self) -> Option<LicenseId> {
        self.other.as_ref().map(|other| other.license().id)
    }

    /// Returns whether the license of the use pays for it.
    pub(crate) const fn pays_for_itself(&self) -> bool {
        self.other.is_none() && !self.free
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
    ) -> Result<Reservation, licensing::Refused> {
        if self.free {
            return Ok(Reservation::unlimited(&ask));
        }
        let Some(other) = &self.other else {
            return reserve(&self.user, ask, held).await;
        };
        let nothing_to_pay_with = |_| refused_by_rule(Refusal::QuotaExhausted);
        other.standing(ask.now).map_err(nothing_to_pay_with)?;
        let reservation = reserve(other, ask, &mut None).await?;
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
        let other = match spend.payer {
            Some(payer) => {
                let found = self.holder(worker, payer, routed.started).await;
                // The user is known: what is wrong with the payer is not theirs to mend.
                let other = found.map_err(|_| Refusal::QuotaUnavailable)?;
                Some(other).filter(|other| other.license().id != user.license().id)
            }
            None => None,
        };
        Ok(Parties {
            user: user.clone(),
            other,
            free: spend.free,
        })
    }
}
