//! Policies on agents: rules, and which of them decides on a call.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use super::name::{AgentName, Operator};
use super::rule::AgentRule;
use super::word::{Purpose, Verification};
use crate::name::{AccountName, AppName};

/// What rules look at in a call of an agent.
#[derive(Clone, Copy, Debug)]
pub struct AgentCall<'c> {
    /// The account that sells the app.
    pub account: &'c AccountName,
    /// The app.
    pub app: &'c AppName,
    /// The path, in its normal form.
    pub path: &'c str,
    /// Who operates the agent; `None`: nobody knows.
    pub operator: Option<&'c Operator>,
    /// The agent; `None`: nobody knows.
    pub agent: Option<&'c AgentName>,
    /// The purpose of the agent; `None`: nobody knows.
    pub purpose: Option<Purpose>,
    /// What is known of the agent.
    pub verification: Verification,
}

/// A set of rules on agents, at most [`AgentPolicy::MAX_RULES`].
///
/// Of the rules that concern a call the one with the greatest [`Precedence`](super::Precedence)
/// decides: one for an agent before one for an operator, before one for a purpose, before one for
/// all; then the one with the longest path; one for an app before one for the account; one that
/// names a verification before one that does not; of two that are equal in all this the one that
/// was set later.
#[derive(Clone, Debug, Default)]
pub struct AgentPolicy {
    /// The rules for an agent, the greatest first; any other rule gives way to them.
    of_agent: HashMap<AgentName, Vec<Arc<AgentRule>>>,
    /// The rules for an operator that name no agent, the greatest first.
    of_operator: HashMap<Operator, Vec<Arc<AgentRule>>>,
    /// The other rules, the greatest first.
    of_any: Vec<Arc<AgentRule>>,
}

/// The error for more rules than a policy holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a policy has at most {max} rules, these are {0}: leave out some", max = AgentPolicy::MAX_RULES)]
pub struct TooManyRules(usize);

// === impl AgentCall ===

impl AgentCall<'_> {
    /// Returns whether an agent calls that anything is known of: it has a name, or a signature of
    /// which it is known whether it holds. Nobody else is asked about rules.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.operator.is_some()
            || self.agent.is_some()
            || self.verification != Verification::Unverified
    }
}

// === impl AgentPolicy ===

impl AgentPolicy {
    /// The largest number of rules.
    pub const MAX_RULES: usize = 10_000;
    /// The largest size of the answers of all its rules, in bytes: every gate holds them in memory.
    pub const MAX_ANSWER_BYTES: usize = 16 << 20;

    /// Makes a policy of rules in any order.
    ///
    /// # Errors
    /// More rules than a policy holds.
    pub fn new(
        rules: impl IntoIterator<Item = impl Into<Arc<AgentRule>>>,
    ) -> Result<Self, TooManyRules> {
        let mut rules: Vec<Arc<AgentRule>> = rules.into_iter().map(Into::into).collect();
        if rules.len() > Self::MAX_RULES {
            return Err(TooManyRules(rules.len()));
        }
        rules.sort_by_cached_key(|rule| Reverse(rule.precedence()));
        let mut policy = Self::default();
        for rule in rules {
            let whom = &rule.matches;
            let group = match (&whom.agent, &whom.operator) {
                (Some(agent), _) => policy.of_agent.entry(agent.clone()).or_default(),
                (None, Some(operator)) => policy.of_operator.entry(operator.clone()).or_default(),
                (None, None) => &mut policy.of_any,
            };
            group.push(rule);
        }
        Ok(policy)
    }

    /// Returns the rule that decides on a call; `None` if no rule concerns it. Costs two look-ups
    /// and a pass over the rules that name the agent, its operator, or neither.
    #[must_use]
    pub fn find(&self, call: &AgentCall<'_>) -> Option<&AgentRule> {
        let of_agent = call.agent.and_then(|agent| self.of_agent.get(agent));
        let of_operator = call.operator.and_then(|name| self.of_operator.get(name));
        [of_agent, of_operator, Some(&self.of_any)]
            .into_iter()
            .flatten()
            .flatten()
            .map(Arc::as_ref)
            .find(|rule| rule.matches.concerns(call))
    }

    /// Returns whether there is no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.of_agent.is_empty() && self.of_operator.is_empty() && self.of_any.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::agent::{Access, AgentMatch};
    use crate::id::AgentRuleId;
    use crate::time::Timestamp;

