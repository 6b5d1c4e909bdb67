//! One dead instance on its way into the books, part by part: a batch of sums, or a sealed file.
//!
//! The sums come first, for its leased units are free as soon as they are all there; the files follow. Nothing is kept of how
//! far it is but the positions of the store.

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

/// What a dead instance left and the store lacks.
pub(crate) struct InstanceRecovery {
    instance: InstanceId,
    /// `None`: its journal is gone, and sealed files alone are left.
    dead: Option<Arc<DeadInstance>>,
    lanes: Vec<LaneRecovery>,
    stage: Stage,
}

/// One of its lanes.
struct LaneRecovery {
    source: LaneSource,
    rolling: Rolling,
    sealing: Sealing,
    /// Records that were rolled up when it was found.
    rolled: u64,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Its marks are to be resolved, and its files looked at.
    Found,
    /// This lane is to be rolled up.
    Rolling(usize),
    /// This lane is to be sealed.
    Sealing(usize),
    /// Nothing.
    Finished,
}

/// What store and journal say of a dead instance.
pub(super) struct RecoverySurvey {
    pub(super) dead: DeadInstance,
    state: Option<InstanceState>,
    positions: Vec<LanePosition>,
    /// Last close number of each lane.
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

    /// Whether the store has all of it: it is finished, and its positions are at or beyond the end of every lane, which those of
    /// a store that was restored from an older copy are not.
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

    /// Whether the store has had more of it: it was restored from an older copy, and may lack leases too.
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
    /// Makes the instance known to the store, if it was not.
    ///
    /// # Errors
    /// When a newer version wrote it, which shows at its first records, or the store does not answer.
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
                // Any other damage is met on the way, and what lies before it comes in.
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

    /// An instance of which nothing is left but files of these lanes.
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

    /// Its journal, if that is still there.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        self.dead.as_ref().map(|dead| dead.path().to_owned())
    }

    /// Its lanes, as readers need them.
    pub(crate) fn lane_sources(&self) -> impl Iterator<Item = &LaneSource> {
        self.lanes.iter().map(|lane| &lane.source)
    }

    /// Records that are not in the rollups, as far as is known: not those that recovery adds.
    pub(crate) fn behind(&self) -> u64 {
        self.lanes.iter().map(LaneRecovery::behind).sum()
    }

    /// Whether all sums are in the store and no lease is held any more.
    pub(crate) const fn is_rolled(&self) -> bool {
        matches!(self.stage, Stage::Sealing(_) | Stage::Finished)
    }

    /// Whether its marks are still to be resolved.
    pub(crate) fn is_found(&self) -> bool {
        self.stage == Stage::Found
    }

    /// Resolves its marks and looks at its files, unless that is done: before, readers do not see what recovery adds.
    ///
    /// # Errors
    /// As [`InstanceRecovery::part`].
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
            // One lane takes the marks, which belong to none.
            if let Some(Source::Dead { marks, .. }) =
                self.lanes.first_mut().map(|lane| &mut lane.source.records)
            {
                *marks = without;
            }
        }
        for lane in &mut self.lanes {
            // Files may hold what the journal has let go: they come first into the manifest.
            lane.sealing.look(context, &lane.source)?;
        }
        self.stage = Stage::Rolling(0);
        Ok(())
    }

    /// Does the next part; whether there is more to do.
    ///
    /// # Errors
    /// When the store does not answer, or the journal cannot be read. Nothing is lost by one: the same part can be done again.
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

    /// Does all of it.
    ///
    /// # Errors
    /// As [`InstanceRecovery::part`].
    pub(super) fn ship(&mut self, context: &LedgerContext) -> Result<(), Error> {
        while self.part(context)? {}
        Ok(())
    }

    /// Seals what is rolled up, for somebody who takes stock, as long as they want it.
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

    /// Forgets how far it is: manifest or positions were changed by somebody else.
    pub(crate) fn start_over(&mut self) {
        for lane in &mut self.lanes {
            (lane.rolling, lane.sealing) = (Rolling::default(), Sealing::default());
        }
        self.stage = Stage::Found;
    }

    /// Deletes what its process prepared and never used.
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

    /// Seals one file; whether there may be another.
    fn seal_part(&mut self, context: &LedgerContext) -> Result<bool, Error> {
        let before = self.sealing.sealed;
        self.sealing.seal(context, &self.source, Batch::One)?;
        Ok(self.sealing.sealed > before)
    }

    /// At the end rollups and files hold the same records.
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

/// What the store says of an instance.
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

/// The label of the gate that wrote a file, by the file itself.
pub(super) fn node_of_file(path: &std::path::Path) -> Result<String, Error> {
    Ok(SealedReader::open(path)?.meta().node.clone())
}
