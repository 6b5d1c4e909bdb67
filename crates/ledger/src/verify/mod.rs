//! The verification: everything is recounted and compared with everything else.
//!
//! Records are counted from sealed files and, behind them, from the journal; the sums of those that
//! the positions call rolled up must be those of the rollups, key by key as long as no file was
//! removed. Memory: the rollups twice, and four million call ids at a time.

mod balances;
mod files;
mod rollups;

use std::collections::BTreeMap;
use std::sync::Arc;

use journal::{DeadInstance, dead_instances};
use model::InstanceId;
use store::{InstanceState, LanePosition, SealedFile, StockTaking};

use crate::context::{LaneSource, LedgerContext, Source};
use crate::error::Error;
use crate::freeze;
use crate::ledger::{Ledger, Shared};
use crate::recover::{RecoveryQueue, ship_path};
use crate::report::{Fault, Problem, VerifyReport};
use crate::rollup::Sums;
use crate::unique::Unique;

pub(crate) use rollups::stored_rollups;

impl Ledger {
    /// Ships pending records, then recounts everything. The recovery of earlier starts is waited
    /// for as long as other gates are; records that are not shipped by then are counted in their
    /// journals, and pending.
    ///
    /// Roll-ups and seals wait meanwhile; calls go on and become pending. So do those of all other
    /// gates until stock is taken: they seal first what they rolled up, for which this waits some
    /// seconds.
    ///
    /// # Errors
    /// Returns an error when the store does not answer. Problems of the records are in the report.
    pub async fn verify(&self) -> Result<VerifyReport, Error> {
        let shared = Arc::clone(&self.shared);
        self.run(move || {
            let mut check = Check::default();
            shared
                .catch_up
                .wait(freeze::TIMEOUT, |progress| progress.is_over);
            // Before the others are frozen, for they do not wait for ever.
            let visible = shared.wait_until_visible(shared.options.visibility_timeout);
            ship_dead_instances(&shared, &mut check)?;
            let damaged = check.damaged.iter();
            let mut dead: Vec<_> = damaged
                .map(|dead| InstanceId::from_u128(dead.instance()))
                .collect();
            dead.extend(shared.catch_up.instances());
            let others = shared.freeze_others(&dead)?;
            let (mut frozen, shipped) = shared.freeze();
            check.look_at_backlog(&shared.context, &mut frozen.backlog)?;
            if let Err(error) = visible.and(shipped) {
                check.note(Problem::new(Fault::NotShipped, error.to_string()));
            }
            let stock = shared
                .context
                .store
                .ask(|store| async move { store.take_stock().await })?;
            drop(others);
            let report = check.run(&shared, stock)?;
            drop(frozen);
            shared.context.stats.counted_lost(report.lost);
            Ok(report)
        })
        .await
    }
}

/// Tries once more to recover the instances that could not be read.
fn ship_dead_instances(shared: &Shared, check: &mut Check) -> Result<(), Error> {
    let found = dead_instances(&shared.options.journals)?;
    let paths: Vec<_> = found.iter().map(|dead| dead.path().to_owned()).collect();
    // Released, for shipping opens each by itself.
    drop(found);
    for path in paths {
        match ship_path(&shared.context, &path) {
            // Another process recovers it right now.
            Ok(_) | Err(Error::Journal(journal::Error::Locked { .. })) => {}
            Err(Error::Store(error)) => return Err(error.into()),
            Err(error) => {
                check.note(Problem::new(Fault::JournalDamaged, error.to_string()));
                check
                    .damaged
                    .extend(DeadInstance::open(&path).ok().map(Arc::new));
            }
        }
    }
    Ok(())
}

/// The counts and problems that are gathered during a verification.
#[derive(Default)]
struct Check {
    report: VerifyReport,
    /// The dead instances that cannot be read to their end.
    damaged: Vec<Arc<DeadInstance>>,
    /// The lanes of earlier starts that are being recovered.
    backlog: Vec<LaneSource>,
    /// The sums of the records that are rolled up.
    sums: Sums,
    unique: Unique,
    /// The number of calls in removed files, which is all that is known of them.
    trusted: u64,
    /// Whether another process has rolled up more than it sealed: rollups hold more than what can
    /// be counted here.
    lives_elsewhere: bool,
    /// The number of records that other processes have rolled up and not sealed: each is a call at
    /// least.
    unsealed: u64,
    /// The number of calls that are rolled up and whose records are gone.
    gone: u64,
    /// The number of calls in files that are not as they were written.
    changed: u64,
}

