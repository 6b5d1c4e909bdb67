//! The recovery of one dead instance, step by step: a batch of records rolled up, or a file sealed.
//!
//! Rollups come first, for its leased units are free as soon as they are complete; the files
//! follow. No progress is kept but the positions in the store.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use journal::DeadInstance;
use model::InstanceId;
use store::{InstanceState, LanePosition};

use super::acknowledged;
use super::marks::{marks_of, marks_without_head, read_first_head};
use crate::context::{Batch, LaneSource, LedgerContext, Source};
use crate::error::Error;
use crate::file::SealedReader;
use crate::roll::Rolling;
use crate::seal::{Sealing, remove_parts};

/// A dead instance with records that the store lacks.
pub(crate) struct InstanceRecovery {
    instance: InstanceId,
    /// Its journal; `None`: that is gone, and sealed files alone are left.
    dead: Option<Arc<DeadInstance>>,
    lanes: Vec<LaneRecovery>,
    stage: Stage,
}

/// A lane of a dead instance.
struct LaneRecovery {
    source: LaneSource,
    rolling: Rolling,
    sealing: Sealing,
    /// The number of its records that were rolled up when it was found.
    rolled: u64,
}

/// The next step of a recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Its marks are to be resolved, and its files to be read.
    Found,
    /// The lane with this index is to be rolled up.
    Rolling(usize),
    /// The lane with this index is to be sealed.
    Sealing(usize),
    /// Nothing is left to do.
    Finished,
}

/// The state of a dead instance by store and journal.
pub(super) struct RecoverySurvey {
    pub(super) dead: DeadInstance,
    state: Option<InstanceState>,
    positions: Vec<LanePosition>,
    /// The last close number of each lane.
    closed: Vec<u64>,
}

impl RecoverySurvey {
    pub(super) fn at(
        context: &LedgerContext,
        dead: DeadInstance,
        instances: &[InstanceState],
    ) -> Result<Self, Error> {
        let instance = InstanceId::from_u128(dead.instance());
        let closed = (0..dead.lanes()).map(|lane| dead.closed(lane));
        Ok(Self {
            closed: closed.collect::<Result<_, _>>()?,
            state: instances.iter().find(|state| state.id == instance).cloned(),
            positions: context
                .store
                .ask(|store| async move { store.positions(instance).await })?,
            dead,
        })
    }

    /// Returns whether the store has all of it: it is finished, and its positions are at or beyond
    /// the end of every lane, which those of a store that was restored from an older copy are not.
    pub(super) fn is_whole(&self) -> bool {
        let reached = |(lane, closed): (usize, &u64)| {
            let position = self.position(lane);
            position.rolled >= *closed && position.sealed >= *closed
        };
        self.state
            .as_ref()
            .is_some_and(|state| state.finished_at.is_some())
            && self.closed.iter().enumerate().all(reached)
    }

    /// Returns whether the store had more of it before: it was restored from an older copy, and may
    /// lack leases too.
    pub(super) fn store_is_older(&self) -> bool {
        let finished = |state: &InstanceState| state.finished_at.is_some();
        let forgotten = self.closed.iter().any(|closed| *closed > 0)
            && self.state.as_ref().is_none_or(finished)
            && !self.is_whole();
        let rolled = acknowledged::read(self.dead.path());
        let mut rolled = rolled.iter().enumerate();
        forgotten || rolled.any(|(lane, rolled)| self.position(lane).rolled < *rolled)
    }

    fn position(&self, lane: usize) -> LanePosition {
        let lane = lane_number(lane);
        let found = self.positions.iter().find(|position| position.lane == lane);
        found.copied().unwrap_or_default()
    }
}

fn lane_number(lane: usize) -> u32 {
    u32::try_from(lane).expect("a journal has at most 1,024 lanes")
}

