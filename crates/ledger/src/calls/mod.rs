//! The query for single calls, oldest first, over sealed files, the live journal and the journals
//! of earlier starts.
//!
//! The answer is made in windows. Each window gathers the oldest rows that were not returned yet,
//! as many as memory allows, from all sources that may hold some.

mod query;
mod smallest;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use model::Timestamp;
use store::SealedFile;

use crate::context::LaneSource;
use crate::error::Error;
use crate::file::{Filter, Place};
use crate::ledger::{Ledger, Reading, Shared};
use crate::line::CallLine;
use crate::names::{NameCache, Names};
use crate::row::Row;

pub use query::CallsQuery;
pub(crate) use query::Wanted;
pub(crate) use smallest::Smallest;

/// The number of rows in a window, about 400 bytes each; up to twice as many while gathering.
const WINDOW: usize = 65_536;
/// The number of lines in a page.
const PAGE: usize = 1_024;

/// An answer to a [`CallsQuery`], page by page. It contains the calls that were closed when the
/// question was asked, and none that were closed later.
pub struct Calls {
    sources: Arc<Sources>,
    ledger: Ledger,
    window: Vec<Row>,
    /// The number of rows of the window that were returned.
    given: usize,
    last: bool,
    /// The key behind which the next window begins.
    after: Option<Key>,
    left: u64,
}

impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Calls")
            .field("query", &self.sources.query)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

/// The sort key of a call: its start and its call id.
type Key = (i64, u128);

/// The window that is being gathered: the oldest rows so far.
type Window = Smallest<Key>;

/// The files and lanes that may hold wanted rows, as they were when the question was asked.
struct Sources {
    shared: Reading,
    query: CallsQuery,
    /// Sealed files, by the start of their earliest call.
    files: Vec<SealedFile>,
    /// Lanes that have a journal.
    lanes: Vec<JournalLane>,
    /// The place (gate, instance, lane) of each source's rows: files first, then lanes.
    places: Vec<Place>,
    nodes: Vec<Arc<str>>,
}

/// A lane of this process, or one of an earlier start that is not all in files yet.
struct JournalLane {
    source: LaneSource,
    /// The close number up to which its records are in files.
    sealed: u64,
    /// The close number of its last record when the question was asked.
    closed: u64,
}

impl Ledger {
    /// Returns the calls that match a query, oldest first. Calls that are not over yet are not
    /// among them.
    ///
    /// # Errors
    /// Returns an error when the store does not answer; [`Error::Behind`] when calls that have
    /// ended would be missing.
    pub async fn calls(&self, query: CallsQuery) -> Result<Calls, Error> {
        let shared = Arc::clone(&self.shared);
        shared.visible().await?;
        let sources = self.run(move || Sources::new(shared, query)).await?;
        Ok(self.calls_of(sources))
    }

    /// Returns the calls as [`Ledger::calls`] does, with those that the other gates of a fleet have
    /// rolled up and not sealed: those gates seal them first. The caller has waited for this gate's
    /// disk.
    pub(crate) async fn calls_of_all_gates(&self, query: CallsQuery) -> Result<Calls, Error> {
        let shared = Arc::clone(&self.shared);
        let look = move || {
            let others = shared.freeze_others(&shared.catch_up.instances())?;
            let sources = Sources::new(Arc::clone(&shared), query);
            drop(others);
            sources
        };
        let sources = self.run(look).await?;
        Ok(self.calls_of(sources))
    }

    fn calls_of(&self, sources: Sources) -> Calls {
        let left = sources.query.limit.unwrap_or(u64::MAX);
        Calls {
            sources: Arc::new(sources),
            ledger: self.clone(),
            window: Vec::new(),
            given: 0,
            last: false,
            after: None,
            left,
        }
    }
}

impl Calls {
    /// Returns the next lines; `None` at the end. A page is never empty.
    ///
    /// # Errors
    /// Returns an error when a file or the journal cannot be read.
    pub async fn next_page(&mut self) -> Result<Option<Vec<CallLine>>, Error> {
        let Some(rows) = self.next_rows(PAGE).await? else {
            return Ok(None);
        };
        let sources = &self.sources;
        let mut names = NameCache::new(&sources.shared.context.names);
        let lines = self.window[rows]
            .iter()
            .map(|row| CallLine::new(row, &sources.nodes[row.source as usize], &mut names))
            .collect();
        Ok(Some(lines))
    }

    /// Returns all lines at once; for small answers.
    ///
    /// # Errors
    /// Returns the errors of [`Calls::next_page`].
    pub async fn all(mut self) -> Result<Vec<CallLine>, Error> {
        let mut lines = Vec::new();
        while let Some(page) = self.next_page().await? {
            lines.extend(page);
        }
        Ok(lines)
    }

    pub(crate) fn names(&self) -> Arc<Names> {
        Arc::clone(&self.sources.shared.context.names)
    }

    /// Returns the next rows, with the place that each is from.
    pub(crate) async fn next_group(
        &mut self,
        most: usize,
    ) -> Result<Option<(&[Row], &[Place])>, Error> {
        let Some(rows) = self.next_rows(most).await? else {
            return Ok(None);
        };
        Ok(Some((&self.window[rows], &self.sources.places)))
    }

