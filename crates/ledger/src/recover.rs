//! Recovery: what dead processes left in their journals comes into the books, once.
//!
//! Everything here can be done again: numbers, ranges and names depend on the journal alone, and the store moves a position
//! only from where it is.

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use journal::{DeadInstance, Entry, dead_instances};
use model::{CallHead, InstanceId};
use store::{InstanceState, Store};
use tokio::runtime::Handle;

use crate::books::{Books, Extent, LaneBook, Source};
use crate::closed::{define, resolve_mark};
use crate::error::Error;
use crate::file::{Filter, SealedReader, file_name};
use crate::options::LedgerOptions;
use crate::roll::Rolling;
use crate::seal::{Sealing, files_in, remove_parts};

/// What recovery did.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Instances that were shipped and finished.
    pub recovered: Vec<InstanceId>,
    /// Instances that cannot be read to their end, and why. They stay as they are; their leased units stay leased.
    pub failed: Vec<(PathBuf, Error)>,
    /// Journals that were removed, since they were finished and old.
    pub removed: usize,
}

/// Ships what every dead instance left. Call it before the gate serves.
///
/// # Errors
/// When the store does not answer. An instance that cannot be read does not keep the others: see [`Recovery::failed`].
pub async fn recover(
    options: &LedgerOptions,
    store: Arc<dyn Store>,
    runtime: Handle,
) -> Result<Recovery, Error> {
    let options = options.clone();
    let handle = runtime.clone();
    let work = move || {
        let books = Books::new(&options, store, handle)?;
        recover_all(&books, &options)
    };
    runtime
        .spawn_blocking(work)
        .await
        .map_err(|_| Error::Stopped)?
}

fn recover_all(books: &Books, options: &LedgerOptions) -> Result<Recovery, Error> {
    let mut recovery = Recovery::default();
    let mut finished = VecDeque::new();
    for dead in dead_instances(&options.journals)? {
        let path = dead.path().to_owned();
        let (instance, age) = (InstanceId::from_u128(dead.instance()), dead.age());
        match ship_dead(books, dead) {
            Ok(Shipped { dead, anew }) => {
                if anew {
                    recovery.recovered.push(instance);
                }
                dead.delete_spares()?;
                finished.push_back((dead, age));
            }
            Err(Error::Store(error)) => return Err(error.into()),
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "a journal cannot be recovered");
                recovery.failed.push((path, error));
            }
        }
    }
    recovery.removed = remove_old(finished, options)?;
    adopt_orphans(books, options, &mut recovery)?;
    Ok(recovery)
}

/// Removes finished journals, given oldest first, that are too old or too large together; how many. A process that dies
/// again and again must not fill the disk with what it leaves.
fn remove_old(
    mut finished: VecDeque<(DeadInstance, Duration)>,
    options: &LedgerOptions,
) -> Result<usize, Error> {
    let mut bytes: u64 = finished.iter().map(|(dead, _)| dead.bytes()).sum();
    let mut removed = 0;
    while let Some((dead, age)) = finished.pop_front() {
        if age <= options.keep && bytes <= options.keep_bytes {
            break;
        }
        bytes -= dead.bytes();
        dead.remove()?;
        removed += 1;
    }
    Ok(removed)
}

/// Ships what dead processes left (`tallygate ledger ship DIR`), by the directory of one instance or by the journal
/// directory that a gate keeps them in; `false` if the store had all of it already.
///
/// # Errors
/// When there is no instance, it is in use, cannot be read to its end, or the store does not answer. In a journal directory
/// all that can be shipped are, and the first error is told.
pub async fn ship(
    options: &LedgerOptions,
    path: PathBuf,
    store: Arc<dyn Store>,
    runtime: Handle,
) -> Result<bool, Error> {
    let options = options.clone();
    let handle = runtime.clone();
    let work = move || {
        let books = Books::new(&options, store, handle)?;
        ship_found(&books, &path)
    };
    runtime
        .spawn_blocking(work)
        .await
        .map_err(|_| Error::Stopped)?
}

