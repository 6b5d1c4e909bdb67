//! The rebuild of manifest and rollups from the sealed files and the journal, which nothing else
//! could restore.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, PoisonError};

use journal::DeadInstance;
use model::usage::{UsageKey, UsageSums};
use model::{InstanceId, Timestamp};
use store::{RollupRow, SealedFile};

use crate::context::{Batch, LaneSource, LedgerContext, Source};
use crate::error::Error;
use crate::file::{FileMeta, Filter, hash_file, write_sealed};
use crate::ledger::{Ledger, Shared};
use crate::recover::{InstanceRecovery, instance_state, marks_without_head};
use crate::roll::Rolling;
use crate::rollup::Sums;
use crate::seal::{describe, files_in};
use crate::verify::stored_rollups;

/// The result of a rebuild.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// The number of files in the new manifest, removed ones included.
    pub files: usize,
    /// The files that were written again from the journal, since they were gone or changed.
    pub remade: Vec<String>,
    /// The files that are gone or changed and could not be made again: restore them from a copy.
    pub missing: Vec<String>,
    /// The number of rows of the new rollups.
    pub rows: usize,
}

impl Ledger {
    /// Makes manifest and rollups anew from the files and the journal.
    ///
    /// Files that are gone or changed are written again where the journal still holds their
    /// records. Rollups of hours from which files are missing, removed by retention or lost, are
    /// kept where they count more calls than what is left.
    ///
    /// # Errors
    /// Returns an error when the store does not answer or a file cannot be written.
    pub async fn rebuild(&self) -> Result<Rebuilt, Error> {
        let shared = Arc::clone(&self.shared);
        self.run(move || {
            let visible = shared.wait_until_visible(shared.options.visibility_timeout);
            let (mut frozen, shipped) = shared.freeze();
            if let Err(error) = visible.and(shipped) {
                tracing::warn!(%error, "what is pending could not be rolled up before the rebuild");
            }
            for recovery in frozen.backlog.iter_mut() {
                // A position may count records that recovery adds.
                if let Err(error) = recovery.prepare(&shared.context) {
                    tracing::warn!(%error, "what an earlier start left is rebuilt without what recovery adds");
                }
            }
            shared.catch_up.show(&frozen.backlog);
            let rebuilt = rebuild(&shared);
            frozen.backlog.iter_mut().for_each(InstanceRecovery::start_over);
            for rolling in frozen.rolling.iter_mut() {
                *rolling = Rolling::default();
            }
            for sealing in frozen.sealing.iter_mut() {
                *sealing = crate::seal::Sealing::default();
            }
            rebuilt
        })
        .await
    }
}

fn rebuild(shared: &Shared) -> Result<Rebuilt, Error> {
    let context = &shared.context;
    let mut rebuilt = Rebuilt::default();
    let gone = rebuild_manifest(shared, &mut rebuilt)?;
    let rows = recount(shared)?;
    let rows = keep_what_is_gone(rows, stored_rollups(context)?, &gone);
    rebuilt.rows = rows.len();
    context
        .store
        .ask(|store| async move { store.replace_rollups(rows).await })?;
    roll_up_ended(shared)?;
    Ok(rebuilt)
}

/// Spans of time of which files are missing: their first and last call.
type Gone = Vec<(Timestamp, Timestamp)>;

fn rebuild_manifest(shared: &Shared, rebuilt: &mut Rebuilt) -> Result<Gone, Error> {
    let context = &shared.context;
    let _manifest = context
        .manifest
        .write()
        .unwrap_or_else(PoisonError::into_inner);
    let old = context
        .store
        .ask(|store| async move { store.manifest(None, None).await })?;
    let mut gone = Vec::new();
    let mut files: Vec<SealedFile> = Vec::new();
    for file in &old {
        let mut file = file.clone();
        if file.removed_at.is_some() {
            gone.push((file.first_started_at, file.last_started_at));
        } else if !is_intact(context, &file)? {
            if let Some(remade) = remake(shared, &file)? {
                rebuilt.remade.push(file.name.clone());
                file = remade;
            } else {
                rebuilt.missing.push(file.name.clone());
                gone.push((file.first_started_at, file.last_started_at));
            }
        }
        files.push(file);
    }
    let mut found = files_in(&context.directory)?;
    let kept = context.kept_names()?;
    found.extend(
        kept.iter()
            .filter_map(|name| crate::file::parse_file_name(name)),
    );
    found.sort_unstable_by_key(|range| (range.instance, range.lane, range.from, range.through));
    found.dedup();
    for range in found {
        let name = crate::file::file_name(&range);
        if old.iter().any(|file| file.name == name) {
            continue;
        }
        match describe(&context.local(&name)?) {
            Ok(file) if file.range == range => {
                if !kept.contains(&name) {
                    context.keep_file(&name)?;
                }
                files.push(file);
            }
            Ok(_) => rebuilt.missing.push(name),
            Err(error @ Error::NewerFile { .. }) => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "a file is left out of the manifest");
                rebuilt.missing.push(name);
            }
        }
    }
    let order = |file: &SealedFile| (file.range.instance, file.range.lane, file.range.from);
    files.sort_unstable_by_key(order);
    gone.extend(gaps(&files));
    rebuilt.files = files.len();
    begin_instances(context, &files)?;
    context
        .store
        .ask(|store| async move { store.replace_manifest(files).await })?;
    Ok(gone)
}

