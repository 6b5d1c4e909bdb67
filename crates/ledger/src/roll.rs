//! The roll-up of a lane's closed records into the sums of the store, batch by batch, each with its
//! position.

use std::time::Instant;

use store::{RollupBatch, SealedFile};

use crate::context::{Batch, LaneSource, LedgerContext, RowReader};
use crate::error::Error;
use crate::file::Filter;
use crate::rollup::Sums;
use crate::row::Row;
use crate::told::Told;

/// The largest number of records in a batch: it bounds what is read again when a transaction fails.
/// [`crate::LedgerOptions::rollup_rows`] bounds its memory and the length of its transaction.
const BATCH: u64 = 1 << 20;

/// The roll-up of a lane and its position, as this process knows it.
#[derive(Debug, Default)]
pub(crate) struct Rolling {
    /// The close number up to which records are in the rollups.
    pub(crate) rolled: u64,
    reader: Option<RowReader>,
    /// Whether `rolled` is the store's position. It is not before the first question and after any
    /// error: a transaction whose answer was lost may have been done, and a store may have been
    /// replaced by an older copy.
    known: bool,
    /// The number of records beyond the position that were found gone, and are counted as lost.
    gone: u64,
}

impl Rolling {
    /// Rolls up the records that are visible now: all of them, or one batch. Returns whether there
    /// may be more.
    ///
    /// # Errors
    /// Nothing is lost: the next try begins at the store's position.
    pub(crate) fn roll(
        &mut self,
        context: &LedgerContext,
        lane: &LaneSource,
        batch: Batch,
    ) -> Result<bool, Error> {
        let result = self.roll_known(context, lane, batch);
        let gone = result.as_ref().map_or_else(Error::gone, |_| 0);
        context.stats.found_gone(gone.saturating_sub(self.gone));
        self.gone = gone;
        if result.is_err() {
            self.known = false;
            self.reader = None;
        }
        result
    }

    /// Releases the segment that it reads, when there is nothing to do for now.
    pub(crate) fn rest(&mut self) {
        self.reader = None;
    }

    fn roll_known(
        &mut self,
        context: &LedgerContext,
        lane: &LaneSource,
        batch: Batch,
    ) -> Result<bool, Error> {
        if !self.known {
            self.rolled = context.position(lane.instance, lane.lane)?.rolled;
            self.known = true;
        }
        loop {
            if self.reader.is_none() {
                self.reader = self.open(context, lane)?;
            }
            let begun = Instant::now();
            let Some(reader) = &mut self.reader else {
                return Ok(false);
            };
            // Before anything else, so that a gate without calls asks the store for nothing.
            let Some(first) = reader.next()? else {
                return Ok(false);
            };
            let most = context.rollup_rows;
            let mut batch_of = Collected::new(context)?;
            let through = batch_of.collect(&first, reader, self.rolled, most)?;
            let is_full = through - self.rolled == BATCH || batch_of.len() >= most;
            self.commit(context, lane, batch_of, through, begun)?;
            if batch == Batch::One {
                return Ok(is_full);
            }
        }
    }

    /// Returns a reader at the position. Records that the journal has released are rolled up from
    /// sealed files first.
    fn open(
        &mut self,
        context: &LedgerContext,
        lane: &LaneSource,
    ) -> Result<Option<RowReader>, Error> {
        match lane.rows_from(context, self.rolled) {
            Ok(Some(reader)) => Ok(Some(reader)),
            Ok(None) => {
                self.roll_files(context, lane)?;
                Ok(None)
            }
            Err(error) if error.is_missing() => {
                if self.roll_files(context, lane)? {
                    lane.rows_from(context, self.rolled)
                } else {
                    Err(error)
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Rolls up the records that sealed files hold beyond the position. Returns whether that moved
    /// it.
    fn roll_files(&mut self, context: &LedgerContext, lane: &LaneSource) -> Result<bool, Error> {
        let begin = self.rolled;
        loop {
            let files = context.files_after(lane.instance, lane.lane, self.rolled)?;
            if files.is_empty() {
                return Ok(self.rolled > begin);
            }
            self.roll_some(context, lane, &files)?;
        }
    }

    fn roll_some(
        &mut self,
        context: &LedgerContext,
        lane: &LaneSource,
        files: &[SealedFile],
    ) -> Result<(), Error> {
        for file in files {
            let through = match file.removed_at {
                Some(_) => file.range.through,
                None => file.range.from,
            };
            if through > self.rolled {
                return Err(Error::Gone {
                    instance: lane.instance,
                    lane: lane.lane,
                    from: self.rolled + 1,
                    through,
                });
            }
            let begun = Instant::now();
            let mut batch_of = Collected::new(context)?;
            batch_of.collect_file(context, file, self.rolled)?;
            self.commit(context, lane, batch_of, file.range.through, begun)?;
        }
        Ok(())
    }

    fn commit(
        &mut self,
        context: &LedgerContext,
        lane: &LaneSource,
        collected: Collected<'_>,
        through: u64,
        begun: Instant,
    ) -> Result<(), Error> {
        let Collected { sums, told } = collected;
        let (events, watched) = told.finish();
        let batch = RollupBatch {
            instance: lane.instance,
            lane: lane.lane,
            from: self.rolled,
            through,
            rows: sums.rows(&context.names),
            spent: sums.spent(),
            events,
            watched,
        };
        fail::fail_point!("ledger::roll::commit", |_| Err(Error::Injected(
            "ledger::roll::commit"
        )));
        context
            .store
            .ask(|store| async move { store.roll_up(batch).await })?;
        let records = through - self.rolled;
        self.rolled = through;
        fail::fail_point!("ledger::roll::committed", |_| Err(Error::Injected(
            "ledger::roll::committed"
        )));
        context.observer.rolled_up(records, begun.elapsed());
        Ok(())
    }
}

/// The sums of a batch of records, and what is told of them.
struct Collected<'a> {
    sums: Sums,
    told: Told<'a>,
}

impl<'a> Collected<'a> {
    fn new(context: &'a LedgerContext) -> Result<Self, Error> {
        Ok(Self {
            sums: Sums::default(),
            told: Told::new(&context.names, context.wanted.get(&context.store)?),
        })
    }

    fn add(&mut self, row: &Row) {
        self.sums.add(row);
        self.told.add(row);
    }

    /// Returns the number of rows that the store writes for it, about.
    fn len(&self) -> usize {
        self.sums.len().max(self.told.len())
    }

    /// Adds up to a batch of records after `from`, of which one is read already. Returns the number
    /// of the last.
    fn collect(
        &mut self,
        first: &Row,
        reader: &mut RowReader,
        from: u64,
        most_rows: usize,
    ) -> Result<u64, Error> {
        self.add(first);
        let mut through = first.number;
        while through - from < BATCH
            && self.len() < most_rows
            && let Some(row) = reader.next()?
        {
            self.add(&row);
            through = row.number;
        }
        Ok(through)
    }

    /// Adds the records of a file after `after`.
    fn collect_file(
        &mut self,
        context: &LedgerContext,
        file: &SealedFile,
        after: u64,
    ) -> Result<(), Error> {
        let reader = context.open(&file.name)?;
        reader.scan(&context.names, &Filter::default(), &mut |row| {
            if row.number > after {
                self.add(row);
            }
            Ok(())
        })?;
        Ok(())
    }
}
