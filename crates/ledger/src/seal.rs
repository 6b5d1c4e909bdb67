//! The sealing of a lane's closed records into Parquet files, one range after the other, each in
//! three steps.
//!
//! The range is written to the store, the file to the directory, the file's line to the manifest. A
//! crash anywhere is mended by doing the same again: the range and so the name are the same, and a
//! file that is there already is taken as it is.

use std::path::Path;
use std::sync::PoisonError;
use std::time::{Instant, SystemTime};

use model::Timestamp;
use store::{SealIntent, SealedFile};

use crate::context::{Batch, LaneSource, LedgerContext, RowReader};
use crate::error::Error;
use crate::file::{
    FileMeta, PART_SUFFIX, SealedReader, file_name, hash_file, parse_file_name, write_sealed,
};
use crate::row::Row;

/// The largest number of records in a file: they are sorted in memory, about 200 bytes each.
pub(crate) const FILE_ROWS: u64 = 393_216;

/// The sealing of a lane and its position, as this process knows it.
#[derive(Debug, Default)]
pub(crate) struct Sealing {
    /// The close number up to which records are in files of the manifest.
    pub(crate) sealed: u64,
    /// The hash of the last of these files.
    previous: [u8; 32],
    /// The number at which the next file must end, if that was decided before: by an intent, or by
    /// a file that must be made again.
    decided: Option<u64>,
    /// A reader behind the last sealed record: finding the place again costs a segment's worth of
    /// reading.
    reader: Option<RowReader>,
    /// Whether the fields above are the store's. They are not after an error, as in
    /// [`crate::roll`].
    known: bool,
}

impl Sealing {
    /// Seals the records that are visible now: all of them, or one file.
    ///
    /// # Errors
    /// Nothing is lost: the next try begins at the store's position.
    pub(crate) fn seal(
        &mut self,
        context: &LedgerContext,
        lane: &LaneSource,
        batch: Batch,
    ) -> Result<(), Error> {
        let result = self.seal_known(context, lane, batch);
        if result.is_err() {
            self.known = false;
            self.reader = None;
        }
        result
    }

    /// Asks the store for the lane's position, and takes in the files that the store does not know
    /// of, unless that is done.
    ///
    /// # Errors
    /// Returns the errors of [`Sealing::seal`].
    pub(crate) fn look(&mut self, context: &LedgerContext, lane: &LaneSource) -> Result<(), Error> {
        if !self.known {
            self.learn(context, lane)?;
            self.known = true;
        }
        Ok(())
    }

    /// Releases the segment that it reads, when there is nothing to do for now.
    pub(crate) fn rest(&mut self) {
        self.reader = None;
    }

    fn seal_known(
        &mut self,
        context: &LedgerContext,
        lane: &LaneSource,
        batch: Batch,
    ) -> Result<(), Error> {
        self.look(context, lane)?;
        loop {
            let Some(mut rows) = self.collect(context, lane)? else {
                return Ok(());
            };
            if rows.is_empty() {
                return Ok(());
            }
            self.seal_rows(context, lane, &mut rows)?;
            if batch == Batch::One {
                return Ok(());
            }
        }
    }

    /// Asks the store for the lane's position, and takes in files that a crash, or an older copy of
    /// the store, left out.
    fn learn(&mut self, context: &LedgerContext, lane: &LaneSource) -> Result<(), Error> {
        let (instance, number) = (lane.instance, lane.lane);
        self.sealed = context.position(instance, number)?.sealed;
        self.previous = [0; 32];
        self.decided = None;
        if self.sealed > 0 {
            let files = context.files_after(instance, number, self.sealed - 1)?;
            let last = files
                .first()
                .filter(|file| file.range.through == self.sealed);
            self.previous = last
                .ok_or(Error::Inconsistent {
                    instance,
                    lane: number,
                    number: self.sealed,
                    what: "the manifest lacks the file before: run `tallygate ledger rebuild`",
                })?
                .hash;
        }
        let intents = context
            .store
            .ask(|store| async move { store.seal_intents(instance).await })?;
        let next = |intent: &&SealIntent| intent.lane == number && intent.from == self.sealed;
        self.decided = intents.iter().find(next).map(|intent| intent.through);
        self.adopt(context, lane)
    }

