//! The decision on a call, by the policy of the account and the rules of the app.

use model::agent::{
    AgentAnswer, AgentCall, AgentDecision, AgentPolicy, AgentPrice, AgentReason, TokenShown,
    Verdict, Verification, decide,
};

use super::identify::Identified;
use super::rules::AgentRules;
use crate::app::App;

/// A decision on a call of an agent.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Decided {
    pub(super) verdict: Verdict,
    pub(super) reason: AgentReason,
    /// The price that the license of a good token owes.
    pub(super) owed: Option<AgentPrice>,
    /// The site's own answer to who is sent away.
    pub(super) answer: Option<AgentAnswer>,
    /// Whether the policy lets in on routes that want a license, too.
    pub(super) instead_of_license: bool,
}

/// What is decided about.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) app: &'a App,
    pub(super) rules: &'a AgentRules,
    /// The path in its normal form.
    pub(super) path: &'a str,
    pub(super) identified: &'a Identified,
    pub(super) token: TokenShown,
}

impl Question<'_> {
    /// Decides. While the policy is not known here, or what it says depends on a directory that is
    /// out of reach, the app says what happens.
    pub(super) fn decide(&self) -> Decided {
        let empty;
        let known = self.rules.shared.policy(&self.app.account);
        let policy = match &known {
            Some(policy) => policy,
            None if self.rules.terms.allows_on_failure => {
                empty = AgentPolicy::default();
                &empty
            }
            None => return Decided::nobody_knows(),
        };
        let decision = self.by(policy, self.identified.verification);
        if self.identified.lacks_directory() && !self.rules.terms.allows_on_failure {
            let otherwise = self.by(policy, Verification::Verified);
            if otherwise.verdict != decision.verdict {
                return Decided::nobody_knows();
            }
        }
        Decided::new(&decision, self.rules)
    }

    fn by<'p>(&self, policy: &'p AgentPolicy, verification: Verification) -> AgentDecision<'p> {
        let identity = self.identified;
        let call = AgentCall {
            account: &self.app.account,
            app: &self.app.name,
            path: self.path,
            operator: identity.operator.as_ref(),
            agent: identity.agent.as_ref(),
            purpose: identity.purpose,
            verification,
        };
        let by_default = match identity.is_known() {
            true => self.rules.terms.default,
            false => self.rules.terms.unknown,
        };
        decide(policy, &call, self.token, by_default)
    }
}

impl Decided {
    fn new(decision: &AgentDecision<'_>, rules: &AgentRules) -> Self {
        let sent_away = decision.verdict != Verdict::Allow;
        Self {
            verdict: decision.verdict,
            reason: decision.reason,
            owed: decision.owed,
            answer: decision
                .rule
                .filter(|_| sent_away)
                .and_then(|rule| rule.answer.clone()),
            instead_of_license: rules.terms.instead_of_license
                || decision.rule.is_some_and(|rule| rule.instead_of_license),
        }
    }

    const fn nobody_knows() -> Self {
        Self {
            verdict: Verdict::Deny,
            reason: AgentReason::UnknownError,
            owed: None,
            answer: None,
            instead_of_license: false,
        }
    }

    /// Returns whether the policy sends the agent away whatever it shows, and not only for want of a
    /// good token.
    pub(super) fn is_final(&self) -> bool {
        let is_about_token = matches!(
            self.reason,
            AgentReason::TokenNotProvided
                | AgentReason::TokenNotFound
                | AgentReason::TokenDisabled
                | AgentReason::TokenExpired
        );
        self.verdict == Verdict::Deny && !is_about_token
    }
}
