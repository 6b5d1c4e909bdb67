//! The following of records: each closed call once, by its place in the order in which its lane
//! closed it.
//!
//! Calls cannot be followed by their start: a call that lasts closes after its page was read. Here
//! a page goes on where the one before ended, lane by lane, and a cursor holds that position.

mod ahead;
mod cursor;
mod lanes;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use store::{InstanceState, SealedFile};

use crate::calls::{CallsQuery, Wanted};
use crate::context::LaneSource;
use crate::error::Error;
use crate::ledger::{Ledger, Reading, Shared};
use crate::line::CallLine;
use crate::names::{NameCache, Names};
use crate::row::Row;

pub(crate) use ahead::Ahead;
use cursor::Turn;
pub use cursor::{FollowCursor, ParseCursorError};
use lanes::FollowedLane;

/// A page of calls for a follower.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// The calls that it was not given before: those of one lane in the order in which they were
    /// closed.
    pub calls: Vec<CallLine>,
    /// The cursor for the next page, now or later.
    pub next: FollowCursor,
    /// Whether there may be more to read at once.
    pub more: bool,
}

/// The largest number of instances that are read for one page, so that a page takes bounded time
/// however many starts there were.
const INSTANCES_MAX: usize = 256;
/// The turn of new instances, which comes after all lanes that are known.
const NEW: Turn = (u64::MAX, u32::MAX);

impl Ledger {
    /// Returns the next calls of a query, at most `limit`, of those that were closed since the page
    /// that returned `cursor`; without a cursor from the oldest record on. The query's own limit is
    /// ignored.
    ///
    /// A client that gives each page's `next` for the next page sees every record exactly once.
    /// Calls that another gate closed are seen when that gate has sealed them. The order is by
    /// instance and lane, and within each by closing: not by time.
    ///
    /// # Errors
    /// Returns [`Error::RemovedAhead`] where retention removed records after the following was
    /// begun and before they were read; [`Error::CursorUnknown`]; [`Error::Behind`] where nothing
    /// can be returned but calls that the disk has not taken yet; else when the store does not
    /// answer or records cannot be read.
    pub async fn follow(
        &self,
        query: CallsQuery,
        cursor: Option<FollowCursor>,
        limit: usize,
    ) -> Result<Followed, Error> {
        let shared = Arc::clone(&self.shared);
        let visible = shared.visible().await;
        self.run(move || {
            let names = Arc::clone(&shared.context.names);
            let cursor = cursor.unwrap_or_else(|| FollowCursor::begin(shared.context.clock.now()));
            let mut page = Follower::new(shared, &query, &names, cursor, limit).follow()?;
            if page.calls.is_empty() && !page.more {
                visible?;
            } else {
                page.more |= visible.is_err();
            }
            Ok(page)
        })
        .await
    }
}

/// The state of a page that is being read.
struct Follower<'a> {
    shared: Reading,
    query: &'a CallsQuery,
    wanted: Wanted<'a>,
    names: NameCache<'a>,
    cursor: FollowCursor,
    /// The lanes of earlier starts that are read here.
    dead: Vec<LaneSource>,
    calls: Vec<CallLine>,
    limit: usize,
}

impl<'a> Follower<'a> {
    fn new(
        shared: Arc<Shared>,
        query: &'a CallsQuery,
        names: &'a Names,
        cursor: FollowCursor,
        limit: usize,
    ) -> Self {
        let shared = Reading::begin(shared);
        // Retention looked for readers before this lock; from here on it finds one.
        drop(
            shared
                .context
                .manifest
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        );
        Self {
            query,
            wanted: Wanted::new(query, names),
            names: NameCache::new(names),
            cursor,
            dead: shared.catch_up.lanes(),
            calls: Vec::new(),
            limit: limit.max(1),
            shared,
        }
    }

    fn follow(mut self) -> Result<Followed, Error> {
        self.check_last()?;
        let open = self.open_instances()?;
        let more = self.read_in_turn(&open)?;
        self.remove_ended(&open);
        Ok(Followed {
            calls: self.calls,
            next: self.cursor,
            more,
        })
    }

    const fn is_full(&self) -> bool {
        self.calls.len() >= self.limit
    }

    fn instances_numbered(&self, numbers: Vec<u64>) -> Result<Vec<InstanceState>, Error> {
        let store = &self.shared.context.store;
        store.ask(|store| async move { store.instances_numbered(numbers).await })
    }

    /// Checks that the store knows the last instance of the cursor: a store that was restored
    /// numbers other instances like those that it forgot.
    fn check_last(&self) -> Result<(), Error> {
        let Some((number, id)) = self.cursor.last else {
            return Ok(());
        };
        let found = self.instances_numbered(vec![number])?;
        match found.first() {
            Some(state) if state.id == id => Ok(()),
            _ => Err(Error::CursorUnknown),
        }
    }

    /// Returns the instances that were not read to their end, each with its lanes.
    fn open_instances(&self) -> Result<Vec<(InstanceState, Vec<FollowedLane>)>, Error> {
        let numbers = self.cursor.open.keys().copied().collect();
        let states = self.instances_numbered(numbers)?;
        let with_lanes = |state: InstanceState| {
            let lanes = self.lanes_of(&state)?;
            Ok((state, lanes))
        };
        states.into_iter().map(with_lanes).collect()
    }

