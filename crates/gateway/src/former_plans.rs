//! Plans that licenses name and this gate's file does not have, which comes of gates with different files: such licenses go on
//! by the revision that was in force last, from their first call on, and that is said.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use config::Config;
use gate::Gate;
use licensing::Licensing;
use model::{PlanName, PlanRevision};
use store::Store;
use telemetry::Metrics;

use crate::wire;

/// The pause before a store that did not answer is asked again.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// The task that learns the plans which licenses name and the file lacks.
pub(crate) struct Learners {
    pub(crate) config: Config,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) licensing: Arc<Licensing>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) metrics: Arc<Metrics>,
}

/// The plans that licenses name and the file lacks, as far as they were learnt.
#[derive(Default)]
struct Lacking {
    /// Plans by name, with the revision that was in force last.
    former: BTreeMap<PlanName, PlanRevision>,
    /// Plans that never were.
    absent: BTreeSet<PlanName>,
}

impl Learners {
    /// Asks for ever for the plans that licenses name and that nothing is known of, as soon as one does.
    pub(crate) async fn run(self) {
        let mut lacking = Lacking::default();
        let mut is_well = true;
        loop {
            match is_well {
                true => self.licensing.plan_asked_for().await,
                false => tokio::time::sleep(RETRY_INTERVAL).await,
            }
            let learnt = self.learn(&mut lacking).await;
            if let (Err(error), true) = (&learnt, is_well) {
                tracing::error!(%error, "plans that the file lacks cannot be used yet: calls of licenses that name one get 503");
            }
            is_well = learnt.is_ok();
        }
    }

    /// Asks the store for each plan that is not known, and teaches what it says.
    ///
    /// # Errors
    /// Something failed. What is still unknown is to be asked for again.
    async fn learn(&self, lacking: &mut Lacking) -> Result<(), String> {
        // None of these was taught, or not so that it was taken in.
        let unknown = self.licensing.plans().unknown();
        for name in &unknown {
            let revision = self.store.last_plan_revision(name.clone()).await;
            match revision.map_err(|error| error.to_string())? {
                Some(revision) => {
                    let id = revision.id;
                    if lacking.former.insert(name.clone(), revision).is_none() {
                        tracing::error!(
                            plan = %name, revision = %id,
                            "licenses name a plan that this gate's file lacks: they go by the revision that was in force last, put it back as a `[[plan]]`"
                        );
                    }
                }
                None => {
                    if lacking.absent.insert(name.clone()) {
                        tracing::error!(plan = %name, "licenses name a plan that never was: their calls cost nothing and have no limits but their own");
                    }
                }
            }
        }
        let count = lacking.former.len() + lacking.absent.len();
        self.metrics.plans_lacking(count as u64);
        match unknown.is_empty() {
            true => Ok(()),
            false => self.teach(lacking).await,
        }
    }

    /// Hands the plans to the gate and then to licensing: first to whoever writes records, so that none
    /// names a plan that has no number.
    async fn teach(&self, lacking: &Lacking) -> Result<(), String> {
        let former = || lacking.former.values().cloned();
        let mut revisions = self.config.plan_revisions();
        revisions.extend(former());
        let replaced = self.gate.replace(wire::app_rules(&self.config), &revisions);
        replaced.map_err(|error| error.0.to_string())?;
        let plans = wire::plans(&self.config).with_former(former());
        let plans = plans.with_absent(lacking.absent.iter().cloned());
        let set = self.licensing.set_plans(plans).await;
        set.map_err(|error| error.to_string())
    }
}
