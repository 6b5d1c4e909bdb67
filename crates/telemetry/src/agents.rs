//! Decisions on AI agents. No label says anything of a single agent.

use prometheus::proto::Metric;

use crate::families::counted;

/// What became of a call of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AgentVerdict {
    /// It was let in by the policy.
    Allowed,
    /// It was let in by its token.
    Token,
    /// It was left to the license that it presented.
    License,
    /// It was sent away by the policy, or for want of a token.
    Denied,
    /// It was asked to pay.
    PaymentRequired,
    /// It lacked the license that the route wants.
    LicenseRequired,
    /// It was sent away for a signature that cannot be read or was used before.
    SignatureRefused,
}

/// What is known of an agent beyond what it says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AgentVerification {
    /// Its signature holds.
    Verified,
    /// Its signature does not hold.
    Invalid,
    /// Nothing.
    Unverified,
}

impl AgentVerdict {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Token => "token",
            Self::License => "license",
            Self::Denied => "denied",
            Self::PaymentRequired => "payment_required",
            Self::LicenseRequired => "license_required",
            Self::SignatureRefused => "signature_refused",
        }
    }
}

impl AgentVerification {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Invalid => "invalid",
            Self::Unverified => "unverified",
        }
    }
}

/// The decisions of one kind: the symbol of the app, and how they were decided.
pub(crate) type DecisionLabels = (u32, AgentVerdict, AgentVerification);

/// Returns the series of decisions; `name` is the name of an app.
pub(crate) fn decisions<'a>(
    counts: impl Iterator<Item = (&'a DecisionLabels, &'a u64)>,
    name: impl Fn(u32) -> String,
) -> Vec<Metric> {
    let metric = |((app, verdict, verification), count): (&DecisionLabels, &u64)| {
        let app = name(*app);
        let pairs = [
            ("app", app.as_str()),
            ("decision", verdict.as_str()),
            ("verification", verification.as_str()),
        ];
        counted(&pairs, *count)
    };
    counts.map(metric).collect()
}
