//! The plans that licenses name and this gate's file lacks, as happens when gates have different
//! files. Such licenses go on by the revision that was in force last, from their first call on, and
//! the log says so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use config::Config;
use gate::{Agents, Gate};
use licensing::Licensing;
use model::{PlanName, PlanRevision};
use store::Store;
use telemetry::Metrics;

use crate::options;

/// The pause before a store that did not answer is asked again.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// The task that learns the plans which licenses name and the file lacks.
pub(crate) struct Learners {
    pub(crate) config: Config,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) licensing: Arc<Licensing>,
    pub(crate) gate: Arc<Gate>,
    /// What decides on agents.
    pub(crate) agents: Option<Arc<Agents>>,
    pub(crate) metrics: Arc<Metrics>,
}

/// The plans that licenses name and the file lacks, as far as they were learnt.
#[derive(Default)]
struct Lacking {
    /// Plans by name, with the revision that was in force last.
    former: BTreeMap<PlanName, PlanRevision>,
    /// The plans that never existed.
    absent: BTreeSet<PlanName>,
}

impl Learners {
    /// Learns the plans that licenses name and that nothing is known of, as soon as a license names
    /// one. Never returns.
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

    /// Asks the store for each plan that is not known, and hands on what it learnt.
    ///
    /// # Errors
    /// Returns an error if something failed. What is still unknown is asked for again.
    async fn learn(&self, lacking: &mut Lacking) -> Result<(), String> {
        // None of these was handed on, or not so that it was taken.
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

    /// Hands the plans to the gate and then to licensing. The gate, which writes records, is first,
    /// so that no record names a plan that has no number.
    async fn teach(&self, lacking: &Lacking) -> Result<(), String> {
        let former = || lacking.former.values().cloned();
        let mut revisions = self.config.plan_revisions();
        revisions.extend(former());
        let replaced = self.gate.replace(
            options::app_rules(&self.config, self.agents.as_ref()),
            &revisions,
        );
        replaced.map_err(|error| error.0.to_string())?;
        let plans = options::plans(&self.config).with_former(former());
        let plans = plans.with_absent(lacking.absent.iter().cloned());
        let set = self.licensing.set_plans(plans).await;
        set.map_err(|error| error.to_string())
    }
}
