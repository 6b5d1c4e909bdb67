//! The decision on a call of an agent.

use super::access::Access;
use super::policy::{AgentCall, AgentPolicy};
use super::price::AgentPrice;
use super::rule::AgentRule;
use super::token::AgentTokenState;
use super::word::AgentReason;
use crate::word_enum;

/// What became of the token that came with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenShown {
    /// None came.
    None,
    /// One came that nobody knows, or that belongs to another account or another agent.
    Unknown,
    /// One came that is known and belongs to the agent.
    Known(AgentTokenState),
}

word_enum!(
    /// What happens to calls of agents that no rule concerns. Nobody is asked to pay by default.
    AgentDefault {
        /// They are let in.
        Allow => "allow",
        /// They are sent away.
        Deny => "deny",
    }
);

/// What happens to a call of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is let in.
    Allow,
    /// It is sent away.
    Deny,
    /// It is let in if this is paid. Who cannot ask for a payment sends it away.
    Pay(AgentPrice),
}

/// A decision on a call of an agent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AgentDecision<'p> {
    /// What happens to the call.
    pub verdict: Verdict,
    /// The reason.
    pub reason: AgentReason,
    /// The price that the license of the token owes, if it has one: the rule wants to be paid, and a
    /// good token was shown. `None`: nothing is owed by it.
    pub owed: Option<AgentPrice>,
    /// The rule that decided; `None`: no rule concerns the call.
    pub rule: Option<&'p AgentRule>,
}

/// Decides on a call of an agent. Where no rule concerns it, `by_default` holds; it alone holds for
/// agents that nothing is known of.
///
/// A good token opens what wants a token or a payment, and nothing that is denied.
#[must_use]
pub fn decide<'p>(
    policy: &'p AgentPolicy,
    call: &AgentCall<'_>,
    token: TokenShown,
    by_default: AgentDefault,
) -> AgentDecision<'p> {
    let is_known = call.is_known();
    let rule = policy.find(call).filter(|_| is_known);
    let access = match (rule, by_default) {
        (Some(rule), _) => rule.access,
        (None, AgentDefault::Allow) => Access::Allow,
        (None, AgentDefault::Deny) => Access::Deny,
    };
    let (verdict, reason) = judge(access, token);
    AgentDecision {
        verdict,
        reason: match is_known {
            true => reason,
            false => AgentReason::UserAgentUnrecognized,
        },
        owed: access.price().filter(|_| verdict == Verdict::Allow),
        rule,
    }
}

fn judge(access: Access, token: TokenShown) -> (Verdict, AgentReason) {
    let without = match access {
        Access::Allow => return (Verdict::Allow, AgentReason::UsageAllowed),
        Access::Deny => return (Verdict::Deny, AgentReason::UsageNotAllowed),
        Access::Token => Verdict::Deny,
        Access::Pay(price) => Verdict::Pay(price),
    };
    match token {
        TokenShown::Known(AgentTokenState::Active) => (Verdict::Allow, AgentReason::TokenActive),
        TokenShown::Known(AgentTokenState::Disabled) => (without, AgentReason::TokenDisabled),
        TokenShown::Known(AgentTokenState::Expired) => (without, AgentReason::TokenExpired),
        TokenShown::Unknown => (without, AgentReason::TokenNotFound),
        TokenShown::None => (without, AgentReason::TokenNotProvided),
    }
}

#[cfg(test)]
mod tests {
    use AgentReason::*;
    use AgentTokenState::*;

    use super::*;
    use crate::agent::{AgentMatch, AgentName, Operator, Verification};
    use crate::id::AgentRuleId;
    use crate::name::AccountName;
    use crate::time::Timestamp;

