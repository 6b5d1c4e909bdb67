//! The plans that are in force, which may be replaced while calls run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arc_swap::{ArcSwap, Guard};
use model::PlanRevision;
use store::Store;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::Plans;
use crate::error::Error;

/// The plans and apps that are in force. Numbered, so that what was made by earlier ones is
/// recognised.
pub(crate) struct CurrentPlans {
    plans: ArcSwap<Plans>,
    serial: AtomicU32,
    /// Notified when the plans changed.
    changed: Notify,
    /// Notified when a license names a plan that is not known here, and by calls that wait for it.
    unknown: Arc<Notify>,
}

impl CurrentPlans {
    pub(crate) fn new(plans: Plans) -> Self {
        let unknown = Arc::<Notify>::default();
        Self {
            plans: ArcSwap::from_pointee(plans.notifying(unknown.clone())),
            serial: AtomicU32::new(0),
            changed: Notify::new(),
            unknown,
        }
    }

    /// Returns the plans for a short use.
    pub(crate) fn load(&self) -> Guard<Arc<Plans>> {
        self.plans.load()
    }

    /// Returns the plans.
    pub(crate) fn load_full(&self) -> Arc<Plans> {
        self.plans.load_full()
    }

    /// Returns the number of times that the plans were replaced.
    pub(crate) fn serial(&self) -> u32 {
        self.serial.load(Ordering::Acquire)
    }

    /// Returns a wait for the next replacement.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Asks for the plans that licenses name and that are not known here.
    pub(crate) fn ask_for_unknown(&self) {
        self.unknown.notify_one();
    }

    /// Waits until a license names a plan that is not known here, or a call waits for one. For one
    /// waiter.
    pub(crate) async fn unknown_asked_for(&self) {
        self.unknown.notified().await;
    }

    /// Replaces the plans, after their new revisions are written to the store.
    ///
    /// # Errors
    /// The store fails; the plans then stay as they were.
    pub(crate) async fn replace(&self, store: &dyn Store, plans: Plans) -> Result<(), Error> {
        let present = self.load_full();
        let is_kept = |revision: &PlanRevision| {
            let kept = present.plan(&revision.plan.name);
            kept.is_some_and(|kept| kept.id == revision.id)
        };
        let mut new = plans.owned_revisions();
        new.retain(|revision| !is_kept(revision));
        // A store that takes no writes just now does not keep a call from the terms that it has.
        if !new.is_empty() {
            store.put_plan_revisions(new).await?;
        }
        self.put(plans);
        Ok(())
    }

    fn put(&self, plans: Plans) {
        let plans = plans.notifying(self.unknown.clone());
        self.plans.store(Arc::new(plans));
        self.serial.fetch_add(1, Ordering::Release);
        self.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::PlanName;
    use std::pin::pin;
    use std::task::{Context, Waker};

    fn is_ready(wait: impl Future) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        pin!(wait).poll(&mut context).is_ready()
    }

    #[test]
    fn a_replacement_has_a_new_number_and_wakes_those_who_wait_for_one() {
        let plans = CurrentPlans::new(Plans::default());
        let mut before = pin!(plans.changed());
        before.as_mut().enable();
        let serial = plans.serial();
        assert!(!is_ready(before.as_mut()));
        plans.put(Plans::default());
        assert!(is_ready(before));
        assert!(!is_ready(plans.changed()), "only those who waited");
        assert_ne!(plans.serial(), serial);
    }

    #[test]
    fn a_plan_of_which_nothing_is_known_is_asked_for_once_also_after_a_replacement() {
        let plans = CurrentPlans::new(Plans::default());
        let name = |name: &str| -> PlanName { name.parse().expect("valid") };
        let license = |plan: &str| {
            let mut license = crate::testing::license();
            license.spec.plan = Some(name(plan));
            license
        };
        assert!(!is_ready(plans.unknown_asked_for()));
        assert!(plans.load().terms(&license("gone")).awaits_plan);
        assert!(is_ready(plans.unknown_asked_for()));
        let _ = plans.load().terms(&license("gone"));
        assert!(!is_ready(plans.unknown_asked_for()), "it was asked for");
        plans.put(Plans::default().with_absent([name("gone")]));
        assert!(!plans.load().terms(&license("gone")).awaits_plan);
        assert!(!is_ready(plans.unknown_asked_for()));
        let _ = plans.load().terms(&license("other"));
        assert!(is_ready(plans.unknown_asked_for()));
    }
}
