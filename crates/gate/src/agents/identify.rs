//! The identity of who calls.

use agents::web_bot_auth::{Request, UnverifiedReason};
use agents::{Judgement, KnownAgent, identify};
use model::Timestamp;
use model::agent::{AgentName, Operator, Purpose, Verification};

use super::head::{RequestHead, Sight};
use super::rules::AgentRules;

/// Who calls, as far as it is known, and what came of the signature.
#[derive(Clone, Debug)]
pub(super) struct Identified {
    /// Who operates the agent.
    pub(super) operator: Option<Operator>,
    /// The agent.
    pub(super) agent: Option<AgentName>,
    /// For what it fetches.
    pub(super) purpose: Option<Purpose>,
    /// What is known of it beyond what it says.
    pub(super) verification: Verification,
    pub(super) judgement: Judgement,
    /// Whether it poses as an agent by the query, in test mode.
    poses: bool,
}

impl Identified {
    /// Returns who calls. Waits for a directory of keys that was never fetched.
    pub(super) async fn of(
        head: &RequestHead<'_>,
        path: &[u8],
        sight: Sight,
        rules: &AgentRules,
        now: Timestamp,
    ) -> Self {
        let judgement = match sight.is_signed {
            true => judge(head, path, rules, now).await,
            false => Judgement::Unsigned,
        };
        let recognizer = rules.shared.recognizer();
        let named = recognizer.recognize(head.name(sight));
        let (who, verification) = identify(recognizer.known(), named, &judgement);
        let of = |who: &KnownAgent| (who.operator.clone(), who.agent.clone(), who.purpose);
        let (operator, agent, purpose) = match who.map(of) {
            Some((operator, agent, purpose)) => (Some(operator), Some(agent), Some(purpose)),
            None => (None, None, None),
        };
        Self {
            operator,
            agent,
            purpose,
            verification,
            judgement,
            poses: sight.poses,
        }
    }

    /// Returns whether an agent calls of which anything is known, by its name or by a signature of
    /// which it is known whether it holds.
    pub(super) const fn is_known(&self) -> bool {
        self.operator.is_some() || !matches!(self.verification, Verification::Unverified)
    }

    /// Returns whether it is an agent, known or posed as.
    pub(super) const fn is_agent(&self) -> bool {
        self.poses || self.is_known()
    }

    /// Returns whether nobody can say whether the signature holds, since its directory is out of
    /// reach.
    pub(super) const fn lacks_directory(&self) -> bool {
        matches!(
            self.judgement,
            Judgement::Unverified(
                UnverifiedReason::DirectoryUnknown | UnverifiedReason::DirectoryFailed
            )
        )
    }

    /// Returns why the signature does not verify the agent, as a word; `None`: it does, or there is
    /// none.
    pub(super) fn fault(&self) -> Option<&'static str> {
        match &self.judgement {
            Judgement::Invalid(reason) => Some(reason.as_str()),
            Judgement::Unverified(reason) => Some(reason.as_str()),
            Judgement::Unsigned | Judgement::Verified(_) => None,
        }
    }
}

async fn judge(
    head: &RequestHead<'_>,
    path: &[u8],
    rules: &AgentRules,
    now: Timestamp,
) -> Judgement {
    // A target of other bytes cannot be signed as text: such a signature does not hold.
    let path = std::str::from_utf8(path).unwrap_or_default();
    let query = head.query.map(std::str::from_utf8).transpose();
    let fields = head.fields();
    let request = Request {
        method: head.method,
        scheme: head.scheme,
        authority: head.authority,
        path,
        query: query.unwrap_or_default(),
        fields: &fields,
    };
    rules.shared.judge(&request, now).await
}