    /// Reads known lanes and new ones until the page is full, from behind the lane that the page
    /// before ended with. Returns whether there may be more.
    fn read_in_turn(&mut self, open: &[(InstanceState, Vec<FollowedLane>)]) -> Result<bool, Error> {
        let mut lanes: BTreeMap<Turn, Option<&FollowedLane>> = open
            .iter()
            .flat_map(|(_, lanes)| lanes)
            .map(|lane| (lane.turn, Some(lane)))
            .collect();
        lanes.insert(NEW, None);
        let turn = self.cursor.turn;
        let behind = lanes.range((std::ops::Bound::Excluded(turn), std::ops::Bound::Unbounded));
        let before = lanes.range(..=turn);
        let mut more = false;
        for (turn, lane) in behind.chain(before) {
            if self.is_full() {
                return Ok(true);
            }
            match lane {
                Some(lane) => self.read_lane(lane)?,
                None => more = self.read_new()?,
            }
            self.cursor.turn = *turn;
        }
        Ok(more || self.is_full())
    }

    /// Begins to read instances that registered since the page before. Returns whether there may be
    /// more.
    fn read_new(&mut self) -> Result<bool, Error> {
        let after = self.cursor.last.map_or(0, |(number, _)| number);
        let store = &self.shared.context.store;
        let states =
            store.ask(|store| async move { store.instances_after(after, INSTANCES_MAX).await })?;
        let more = states.len() == INSTANCES_MAX;
        for state in states {
            if self.is_full() {
                return Ok(true);
            }
            let lanes = self.lanes_of(&state)?;
            self.cursor.last = Some((state.number, state.id));
            self.cursor.open.insert(state.number, BTreeMap::new());
            for lane in &lanes {
                self.read_lane(lane)?;
            }
            self.remove_ended(&[(state, lanes)]);
        }
        Ok(more)
    }

    /// Drops the instances that are read to their end from the cursor: nothing is ever added to
    /// them.
    fn remove_ended(&mut self, instances: &[(InstanceState, Vec<FollowedLane>)]) {
        for (state, lanes) in instances {
            let is_read = |lane: &FollowedLane| self.cursor.position(lane.turn) >= lane.sealed;
            if state.finished_at.is_some() && lanes.iter().all(is_read) {
                self.cursor.open.remove(&state.number);
            }
        }
    }

    /// Reads a lane to its end or until the page is full: sealed files first, then the journal, if
    /// it is here.
    fn read_lane(&mut self, lane: &FollowedLane) -> Result<(), Error> {
        let mut at = self.cursor.position(lane.turn);
        self.read_files(lane, &mut at)?;
        self.read_journal(lane, &mut at)?;
        self.cursor.move_to(lane.turn, at);
        Ok(())
    }

    fn read_files(&mut self, lane: &FollowedLane, at: &mut u64) -> Result<(), Error> {
        let shared = Arc::clone(self.shared.ledger());
        while !self.is_full() {
            let files = shared
                .context
                .files_after(lane.instance, lane.turn.1, *at)?;
            if files.is_empty() {
                break;
            }
            for file in &files {
                if !self.passes_over(lane, file, *at)? {
                    self.read_file(lane, file, at)?;
                    if self.is_full() {
                        return Ok(());
                    }
                }
                *at = file.range.through;
            }
        }
        Ok(())
    }

    /// Returns whether nothing in a file is wanted.
    fn passes_over(&self, lane: &FollowedLane, file: &SealedFile, at: u64) -> Result<bool, Error> {
        let (first, last) = (file.first_started_at, file.last_started_at);
        if !self.wanted.filter.meets(first, last) {
            return Ok(true);
        }
        match file.removed_at {
            None => Ok(false),
            Some(removed_at) if removed_at <= self.cursor.begun_at => Ok(true),
            Some(_) => Err(Error::RemovedAhead {
                instance: lane.instance,
                lane: lane.turn.1,
                from: at.max(file.range.from) + 1,
                through: file.range.through,
            }),
        }
    }

    /// Reads a file's rows behind `at`, in close order, until the page is full.
    fn read_file(
        &mut self,
        lane: &FollowedLane,
        file: &SealedFile,
        at: &mut u64,
    ) -> Result<(), Error> {
        let shared = Arc::clone(self.shared.ledger());
        while !self.is_full() && *at < file.range.through {
            let ahead = Ahead::take(&shared, file, self.query.license_id, *at)?;
            let mut read = 0;
            for row in ahead.behind(*at) {
                if self.is_full() {
                    break;
                }
                read = row.number;
                self.give(lane, row);
            }
            *at = match self.is_full() {
                true => read,
                false => ahead.through,
            };
            ahead.keep(&shared);
        }
        Ok(())
    }

    fn read_journal(&mut self, lane: &FollowedLane, at: &mut u64) -> Result<(), Error> {
        let Some((source, closed)) = &lane.journal else {
            return Ok(());
        };
        if self.is_full() || *at >= *closed {
            return Ok(());
        }
        let shared = Arc::clone(self.shared.ledger());
        let mut reader = match source.rows_from(&shared.context, *at) {
            Ok(Some(reader)) => reader,
            Ok(None) => return Ok(()),
            // The records were sealed and released after the files were looked up.
            Err(error) if error.is_missing() => return self.read_files(lane, at),
            Err(error) => return Err(error),
        };
        while !self.is_full()
            && let Some(row) = reader.next()?
            && row.number <= *closed
        {
            *at = row.number;
            self.give(lane, &row);
        }
        Ok(())
    }

    fn give(&mut self, lane: &FollowedLane, row: &Row) {
        if self.wanted.takes(row) {
            self.calls
                .push(CallLine::new(row, &lane.node, &mut self.names));
        }
    }
}