impl InstanceRecovery {
    /// Makes a recovery, and makes the instance known to the store if it was not.
    ///
    /// # Errors
    /// Returns an error when a newer version wrote it, which shows at its first records, or the
    /// store does not answer.
    pub(super) fn of(context: &LedgerContext, survey: RecoverySurvey) -> Result<Self, Error> {
        let lanes = survey.closed.iter().enumerate();
        let lanes = lanes.map(|(lane, closed)| (*closed, survey.position(lane).rolled));
        let lanes: Vec<_> = lanes.collect();
        let RecoverySurvey { dead, state, .. } = survey;
        let instance = InstanceId::from_u128(dead.instance());
        marks_of(&dead)?;
        for lane in 0..lanes.len() {
            match read_first_head(&dead, lane) {
                Err(error) if error.is_newer() => return Err(error),
                // Any other damage is met later, and the records before it are recovered.
                Ok(()) | Err(_) => {}
            }
        }
        // A directory that was brought from elsewhere keeps the label under which it began.
        let node = state.map_or_else(|| context.node.clone(), |state| state.node);
        begin(context, instance, &node, dead.age())?;
        let dead = Arc::new(dead);
        let lane = |(index, (closed, rolled))| LaneRecovery {
            source: LaneSource {
                instance,
                lane: lane_number(index),
                node: node.clone(),
                records: Source::Dead {
                    instance: Arc::clone(&dead),
                    closed,
                    marks: Vec::new(),
                },
            },
            rolling: Rolling::default(),
            sealing: Sealing::default(),
            rolled,
        };
        Ok(Self {
            instance,
            lanes: lanes.into_iter().enumerate().map(lane).collect(),
            dead: Some(Arc::clone(&dead)),
            stage: Stage::Found,
        })
    }

    /// Makes the recovery of an instance of which only files of these lanes are left.
    pub(super) fn of_files(
        context: &LedgerContext,
        instance: InstanceId,
        node: &str,
        lanes: impl Iterator<Item = u32>,
    ) -> Result<Self, Error> {
        begin(context, instance, node, Duration::ZERO)?;
        let lane = |lane| LaneRecovery {
            source: LaneSource {
                instance,
                lane,
                node: node.to_owned(),
                records: Source::Files,
            },
            rolling: Rolling::default(),
            sealing: Sealing::default(),
            rolled: 0,
        };
        Ok(Self {
            instance,
            dead: None,
            lanes: lanes.map(lane).collect(),
            stage: Stage::Found,
        })
    }

    pub(crate) const fn instance(&self) -> InstanceId {
        self.instance
    }

    /// Returns the path of its journal, if that is still there.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        self.dead.as_ref().map(|dead| dead.path().to_owned())
    }

    /// Returns its lanes, as readers need them.
    pub(crate) fn lane_sources(&self) -> impl Iterator<Item = &LaneSource> {
        self.lanes.iter().map(|lane| &lane.source)
    }

    /// Returns the number of records that are not in the rollups, as far as is known: without those
    /// that recovery adds.
    pub(crate) fn behind(&self) -> u64 {
        self.lanes.iter().map(LaneRecovery::behind).sum()
    }

    /// Returns whether all its records are in the rollups and no lease is held any more.
    pub(crate) const fn is_rolled(&self) -> bool {
        matches!(self.stage, Stage::Sealing(_) | Stage::Finished)
    }

    /// Returns whether its marks are still to be resolved.
    pub(crate) fn is_found(&self) -> bool {
        self.stage == Stage::Found
    }

    /// Resolves its marks and takes in its files, unless that is done. Readers do not see the
    /// records that recovery adds before.
    ///
    /// # Errors
    /// Returns the errors of [`InstanceRecovery::part`].
    pub(crate) fn prepare(&mut self, context: &LedgerContext) -> Result<(), Error> {
        if self.stage != Stage::Found {
            return Ok(());
        }
        let instance = self.instance;
        remove_parts(&context.directory, instance)?;
        if let Some(dead) = &self.dead {
            let without = marks_without_head(context, dead)?;
            if !without.is_empty() {
                tracing::warn!(%instance, calls = without.len(), "calls of a dead gate may have been forwarded: outcome unknown");
            }
            // Marks belong to no lane: the first takes them.
            if let Some(Source::Dead { marks, .. }) =
                self.lanes.first_mut().map(|lane| &mut lane.source.records)
            {
                *marks = without;
            }
        }
        for lane in &mut self.lanes {
            // Files may hold records that the journal has released: they come first into the
            // manifest.
            lane.sealing.look(context, &lane.source)?;
        }
        self.stage = Stage::Rolling(0);
        Ok(())
    }

    /// Does the next step. Returns whether there is more to do.
    ///
    /// # Errors
    /// Returns an error when the store does not answer, or the journal cannot be read. Nothing is
    /// lost: the same step can be done again.
    pub(crate) fn part(&mut self, context: &LedgerContext) -> Result<bool, Error> {
        match self.stage {
            Stage::Found => self.prepare(context)?,
            Stage::Rolling(index) => match self.lanes.get_mut(index) {
                Some(lane) => {
                    if !lane.rolling.roll(context, &lane.source, Batch::One)? {
                        lane.rolling.rest();
                        self.stage = Stage::Rolling(index + 1);
                    }
                }
                None => {
                    let instance = self.instance;
                    context
                        .store
                        .ask(|store| async move { store.settle_instance(instance).await })?;
                    self.stage = Stage::Sealing(0);
                }
            },
            Stage::Sealing(index) => match self.lanes.get_mut(index) {
                Some(lane) => {
                    if !lane.seal_part(context)? {
                        lane.sealing.rest();
                        lane.assert_even()?;
                        self.stage = Stage::Sealing(index + 1);
                    }
                }
                None => {
                    finish(context, self.instance)?;
                    self.stage = Stage::Finished;
                }
            },
            Stage::Finished => {}
        }
        Ok(self.stage != Stage::Finished)
    }

    /// Does all steps.
    ///
    /// # Errors
    /// Returns the errors of [`InstanceRecovery::part`].
    pub(super) fn ship(&mut self, context: &LedgerContext) -> Result<(), Error> {
        while self.part(context)? {}
        Ok(())
    }

    /// Seals the records that are rolled up, for a gate that takes stock, as long as `go_on` holds.
    pub(crate) fn seal_rolled(
        &mut self,
        context: &LedgerContext,
        go_on: impl Fn() -> bool,
    ) -> Result<(), Error> {
        self.prepare(context)?;
        for lane in &mut self.lanes {
            while lane.sealing.sealed < lane.rolled() && go_on() && lane.seal_part(context)? {}
        }
        Ok(())
    }

    /// Forgets its progress: manifest or positions were changed by somebody else.
    pub(crate) fn start_over(&mut self) {
        for lane in &mut self.lanes {
            (lane.rolling, lane.sealing) = (Rolling::default(), Sealing::default());
        }
        self.stage = Stage::Found;
    }

    /// Deletes the segments that its process prepared and never used.
    pub(super) fn delete_spares(&self) -> Result<(), Error> {
        if let Some(dead) = &self.dead {
            dead.delete_spares()?;
        }
        Ok(())
    }
}