fn ship_found(books: &Books, path: &Path) -> Result<bool, Error> {
    let not_one = match DeadInstance::open(path) {
        Ok(dead) => return Ok(ship_dead(books, dead)?.anew),
        Err(error @ journal::Error::NotAnInstance { .. }) => error,
        Err(error) => return Err(error.into()),
    };
    let found = dead_instances(path)?;
    if found.is_empty() {
        return Err(not_one.into());
    }
    let (mut anew, mut failed) = (false, None);
    for dead in found {
        match ship_dead(books, dead) {
            Ok(shipped) => anew |= shipped.anew,
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(anew), Err)
}

pub(crate) fn ship_path(books: &Books, path: &Path) -> Result<bool, Error> {
    Ok(ship_dead(books, DeadInstance::open(path)?)?.anew)
}

/// An instance that the store has all of.
struct Shipped {
    dead: DeadInstance,
    /// Something was missing before.
    anew: bool,
}

fn ship_dead(books: &Books, dead: DeadInstance) -> Result<Shipped, Error> {
    let instance = InstanceId::from_u128(dead.instance());
    let known = instance_state(books, instance)?;
    let closed: Vec<u64> = (0..dead.lanes())
        .map(|lane| dead.closed(lane))
        .collect::<Result<_, _>>()?;
    let finished = |state: &InstanceState| state.finished_at.is_some();
    if known.as_ref().is_some_and(finished) && has_all(books, instance, &closed)? {
        return Ok(Shipped { dead, anew: false });
    }
    // A directory that was brought from elsewhere keeps the label under which it began.
    let node = known.map_or_else(|| books.node.clone(), |state| state.node);
    begin(books, instance, &node, dead.age())?;
    remove_parts(&books.directory, instance)?;
    let dead = Arc::new(dead);
    let marks = marks_without_head(books, &dead)?;
    if !marks.is_empty() {
        tracing::warn!(%instance, calls = marks.len(), "calls of a dead gate may have been forwarded: outcome unknown");
    }
    for (lane, closed) in closed.into_iter().enumerate() {
        let lane = LaneBook {
            instance,
            lane: u32::try_from(lane).expect("a journal has at most 1,024 lanes"),
            node: node.clone(),
            source: Source::Dead {
                instance: Arc::clone(&dead),
                closed,
                // One lane takes the marks, which belong to none.
                marks: if lane == 0 { marks.clone() } else { Vec::new() },
            },
        };
        ship_lane(books, &lane)?;
    }
    finish(books, instance)?;
    // Nobody else holds it: the lanes are shipped and gone.
    let dead = Arc::try_unwrap(dead).map_err(|_| Error::Stopped)?;
    Ok(Shipped { dead, anew: true })
}

fn ship_lane(books: &Books, lane: &LaneBook) -> Result<(), Error> {
    // Files first: they may hold what the journal has let go.
    let mut sealing = Sealing::default();
    sealing.seal(books, lane, Extent::All)?;
    let mut rolling = Rolling::default();
    rolling.roll(books, lane, Extent::All)?;
    if rolling.rolled == sealing.sealed {
        return Ok(());
    }
    let (low, high) = (
        rolling.rolled.min(sealing.sealed),
        rolling.rolled.max(sealing.sealed),
    );
    Err(Error::Gone {
        instance: lane.instance,
        lane: lane.lane,
        from: low + 1,
        through: high,
    })
}

pub(crate) fn instance_state(
    books: &Books,
    instance: InstanceId,
) -> Result<Option<InstanceState>, Error> {
    let instances = books
        .store
        .ask(|store| async move { store.instances().await })?;
    Ok(instances.into_iter().find(|state| state.id == instance))
}

/// Whether the store's positions are at or beyond the end of every lane.
fn has_all(books: &Books, instance: InstanceId, closed: &[u64]) -> Result<bool, Error> {
    for (lane, closed) in closed.iter().enumerate() {
        let lane = u32::try_from(lane).expect("a journal has at most 1,024 lanes");
        let position = books.position(instance, lane)?;
        if position.rolled < *closed || position.sealed < *closed {
            return Ok(false);
        }
    }
    Ok(true)
}

fn begin(books: &Books, instance: InstanceId, node: &str, age: Duration) -> Result<(), Error> {
    let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
    let at = books.clock.now().plus_micros(-age);
    let node = node.to_owned();
    books
        .store
        .ask(|store| async move { store.begin_instance(instance, node, at).await })
}

fn finish(books: &Books, instance: InstanceId) -> Result<(), Error> {
    fail::fail_point!("ledger::recover::finish", |_| Err(Error::Injected(
        "ledger::recover::finish"
    )));
    let now = books.clock.now();
    books.store.ask(|store| async move {
        store.settle_instance(instance).await?;
        store.finish_instance(instance, now).await
    })
}

/// The marks whose call has no head: not in the journal, and not in sealed files either.
pub(crate) fn marks_without_head(
    books: &Books,
    dead: &DeadInstance,
) -> Result<Vec<CallHead>, Error> {
    let instance = InstanceId::from_u128(dead.instance());
    let mut marks = Vec::new();
    for bytes in dead.marks()? {
        let head = bytes.get(..CallHead::LENGTH).unwrap_or(&bytes);
        marks.push(CallHead::decode(head).map_err(|source| Error::Record {
            instance,
            lane: 0,
            number: 0,
            source,
        })?);
    }
    if marks.is_empty() {
        return Ok(marks);
    }
    let mut symbols = Vec::new();
    let mut without: BTreeSet<_> = marks.iter().map(|mark| mark.call_id).collect();
    for lane in 0..dead.lanes() {
        read_heads(books, dead, lane, &mut symbols, |head| {
            without.remove(&head.call_id);
        })?;
    }
    strike_sealed(books, instance, &mut without)?;
    marks.retain(|mark| without.remove(&mark.call_id));
    marks.sort_unstable_by_key(|mark| mark.call_id);
    let resolve = |mark| resolve_mark(&symbols, &books.names, mark);
    Ok(marks.into_iter().map(resolve).collect())
}

/// Gives every head that a dead lane still holds to `sink`, and learns its symbols, which are the same for all lanes of a process.
fn read_heads(
    books: &Books,
    dead: &DeadInstance,
    lane: usize,
    symbols: &mut Vec<u32>,
    mut sink: impl FnMut(CallHead),
) -> Result<(), Error> {
    let instance = InstanceId::from_u128(dead.instance());
    let lane_number = u32::try_from(lane).expect("a journal has at most 1,024 lanes");
    let failed = |source| Error::Record {
        instance,
        lane: lane_number,
        number: 0,
        source,
    };
    // Older segments may have been recycled; what they held is sealed.
    let mut reader = dead.reader_from(lane, dead.kept_from(lane)?)?;
    while let Some(entry) = reader.next()? {
        match entry {
            Entry::Define { symbol, bytes } => {
                // What stands for nothing known leaves the mark without that name.
                let _ = define(symbols, &books.names, symbol, bytes);
            }
            Entry::Open { payload, .. } => sink(CallHead::decode(payload).map_err(failed)?),
            Entry::Single { payload, .. } => {
                let head = payload.get(..CallHead::LENGTH).unwrap_or(payload);
                sink(CallHead::decode(head).map_err(failed)?);
            }
            Entry::Close { .. } => {}
        }
    }
    if let Some(torn) = reader.torn() {
        tracing::warn!(path = %torn.path.display(), offset = torn.offset, "a torn tail was cut off");
    }
    Ok(())
}

/// Takes those call ids out that sealed files of the instance hold, files of an earlier recovery's marks left out.
fn strike_sealed(
    books: &Books,
    instance: InstanceId,
    without: &mut BTreeSet<model::CallId>,
) -> Result<(), Error> {
    for range in files_in(&books.directory)? {
        if without.is_empty() {
            break;
        }
        if range.instance != instance {
            continue;
        }
        let path = books.directory.join(file_name(&range));
        let Ok(reader) = SealedReader::open(&path) else {
            // Damaged: sealing will make it again, or say so.
            continue;
        };
        let mut found = Vec::new();
        reader.scan(&books.names, &Filter::default(), &mut |row| {
            let head = &row.record.head;
            // An unknown outcome is what a mark became when this was done before; it must become the same again.
            if row.record.tail.outcome != model::Outcome::Unknown && without.contains(&head.call_id)
            {
                found.push(head.call_id);
            }
            Ok(())
        })?;
        for call_id in found {
            without.remove(&call_id);
        }
    }
    Ok(())
}

/// Takes in files of instances whose journal is gone: those of a store that was restored from a copy older than them.
fn adopt_orphans(
    books: &Books,
    options: &LedgerOptions,
    recovery: &mut Recovery,
) -> Result<(), Error> {
    let mut lanes: Vec<(InstanceId, u32)> = files_in(&books.directory)?
        .iter()
        .map(|range| (range.instance, range.lane))
        .collect();
    lanes.dedup();
    let home = |instance: InstanceId| {
        options
            .journals
            .join(format!("{:032x}", instance.as_u128()))
    };
    lanes.retain(|(instance, _)| !home(*instance).exists());
    let instances: BTreeSet<_> = lanes.iter().map(|(instance, _)| *instance).collect();
    for instance in instances {
        if instance_state(books, instance)?.is_some_and(|state| state.finished_at.is_some()) {
            continue;
        }
        let of_instance = lanes.iter().filter(|(owner, _)| *owner == instance);
        match adopt_instance(books, instance, of_instance.map(|(_, lane)| *lane)) {
            Ok(()) => recovery.recovered.push(instance),
            Err(Error::Store(error)) => return Err(error.into()),
            Err(error) => {
                tracing::error!(%instance, %error, "sealed files of a gone journal do not fit");
                recovery.failed.push((home(instance), error));
            }
        }
    }
    Ok(())
}

fn adopt_instance(
    books: &Books,
    instance: InstanceId,
    lanes: impl Iterator<Item = u32>,
) -> Result<(), Error> {
    let of_instance = |range: &store::SealIntent| range.instance == instance;
    let first = files_in(&books.directory)?.into_iter().find(of_instance);
    let node = first
        .and_then(|range| SealedReader::open(&books.directory.join(file_name(&range))).ok())
        .map_or_else(|| books.node.clone(), |reader| reader.meta().node.clone());
    begin(books, instance, &node, Duration::ZERO)?;
    for lane in lanes {
        let lane = LaneBook {
            instance,
            lane,
            node: node.clone(),
            source: Source::Files,
        };
        ship_lane(books, &lane)?;
    }
    finish(books, instance)
}
