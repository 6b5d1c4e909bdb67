//! Plans: the price of a unit and the default limits of licenses.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::id::PlanRevisionId;
use crate::limit::RateLimit;
use crate::money::{Currency, Money};
use crate::name::PlanName;

/// The terms of a plan as the configuration states them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Terms", into = "Terms")]
pub struct Plan {
    /// The name.
    pub name: PlanName,
    /// The currency of the price.
    pub currency: Currency,
    /// The price of one billed unit.
    pub price_per_unit: Money,
    /// The windows for licenses that have none of their own.
    pub rate_limits: Vec<RateLimit>,
    /// The calls at one time for licenses that have no limit of their own.
    pub concurrency: Option<u32>,
    /// Words to which adapters give a meaning.
    pub features: Vec<String>,
}

/// The form in which a plan is kept and hashed. It never changes, or every plan would get another
/// revision.
#[derive(Serialize, Deserialize)]
struct Terms {
    name: PlanName,
    currency: Currency,
    price_per_unit: Money,
    /// A field that was announced and never used: 0 is written, and the value in older files is not
    /// read.
    #[serde(default)]
    included_units: u64,
    rate_limits: Vec<RateLimit>,
    concurrency: Option<u32>,
    features: Vec<String>,
}

impl From<Plan> for Terms {
    fn from(plan: Plan) -> Self {
        Self {
            name: plan.name,
            currency: plan.currency,
            price_per_unit: plan.price_per_unit,
            included_units: 0,
            rate_limits: plan.rate_limits,
            concurrency: plan.concurrency,
            features: plan.features,
        }
    }
}

impl From<Terms> for Plan {
    fn from(terms: Terms) -> Self {
        Self {
            name: terms.name,
            currency: terms.currency,
            price_per_unit: terms.price_per_unit,
            rate_limits: terms.rate_limits,
            concurrency: terms.concurrency,
            features: terms.features,
        }
    }
}

/// The terms of a plan at one time. Old revisions stay readable, since a call is priced by the
/// revision it was admitted under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRevision {
    /// The hash of the terms.
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
    fn terms_have_the_revision_that_every_version_gave_them() {
        let plan = Plan {
            name: "pro".parse().expect("valid"),
            currency: "EUR".parse().expect("valid"),
            price_per_unit: "0.01".parse().expect("valid"),
            rate_limits: vec!["10/1m".parse().expect("valid")],
            concurrency: Some(2),
            features: vec!["beta".to_owned()],
        };
        let written = "{\"name\":\"pro\",\"currency\":\"EUR\",\"price_per_unit\":\"0.01\",\"included_units\":0,\
                       \"rate_limits\":[\"10/1m\"],\"concurrency\":2,\"features\":[\"beta\"]}";
        assert_eq!(serde_json::to_string(&plan).expect("plain"), written);
        assert_eq!(
            PlanRevision::from(plan.clone()).id,
            PlanRevisionId::from_u128(0x66f8_0d60_cc7c_71ea_0c52_a372_7322_1252)
        );
        let with_included = written.replace("units\":0", "units\":1000");
        for kept in [written, &with_included] {
            assert_eq!(serde_json::from_str::<Plan>(kept).expect("a plan"), plan);
        }
    }

    #[test]
    fn the_same_terms_have_the_same_revision_and_other_terms_another() {
        let plan = Plan {
            name: "pro".parse().expect("valid"),
            currency: "EUR".parse().expect("valid"),
            price_per_unit: "0.01".parse().expect("valid"),
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
