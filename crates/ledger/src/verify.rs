//! Verification: everything recounted against everything.
//!
//! Records are counted from sealed files and, behind them, from the journal; the sums of those that the positions call
//! rolled up must be those of the rollups, key by key as long as no file was removed. Memory: the rollups twice, and
//! four million call ids at a time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use journal::{DeadInstance, dead_instances};
use model::InstanceId;
use model::usage::{UsageKey, UsageSums};
use store::{InstanceState, LanePosition, SealedFile};

use crate::books::{Books, LaneBook, Source};
use crate::error::Error;
use crate::file::{Filter, SealedReader, hash_file};
use crate::ledger::{Ledger, Shared};
use crate::recover::ship_path;
use crate::report::{Fault, Problem, VerifyReport};
use crate::rollup::Sums;
use crate::seal::files_in;
use crate::unique::Unique;

impl Ledger {
    /// Ships what is pending, then recounts everything.
    ///
    /// Roll-ups and seals wait meanwhile; calls go on and become pending.
    ///
    /// # Errors
    /// When the store does not answer. What is wrong with the books is in the report.
    pub async fn verify(&self) -> Result<VerifyReport, Error> {
        let shared = Arc::clone(&self.shared);
        self.run(move || {
            let mut check = Check::default();
            ship_dead_instances(&shared, &mut check)?;
            let (standstill, shipped) = shared.stand_still();
            if let Err(error) = shipped {
                check.note(Problem::new(Fault::NotShipped, error.to_string()));
            }
            let report = check.run(&shared)?;
            drop(standstill);
            let lost = &shared.books.stats.lost;
            lost.store(report.lost, Ordering::Relaxed);
            Ok(report)
        })
        .await
    }
}

