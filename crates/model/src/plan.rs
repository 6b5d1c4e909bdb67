//! Plans: what a unit costs and what a license of the plan may use.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::id::PlanRevisionId;
use crate::limit::RateLimit;
use crate::money::{Currency, Money};
use crate::name::PlanName;

/// The terms of a plan as the configuration states them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Its name.
    pub name: PlanName,
    /// The currency of its prices.
    pub currency: Currency,
    /// What one billed unit costs.
    pub price_per_unit: Money,
    /// Units that a statement does not charge for; usage amounts are gross and ignore them.
    pub included_units: u64,
    /// Windows for licenses that have none of their own.
    pub rate_limits: Vec<RateLimit>,
    /// Calls at once for licenses that have no limit of their own.
    pub concurrency: Option<u32>,
    /// Words that adapters give a meaning to.
    pub features: Vec<String>,
}

/// A plan as it was at one time. Old revisions stay readable, for a call is priced by the revision it was admitted under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRevision {
    /// Hash of the terms.
    pub id: PlanRevisionId,
    /// The terms.
    pub plan: Plan,
}

impl From<Plan> for PlanRevision {
    fn from(plan: Plan) -> Self {
        let terms = serde_json::to_vec(&plan).expect("a plan is plain data and always serialises");
        let digest = Sha256::digest(&terms);
        let bits = u128::from_be_bytes(digest[..16].try_into().expect("a digest has 32 bytes"));
        Self {
            id: PlanRevisionId::from_u128(bits),
            plan,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_terms_have_the_same_revision_and_other_terms_another() {
        let plan = Plan {
            name: "pro".parse().expect("valid"),
            currency: "EUR".parse().expect("valid"),
            price_per_unit: "0.01".parse().expect("valid"),
            included_units: 0,
            rate_limits: vec![],
            concurrency: None,
            features: vec![],
        };
        let dearer = Plan {
            price_per_unit: "0.02".parse().expect("valid"),
            ..plan.clone()
        };
        assert_eq!(
            PlanRevision::from(plan.clone()).id,
            PlanRevision::from(plan.clone()).id
        );
        assert_ne!(PlanRevision::from(plan).id, PlanRevision::from(dearer).id);
    }
}
