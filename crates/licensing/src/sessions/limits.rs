//! Limits on the calls of a key: the windows of its plan, counted in the store, all at once or
//! none.

use std::time::Duration;

use model::{PlanName, RateLimit, Timestamp};
use store::{KeyCall, ManagementKey, WindowCount};

use super::Sessions;
use crate::error::Error;

/// The plan and rate limits of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairTerms {
    /// The plan of the license that its tokens draw on, or of its app; `None`: it has none.
    pub plan: Option<PlanName>,
    /// The rate windows, which all hold at once; at least one.
    pub rate_limits: Vec<RateLimit>,
    /// The user that the license was given to.
    pub user: Option<String>,
}

/// The calls that are left for a key, of the one window that has the fewest calls left; of several,
/// of the shortest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Whether the call was let in.
    pub admitted: bool,
    /// The number of calls that pass in a period of the window.
    pub limit: u32,
    /// The number of calls that are left in the present period.
    pub remaining: u32,
    /// The end of that period.
    pub resets_at: Timestamp,
    /// The time until every full window has begun anew, in whole seconds of at least 1.
    pub retry_after: Duration,
}

impl Sessions {
    /// Returns the present plan and rate limits of a key.
    ///
    /// # Errors
    /// The store fails.
    pub async fn terms(&self, key: &ManagementKey) -> Result<PairTerms, Error> {
        let plans = self.licensing.plans();
        let license = match key.license_id.or(key.draws_on) {
            Some(id) => self.licensing.store.license(id).await?,
            None => None,
        };
        let license = license.map(|stored| stored.license);
        let revision = match (&license, &key.app) {
            (Some(license), _) => plans.plan_of(&license.app, license.spec.plan.as_ref()),
            (None, Some(app)) => plans.plan_of(app, None),
            (None, None) => None,
        };
        let own = license
            .as_ref()
            .map(|license| &license.spec.limits.rate_limits);
        let planned = revision.map(|revision| &revision.plan.rate_limits);
        let stated = [own, planned].into_iter().flatten();
        let limits = stated.into_iter().find(|limits| !limits.is_empty());
        Ok(PairTerms {
            plan: revision.map(|revision| revision.plan.name.clone()),
            rate_limits: limits.unwrap_or(&self.options.rate_limits).clone(),
            user: license.and_then(|license| license.spec.user),
        })
    }

    /// Counts a call of a key, if `take`, and returns what is left.
    ///
    /// # Errors
    /// The store fails.
    pub async fn allowance(
        &self,
        key: &ManagementKey,
        terms: &PairTerms,
        take: bool,
    ) -> Result<Allowance, Error> {
        let now = self.licensing.clock.now();
        let limits = terms.rate_limits.clone();
        let store = &self.licensing.store;
        let call = store.count_key_call(key.id, limits, now, take).await?;
        Ok(Allowance::of(&call, now))
    }
}

impl Allowance {
    fn of(call: &KeyCall, now: Timestamp) -> Self {
        let left = |window: &WindowCount| window.limit.calls.saturating_sub(window.calls);
        let tightest = call
            .windows
            .iter()
            .min_by_key(|window| (left(window), window.limit.window));
        let full = call.windows.iter().filter(|window| left(window) == 0);
        let wait = full.map(|window| window.resets_at.since(now)).max();
        let seconds = wait.map_or(1, |wait| wait.as_millis().div_ceil(1_000).max(1));
        Self {
            admitted: call.admitted,
            limit: tightest.map_or(0, |window| window.limit.calls),
            remaining: tightest.map_or(0, left),
            resets_at: tightest.map_or(now, |window| window.resets_at),
            retry_after: Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX)),
        }
    }
}
