//! The task that takes leases for all meters that need one. Meters that queue up while the store is
//! being asked go into the next statement together.

mod queue;
mod store_health;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use model::{Clock, InstanceId, LicenseId};
use store::{LeaseGrant, LeaseRequest, LeaseRound, Store};

use crate::license::{LicenseQueues, LicenseState};
use crate::meter::{LeaseDemand, Meter};

pub(crate) use queue::LeaseQueue;

/// The task that takes leases of the store for the meters in the [`LeaseQueue`], and returns what
/// they gave back.
pub(crate) struct LeaseTask {
    store: Arc<dyn Store>,
    instance: InstanceId,
    clock: Arc<dyn Clock>,
    queues: Arc<LicenseQueues>,
}

type Demand = (Arc<LicenseState>, LeaseDemand);

impl LeaseTask {
    /// The pause between two tries to ask a store that does not answer.
    const RETRY_PAUSE: Duration = Duration::from_millis(100);

    /// Returns the task for the leases of the gate `instance`.
    pub(crate) const fn new(
        store: Arc<dyn Store>,
        instance: InstanceId,
        clock: Arc<dyn Clock>,
        queues: Arc<LicenseQueues>,
    ) -> Self {
        Self {
            store,
            instance,
            clock,
            queues,
        }
    }

    /// Serves the queue of meters for ever.
    ///
    /// A statement is waited for however long the store takes, though calls wait only their
    /// timeout: only its answer says whether it leased anything. If the answer is lost, the same
    /// round is asked again until there is one; the store carries it out once.
    pub(crate) async fn run(&self) {
        let queue = &self.queues.leases;
        for number in 1.. {
            let batch = queue.next_batch().await;
            let now = self.clock.now();
            let demands: Vec<Demand> = batch
                .into_iter()
                .map(|state| {
                    let demand = state.meter().demand(now, queue.options());
                    (state, demand)
                })
                .collect();
            match self.ask_until_answered(number, &demands).await {
                Ok(grants) => {
                    fail::fail_point!("licensing::leased");
                    self.hand_out(&demands, grants);
                }
                Err(error) => {
                    tracing::error!(%error, licenses = demands.len(), "units cannot be leased");
                    let refused = |(state, demand): &Demand| state.meter().refused(&demand.returns);
                    let again: Vec<_> = demands.iter().map(refused).collect();
                    tokio::time::sleep(Self::RETRY_PAUSE).await;
                    let again = demands.iter().zip(again).filter(|(_, again)| *again);
                    again.for_each(|((state, _), _)| queue.enqueue(state));
                }
            }
            queue.wake_callers(demands.iter().map(|(state, _)| state));
        }
    }

    /// Asks for a round until it is known to be done. An error says that it is not done and never
    /// will be.
    async fn ask_until_answered(
        &self,
        number: u64,
        demands: &[Demand],
    ) -> Result<Vec<LeaseGrant>, store::Error> {
        let round = LeaseRound {
            number,
            returns: gather(demands, |demand| &demand.returns),
            requests: gather(demands, |demand| &demand.requests),
        };
        if round.returns.is_empty() && round.requests.is_empty() {
            return Ok(Vec::new());
        }
        let queue = &self.queues.leases;
        let mut is_warned = false;
        loop {
            queue.health().asking();
            let now = self.clock.now();
            let asked = self.store.lease_round(self.instance, round.clone(), now);
            match asked.await {
                Err(error) if error.is_unavailable() => {
                    queue.health().failed();
                    if !is_warned {
                        tracing::warn!(%error, licenses = demands.len(), "units cannot be leased now");
                        let meters = demands.iter().map(|(state, _)| state.meter());
                        meters.for_each(Meter::unanswered);
                    }
                    is_warned = true;
                    queue.wake_callers(demands.iter().map(|(state, _)| state));
                }
                result => {
                    queue.health().answered();
                    return result;
                }
            }
            tokio::time::sleep(Self::RETRY_PAUSE).await;
        }
    }

    fn hand_out(&self, demands: &[Demand], grants: Vec<LeaseGrant>) {
        let mut by_license: HashMap<LicenseId, Vec<LeaseGrant>> = HashMap::new();
        for grant in grants {
            by_license
                .entry(grant.key.license_id)
                .or_default()
                .push(grant);
        }
        let (queue, now) = (&self.queues.leases, self.clock.now());
        for (state, demand) in demands {
            if !demand.returns.is_empty() {
                state.meter().returned();
            }
            let mut grants = by_license.remove(&state.id()).unwrap_or_default();
            for request in &demand.requests {
                let same = |grant: &LeaseGrant| grant.key.counter == request.key.counter;
                if !grants.iter().any(same) {
                    grants.push(nothing(request));
                }
            }
            let again = state
                .meter()
                .granted(demand.era, &grants, now, queue.options());
            if again {
                queue.enqueue(state);
            }
        }
    }
}

fn gather<T: Copy>(demands: &[Demand], part: impl Fn(&LeaseDemand) -> &Vec<T>) -> Vec<T> {
    let parts = demands.iter().flat_map(|(_, demand)| part(demand));
    parts.copied().collect()
}

/// Returns the answer to a request that the store left out: of a balance that does not exist.
const fn nothing(request: &LeaseRequest) -> LeaseGrant {
    LeaseGrant {
        key: request.key,
        units: 0,
        left: 0,
        elsewhere: 0,
        next_refill_at: None,
    }
}