    fn rule(number: u128, set: impl FnOnce(&mut AgentMatch)) -> AgentRule {
        let mut matches = AgentMatch::everything(AccountName::default());
        set(&mut matches);
        AgentRule {
            id: AgentRuleId::from_u128(number),
            matches,
            access: Access::Allow,
            answer: None,
            instead_of_license: false,
            set_at: Timestamp::from_micros(number as i64),
        }
    }

    fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> Option<T> {
        Some(text.parse().expect("valid"))
    }

    /// Returns the number of the rule that decides on a call of GPTBot below `/news`.
    fn found(rules: &[AgentRule], verification: Verification) -> Option<u128> {
        let policy = AgentPolicy::new(rules.iter().cloned()).expect("few");
        let (operator, agent) = (parsed("openai"), parsed("gptbot"));
        let call = AgentCall {
            account: &AccountName::default(),
            app: &"news".parse().expect("valid"),
            path: "/news/today",
            operator: operator.as_ref(),
            agent: agent.as_ref(),
            purpose: Some(Purpose::Training),
            verification,
        };
        policy.find(&call).map(|rule| rule.id.as_u128())
    }

    /// Rules in ascending order of their precedence, each of which concerns the call.
    fn ladder() -> Vec<AgentRule> {
        vec![
            rule(1, |_| ()),
            rule(2, |_| ()),
            rule(3, |whom| whom.verification = Some(Verification::Verified)),
            rule(4, |whom| whom.app = parsed("news")),
            rule(5, |whom| whom.path = parsed("/news")),
            rule(6, |whom| whom.path = parsed("/news/today")),
            rule(7, |whom| whom.purpose = Some(Purpose::Training)),
            rule(8, |whom| whom.operator = parsed("OpenAI")),
            rule(9, |whom| whom.agent = parsed("GPTBot")),
            rule(10, |whom| {
                whom.agent = parsed("GPTBot");
                whom.operator = parsed("OpenAI");
            }),
        ]
    }

    #[test]
    fn the_most_specific_rule_decides_and_of_equals_the_later_one() {
        let ladder = ladder();
        for length in 1..=ladder.len() {
            let expected = Some(length as u128);
            assert_eq!(found(&ladder[..length], Verification::Verified), expected);
        }
        let mut swapped = ladder[..2].to_vec();
        swapped[0].set_at = Timestamp::from_micros(9);
        assert_eq!(found(&swapped, Verification::Unverified), Some(1));
    }

    proptest! {
        #[test]
        fn the_order_in_which_rules_are_read_does_not_matter(order in Just(ladder()).prop_shuffle()) {
            prop_assert_eq!(found(&order, Verification::Verified), Some(10));
        }
    }

    #[test]
    fn a_rule_concerns_only_what_it_names() {
        let unverified =
            |set: fn(&mut AgentMatch)| found(&[rule(1, set)], Verification::Unverified);
        assert_eq!(unverified(|whom| whom.path = parsed("/news/")), Some(1));
        assert_eq!(unverified(|whom| whom.path = parsed("/new")), None);
        assert_eq!(unverified(|whom| whom.app = parsed("blog")), None);
        assert_eq!(
            unverified(|whom| whom.account = parsed("other").expect("there")),
            None
        );
        assert_eq!(unverified(|whom| whom.operator = parsed("Anthropic")), None);
        assert_eq!(unverified(|whom| whom.agent = parsed("ClaudeBot")), None);
        assert_eq!(
            unverified(|whom| whom.purpose = Some(Purpose::Search)),
            None
        );
        let verified = |whom: &mut AgentMatch| whom.verification = Some(Verification::Verified);
        assert_eq!(unverified(verified), None);
        // An agent of this name that somebody else operates.
        let other = |whom: &mut AgentMatch| {
            whom.agent = parsed("GPTBot");
            whom.operator = parsed("Anthropic");
        };
        assert_eq!(unverified(other), None);
    }

    #[test]
    fn a_policy_is_bounded() {
        let many = vec![rule(1, |_| ()); AgentPolicy::MAX_RULES + 1];
        let error = AgentPolicy::new(many).expect_err("too many");
        assert_eq!(error, TooManyRules(10_001));
        assert!(AgentPolicy::default().is_empty());
    }
}