impl Check {
    fn note(&mut self, problem: Problem) {
        const MAX_PROBLEMS: usize = 1_000;
        if self.report.problems.len() < MAX_PROBLEMS {
            self.report.problems.push(problem);
        }
    }

    /// Collects the lanes whose journals are being recovered.
    fn look_at_backlog(
        &mut self,
        context: &LedgerContext,
        work: &mut RecoveryQueue,
    ) -> Result<(), Error> {
        for recovery in work.iter_mut() {
            // A position may count records that recovery adds.
            match recovery.prepare(context) {
                Ok(()) => {}
                Err(Error::Store(error)) => return Err(error.into()),
                Err(error) => {
                    self.note(Problem::new(Fault::JournalDamaged, error.to_string()));
                }
            }
            self.backlog.extend(recovery.lane_sources().cloned());
        }
        Ok(())
    }

    /// Judges the state of the store, read at one moment: what others wrote meanwhile is in all of
    /// it or in nothing.
    fn run(mut self, shared: &Shared, stock: StockTaking) -> Result<VerifyReport, Error> {
        let context = &shared.context;
        let StockTaking {
            instances,
            manifest,
            rollups,
            hours_until,
            balances,
        } = stock;
        self.unknown_files(context, &manifest)?;
        let mut lanes: BTreeMap<(InstanceId, u32), Vec<SealedFile>> = BTreeMap::new();
        for file in manifest {
            let lane = (file.range.instance, file.range.lane);
            lanes.entry(lane).or_default().push(file);
        }
        for (state, positions) in &instances {
            for position in self.lanes_of(shared, state, positions.clone()) {
                let files = lanes.remove(&(state.id, position.lane)).unwrap_or_default();
                self.lane(shared, state, position, &files)?;
            }
        }
        for ((instance, lane), files) in lanes {
            let what = "the manifest has files of a lane that the store knows no position of";
            self.note(Problem::new(Fault::PositionWrong, what).of(instance, lane));
            let nowhere = LanePosition {
                lane,
                rolled: 0,
                sealed: 0,
            };
            self.files(context, instance, &nowhere, &files)?;
        }
        self.call_ids(context)?;
        self.rollups(context, rollups, hours_until);
        self.balances(&balances);
        Ok(self.report)
    }

    /// Returns every lane that store or journal know of.
    fn lanes_of(
        &self,
        shared: &Shared,
        state: &InstanceState,
        mut positions: Vec<LanePosition>,
    ) -> Vec<LanePosition> {
        let id = state.id;
        let damaged = self
            .damaged
            .iter()
            .find(|dead| dead.instance() == id.as_u128());
        let backlog = self.backlog.iter().filter(|lane| lane.instance == id);
        let known = if id == shared.instance {
            shared.lanes.len()
        } else {
            damaged.map_or_else(|| backlog.count(), |dead| dead.lanes())
        };
        for lane in 0..u32::try_from(known).expect("a journal has at most 1,024 lanes") {
            if positions.iter().all(|position| position.lane != lane) {
                positions.push(LanePosition {
                    lane,
                    rolled: 0,
                    sealed: 0,
                });
            }
        }
        positions.sort_unstable_by_key(|position| position.lane);
        positions
    }

    fn lane(
        &mut self,
        shared: &Shared,
        state: &InstanceState,
        position: LanePosition,
        files: &[SealedFile],
    ) -> Result<(), Error> {
        let context = &shared.context;
        let sealed = self.files(context, state.id, &position, files)?;
        let journal = self.journal_of(shared, state.id, position.lane);
        // An instance that lives in another process goes on while this is read.
        let lives = journal.is_none() && state.finished_at.is_none();
        if sealed != position.sealed && !(lives && sealed < position.sealed) {
            let what = format!(
                "the store says that records up to {} are sealed, the manifest ends at {sealed}",
                position.sealed
            );
            let problem = Problem::new(Fault::PositionWrong, what);
            self.note(problem.of(state.id, position.lane));
        }
        if let Some(lane) = journal {
            return self.journal(context, &lane, &position, sealed);
        }
        if lives {
            if position.rolled > sealed {
                self.lives_elsewhere = true;
                self.unsealed += position.rolled - sealed;
                let what = "another process has this lane and did not stand still in time: its unsealed records are trusted";
                let problem = Problem::new(Fault::NotVerifiable, what).of(state.id, position.lane);
                self.note(problem.range(sealed + 1, position.rolled));
            }
        } else if position.rolled != sealed {
            self.uneven(state.id, &position, sealed);
        }
        Ok(())
    }

