//! The freeze of a fleet: while one gate takes stock, all others seal what they rolled up and keep
//! both positions where they are, so that every record that the rollups hold can be read in a file.
//! Calls go on meanwhile and become pending.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use model::InstanceId;
use store::InstanceState;

use crate::context::Batch;
use crate::error::Error;
use crate::ledger::Shared;

/// The longest time that a freeze lasts, should the gate that asked for it die.
const MAX_DURATION: Duration = Duration::from_secs(30);
/// The time that the others are waited for. A gate that hangs never answers.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);
/// The time that a frozen gate waits for its own disk: others wait for it meanwhile.
const OWN_DISK_TIMEOUT: Duration = Duration::from_millis(500);
/// The interval at which the store is asked whether all have answered.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A guard that ends the freeze of the others when it is dropped.
pub(crate) struct FreezeGuard<'a> {
    shared: &'a Shared,
}

impl Drop for FreezeGuard<'_> {
    fn drop(&mut self) {
        let instance = self.shared.instance;
        let store = &self.shared.context.store;
        let ended = store.ask(|store| async move { store.end_freeze(instance).await });
        if let Err(error) = ended {
            tracing::debug!(%error, "a freeze ends by itself");
        }
    }
}

impl Shared {
    /// Freezes all other gates but for these, which are known to be dead, and waits until they are
    /// frozen or [`TIMEOUT`] has passed; `None` if there are no others, or another gate takes stock
    /// all the time.
    pub(crate) fn freeze_others(
        &self,
        dead: &[InstanceId],
    ) -> Result<Option<FreezeGuard<'_>>, Error> {
        let deadline = Instant::now() + TIMEOUT;
        let wait = || Instant::now() < deadline && !self.stop.wait(POLL_INTERVAL);
        if self.others(dead)?.is_empty() {
            return Ok(None);
        }
        while !self.begin_freeze()? {
            if !wait() {
                return Ok(None);
            }
        }
        let others = FreezeGuard { shared: self };
        while !self.others_are_sealed(dead)? && wait() {}
        Ok(Some(others))
    }

    fn begin_freeze(&self) -> Result<bool, Error> {
        let instance = self.instance;
        let store = &self.context.store;
        store.ask(|store| async move { store.begin_freeze(instance, MAX_DURATION).await })
    }

    /// Returns the instances that live in other processes: not finished, and each the last that
    /// began under a name that a gate claims now. An instance that died elsewhere, and whose
    /// journal nobody has read yet, is none of them.
    fn others(&self, dead: &[InstanceId]) -> Result<Vec<InstanceId>, Error> {
        let store = &self.context.store;
        let all = store.ask(|store| async move { store.instances().await })?;
        let last: HashMap<String, InstanceState> = all
            .into_iter()
            .map(|state| (state.node.clone(), state))
            .collect();
        let may_live = |state: &&InstanceState| {
            state.id != self.instance && state.finished_at.is_none() && !dead.contains(&state.id)
        };
        let names: Vec<_> = last
            .values()
            .filter(may_live)
            .map(|state| state.node.clone())
            .collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let claimed = store.ask(|store| async move { store.claimed_nodes(names).await })?;
        let mut ids = Vec::new();
        ids.extend(
            claimed
                .iter()
                .filter_map(|node| last.get(node))
                .map(|state| state.id),
        );
        Ok(ids)
    }

    fn others_are_sealed(&self, dead: &[InstanceId]) -> Result<bool, Error> {
        for instance in self.others(dead)? {
            let store = &self.context.store;
            let positions = store.ask(|store| async move { store.positions(instance).await })?;
            if positions.iter().any(|lane| lane.sealed < lane.rolled) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Stays frozen for as long as another gate wants it.
    pub(crate) fn await_thaw(&self) -> Result<(), Error> {
        if !self.must_stay_frozen()? {
            return Ok(());
        }
        // Records that the disk has not taken are not rolled up, and nobody misses them in a file.
        let _later = self.wait_until_visible(OWN_DISK_TIMEOUT);
        let (mut frozen, rolled) = self.freeze();
        rolled?;
        let unsealed = |lane: &crate::ledger::LiveLane| lane.is_unsealed();
        self.seal_held(&mut frozen.sealing, unsealed, Batch::UntilDone)?;
        let wanted = || self.must_stay_frozen().unwrap_or(false);
        for recovery in frozen.backlog.iter_mut() {
            recovery.seal_rolled(&self.context, wanted)?;
        }
        while self.must_stay_frozen()? && !self.stop.wait(POLL_INTERVAL) {}
        Ok(())
    }

    fn must_stay_frozen(&self) -> Result<bool, Error> {
        let store = &self.context.store;
        let asked = store.ask(|store| async move { store.frozen_by().await })?;
        Ok(asked.is_some_and(|by| by != self.instance))
    }
}
