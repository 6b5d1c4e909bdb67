//! Takes leases for all meters that want some: what queues up while the store works is the next statement.

use std::collections::HashMap;

use model::LicenseId;
use store::{LeaseGrant, LeaseRequest};

use crate::entry::LicenseState;
use crate::licensing::Licensing;
use crate::meter::Wishes;

use std::sync::Arc;

type Wish = (Arc<LicenseState>, Wishes);

impl Licensing {
    /// Serves the queue of meters for ever.
    ///
    /// A statement that the store does not answer is waited for however long it takes, though calls wait only their
    /// timeout: whether it leased anything is known by its answer alone. What an error leaves open counts as not
    /// leased, or as given back; the store frees it when this instance is settled.
    pub(crate) async fn serve_leases(&self) {
        loop {
            let batch = self.hub.next_batch().await;
            let now = self.clock.now();
            let wishes: Vec<Wish> = batch
                .into_iter()
                .map(|state| {
                    let wishes = state.meter().wishes(now, &self.options.lease);
                    (state, wishes)
                })
                .collect();
            self.hub.asking();
            let result = self.give_back_and_lease(&wishes).await;
            self.hub.answered(result.is_ok());
            match result {
                Ok(grants) => self.hand_out(&wishes, grants),
                Err(error) => {
                    tracing::warn!(%error, licenses = wishes.len(), "units cannot be leased");
                    wishes.iter().for_each(|(state, _)| state.meter().failed());
                }
            }
            for (state, _) in &wishes {
                self.hub.lease_bell(state.id()).notify_waiters();
            }
        }
    }

    /// First gives back, so that what one meter lets go can be leased again at once.
    async fn give_back_and_lease(&self, wishes: &[Wish]) -> Result<Vec<LeaseGrant>, store::Error> {
        let returns: Vec<_> = wishes
            .iter()
            .flat_map(|(_, wish)| wish.returns.iter().copied())
            .collect();
        if !returns.is_empty() {
            self.store.give_back(self.instance, returns).await?;
            let returned = wishes.iter().filter(|(_, wish)| !wish.returns.is_empty());
            returned.for_each(|(state, _)| state.meter().returned());
        }
        let requests: Vec<_> = wishes
            .iter()
            .flat_map(|(_, wish)| wish.requests.iter().copied())
            .collect();
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.clock.now();
        self.store.lease(self.instance, requests, now).await
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

/// The answer to a request that the store left out: of a balance that is not there.
const fn nothing(request: &LeaseRequest) -> LeaseGrant {
    LeaseGrant {
        key: request.key,
        units: 0,
        left: 0,
        next_refill_at: None,
    }
}
