//! The calls that a dead instance may have forwarded: marks that were still set, and whose head is
//! nowhere.

use std::collections::BTreeSet;

use journal::{DeadInstance, Entry};
use model::{CallHead, CallId, InstanceId, Outcome};

use crate::closed::{define, resolve_mark};
use crate::context::LedgerContext;
use crate::error::Error;
use crate::file::{Filter, SealedReader, file_name};
use crate::seal::files_in;

/// Returns the marks that were still set, with or without a head.
pub(super) fn marks_of(dead: &DeadInstance) -> Result<Vec<CallHead>, Error> {
    let instance = InstanceId::from_u128(dead.instance());
    let decode = |bytes: Vec<u8>| {
        CallHead::decode_first(&bytes).map_err(|source| Error::Record {
            instance,
            lane: 0,
            number: 0,
            source,
        })
    };
    dead.marks()?.into_iter().map(decode).collect()
}

/// Returns the marks whose call has no head: not in the journal, and not in sealed files either.
pub(crate) fn marks_without_head(
    context: &LedgerContext,
    dead: &DeadInstance,
) -> Result<Vec<CallHead>, Error> {
    let instance = InstanceId::from_u128(dead.instance());
    let mut marks = marks_of(dead)?;
    if marks.is_empty() {
        return Ok(marks);
    }
    let mut symbols = Vec::new();
    let mut without: BTreeSet<_> = marks.iter().map(|mark| mark.call_id).collect();
    for lane in 0..dead.lanes() {
        read_heads(context, dead, lane, &mut symbols, |head| {
            without.remove(&head.call_id);
        })?;
    }
    remove_sealed(context, instance, &mut without)?;
    marks.retain(|mark| without.remove(&mark.call_id));
    marks.sort_unstable_by_key(|mark| mark.call_id);
    let resolve = |mark| resolve_mark(&symbols, &context.names, mark);
    Ok(marks.into_iter().map(resolve).collect())
}

/// Gives every head that a dead lane still holds to `sink`, and learns its symbols, which are the
/// same for all lanes of a process.
fn read_heads(
    context: &LedgerContext,
    dead: &DeadInstance,
    lane: usize,
    symbols: &mut Vec<u32>,
    mut sink: impl FnMut(CallHead),
) -> Result<(), Error> {
    let failed = unreadable(dead, lane);
    // Older segments may have been recycled; their records are sealed.
    let mut reader = dead.reader_from(lane, dead.kept_from(lane)?)?;
    while let Some(entry) = reader.next()? {
        if let Entry::Define { symbol, bytes } = entry {
            // A symbol that does not parse leaves the mark without that name.
            let _ = define(symbols, &context.names, symbol, bytes);
        }
        if let Some(head) = head_of(&entry) {
            sink(CallHead::decode_first(head).map_err(&failed)?);
        }
    }
    if let Some(torn) = reader.torn() {
        tracing::warn!(path = %torn.path.display(), offset = torn.offset, "a torn tail was cut off");
    }
    Ok(())
}

/// Reads one head of a lane, which shows whether this program knows the form of its records: a
/// process writes but one.
pub(super) fn read_first_head(dead: &DeadInstance, lane: usize) -> Result<(), Error> {
    let mut reader = dead.reader_from(lane, dead.kept_from(lane)?)?;
    while let Some(entry) = reader.next()? {
        if let Some(head) = head_of(&entry) {
            CallHead::decode_first(head).map_err(unreadable(dead, lane))?;
            return Ok(());
        }
    }
    Ok(())
}

/// Returns the bytes of an entry that begin with a head.
fn head_of<'a>(entry: &Entry<'a>) -> Option<&'a [u8]> {
    match *entry {
        Entry::Open { payload, .. } | Entry::Single { payload, .. } => Some(payload),
        Entry::Define { .. } | Entry::Close { .. } => None,
    }
}

fn unreadable(
    dead: &DeadInstance,
    lane: usize,
) -> impl Fn(model::record::DecodeRecordError) -> Error + use<> {
    let instance = InstanceId::from_u128(dead.instance());
    let lane = u32::try_from(lane).expect("a journal has at most 1,024 lanes");
    move |source| Error::Record {
        instance,
        lane,
        number: 0,
        source,
    }
}

/// Removes the call ids that sealed files of the instance hold, but for those that became of marks
/// in an earlier recovery.
fn remove_sealed(
    context: &LedgerContext,
    instance: InstanceId,
    without: &mut BTreeSet<CallId>,
) -> Result<(), Error> {
    for range in files_in(&context.directory)? {
        if without.is_empty() {
            break;
        }
        if range.instance != instance {
            continue;
        }
        let path = context.directory.join(file_name(&range));
        let Ok(reader) = SealedReader::open(&path) else {
            // Damaged: sealing will make it again, or report it.
            continue;
        };
        let mut found = Vec::new();
        reader.scan(&context.names, &Filter::default(), &mut |row| {
            let head = &row.record.head;
            // An earlier recovery turned a mark into a record of unknown outcome. This one must do
            // the same.
            if row.record.tail.outcome != Outcome::Unknown && without.contains(&head.call_id) {
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