/// Begins instances that the store may have forgotten; beginning one that it knows does nothing.
fn begin_instances(context: &LedgerContext, files: &[SealedFile]) -> Result<(), Error> {
    let mut last = None;
    for file in files {
        let instance = file.range.instance;
        if last == Some(instance) {
            continue;
        }
        last = Some(instance);
        let (node, at) = (context.node.clone(), file.first_started_at);
        context
            .store
            .ask(|store| async move { store.begin_instance(instance, node, at).await })?;
    }
    Ok(())
}

/// Returns the spans of files that not even the manifest names. Such a file leaves a gap before the
/// next one, and all that is older may be from it.
fn gaps(files: &[SealedFile]) -> Gone {
    let mut gone = Vec::new();
    let mut before: Option<&SealedFile> = None;
    for file in files {
        let end = before
            .filter(|before| {
                before.range.instance == file.range.instance && before.range.lane == file.range.lane
            })
            .map_or(0, |before| before.range.through);
        if file.range.from > end {
            gone.push((Timestamp::from_micros(i64::MIN), file.last_started_at));
        }
        before = Some(file);
    }
    gone
}

/// Returns whether a file is as it was written. If the store kept something else and the directory
/// has the right bytes, they are given to the store again.
fn is_intact(context: &LedgerContext, file: &SealedFile) -> Result<bool, Error> {
    let is_it =
        |path: &Path| matches!(hash_file(path), Ok(found) if found == (file.bytes, file.hash));
    if is_it(&context.as_kept(&file.name)?) {
        return Ok(true);
    }
    let own = is_it(&context.directory.join(&file.name));
    if own {
        context.keep_file(&file.name)?;
    }
    Ok(own)
}

/// Writes a file again from the journal and returns its line; `None` where the journal does not
/// hold its records. The same records make the same bytes, unless another version of the program
/// wrote them: then the hash is new, and the next file shows it by its chain.
fn remake(shared: &Shared, file: &SealedFile) -> Result<Option<SealedFile>, Error> {
    let context = &shared.context;
    let Some(lane) = journal_of(shared, file.range.instance, file.range.lane)? else {
        return Ok(None);
    };
    let mut rows = Vec::new();
    let read = (|| -> Result<(), Error> {
        let Some(mut reader) = lane.rows_from(context, file.range.from)? else {
            return Ok(());
        };
        while (rows.len() as u64) < file.records
            && let Some(row) = reader.next()?
        {
            rows.push(row);
        }
        Ok(())
    })();
    match read {
        Err(Error::Store(error)) => return Err(error.into()),
        Ok(()) if rows.len() as u64 == file.records => {}
        Ok(()) | Err(_) => return Ok(None),
    }
    let meta = FileMeta {
        range: file.range,
        node: lane.node.clone(),
        previous: file.previous,
        calls: file.calls,
        first_started_at: file.first_started_at,
        last_started_at: file.last_started_at,
    };
    let written = write_sealed(&context.directory, &meta, &mut rows, &context.names)?;
    context.keep_file(&file.name)?;
    Ok(Some(SealedFile {
        bytes: written.bytes,
        hash: written.hash,
        ..file.clone()
    }))
}

