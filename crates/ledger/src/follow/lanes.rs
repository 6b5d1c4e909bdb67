//! The lanes of an instance, as far as they can be read on this machine.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::InstanceId;
use store::InstanceState;

use super::Follower;
use super::cursor::Turn;
use crate::context::LaneSource;
use crate::error::Error;

/// A lane that is followed.
pub(super) struct FollowedLane {
    pub(super) turn: Turn,
    pub(super) instance: InstanceId,
    /// The label of its gate.
    pub(super) node: Arc<str>,
    /// The close number up to which records are in sealed files; the last of the lane, where the
    /// instance had ended before.
    pub(super) sealed: u64,
    /// Its journal, where that is on this machine, and the last record in it that is read now.
    pub(super) journal: Option<(LaneSource, u64)>,
}

impl Follower<'_> {
    /// Returns all lanes of an instance that have a record, as far as the store knows them or their
    /// journal is on this machine.
    pub(super) fn lanes_of(&self, state: &InstanceState) -> Result<Vec<FollowedLane>, Error> {
        let instance = state.id;
        let mut journals: BTreeMap<u32, (LaneSource, u64)> = BTreeMap::new();
        if instance == self.shared.instance {
            let live = self.shared.lanes.iter();
            journals.extend(
                live.map(|lane| (lane.source.lane, (lane.source.clone(), lane.lane.closed()))),
            );
        }
        // A dead lane grows no more: all of it is read.
        let dead = self
            .dead
            .iter()
            .filter(|source| source.instance == instance);
        journals.extend(dead.map(|source| (source.lane, (source.clone(), u64::MAX))));
        let store = &self.shared.context.store;
        let positions = store.ask(|store| async move { store.positions(instance).await })?;
        let mut sealed: BTreeMap<u32, u64> = positions
            .into_iter()
            .map(|position| (position.lane, position.sealed))
            .collect();
        for lane in journals.keys() {
            sealed.entry(*lane).or_default();
        }
        let node: Arc<str> = Arc::from(&*state.node);
        let lane = |(lane, sealed)| FollowedLane {
            turn: (state.number, lane),
            instance,
            node: Arc::clone(&node),
            sealed,
            journal: journals.remove(&lane),
        };
        Ok(sealed.into_iter().map(lane).collect())
    }
}