/// Tries once more what recovery could not do.
fn ship_dead_instances(shared: &Shared, check: &mut Check) -> Result<(), Error> {
    let found = dead_instances(&shared.options.journals)?;
    let paths: Vec<_> = found.iter().map(|dead| dead.path().to_owned()).collect();
    // Given back, for shipping opens each by itself.
    drop(found);
    for path in paths {
        match ship_path(&shared.books, &path) {
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

/// What is gathered on the way.
#[derive(Default)]
struct Check {
    report: VerifyReport,
    /// Dead instances that cannot be read to their end.
    damaged: Vec<Arc<DeadInstance>>,
    /// Sums of the records that are rolled up.
    sums: Sums,
    unique: Unique,
    /// Calls of removed files, and records that nobody can read now: known by number only.
    trusted: u64,
    /// Calls that are rolled up and whose records are gone.
    gone: u64,
    /// Calls of files that are not what was written.
    changed: u64,
}

impl Check {
    fn note(&mut self, problem: Problem) {
        const MOST: usize = 1_000;
        if self.report.problems.len() < MOST {
            self.report.problems.push(problem);
        }
    }

    fn run(mut self, shared: &Shared) -> Result<VerifyReport, Error> {
        let books = &shared.books;
        let manifest = books
            .store
            .ask(|store| async move { store.manifest(None, None).await })?;
        self.unknown_files(books, &manifest)?;
        let mut lanes: BTreeMap<(InstanceId, u32), Vec<SealedFile>> = BTreeMap::new();
        for file in manifest {
            let lane = (file.range.instance, file.range.lane);
            lanes.entry(lane).or_default().push(file);
        }
        let instances = books
            .store
            .ask(|store| async move { store.instances().await })?;
        for state in &instances {
            for position in self.lanes_of(shared, state)? {
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
            self.files(books, instance, &nowhere, &files)?;
        }
        self.call_ids()?;
        self.rollups(books)?;
        Ok(self.report)
    }

    /// Every lane that store or journal know of.
    fn lanes_of(&self, shared: &Shared, state: &InstanceState) -> Result<Vec<LanePosition>, Error> {
        let id = state.id;
        let mut positions = shared
            .books
            .store
            .ask(|store| async move { store.positions(id).await })?;
        let damaged = self
            .damaged
            .iter()
            .find(|dead| dead.instance() == id.as_u128());
        let known = if id == shared.instance {
            shared.lanes.len()
        } else {
            damaged.map_or(0, |dead| dead.lanes())
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
        Ok(positions)
    }

    fn lane(
        &mut self,
        shared: &Shared,
        state: &InstanceState,
        position: LanePosition,
        files: &[SealedFile],
    ) -> Result<(), Error> {
        let books = &shared.books;
        let sealed = self.files(books, state.id, &position, files)?;
        if sealed != position.sealed {
            let what = format!(
                "the store says that records up to {} are sealed, the manifest ends at {sealed}",
                position.sealed
            );
            let problem = Problem::new(Fault::PositionWrong, what);
            self.note(problem.of(state.id, position.lane));
        }
        if let Some(lane) = self.journal_of(shared, state.id, position.lane) {
            return self.journal(books, &lane, &position, sealed);
        }
        if state.finished_at.is_none() && position.rolled > sealed {
            let what = "this instance lives in another process: its unsealed records are trusted";
            let problem = Problem::new(Fault::NotVerifiable, what).of(state.id, position.lane);
            self.note(problem.range(sealed + 1, position.rolled));
            self.trusted += position.rolled - sealed;
        } else if position.rolled != sealed {
            self.uneven(state.id, &position, sealed);
        }
        Ok(())
    }

    /// A lane that ended, with records in files and not in rollups, or the other way round.
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

    /// The journal that a lane still has: ours, or that of a dead instance that could not be shipped.
    fn journal_of(&self, shared: &Shared, instance: InstanceId, lane: u32) -> Option<LaneBook> {
        if instance == shared.instance {
            let live = shared.lanes.get(lane as usize)?;
            return Some(live.book.clone());
        }
        let dead = self
            .damaged
            .iter()
            .find(|dead| dead.instance() == instance.as_u128())?;
        Some(LaneBook {
            instance,
            lane,
            node: shared.books.node.clone(),
            source: Source::Dead {
                instance: Arc::clone(dead),
                closed: dead.closed(lane as usize).unwrap_or(u64::MAX),
                marks: Vec::new(),
            },
        })
    }

    /// Counts what the journal holds behind the files.
    fn journal(
        &mut self,
        books: &Books,
        lane: &LaneBook,
        position: &LanePosition,
        sealed: u64,
    ) -> Result<(), Error> {
        let begin = sealed.min(position.sealed);
        let mut read = begin;
        let damage = match self.read_journal(books, lane, position, &mut read) {
            Ok(()) => None,
            Err(Error::Store(error)) => return Err(error.into()),
            Err(error) => Some(error),
        };
        let closed = match &lane.source {
            Source::Live(live) => Some(live.closed()),
            Source::Dead { closed, .. } => Some(*closed).filter(|closed| *closed < u64::MAX),
            Source::Files => None,
        };
        let end = if damage.is_some() {
            // Not even their number is known where the end itself is damaged: it is one at least.
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
        books: &Books,
        lane: &LaneBook,
        position: &LanePosition,
        read: &mut u64,
    ) -> Result<(), Error> {
        let Some(mut reader) = lane.rows_from(books, *read)? else {
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

    /// Checks the files of one lane; the record at which they end.
    fn files(
        &mut self,
        books: &Books,
        instance: InstanceId,
        position: &LanePosition,
        files: &[SealedFile],
    ) -> Result<u64, Error> {
        let (mut end, mut previous) = (0, [0; 32]);
        for file in files {
            let at = |problem: Problem| problem.of(instance, position.lane).file(&file.name);
            if file.range.from > end {
                let missing = file.range.from - end;
                let what = "no file holds these records";
                let problem = Problem::new(Fault::RecordsMissing, what);
                self.note(at(problem).range(end + 1, file.range.from));
                self.report.lost += missing;
                self.report.accepted += missing;
                self.gone += missing;
            } else if file.range.from < end {
                let what = "the file before holds these records too";
                let problem = Problem::new(Fault::RecordsDoubled, what);
                self.note(at(problem).range(file.range.from + 1, end));
                self.report.duplicated += end - file.range.from;
            }
            if file.previous != previous {
                let what = "it does not carry the hash of the file before";
                self.note(at(Problem::new(Fault::ChainBroken, what)));
            }
            self.file(books, position, file)?;
            end = file.range.through;
            previous = file.hash;
        }
        Ok(end)
    }

    fn file(
        &mut self,
        books: &Books,
        position: &LanePosition,
        file: &SealedFile,
    ) -> Result<(), Error> {
        self.report.accepted += file.calls;
        if file.removed_at.is_some() {
            self.trusted += file.calls;
            return Ok(());
        }
        let fault = match self.read_file(books, position, file) {
            Ok(()) => return Ok(()),
            Err(Error::Store(error)) => return Err(error.into()),
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                Problem::new(Fault::FileMissing, "the file is gone")
            }
            Err(error) => Problem::new(Fault::FileChanged, error.to_string()),
        };
        let range = &file.range;
        let problem = fault.of(range.instance, range.lane).file(&file.name);
        self.note(problem.range(range.from + 1, range.through));
        self.report.lost += file.calls;
        self.changed += file.calls;
        Ok(())
    }

    /// Adds a file's records, if it is what was written; nothing of it otherwise.
    fn read_file(
        &mut self,
        books: &Books,
        position: &LanePosition,
        file: &SealedFile,
    ) -> Result<(), Error> {
        let path = books.directory.join(&file.name);
        let damaged = |what: &str| Error::Damaged {
            path: path.clone(),
            what: what.to_owned(),
        };
        if hash_file(&path)? != (file.bytes, file.hash) {
            return Err(damaged("its hash is not the one in the manifest"));
        }
        let reader = SealedReader::open(&path)?;
        if reader.meta().range != file.range || reader.meta().previous != file.previous {
            return Err(damaged("it says of itself what the manifest does not say"));
        }
        let mut numbers = Numbers::new(file.range.from, file.range.through);
        let mut sums = std::mem::take(&mut self.sums);
        let mut pending = 0;
        let result = reader.scan(&books.names, &Filter::default(), &mut |row| {
            numbers.strike(row.number);
            if row.number <= position.rolled {
                sums.add(row);
            } else {
                pending += u64::from(row.record.tail.calls);
            }
            Ok(())
        });
        self.sums = sums;
        self.report.pending += pending;
        result?;
        let (missing, doubled) = numbers.finish();
        let range = &file.range;
        let at = |problem: Problem| problem.of(range.instance, range.lane).file(&file.name);
        if missing > 0 {
            let what = format!("{missing} records of its range are not in it");
            self.note(at(Problem::new(Fault::RecordsMissing, what)));
            self.report.lost += missing;
        }
        if doubled > 0 {
            let what = format!("{doubled} records are in it twice or out of its range");
            self.note(at(Problem::new(Fault::RecordsDoubled, what)));
            self.report.duplicated += doubled;
        }
        self.unique.file(path, file.records);
        Ok(())
    }

    fn unknown_files(&mut self, books: &Books, manifest: &[SealedFile]) -> Result<(), Error> {
        for range in files_in(&books.directory)? {
            let name = crate::file::file_name(&range);
            if manifest.iter().any(|file| file.name == name) {
                continue;
            }
            let what = "the file is not in the manifest";
            let problem = Problem::new(Fault::FileUnknown, what).of(range.instance, range.lane);
            self.note(problem.file(&name).range(range.from + 1, range.through));
        }
        Ok(())
    }

    fn call_ids(&mut self) -> Result<(), Error> {
        let unique = std::mem::take(&mut self.unique);
        for (call_id, times) in unique.doubled()? {
            let call_id = model::CallId::from_u128(call_id);
            let what = format!("call {call_id} is recorded {times} times");
            self.note(Problem::new(Fault::CallDoubled, what));
            self.report.duplicated += times - 1;
        }
        Ok(())
    }

    fn rollups(&mut self, books: &Books) -> Result<(), Error> {
        let stored = stored_rollups(books)?;
        let stored_calls: u64 = stored.values().map(|sums| sums.calls).sum();
        let counted = self.sums.calls() + self.trusted;
        let (short, over) = if self.trusted == 0 {
            self.by_key(books, &stored)
        } else {
            (
                counted.saturating_sub(stored_calls),
                stored_calls.saturating_sub(counted),
            )
        };
        // What rollups have more is theirs by right where the record itself is gone or cannot be trusted.
        let over = over.saturating_sub(self.gone + self.changed);
        if short > 0 || over > 0 {
            let what = format!("rollups lack {short} calls of the records and have {over} more");
            self.note(Problem::new(Fault::RollupsDiffer, what));
        }
        self.report.lost += short;
        self.report.duplicated += over;
        self.report.stored = stored_calls.saturating_sub(over);
        Ok(())
    }

    /// Calls that rollups lack, and calls that they have too many, summed up over all keys.
    fn by_key(&mut self, books: &Books, stored: &HashMap<UsageKey, UsageSums>) -> (u64, u64) {
        let (mut short, mut over) = (0, 0);
        let mut seen = 0;
        for (key, counted) in self.sums.rows(&books.names) {
            let known = stored.get(&key).copied().unwrap_or_default();
            seen += known.calls;
            short += counted.calls.saturating_sub(known.calls);
            over += known.calls.saturating_sub(counted.calls);
            if known.calls == counted.calls && known != counted {
                let what = format!(
                    "the rollup of {} {} {} at {} has other sums than its {} calls",
                    key.app, key.route, key.status, key.hour, counted.calls
                );
                self.note(Problem::new(Fault::RollupsDiffer, what));
            }
        }
        let all: u64 = stored.values().map(|sums| sums.calls).sum();
        (short, over + all.saturating_sub(seen))
    }
}

/// All rollup rows; rows of one key added up.
pub(crate) fn stored_rollups(books: &Books) -> Result<HashMap<UsageKey, UsageSums>, Error> {
    const PAGE: usize = 10_000;
    let mut all: HashMap<UsageKey, UsageSums> = HashMap::new();
    let mut after = None;
    loop {
        let (rows, next) = books
            .store
            .ask(|store| async move { store.rollups(after, PAGE).await })?;
        for row in rows {
            all.entry(row.key).or_default().add(&row.sums);
        }
        after = next;
        if after.is_none() {
            return Ok(all);
        }
    }
}

/// Which numbers of a range were there.
struct Numbers {
    from: u64,
    seen: Vec<bool>,
    doubled: u64,
}

impl Numbers {
    fn new(from: u64, through: u64) -> Self {
        // A file was checked to have as many rows as its range before this is asked for.
        let count = usize::try_from(through - from).unwrap_or(0);
        Self {
            from,
            seen: vec![false; count],
            doubled: 0,
        }
    }

    fn strike(&mut self, number: u64) {
        let index = number
            .checked_sub(self.from + 1)
            .and_then(|index| usize::try_from(index).ok());
        match index.and_then(|index| self.seen.get_mut(index)) {
            Some(seen) if !*seen => *seen = true,
            _ => self.doubled += 1,
        }
    }

    /// Numbers that are missing, and those that were there twice or out of range.
    fn finish(self) -> (u64, u64) {
        let missing = self.seen.iter().filter(|seen| !**seen).count();
        (missing as u64, self.doubled)
    }
}