/// Returns the journal of a lane, if it is still there: that of this process, or a dead instance's.
fn journal_of(
    shared: &Shared,
    instance: InstanceId,
    lane: u32,
) -> Result<Option<LaneSource>, Error> {
    if instance == shared.instance {
        let live = shared.lanes.get(lane as usize);
        return Ok(live.map(|live| live.source.clone()));
    }
    let mut backlog = shared.catch_up.lanes().into_iter();
    if let Some(source) = backlog.find(|source| (source.instance, source.lane) == (instance, lane))
    {
        return Ok(Some(source));
    }
    let name = format!("{:032x}", instance.as_u128());
    let Ok(dead) = DeadInstance::open(&shared.options.journals.join(name)) else {
        return Ok(None);
    };
    let Ok(closed) = dead.closed(lane as usize) else {
        return Ok(None);
    };
    let known = instance_state(&shared.context, instance)?;
    // Records that recovery added belong to the lane as well.
    let marks = match marks_without_head(&shared.context, &dead) {
        Ok(marks) if lane == 0 => marks,
        Err(Error::Store(error)) => return Err(error.into()),
        Ok(_) | Err(_) => Vec::new(),
    };
    Ok(Some(LaneSource {
        instance,
        lane,
        node: known.map_or_else(|| shared.context.node.clone(), |state| state.node),
        records: Source::Dead {
            instance: Arc::new(dead),
            closed,
            marks,
        },
    }))
}

/// Returns the sums of all records that the positions call rolled up, and that can be read.
fn recount(shared: &Shared) -> Result<HashMap<UsageKey, UsageSums>, Error> {
    let context = &shared.context;
    let mut sums = Sums::default();
    let mut rolled = HashMap::new();
    let instances = context
        .store
        .ask(|store| async move { store.instances().await })?;
    for state in instances {
        let positions = context
            .store
            .ask(|store| async move { store.positions(state.id).await })?;
        for position in positions {
            rolled.insert((state.id, position.lane), position);
        }
    }
    let manifest = context
        .store
        .ask(|store| async move { store.manifest(None, None).await })?;
    for file in manifest {
        if file.removed_at.is_some() || !is_intact(context, &file)? {
            continue;
        }
        let position = rolled.get(&(file.range.instance, file.range.lane));
        let through = position.map_or(0, |position| position.rolled);
        let reader = context.open(&file.name)?;
        reader.scan(&context.names, &Filter::default(), &mut |row| {
            if row.number <= through {
                sums.add(row);
            }
            Ok(())
        })?;
    }
    for ((instance, lane), position) in rolled {
        if position.rolled <= position.sealed {
            continue;
        }
        let Some(source) = journal_of(shared, instance, lane)? else {
            continue;
        };
        let Some(mut reader) = source.rows_from(context, position.sealed)? else {
            continue;
        };
        while let Some(row) = reader.next()?
            && row.number <= position.rolled
        {
            sums.add(&row);
        }
    }
    Ok(sums.rows(&context.names).into_iter().collect())
}

/// Adds the old rollups whose records are gone.
fn keep_what_is_gone(
    mut rows: HashMap<UsageKey, UsageSums>,
    stored: HashMap<UsageKey, UsageSums>,
    gone: &[(Timestamp, Timestamp)],
) -> Vec<RollupRow> {
    let is_gone = |start: Timestamp| {
        let covers = |(first, last): &(Timestamp, Timestamp)| {
            (first.hour()..=last.quarter()).contains(&start)
        };
        gone.iter().any(covers)
    };
    for (key, sums) in stored {
        if !is_gone(key.start) {
            continue;
        }
        let row = rows.entry(key).or_default();
        if sums.calls > row.calls {
            *row = sums;
        }
    }
    let mut rows: Vec<_> = rows
        .into_iter()
        .map(|(key, sums)| RollupRow { key, sums })
        .collect();
    rows.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    rows
}

/// Rolls up the records that files of ended lanes hold beyond the lane's position.
fn roll_up_ended(shared: &Shared) -> Result<(), Error> {
    let context = &shared.context;
    let mut lanes: Vec<_> = files_in(&context.directory)?
        .iter()
        .map(|range| (range.instance, range.lane))
        .filter(|(instance, _)| *instance != shared.instance)
        .collect();
    lanes.dedup();
    for (instance, lane) in lanes {
        let source = LaneSource {
            instance,
            lane,
            node: context.node.clone(),
            records: Source::Files,
        };
        Rolling::default().roll(context, &source, Batch::UntilDone)?;
    }
    Ok(())
}
