//! The limits that hold for a license.

use std::fmt::Write as _;
use std::time::Duration;

use model::{Limits, PlanRevision, RateLimit, Refill};

/// The units that a gate leases beyond what it needs, so that they can be spent while the store is
/// out of reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Allowance {
    /// The number of units; near the end of a balance fewer are leased.
    pub units: u64,
    /// The time for which a license that is not called keeps them.
    pub kept_for: Duration,
}

/// The limits that hold for a license: its own, and where it has none those of its plan.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct EffectiveLimits {
    /// Whether units are counted.
    pub counted: bool,
    /// The refill of the units.
    pub refill: Option<Refill>,
    /// The rate windows, which all hold at once, at most [`EffectiveLimits::MAX_WINDOWS`].
    pub rate_limits: Box<[RateLimit]>,
    /// The number of calls that may run at once; over several gates as exactly as they report to
    /// each other.
    pub concurrency: Option<u32>,
    /// The units that are leased for an outage.
    pub allowance: Allowance,
    policy: Box<str>,
}

impl EffectiveLimits {
    /// The number of windows of one license. Further ones are ignored; operations and configuration
    /// refuse them.
    pub const MAX_WINDOWS: usize = RateLimit::MAX_WINDOWS;

    pub(crate) fn of(own: &Limits, plan: Option<&PlanRevision>) -> Self {
        let plan = plan.map(|revision| &revision.plan);
        let windows = match own.rate_limits.as_slice() {
            [] => plan.map_or(&[][..], |plan| &plan.rate_limits),
            own => own,
        };
        let windows = tightest(windows);
        Self {
            counted: own.remaining.is_some(),
            refill: own.refill.filter(|_| own.remaining.is_some()),
            concurrency: own
                .concurrency
                .or_else(|| plan.and_then(|plan| plan.concurrency)),
            allowance: Allowance::default(),
            policy: policy(&windows),
            rate_limits: windows,
        }
    }

    /// Adds an allowance of so many units for an outage, if any units are leased at all.
    pub(crate) fn with_allowance(self, units: u64, kept_for: Duration) -> Self {
        let is_leased = self.counted || self.has_durable_window();
        let allowance = Allowance { units, kept_for };
        Self {
            allowance: if units > 0 && is_leased {
                allowance
            } else {
                Allowance::default()
            },
            ..self
        }
    }

    /// Returns whether nothing is limited, so that calls are not metered here at all.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        !self.counted && self.rate_limits.is_empty() && self.concurrency.is_none()
    }

    /// Returns whether a call counts against a window of an hour or longer.
    #[must_use]
    pub fn has_durable_window(&self) -> bool {
        self.rate_limits.iter().any(RateLimit::is_durable)
    }

    /// Returns the value of `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-11), which is
    /// made once; empty without windows.
    #[must_use]
    pub fn policy(&self) -> &str {
        &self.policy
    }
}

/// Returns one limit for each kind and length of window, the smallest, since calls are counted by
/// kind and length.
fn tightest(limits: &[RateLimit]) -> Box<[RateLimit]> {
    let mut windows: Vec<RateLimit> = Vec::with_capacity(limits.len());
    for limit in limits {
        match windows
            .iter_mut()
            .find(|other| other.window == limit.window && other.kind == limit.kind)
        {
            Some(other) => other.calls = other.calls.min(limit.calls),
            None => windows.push(*limit),
        }
    }
    windows.truncate(EffectiveLimits::MAX_WINDOWS);
    windows.into()
}

/// Returns a policy for each window, named by its text form.
fn policy(windows: &[RateLimit]) -> Box<str> {
    let mut text = String::new();
    for limit in windows {
        let separator = if text.is_empty() { "" } else { ", " };
        let (calls, seconds) = (limit.calls, limit.window.seconds());
        write!(
            text,
            "{separator}\"{}\";q={calls};w={seconds};qu=\"requests\"",
            limit.window
        )
        .expect("writing to a string does not fail");
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Plan;

    fn plan() -> PlanRevision {
        PlanRevision::from(Plan {
            name: "pro".parse().unwrap(),
            currency: "EUR".parse().unwrap(),
            price_per_unit: "0.01".parse().unwrap(),
            rate_limits: vec!["10/1m".parse().unwrap(), "100/1h".parse().unwrap()],
            concurrency: Some(3),
            features: vec![],
        })
    }

    #[test]
    fn a_license_has_its_own_limits_and_where_it_has_none_those_of_its_plan() {
        let inherited = EffectiveLimits::of(&Limits::default(), Some(&plan()));
        assert_eq!(inherited.concurrency, Some(3));
        assert_eq!(
            inherited.policy(),
            r#""1m";q=10;w=60;qu="requests", "1h";q=100;w=3600;qu="requests""#
        );
        let own = Limits {
            rate_limits: vec!["5/1s".parse().unwrap()],
            refill: Some("5/1h".parse().unwrap()),
            ..Limits::default()
        };
        let own = EffectiveLimits::of(&own, Some(&plan()));
        assert_eq!(own.policy(), r#""1s";q=5;w=1;qu="requests""#);
        assert_eq!(
            (own.counted, own.refill, own.concurrency),
            (false, None, Some(3))
        );
        assert!(EffectiveLimits::of(&Limits::default(), None).is_unlimited());
    }
}
