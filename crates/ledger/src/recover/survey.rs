//! The survey of earlier starts before the first call, in a time that does not grow with the
//! records that they left.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use journal::{DeadInstance, dead_instances};
use model::InstanceId;
use store::InstanceState;

use super::instance::{InstanceRecovery, RecoverySurvey, node_of_file};
use super::queue::RecoveryQueue;
use crate::context::LedgerContext;
use crate::error::Error;
use crate::file::file_name;
use crate::options::LedgerOptions;
use crate::seal::files_in;

/// The result of a survey.
#[derive(Default)]
pub(super) struct Survey {
    /// The instances of which the store lacks something, oldest first. They are locked.
    pub(super) behind: RecoveryQueue,
    /// The instances that cannot be read to their end, and why.
    pub(super) failed: Vec<(PathBuf, Error)>,
    /// The number of journals that were removed, since they were finished and old.
    pub(super) removed: usize,
    /// Whether the store had more records before than it has now.
    pub(super) store_is_older: bool,
}

pub(super) fn survey(context: &LedgerContext, options: &LedgerOptions) -> Result<Survey, Error> {
    let instances = known_instances(context)?;
    let mut found = Survey::default();
    let mut whole = VecDeque::new();
    for dead in dead_instances(&options.journals)? {
        let path = dead.path().to_owned();
        let survey = RecoverySurvey::at(context, dead, &instances);
        let result = survey.and_then(|survey| match survey.is_whole() {
            true => {
                survey.dead.delete_spares()?;
                let age = survey.dead.age();
                whole.push_back((survey.dead, age));
                Ok(())
            }
            false => {
                found.store_is_older |= survey.store_is_older();
                found
                    .behind
                    .push_back(InstanceRecovery::of(context, survey)?);
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
    find_orphans(context, options, &instances, &mut found)?;
    Ok(found)
}

/// Removes finished journals that are too old or too large together. Returns how many.
pub(super) fn remove_finished(
    context: &LedgerContext,
    options: &LedgerOptions,
) -> Result<usize, Error> {
    let instances = known_instances(context)?;
    let mut whole = VecDeque::new();
    for dead in dead_instances(&options.journals)? {
        let age = dead.age();
        match RecoverySurvey::at(context, dead, &instances) {
            Ok(survey) if survey.is_whole() => whole.push_back((survey.dead, age)),
            Err(Error::Store(error)) => return Err(error.into()),
            Ok(_) | Err(_) => {}
        }
    }
    remove_old(whole, options)
}

fn known_instances(context: &LedgerContext) -> Result<Vec<InstanceState>, Error> {
    context
        .store
        .ask(|store| async move { store.instances().await })
}

/// Removes finished journals, given oldest first, that are too old or too large together. Returns
/// how many. A process that dies again and again must not fill the disk with its journals.
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

/// Finds files of instances of this node whose journal is gone: those of a store that was restored
/// from a copy older than them. An instance of another node may live, its journal somewhere else.
fn find_orphans(
    context: &LedgerContext,
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
    for range in files_in(&context.directory)? {
        let file = context.directory.join(file_name(&range));
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
        let recovery = match node {
            Ok(node) if node == context.node => {
                InstanceRecovery::of_files(context, instance, &node, lanes.into_iter())
            }
            Ok(_) => continue,
            Err(error) => Err(error),
        };
        match recovery {
            Ok(recovery) => {
                found.store_is_older = true;
                found.behind.push_back(recovery);
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