    /// Decides on a call of an agent with a name, or without one, by a rule for all.
    fn decided(named: bool, access: Option<Access>, token: TokenShown) -> (Verdict, AgentReason) {
        let rule = |access| AgentRule {
            id: AgentRuleId::from_u128(1),
            matches: AgentMatch::everything(AccountName::default()),
            access,
            answer: None,
            instead_of_license: false,
            set_at: Timestamp::from_micros(0),
        };
        let policy = AgentPolicy::new(access.map(rule)).expect("few");
        let operator: Operator = "OpenAI".parse().expect("valid");
        let agent: AgentName = "GPTBot".parse().expect("valid");
        let call = AgentCall {
            account: &AccountName::default(),
            app: &"news".parse().expect("valid"),
            path: "/",
            operator: named.then_some(&operator),
            agent: named.then_some(&agent),
            purpose: None,
            verification: Verification::Unverified,
        };
        let decision = decide(&policy, &call, token, AgentDefault::Deny);
        assert_eq!(decision.rule.is_some(), access.is_some() && named);
        let paid_by_token = decision.reason == TokenActive;
        let price = access.and_then(|access| access.price());
        assert_eq!(decision.owed, price.filter(|_| paid_by_token));
        (decision.verdict, decision.reason)
    }

    #[test]
    fn each_access_and_token_has_its_verdict_and_reason() {
        let price: AgentPrice = "USD 0.01".parse().expect("valid");
        let tokens = [
            (TokenShown::None, TokenNotProvided),
            (TokenShown::Unknown, TokenNotFound),
            (TokenShown::Known(Disabled), TokenDisabled),
            (TokenShown::Known(Expired), TokenExpired),
            (TokenShown::Known(Active), TokenActive),
        ];
        for (token, reason) in tokens {
            let is_good = reason == TokenActive;
            let or = |otherwise| if is_good { Verdict::Allow } else { otherwise };
            let by = |access| decided(true, Some(access), token);
            assert_eq!(by(Access::Allow), (Verdict::Allow, UsageAllowed));
            assert_eq!(by(Access::Deny), (Verdict::Deny, UsageNotAllowed));
            assert_eq!(by(Access::Token), (or(Verdict::Deny), reason));
            assert_eq!(by(Access::Pay(price)), (or(Verdict::Pay(price)), reason));
        }
    }

    #[test]
    fn a_signature_that_does_not_hold_meets_the_rule_for_such_without_any_name() {
        let mut matches = AgentMatch::everything(AccountName::default());
        matches.verification = Some(Verification::Invalid);
        let rule = AgentRule {
            id: AgentRuleId::from_u128(1),
            matches,
            access: Access::Deny,
            answer: None,
            instead_of_license: false,
            set_at: Timestamp::from_micros(0),
        };
        let policy = AgentPolicy::new(vec![rule]).expect("few");
        let by = |verification| {
            let call = AgentCall {
                account: &AccountName::default(),
                app: &"news".parse().expect("valid"),
                path: "/",
                operator: None,
                agent: None,
                purpose: None,
                verification,
            };
            let decision = decide(&policy, &call, TokenShown::None, AgentDefault::Allow);
            (decision.verdict, decision.reason, decision.rule.is_some())
        };
        let denied = (Verdict::Deny, UsageNotAllowed, true);
        assert_eq!(by(Verification::Invalid), denied);
        let unknown = (Verdict::Allow, UserAgentUnrecognized, false);
        assert_eq!(by(Verification::Unverified), unknown);
    }

    #[test]
    fn what_no_rule_concerns_and_who_has_no_name_gets_the_default() {
        let none = TokenShown::None;
        assert_eq!(decided(true, None, none), (Verdict::Deny, UsageNotAllowed));
        let unnamed = (Verdict::Deny, UserAgentUnrecognized);
        assert_eq!(decided(false, None, none), unnamed);
        assert_eq!(decided(false, Some(Access::Allow), none), unnamed);
        let price = "USD 0.01".parse().expect("valid");
        assert_eq!(decided(false, Some(Access::Pay(price)), none), unnamed);
    }
}
