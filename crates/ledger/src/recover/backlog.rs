//! The backlog of earlier starts as a survey found it, and its recovery all at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use journal::{DeadInstance, dead_instances};
use model::InstanceId;
use store::Store;
use tokio::runtime::Handle;

use super::instance::{InstanceRecovery, RecoverySurvey, instance_state};
use super::queue::RecoveryQueue;
use super::survey::{Survey, remove_finished, survey};
use crate::context::LedgerContext;
use crate::error::Error;
use crate::options::LedgerOptions;

/// The records of earlier starts that the store lacks.
/// [`Ledger::start_with`](crate::Ledger::start_with) recovers them beside the calls.
pub struct Backlog {
    pub(crate) options: LedgerOptions,
    pub(crate) context: LedgerContext,
    pub(crate) runtime: Handle,
    survey: Survey,
}

impl std::fmt::Debug for Backlog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backlog")
            .field("instances", &self.instances())
            .field("records", &self.records())
            .finish_non_exhaustive()
    }
}

/// The result of a recovery.
#[derive(Debug, Default)]
pub struct Recovery {
    /// The instances that were shipped and finished.
    pub recovered: Vec<InstanceId>,
    /// The instances that cannot be read to their end, and why. They stay as they are; their leased
    /// units stay leased.
    pub failed: Vec<(PathBuf, Error)>,
    /// The number of journals that were removed, since they were finished and old.
    pub removed: usize,
}

impl Backlog {
    /// Surveys the journals of earlier starts, and locks them. Call it before the journal of this
    /// start is made.
    ///
    /// # Errors
    /// Returns an error when the store does not answer. An instance that cannot be read does not
    /// keep the others: see [`Backlog::failed`].
    pub async fn find(
        options: &LedgerOptions,
        store: Arc<dyn Store>,
        runtime: Handle,
    ) -> Result<Self, Error> {
        let mut backlog = Self::none(options.clone(), store, runtime.clone())?;
        let work = move || {
            backlog.survey = survey(&backlog.context, &backlog.options)?;
            Ok(backlog)
        };
        blocking(&runtime, work).await
    }

    /// Returns an empty backlog, without looking at the journals.
    pub(crate) fn none(
        options: LedgerOptions,
        store: Arc<dyn Store>,
        runtime: Handle,
    ) -> Result<Self, Error> {
        Ok(Self {
            context: LedgerContext::new(&options, store, runtime.clone())?,
            options,
            runtime,
            survey: Survey::default(),
        })
    }

    /// Returns the number of instances of which the store lacks something.
    #[must_use]
    pub fn instances(&self) -> usize {
        self.survey.behind.len()
    }

    /// Returns the number of records that are not in the rollups, as far as is known before they
    /// are read.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.survey
            .behind
            .iter()
            .map(InstanceRecovery::behind)
            .sum()
    }

    /// Returns whether the store had more records before than it has now: it was restored from a
    /// backup. It does not know the leases that were taken after that, so its balances are too high
    /// until all of this backlog is recovered: lease nothing before.
    #[must_use]
    pub const fn store_is_older(&self) -> bool {
        self.survey.store_is_older
    }

    /// Returns the instances that cannot be read to their end, and why. They stay as they are;
    /// their leased units stay leased.
    #[must_use]
    pub fn failed(&self) -> &[(PathBuf, Error)] {
        &self.survey.failed
    }

    /// Takes the instances that cannot be read out of the backlog.
    #[must_use]
    pub fn take_failed(&mut self) -> Vec<(PathBuf, Error)> {
        std::mem::take(&mut self.survey.failed)
    }

    pub(crate) fn into_parts(self) -> (LedgerOptions, LedgerContext, Handle, RecoveryQueue) {
        (self.options, self.context, self.runtime, self.survey.behind)
    }

    fn ship(mut self) -> Result<Recovery, Error> {
        let Survey {
            behind,
            failed,
            removed,
            ..
        } = &mut self.survey;
        let mut recovery = Recovery {
            failed: std::mem::take(failed),
            removed: *removed,
            ..Recovery::default()
        };
        for mut dead in behind.drain(..) {
            let shipped = dead.ship(&self.context).and_then(|()| dead.delete_spares());
            match shipped {
                Ok(()) => recovery.recovered.push(dead.instance()),
                Err(Error::Store(error)) => return Err(error.into()),
                Err(error) => {
                    let instance = dead.instance();
                    tracing::error!(%instance, %error, "a journal cannot be recovered");
                    recovery
                        .failed
                        .push((dead.path().unwrap_or_default(), error));
                }
            }
        }
        recovery.removed += remove_finished(&self.context, &self.options)?;
        Ok(recovery)
    }
}

/// Ships the records of all dead instances, now.
///
/// # Errors
/// Returns an error when the store does not answer. An instance that cannot be read does not keep
/// the others: see [`Recovery::failed`].
pub async fn recover(
    options: &LedgerOptions,
    store: Arc<dyn Store>,
    runtime: Handle,
) -> Result<Recovery, Error> {
    let backlog = Backlog::find(options, store, runtime.clone()).await?;
    blocking(&runtime, move || backlog.ship()).await
}

/// Ships the records of dead processes (`tallygate ledger ship DIR`), by the directory of one
/// instance or by the journal directory that a gate keeps them in. Returns `false` if the store had
/// all of them already.
///
/// # Errors
/// Returns an error when there is no instance, it is in use, cannot be read to its end, or the
/// store does not answer. In a journal directory all that can be shipped are, and the first error
/// is returned.
pub async fn ship(
    options: &LedgerOptions,
    path: PathBuf,
    store: Arc<dyn Store>,
    runtime: Handle,
) -> Result<bool, Error> {
    let context = LedgerContext::new(options, store, runtime.clone())?;
    blocking(&runtime, move || ship_found(&context, &path)).await
}

async fn blocking<T: Send + 'static>(
    runtime: &Handle,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = runtime.spawn_blocking(work);
    done.await.map_err(|_| Error::Stopped)?
}

fn ship_found(context: &LedgerContext, path: &Path) -> Result<bool, Error> {
    let not_one = match DeadInstance::open(path) {
        Ok(dead) => return ship_dead(context, dead),
        Err(error @ journal::Error::NotAnInstance { .. }) => error,
        Err(error) => return Err(error.into()),
    };
    let found = dead_instances(path)?;
    if found.is_empty() {
        return Err(not_one.into());
    }
    let (mut anew, mut failed) = (false, None);
    for dead in found {
        match ship_dead(context, dead) {
            Ok(shipped) => anew |= shipped,
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(anew), Err)
}

pub(crate) fn ship_path(context: &LedgerContext, path: &Path) -> Result<bool, Error> {
    ship_dead(context, DeadInstance::open(path)?)
}

/// Ships an instance. Returns `false` if the store had all of it already.
fn ship_dead(context: &LedgerContext, dead: DeadInstance) -> Result<bool, Error> {
    let known = instance_state(context, InstanceId::from_u128(dead.instance()))?;
    let survey = RecoverySurvey::at(context, dead, known.as_slice())?;
    if survey.is_whole() {
        return Ok(false);
    }
    InstanceRecovery::of(context, survey)?.ship(context)?;
    Ok(true)
}