    /// Takes files into the manifest that follow the last one.
    fn adopt(&mut self, context: &LedgerContext, lane: &LaneSource) -> Result<(), Error> {
        while let Some(range) = file_after(&context.directory, lane, self.sealed)? {
            let path = context.directory.join(file_name(&range));
            let fits = match SealedReader::open(&path) {
                Ok(reader) => {
                    let meta = reader.meta();
                    meta.range == range && meta.previous == self.previous
                }
                Err(error @ Error::NewerFile { .. }) => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "a sealed file must be made again");
                    false
                }
            };
            if !fits {
                self.decided = Some(range.through);
                return Ok(());
            }
            let file = describe(&path)?;
            self.commit(context, file)?;
        }
        Ok(())
    }

    /// Returns the rows of the next file; `None` where there is no journal to read them from.
    fn collect(
        &mut self,
        context: &LedgerContext,
        lane: &LaneSource,
    ) -> Result<Option<Vec<Row>>, Error> {
        let wanted = self.decided.map(|through| through - self.sealed);
        if self.reader.is_none() {
            self.reader = lane.rows_from(context, self.sealed)?;
        }
        let mut rows = Vec::new();
        match &mut self.reader {
            None if wanted.is_none() => return Ok(None),
            None => {}
            Some(reader) => {
                let limit = wanted.unwrap_or(FILE_ROWS);
                while (rows.len() as u64) < limit
                    && let Some(row) = reader.next()?
                {
                    rows.push(row);
                }
            }
        }
        match wanted {
            Some(wanted) if wanted != rows.len() as u64 => Err(Error::Gone {
                instance: lane.instance,
                lane: lane.lane,
                from: self.sealed + rows.len() as u64 + 1,
                through: self.sealed + wanted,
            }),
            _ => Ok(Some(rows)),
        }
    }

    fn seal_rows(
        &mut self,
        context: &LedgerContext,
        lane: &LaneSource,
        rows: &mut [Row],
    ) -> Result<(), Error> {
        let begun = Instant::now();
        let intent = SealIntent {
            instance: lane.instance,
            lane: lane.lane,
            from: self.sealed,
            through: self.sealed + rows.len() as u64,
        };
        context
            .store
            .ask(|store| async move { store.intend_seal(intent).await })?;
        fail::fail_point!("ledger::seal::intended", |_| Err(Error::Injected(
            "ledger::seal::intended"
        )));
        let meta = self.meta(lane, intent, rows);
        let written = write_sealed(&context.directory, &meta, rows, &context.names)?;
        fail::fail_point!("ledger::seal::written", |_| Err(Error::Injected(
            "ledger::seal::written"
        )));
        let file = line(&meta, written.bytes, written.hash, context.clock.now());
        self.commit(context, file)?;
        context
            .observer
            .sealed(meta.records(), written.bytes, begun.elapsed());
        Ok(())
    }

    fn meta(&self, lane: &LaneSource, range: SealIntent, rows: &[Row]) -> FileMeta {
        let times = || rows.iter().map(|row| row.record.head.started_at);
        FileMeta {
            range,
            node: lane.node.clone(),
            previous: self.previous,
            calls: rows
                .iter()
                .map(|row| u64::from(row.record.tail.calls))
                .sum(),
            first_started_at: times().min().unwrap_or_default(),
            last_started_at: times().max().unwrap_or_default(),
        }
    }

    fn commit(&mut self, context: &LedgerContext, file: SealedFile) -> Result<(), Error> {
        let (through, hash) = (file.range.through, file.hash);
        let _manifest = context
            .manifest
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        context.commit_file(file)?;
        self.sealed = through;
        self.previous = hash;
        self.decided = None;
        fail::fail_point!("ledger::seal::committed", |_| Err(Error::Injected(
            "ledger::seal::committed"
        )));
        let files = &context.stats.files;
        files.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }
}

/// Returns the manifest's line of a file.
pub(crate) fn line(
    meta: &FileMeta,
    bytes: u64,
    hash: [u8; 32],
    sealed_at: Timestamp,
) -> SealedFile {
    SealedFile {
        range: meta.range,
        name: file_name(&meta.range),
        bytes,
        records: meta.records(),
        calls: meta.calls,
        hash,
        previous: meta.previous,
        first_started_at: meta.first_started_at,
        last_started_at: meta.last_started_at,
        sealed_at,
        removed_at: None,
    }
}

/// Returns the manifest's line of a file, from the file itself.
pub(crate) fn describe(path: &Path) -> Result<SealedFile, Error> {
    let reader = SealedReader::open(path)?;
    let (bytes, hash) = hash_file(path)?;
    let modified = path
        .metadata()
        .and_then(|metadata| metadata.modified())
        .unwrap_or_else(|_| SystemTime::now());
    Ok(line(reader.meta(), bytes, hash, modified.into()))
}

/// Returns the ranges of all sealed files in a directory, in order of instance, lane and range.
pub(crate) fn files_in(directory: &Path) -> Result<Vec<SealIntent>, Error> {
    let entries = std::fs::read_dir(directory).map_err(Error::io("read", directory))?;
    let mut ranges = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io("read", directory))?;
        ranges.extend(entry.file_name().to_str().and_then(parse_file_name));
    }
    ranges.sort_unstable_by_key(|range| (range.instance, range.lane, range.from, range.through));
    Ok(ranges)
}

fn file_after(
    directory: &Path,
    lane: &LaneSource,
    number: u64,
) -> Result<Option<SealIntent>, Error> {
    let next = |range: &SealIntent| {
        range.instance == lane.instance && range.lane == lane.lane && range.from == number
    };
    Ok(files_in(directory)?.into_iter().find(next))
}

/// Removes an instance's files that a crash left half-written.
pub(crate) fn remove_parts(directory: &Path, instance: model::InstanceId) -> Result<(), Error> {
    let prefix = format!("{:032x}-", instance.as_u128());
    let entries = std::fs::read_dir(directory).map_err(Error::io("read", directory))?;
    for entry in entries {
        let entry = entry.map_err(Error::io("read", directory))?;
        let name = entry.file_name();
        let part = name
            .to_str()
            .is_some_and(|name| name.starts_with(&prefix) && name.ends_with(PART_SUFFIX));
        if part {
            std::fs::remove_file(entry.path()).map_err(Error::io("remove", &entry.path()))?;
        }
    }
    Ok(())
}
