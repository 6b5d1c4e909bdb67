//! What earlier starts left: looked at before the first call, in a time that does not grow with what they left.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use journal::{DeadInstance, dead_instances};
use model::InstanceId;
use store::InstanceState;

use super::catch_up::Work;
use super::shipment::{InstanceRecovery, RecoverySurvey, node_of_file};
use crate::books::LedgerContext;
use crate::error::Error;
use crate::file::file_name;
use crate::options::LedgerOptions;
use crate::seal::files_in;

/// What a look found.
#[derive(Default)]
pub(super) struct Survey {
    /// Instances of which the store lacks something, oldest first. They are locked.
    pub(super) behind: Work,
    /// Instances that cannot be read to their end, and why.
    pub(super) failed: Vec<(PathBuf, Error)>,
    /// Journals that were removed, since they were finished and old.
    pub(super) removed: usize,
    /// The store has had more than it has now.
    pub(super) store_is_older: bool,
}

pub(super) fn survey(books: &LedgerContext, options: &LedgerOptions) -> Result<Survey, Error> {
    let instances = known_instances(books)?;
    let mut found = Survey::default();
    let mut whole = VecDeque::new();
    for dead in dead_instances(&options.journals)? {
        let path = dead.path().to_owned();
        let looked = RecoverySurvey::at(books, dead, &instances);
        let result = looked.and_then(|looked| match looked.is_whole() {
            true => {
                looked.dead.delete_spares()?;
                let age = looked.dead.age();
                whole.push_back((looked.dead, age));
                Ok(())
            }
            false => {
                found.store_is_older |= looked.store_is_older();
                found.behind.push_back(InstanceRecovery::of(books, looked)?);
                Ok(())
            }
        });
        match result {
            Ok(()) => {}
            Err(Error::Store(error)) => return Err(error.into()),
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "a journal cannot be recovered");
                found.failed.push((path, error));
            }
        }
    }
    found.removed = remove_old(whole, options)?;
    find_orphans(books, options, &instances, &mut found)?;
    Ok(found)
}

/// Removes finished journals that are too old or too large together; how many.
pub(super) fn remove_finished(
    books: &LedgerContext,
    options: &LedgerOptions,
) -> Result<usize, Error> {
    let instances = known_instances(books)?;
    let mut whole = VecDeque::new();
    for dead in dead_instances(&options.journals)? {
        let age = dead.age();
        match RecoverySurvey::at(books, dead, &instances) {
            Ok(looked) if looked.is_whole() => whole.push_back((looked.dead, age)),
            Err(Error::Store(error)) => return Err(error.into()),
            Ok(_) | Err(_) => {}
        }
    }
    remove_old(whole, options)
}

fn known_instances(books: &LedgerContext) -> Result<Vec<InstanceState>, Error> {
    books
        .store
        .ask(|store| async move { store.instances().await })
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

/// Finds files of instances of this node whose journal is gone: those of a store that was restored from a copy older than
/// them. One of another node may live, its journal somewhere else.
fn find_orphans(
    books: &LedgerContext,
    options: &LedgerOptions,
    instances: &[InstanceState],
    found: &mut Survey,
) -> Result<(), Error> {
    let home = |instance: InstanceId| {
        options
            .journals
            .join(format!("{:032x}", instance.as_u128()))
    };
    let mut lanes: BTreeMap<InstanceId, (BTreeSet<u32>, PathBuf)> = BTreeMap::new();
    for range in files_in(&books.directory)? {
        let file = books.directory.join(file_name(&range));
        let known = lanes.entry(range.instance);
        known
            .or_insert((BTreeSet::new(), file))
            .0
            .insert(range.lane);
    }
    lanes.retain(|instance, _| !home(*instance).exists());
    for (instance, (lanes, file)) in lanes {
        let known = instances.iter().find(|state| state.id == instance);
        if known.is_some_and(|state| state.finished_at.is_some()) {
            continue;
        }
        let node = match known {
            Some(state) => Ok(state.node.clone()),
            None => node_of_file(&file),
        };
        let shipment = match node {
            Ok(node) if node == books.node => {
                InstanceRecovery::of_files(books, instance, &node, lanes.into_iter())
            }
            Ok(_) => continue,
            Err(error) => Err(error),
        };
        match shipment {
            Ok(shipment) => {
                found.store_is_older = true;
                found.behind.push_back(shipment);
            }
            Err(Error::Store(error)) => return Err(error.into()),
            Err(error) => {
                tracing::error!(%instance, %error, "sealed files of a gone journal do not fit");
                found.failed.push((home(instance), error));
            }
        }
    }
    Ok(())
}
