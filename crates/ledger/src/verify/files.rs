//! The recount of sealed files: hashes, chain, ranges and rows.

use model::InstanceId;
use store::{LanePosition, SealedFile};

use super::Check;
use crate::context::LedgerContext;
use crate::error::Error;
use crate::file::{Filter, SealedReader, file_name, hash_file};
use crate::report::{Fault, Problem};
use crate::seal::files_in;

impl Check {
    /// Checks the files of one lane. Returns the number of the record at which they end.
    pub(super) fn files(
        &mut self,
        context: &LedgerContext,
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
            self.file(context, position, file)?;
            end = file.range.through;
            previous = file.hash;
        }
        Ok(end)
    }

    fn file(
        &mut self,
        context: &LedgerContext,
        position: &LanePosition,
        file: &SealedFile,
    ) -> Result<(), Error> {
        self.report.accepted += file.calls;
        if file.removed_at.is_some() {
            self.trusted += file.calls;
            return Ok(());
        }
        let fault = match self.read_file(context, position, file) {
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

    /// Adds a file's records, if it is as it was written; nothing of it otherwise.
    fn read_file(
        &mut self,
        context: &LedgerContext,
        position: &LanePosition,
        file: &SealedFile,
    ) -> Result<(), Error> {
        let path = context.as_kept(&file.name)?;
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
        let result = reader.scan(&context.names, &Filter::default(), &mut |row| {
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
        self.unique.file(&file.name, file.records);
        Ok(())
    }

    pub(super) fn unknown_files(
        &mut self,
        context: &LedgerContext,
        manifest: &[SealedFile],
    ) -> Result<(), Error> {
        for range in files_in(&context.directory)? {
            let name = file_name(&range);
            if manifest.iter().any(|file| file.name == name) {
                continue;
            }
            let what = "the file is not in the manifest";
            let problem = Problem::new(Fault::FileUnknown, what).of(range.instance, range.lane);
            self.note(problem.file(&name).range(range.from + 1, range.through));
        }
        Ok(())
    }
}

/// The numbers of a range that were found.
struct Numbers {
    from: u64,
    seen: Vec<bool>,
    doubled: u64,
}

impl Numbers {
    fn new(from: u64, through: u64) -> Self {
        // A file was checked to have as many rows as its range before this is called.
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

    /// Returns how many numbers are missing, and how many were found twice or out of range.
    fn finish(self) -> (u64, u64) {
        let missing = self.seen.iter().filter(|seen| !**seen).count();
        (missing as u64, self.doubled)
    }
}
