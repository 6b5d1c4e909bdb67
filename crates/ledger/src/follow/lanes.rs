//! The lanes of an instance, as far as they can be read here.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::InstanceId;
use store::InstanceState;

use super::Follower;
use super::cursor::Turn;
use crate::context::LaneSource;
use crate::error::Error;

/// A lane to be followed.
pub(super) struct FollowedLane {
    pub(super) turn: Turn,
    pub(super) instance: InstanceId,
    /// The label of its gate.
    pub(super) node: Arc<str>,
    /// Records up to this one are in sealed files: all there will ever be, where the instance had ended before.
    pub(super) sealed: u64,
    /// Its journal, where it is here, and the last record in it that is read now.
    pub(super) journal: Option<(LaneSource, u64)>,
}

impl Follower<'_> {
    /// All lanes of an instance that have a record, as far as the store knows it or its journal is here.
    pub(super) fn lanes_of(&self, state: &InstanceState) -> Result<Vec<FollowedLane>, Error> {
        let instance = state.id;
        let mut journals: BTreeMap<u32, (LaneSource, u64)> = BTreeMap::new();
        if instance == self.shared.instance {
            let live = self.shared.lanes.iter();
            journals.extend(
                live.map(|lane| (lane.source.lane, (lane.source.clone(), lane.lane.closed()))),
            );
        }
        // A dead lane ends where it ends.
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
