//! Reasons of judgements.

use model::word_enum;

word_enum!(
    /// The reason why a signature does not hold. Blame: the agent, or whoever changed its request.
    InvalidReason {
        /// A field of the signature does not parse, or exceeds a bound.
        Malformed => "malformed",
        /// `created`, `expires` or `keyid` is missing, a parameter is of a wrong type, or the id of
        /// its key is no thumbprint.
        ParameterMissing => "parameter_missing",
        /// The algorithm that it names is another than that of its key.
        Algorithm => "algorithm",
        /// It lives longer than a day, or ends before it begins.
        Lifetime => "lifetime",
        /// It has ended.
        Expired => "expired",
        /// It is of the future.
        Future => "future",
        /// It covers neither `@authority` nor `@target-uri`.
        TargetNotCovered => "target_not_covered",
        /// There is a `Signature-Agent`, and the signature does not cover it.
        AgentNotCovered => "agent_not_covered",
        /// It covers several members of `Signature-Agent`, and none has its label.
        AgentAmbiguous => "agent_ambiguous",
        /// Its `Signature-Agent` is no https URL of the form that its type wants.
        AgentUrl => "agent_url",
        /// It covers something twice.
        ComponentTwice => "component_twice",
        /// It covers something that the request does not have.
        ComponentMissing => "component_missing",
        /// Its key is published for tests.
        TestKey => "test_key",
        /// Its key is not valid now.
        KeyExpired => "key_expired",
        /// It is not by the key, over this request.
        Wrong => "wrong",
        /// It, or its nonce, was used before.
        Reused => "reused",
    }
);

word_enum!(
    /// The reason why nobody can say whether a signature holds.
    UnverifiedReason {
        /// There is no `Signature-Agent`, so that nobody knows where the keys are. Blame: the agent.
        AgentMissing => "agent_missing",
        /// The type of its `Signature-Agent` is not known here.
        AgentType => "agent_type",
        /// It covers something in a way that is not known here.
        Component => "component",
        /// The algorithm that it names is not known here.
        Algorithm => "algorithm",
        /// The directory was not fetched yet. Blame: nobody; the next call may find it.
        DirectoryUnknown => "directory_unknown",
        /// The directory cannot be fetched. Blame: the agent, or the network.
        DirectoryFailed => "directory_failed",
        /// The directory is of a kind that is taken of known agents alone, or one too many of its
        /// host. Blame: the agent.
        DirectoryRefused => "directory_refused",
        /// The directory does not have the key. Blame: the agent.
        KeyUnknown => "key_unknown",
        /// It holds, and so many were used lately that nobody could tell its reuse. Blame: nobody,
        /// or whoever signs so much.
        NoRoom => "no_room",
    }
);

/// The reason why a signature is not verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Invalid(InvalidReason),
    Unverified(UnverifiedReason),
}

impl From<InvalidReason> for Refused {
    fn from(reason: InvalidReason) -> Self {
        Self::Invalid(reason)
    }
}

impl From<UnverifiedReason> for Refused {
    fn from(reason: UnverifiedReason) -> Self {
        Self::Unverified(reason)
    }
}