    async fn next_rows(&mut self, most: usize) -> Result<Option<std::ops::Range<usize>>, Error> {
        while self.given == self.window.len() {
            if self.last || self.left == 0 {
                return Ok(None);
            }
            self.gather().await?;
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(most);
        let end = self.window.len().min(self.given + most);
        let rows = self.given..end;
        self.given = end;
        self.left -= rows.len() as u64;
        Ok((!rows.is_empty()).then_some(rows))
    }

    async fn gather(&mut self) -> Result<(), Error> {
        let sources = Arc::clone(&self.sources);
        let after = self.after;
        let size = usize::try_from(self.left).unwrap_or(usize::MAX).min(WINDOW);
        let (rows, last) = self.ledger.run(move || sources.gather(after, size)).await?;
        self.after = rows.last().map(Row::time_order).or(self.after);
        self.window = rows;
        self.given = 0;
        self.last = last;
        Ok(())
    }
}

impl Sources {
    fn new(shared: Arc<Shared>, query: CallsQuery) -> Result<Self, Error> {
        let mut sources = Self {
            query,
            files: Vec::new(),
            lanes: Vec::new(),
            places: Vec::new(),
            nodes: Vec::new(),
            shared: Reading::begin(shared),
        };
        sources.take_stock()?;
        Ok(sources)
    }

    /// Reads manifest and positions while neither changes.
    fn take_stock(&mut self) -> Result<(), Error> {
        let shared = Arc::clone(self.shared.ledger());
        let context = &shared.context;
        let (from, to) = (self.query.from, self.query.to);
        let guard = context
            .manifest
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let mut files = context
            .store
            .ask(|store| async move { store.manifest(from, to).await })?;
        let live = shared.lanes.iter();
        let live = live.map(|lane| (lane.source.clone(), lane.lane.closed()));
        // A dead lane grows no more: all of it is read.
        let dead = shared.catch_up.lanes().into_iter();
        for (source, closed) in live.chain(dead.map(|source| (source, u64::MAX))) {
            // The sealing thread publishes its position after it releases this lock; the store has
            // it already.
            let sealed = context.position(source.instance, source.lane)?.sealed;
            self.lanes.push(JournalLane {
                source,
                sealed,
                closed,
            });
        }
        drop(guard);
        files.retain(|file| file.removed_at.is_none());
        files.sort_unstable_by_key(|file| file.first_started_at);
        let instances = context
            .store
            .ask(|store| async move { store.instances().await })?;
        let nodes: HashMap<_, _> = instances
            .into_iter()
            .map(|state| (state.id, state.node))
            .collect();
        self.places.extend(files.iter().map(|file| Place {
            node: nodes.get(&file.range.instance).cloned().unwrap_or_default(),
            instance: file.range.instance,
            lane: file.range.lane,
        }));
        self.places.extend(self.lanes.iter().map(|lane| Place {
            node: lane.source.node.clone(),
            instance: lane.source.instance,
            lane: lane.source.lane,
        }));
        self.nodes = self
            .places
            .iter()
            .map(|place| Arc::from(&*place.node))
            .collect();
        self.files = files;
        Ok(())
    }

    /// Returns up to `size` of the oldest wanted rows behind `after`, in order, and whether they
    /// are the last.
    fn gather(&self, after: Option<Key>, size: usize) -> Result<(Vec<Row>, bool), Error> {
        let mut window = Window::new(Row::time_order, after, size);
        let mut wanted = Wanted::new(&self.query, &self.shared.context.names);
        for (index, lane) in self.lanes.iter().enumerate() {
            let source = u32::try_from(self.files.len() + index).expect("fewer than four billion");
            self.gather_lane(lane, source, &mut wanted, &mut window)?;
        }
        for (index, file) in self.files.iter().enumerate() {
            let source = u32::try_from(index).expect("fewer than four billion");
            self.gather_file(file, source, &mut wanted, &mut window)?;
        }
        Ok(window.finish())
    }

    fn gather_lane(
        &self,
        lane: &JournalLane,
        source: u32,
        wanted: &mut Wanted<'_>,
        window: &mut Window,
    ) -> Result<(), Error> {
        if lane.sealed >= lane.closed {
            return Ok(());
        }
        let Some(mut reader) = lane.source.rows_from(&self.shared.context, lane.sealed)? else {
            return Ok(());
        };
        while let Some(mut row) = reader.next()? {
            // The reader ends before that number only where a call was closed after the question
            // was asked, and the disk has not taken it yet.
            if row.number > lane.closed {
                break;
            }
            if wanted.takes(&row) {
                row.source = source;
                window.add(row);
            }
        }
        Ok(())
    }

    fn gather_file(
        &self,
        file: &SealedFile,
        source: u32,
        wanted: &mut Wanted<'_>,
        window: &mut Window,
    ) -> Result<(), Error> {
        let meets = |filter: Filter| {
            let meets = filter.meets(file.first_started_at, file.last_started_at);
            meets.then_some(filter)
        };
        if narrowed(&wanted.filter, window).and_then(meets).is_none() {
            return Ok(());
        }
        let context = &self.shared.context;
        let reader = context.open(&file.name)?;
        for group in 0..reader.groups() {
            // The rows found so far narrow what is still wanted.
            let Some(filter) = narrowed(&wanted.filter, window).and_then(meets) else {
                break;
            };
            reader.scan_group(group, &context.names, &filter, &mut |row| {
                if wanted.takes(row) {
                    window.add(Row { source, ..*row });
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// Returns the filter with the bounds in time that the window knows; `None` if nothing can match.
fn narrowed(filter: &Filter, window: &Window) -> Option<Filter> {
    let mut filter = *filter;
    if let Some((after, _)) = window.after() {
        let after = Timestamp::from_micros(after);
        filter.from = Some(filter.from.map_or(after, |from| from.max(after)));
    }
    if let Some((cutoff, _)) = window.cutoff() {
        let end = Timestamp::from_micros(cutoff).plus_micros(1);
        filter.to = Some(filter.to.map_or(end, |to| to.min(end)));
    }
    match (filter.from, filter.to) {
        (Some(from), Some(to)) if from >= to => None,
        _ => Some(filter),
    }
}
