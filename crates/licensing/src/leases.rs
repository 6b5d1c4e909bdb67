//! Takes leases for all meters that want some: what queues up while the store works is the next statement.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use model::LicenseId;
use store::{LeaseGrant, LeaseRequest, LeaseRound};
use tokio::sync::Notify;

use crate::entry::LicenseState;
use crate::hub::LeaseQueue;
use crate::licensing::Licensing;
use crate::meter::{Meter, Wishes};

type Wish = (Arc<LicenseState>, Wishes);

impl Licensing {
    /// Between two tries to ask a store that does not answer.
    const RETRY_PAUSE: Duration = Duration::from_millis(100);

    /// Serves the queue of meters for ever.
    ///
    /// A statement that the store does not answer is waited for however long it takes, though calls wait only their
    /// timeout: whether it leased anything is known by its answer alone. Where the answer is lost, the same round is asked
    /// again until there is one; the store does it once.
    pub(crate) async fn serve_leases(&self) {
        for number in 1.. {
            let batch = self.hub.next_batch().await;
            let now = self.clock.now();
            let wishes: Vec<Wish> = batch
                .into_iter()
                .map(|state| {
                    let wishes = state.meter().wishes(now, &self.options.lease);
                    (state, wishes)
                })
                .collect();
            match self.ask_until_answered(number, &wishes).await {
                Ok(grants) => {
                    fail::fail_point!("licensing::leased");
                    self.hand_out(&wishes, grants);
                }
                Err(error) => {
                    tracing::error!(%error, licenses = wishes.len(), "units cannot be leased");
                    let refused = |(state, wish): &Wish| state.meter().refused(&wish.returns);
                    let again: Vec<_> = wishes.iter().map(refused).collect();
                    tokio::time::sleep(Self::RETRY_PAUSE).await;
                    let again = wishes.iter().zip(again).filter(|(_, again)| *again);
                    again.for_each(|((state, _), _)| self.hub.enqueue(state));
                }
            }
            ring(&self.hub, &wishes);
        }
    }

    /// Asks for a round until it is known to be done; an error says that it is not, and never will be.
    async fn ask_until_answered(
        &self,
        number: u64,
        wishes: &[Wish],
    ) -> Result<Vec<LeaseGrant>, store::Error> {
        let round = LeaseRound {
            number,
            returns: gather(wishes, |wish| &wish.returns),
            requests: gather(wishes, |wish| &wish.requests),
        };
        if round.returns.is_empty() && round.requests.is_empty() {
            return Ok(Vec::new());
        }
        let mut told = false;
        loop {
            self.hub.asking();
            let now = self.clock.now();
            let asked = self.store.lease_round(self.instance, round.clone(), now);
            match asked.await {
                Err(error) if error.is_unavailable() => {
                    self.hub.store_is_away();
                    if !told {
                        tracing::warn!(%error, licenses = wishes.len(), "units cannot be leased now");
                        let meters = wishes.iter().map(|(state, _)| state.meter());
                        meters.for_each(Meter::unanswered);
                    }
                    told = true;
                    ring(&self.hub, wishes);
                }
                result => {
                    self.hub.store_answered();
                    return result;
                }
            }
            tokio::time::sleep(Self::RETRY_PAUSE).await;
        }
    }

    fn hand_out(&self, wishes: &[Wish], grants: Vec<LeaseGrant>) {
        let mut by_license: HashMap<LicenseId, Vec<LeaseGrant>> = HashMap::new();
        for grant in grants {
            by_license
                .entry(grant.key.license_id)
                .or_default()
                .push(grant);
        }
        let now = self.clock.now();
        for (state, wish) in wishes {
            if !wish.returns.is_empty() {
                state.meter().returned();
            }
            let mut grants = by_license.remove(&state.id()).unwrap_or_default();
            for request in &wish.requests {
                let same = |grant: &LeaseGrant| grant.key.counter == request.key.counter;
                if !grants.iter().any(same) {
                    grants.push(nothing(request));
                }
            }
            let again = state
                .meter()
                .granted(wish.era, &grants, now, &self.options.lease);
            if again {
                self.hub.enqueue(state);
            }
        }
    }
}

fn gather<T: Copy>(wishes: &[Wish], part: impl Fn(&Wishes) -> &Vec<T>) -> Vec<T> {
    let parts = wishes.iter().flat_map(|(_, wish)| part(wish));
    parts.copied().collect()
}

/// Wakes the calls that wait for one of these meters.
fn ring(hub: &LeaseQueue, wishes: &[Wish]) {
    let bells = wishes.iter().map(|(state, _)| hub.lease_bell(state.id()));
    bells.for_each(Notify::notify_waiters);
}

/// The answer to a request that the store left out: of a balance that is not there.
const fn nothing(request: &LeaseRequest) -> LeaseGrant {
    LeaseGrant {
        key: request.key,
        units: 0,
        left: 0,
        elsewhere: 0,
        next_refill_at: None,
    }
}