impl LaneRecovery {
    fn rolled(&self) -> u64 {
        self.rolled.max(self.rolling.rolled)
    }

    fn behind(&self) -> u64 {
        match &self.source.records {
            Source::Dead { closed, .. } => closed.saturating_sub(self.rolled()),
            Source::Live(_) | Source::Files => 0,
        }
    }

    /// Seals one file. Returns whether there may be another.
    fn seal_part(&mut self, context: &LedgerContext) -> Result<bool, Error> {
        let before = self.sealing.sealed;
        self.sealing.seal(context, &self.source, Batch::One)?;
        Ok(self.sealing.sealed > before)
    }

    /// Checks that rollups and files hold the same records, as they do at the end.
    fn assert_even(&self) -> Result<(), Error> {
        let (rolled, sealed) = (self.rolling.rolled, self.sealing.sealed);
        if rolled == sealed {
            return Ok(());
        }
        Err(Error::Gone {
            instance: self.source.instance,
            lane: self.source.lane,
            from: rolled.min(sealed) + 1,
            through: rolled.max(sealed),
        })
    }
}

/// Returns the store's state of an instance.
pub(crate) fn instance_state(
    context: &LedgerContext,
    instance: InstanceId,
) -> Result<Option<InstanceState>, Error> {
    let instances = context
        .store
        .ask(|store| async move { store.instances().await })?;
    Ok(instances.into_iter().find(|state| state.id == instance))
}

fn begin(
    context: &LedgerContext,
    instance: InstanceId,
    node: &str,
    age: Duration,
) -> Result<(), Error> {
    let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
    let at = context.clock.now().plus_micros(-age);
    let node = node.to_owned();
    context
        .store
        .ask(|store| async move { store.begin_instance(instance, node, at).await })
}

fn finish(context: &LedgerContext, instance: InstanceId) -> Result<(), Error> {
    fail::fail_point!("ledger::recover::finish", |_| Err(Error::Injected(
        "ledger::recover::finish"
    )));
    let now = context.clock.now();
    context.store.ask(|store| async move {
        store.settle_instance(instance).await?;
        store.finish_instance(instance, now).await
    })
}

/// Returns the label of the gate that wrote a file, from the file itself.
pub(super) fn node_of_file(path: &std::path::Path) -> Result<String, Error> {
    Ok(SealedReader::open(path)?.meta().node.clone())
}
