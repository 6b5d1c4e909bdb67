//! Uses whose units are taken before it is known whether they come to anything.

use std::sync::Arc;

use licensing::Reservation;
use model::CallId;

use crate::gate::Gate;
use crate::payer::Parties;
use crate::refused::Refused;
use crate::reserve::refused_by_rule;
use crate::routed::Routed;
use crate::spend::{LimitDecision, Spend, Spent};
use crate::worker::Worker;

/// A use that passed every check and whose units are taken, without a record. Dropped, it gives
/// them back, and nothing happened.
#[must_use = "it is recorded or given back"]
pub struct Held<'a> {
    gate: &'a Gate,
    worker: &'a Arc<Worker>,
    spend: Spend<'a>,
    routed: Routed,
    /// What is taken, and of whom; `None` once it is recorded.
    taken: Option<(Parties, Reservation)>,
}

impl Gate {
    /// Checks a license and takes units of its limits, as [`Gate::spend`] does before it writes the
    /// record. [`AtLimit::Record`](crate::AtLimit::Record) makes no difference: what cannot be
    /// taken is refused.
    ///
    /// # Errors
    /// As [`Gate::spend`].
    pub async fn hold<'a>(
        &'a self,
        worker: &'a Arc<Worker>,
        spend: Spend<'a>,
    ) -> Result<Held<'a>, Refused> {
        let (routed, entry) = self.find_spend(worker, &spend).await?;
        let taken = async {
            let parties = self.parties(worker, &routed, &spend, &entry).await;
            let parties = parties.map_err(refused_by_rule)?;
            let taken = self.limits(&routed, &spend, &parties, &mut None).await?;
            Ok((parties, taken))
        };
        match taken.await {
            Ok((parties, LimitDecision::Within(reservation))) => Ok(Held {
                gate: self,
                worker,
                spend,
                routed,
                taken: Some((parties, reservation)),
            }),
            Ok((_, LimitDecision::Beyond(refusal))) => {
                let refused = refused_by_rule(refusal);
                Err(self.refuse_known(worker, &routed, &entry, &refused))
            }
            Err(refused) => Err(self.refuse_known(worker, &routed, &entry, &refused)),
        }
    }
}

impl Held<'_> {
    /// Gives the use the identity of work that was begun before, as after a crash.
    pub fn set_call_id(&mut self, call_id: CallId) {
        self.routed.call_id = call_id;
    }

    /// Returns whether the app's records wait for the disk.
    #[must_use]
    pub fn waits_for_disk(&self) -> bool {
        self.routed.route.app.waits_for_disk
    }

    /// Writes the record. Returns when it is as durable as the app asks (G1).
    ///
    /// # Errors
    /// [`Refusal::JournalUnavailable`](model::Refusal::JournalUnavailable): there is no room for
    /// the record, or it cannot be found out whether it is kept.
    pub async fn record(mut self) -> Result<Spent, Refused> {
        let (parties, taken) = self.taken.take().expect("it is recorded once");
        let (gate, worker) = (self.gate, self.worker);
        let taken = LimitDecision::Within(taken);
        gate.record(worker, &self.routed, &self.spend, parties, taken, None)
            .await
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some((parties, reservation)) = self.taken.take() {
            parties.payer().cancel(reservation);
        }
    }
}

impl std::fmt::Debug for Held<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held")
            .field("spend", &self.spend)
            .finish_non_exhaustive()
    }
}
