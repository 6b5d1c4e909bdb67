//! The decision on a call of an agent by the policy of an account and the terms of an app.

use model::agent::{
    AgentCall, AgentDefault, AgentPrice, AgentReason, AgentRule, AgentTerms, TokenShown, Verdict,
    decide,
};

use crate::error::Error;
use crate::licensing::Licensing;

/// A call of an agent that is to be decided on.
#[derive(Clone, Copy, Debug)]
pub struct AgentAsked<'a> {
    /// The call. An app that no app of the account is stands for whichever: only rules for all apps
    /// concern it.
    pub call: AgentCall<'a>,
    /// What became of the token that came with it.
    pub token: TokenShown,
}

/// A decision on a call of an agent.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentDecided {
    /// What happens to the call.
    pub verdict: Verdict,
    /// The reason.
    pub reason: AgentReason,
    /// The price that the license of the token owes, if it has one.
    pub owed: Option<AgentPrice>,
    /// The rule that decided; `None`: the terms of the app did.
    pub rule: Option<AgentRule>,
    /// The terms of the app; those by default where it has none.
    pub terms: AgentTerms,
}

impl Licensing {
    /// Decides on a call of an agent, as the gate does.
    ///
    /// # Errors
    /// The policies were not read yet, and the store fails: what happens then the terms of the app
    /// say.
    pub async fn decide_on_agent(&self, asked: AgentAsked<'_>) -> Result<AgentDecided, Error> {
        let AgentAsked { call, token } = asked;
        let policies = self.agent_policies().await?;
        let terms = self.agent_terms(&call);
        let decision = decide(
            policies.of(call.account),
            &call,
            token,
            by_default(&terms, &call),
        );
        Ok(AgentDecided {
            verdict: decision.verdict,
            reason: decision.reason,
            owed: decision.owed,
            rule: decision.rule.cloned(),
            terms,
        })
    }

    fn agent_terms(&self, call: &AgentCall<'_>) -> AgentTerms {
        let plans = self.plans.load();
        let terms = plans.app(call.app);
        let own = terms.filter(|terms| terms.account == *call.account);
        own.and_then(|terms| terms.agents).unwrap_or_default()
    }
}

/// Returns what the terms give where no rule concerns a call.
fn by_default(terms: &AgentTerms, call: &AgentCall<'_>) -> AgentDefault {
    match call.is_known() {
        true => terms.default,
        false => terms.unknown,
    }
}
