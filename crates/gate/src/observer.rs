//! The metrics of licenses: look-ups and revocations.

use std::sync::Arc;
use std::time::Duration;

use licensing::fleet::{LookedUp, Observer, Tier};
use telemetry::{LookupResult, LookupTier, Metrics};

/// An observer of licenses that counts look-ups and revocations in the metrics.
#[derive(Clone, Debug)]
pub struct LicenseMetrics(pub Arc<Metrics>);

impl Observer for LicenseMetrics {
    fn looked_up(&self, tier: Tier, found: LookedUp) {
        let tier = match tier {
            Tier::Shared => LookupTier::Redis,
            Tier::Store => LookupTier::Store,
        };
        let result = match found {
            LookedUp::Hit => LookupResult::Hit,
            LookedUp::Miss => LookupResult::Miss,
            LookedUp::Error => LookupResult::Error,
        };
        self.0.lookup(tier, result);
    }

    fn in_force(&self, after: Duration) {
        self.0.revocation(after);
    }
}