    /// Reports a lane that ended, with records in files and not in rollups, or the other way round.
    fn uneven(&mut self, instance: InstanceId, position: &LanePosition, sealed: u64) {
        let (from, through) = (position.rolled.min(sealed) + 1, position.rolled.max(sealed));
        let missing = through - from + 1;
        let mut problem = if position.rolled > sealed {
            self.gone += missing;
            Problem::new(
                Fault::RecordsMissing,
                "records are rolled up and in no file",
            )
        } else {
            Problem::new(
                Fault::PositionWrong,
                "records are in files and not rolled up",
            )
        };
        self.report.lost += missing;
        self.report.accepted += missing;
        problem = problem.of(instance, position.lane).range(from, through);
        self.note(problem);
    }

    /// Returns the journal that a lane still has: that of this process, or that of a dead instance
    /// that is not shipped yet, or cannot be.
    fn journal_of(&self, shared: &Shared, instance: InstanceId, lane: u32) -> Option<LaneSource> {
        if instance == shared.instance {
            let live = shared.lanes.get(lane as usize)?;
            return Some(live.source.clone());
        }
        let mut backlog = self.backlog.iter();
        if let Some(source) =
            backlog.find(|source| (source.instance, source.lane) == (instance, lane))
        {
            return Some(source.clone());
        }
        let dead = self
            .damaged
            .iter()
            .find(|dead| dead.instance() == instance.as_u128())?;
        Some(LaneSource {
            instance,
            lane,
            node: shared.context.node.clone(),
            records: Source::Dead {
                instance: Arc::clone(dead),
                closed: dead.closed(lane as usize).unwrap_or(u64::MAX),
                marks: Vec::new(),
            },
        })
    }

    /// Counts the records that the journal holds behind the files.
    fn journal(
        &mut self,
        context: &LedgerContext,
        lane: &LaneSource,
        position: &LanePosition,
        sealed: u64,
    ) -> Result<(), Error> {
        let begin = sealed.min(position.sealed);
        let mut read = begin;
        let damage = match self.read_journal(context, lane, position, &mut read) {
            Ok(()) => None,
            Err(Error::Store(error)) => return Err(error.into()),
            Err(error) => Some(error),
        };
        let closed = match &lane.records {
            Source::Live(live) => Some(live.closed()),
            Source::Dead { closed, .. } => Some(*closed).filter(|closed| *closed < u64::MAX),
            Source::Files => None,
        };
        let end = if damage.is_some() {
            // Where the end itself is damaged, the number of records is unknown: it is one at
            // least.
            closed.unwrap_or(read + 1).max(position.rolled)
        } else {
            position.rolled
        };
        if end > read {
            let what = damage.map_or_else(
                || "the journal ends before the position of the rollups".to_owned(),
                |error| error.to_string(),
            );
            let problem = Problem::new(Fault::JournalDamaged, what).of(lane.instance, lane.lane);
            self.note(problem.range(read + 1, end));
            self.report.lost += end - read;
            self.report.accepted += end - read;
            self.gone += position.rolled.saturating_sub(read);
        }
        Ok(())
    }

    fn read_journal(
        &mut self,
        context: &LedgerContext,
        lane: &LaneSource,
        position: &LanePosition,
        read: &mut u64,
    ) -> Result<(), Error> {
        let Some(mut reader) = lane.rows_from(context, *read)? else {
            return Ok(());
        };
        while let Some(row) = reader.next()? {
            let calls = u64::from(row.record.tail.calls);
            *read = row.number;
            self.report.accepted += calls;
            if row.number <= position.rolled {
                self.sums.add(&row);
            } else {
                self.report.pending += calls;
            }
            self.unique.keep(row.record.head.call_id.as_u128());
        }
        Ok(())
    }

    fn call_ids(&mut self, context: &LedgerContext) -> Result<(), Error> {
        let unique = std::mem::take(&mut self.unique);
        for (call_id, times) in unique.doubled(context)? {
            let call_id = model::CallId::from_u128(call_id);
            let what = format!("call {call_id} is recorded {times} times");
            self.note(Problem::new(Fault::CallDoubled, what));
            self.report.duplicated += times - 1;
        }
        Ok(())
    }
}
