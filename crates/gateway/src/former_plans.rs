//! Plans that licenses name and this gate's file does not have, which comes of gates with different files: such licenses go on
//! by the revision that was in force last, from their first call on, and that is said.

use std::sync::Arc;
use std::time::Duration;

use config::Config;
use gate::Gate;
use licensing::Licensing;
use model::{PlanName, PlanRevision};
use store::Store;
use telemetry::Metrics;

use crate::wire;

/// How soon a store that did not answer is asked again.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// Who learns of plans.
pub(crate) struct Learners {
    pub(crate) config: Config,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) licensing: Arc<Licensing>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) metrics: Arc<Metrics>,
}

impl Learners {
    /// Asks for ever for the plans that licenses name and that nothing is known of, as soon as one does.
    pub(crate) async fn run(self) {
        let mut former: Vec<PlanRevision> = Vec::new();
        let mut unfound = Vec::new();
        let mut is_unanswered = false;
        loop {
            match is_unanswered {
                true => tokio::time::sleep(RETRY_INTERVAL).await,
                false => self.licensing.plan_asked_for().await,
            }
            is_unanswered = false;
            let before = former.len() + unfound.len();
            for name in self.licensing.plans().unknown() {
                match self.store.last_plan_revision(name.clone()).await {
                    Ok(Some(revision)) => {
                        tracing::error!(
                            plan = %name, revision = %revision.id,
                            "licenses name a plan that this gate's file lacks: they go by the revision that was in force last, put it back as a `[[plan]]`"
                        );
                        former.push(revision);
                    }
                    Ok(None) if unfound.contains(&name) => {}
                    Ok(None) => {
                        tracing::error!(plan = %name, "licenses name a plan that never was: their calls cost nothing and have no limits but their own");
                        unfound.push(name);
                    }
                    Err(error) => {
                        tracing::debug!(%error, plan = %name, "a plan cannot be looked up");
                        is_unanswered = true;
                    }
                }
            }
            self.metrics
                .plans_lacking((former.len() + unfound.len()) as u64);
            if former.len() + unfound.len() > before {
                self.teach(&former, &unfound).await;
            }
        }
    }

    /// First whoever writes records, so that none names a plan that has no number.
    async fn teach(&self, former: &[PlanRevision], absent: &[PlanName]) {
        let mut revisions = self.config.plan_revisions();
        revisions.extend(former.iter().cloned());
        if let Err(error) = self.gate.replace(wire::app_rules(&self.config), &revisions) {
            tracing::error!(error = error.0, "plans that the file lacks cannot be used");
            return;
        }
        let plans = wire::plans(&self.config).with_former(former.iter().cloned());
        let plans = plans.with_absent(absent.iter().cloned());
        if let Err(error) = self.licensing.set_plans(plans).await {
            tracing::error!(%error, "plans that the file lacks cannot be used");
        }
    }
}
