//! The operations on the rules of policies on agents.

use std::sync::Arc;

use arc_swap::Guard;
use model::agent::{Access, AgentAnswer, AgentMatch, AgentPolicy, AgentRule, RuleError};
use model::{AccountName, AgentRuleId};
use serde_json::{Value, json};
use store::{AuditEntries, StoredAgentRule};

use super::policies::AgentPolicies;
use crate::error::Error;
use crate::licensing::Licensing;
use crate::operations::AuditedLicensing;

/// A rule that is to be set.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentRuleRequest {
    /// Whom it concerns.
    pub matches: AgentMatch,
    /// What they get.
    pub access: Access,
    /// The answer to who is sent away; `None`: the usual one.
    pub answer: Option<AgentAnswer>,
    /// Whether the agent is let in on routes that want a license, too.
    pub instead_of_license: bool,
}

/// A change of what stands at a place of a policy.
struct Change<'a> {
    account: &'a AccountName,
    place: u32,
    /// The number of the last change of the policy that was seen.
    in_place_of: u64,
    before: Option<&'a AgentRule>,
    after: Option<Arc<AgentRule>>,
}

/// The number of times that a change begins again because another came first.
const TRIES: usize = 20;

impl Licensing {
    /// Returns the policies on agents as this gate knows them; the store is read first if that was
    /// not done yet.
    ///
    /// # Errors
    /// The store has to be read, and fails.
    pub async fn agent_policies(&self) -> Result<Arc<AgentPolicies>, Error> {
        self.agents.known().await
    }

    /// Returns the policies on agents as this gate knows them, without waiting. Costs one load.
    /// Where an app of the configuration decides on agents they were read at the start.
    #[must_use]
    pub fn agent_policies_at_hand(&self) -> Guard<Arc<AgentPolicies>> {
        self.agents.load()
    }

    /// Returns the policies on agents as the store has them now.
    ///
    /// # Errors
    /// The store fails.
    pub async fn newest_agent_policies(&self) -> Result<Arc<AgentPolicies>, Error> {
        self.agents.read().await?;
        self.agents.known().await
    }

    /// Follows the policies on agents for ever, from when somebody asked for one.
    pub(crate) async fn follow_agents(&self) {
        loop {
            tokio::time::sleep(self.change_poll).await;
            let is_asked_for = self.agents.load().is_read() || self.decides_on_agents();
            if is_asked_for && let Err(error) = self.agents.read().await {
                tracing::debug!(%error, "the policies on agents cannot be read");
            }
        }
    }

    /// Returns whether an app of the configuration decides on agents.
    pub(crate) fn decides_on_agents(&self) -> bool {
        let plans = self.plans.load();
        plans.apps().any(|app| app.agents.is_some())
    }
}

impl AuditedLicensing {
    /// Sets a rule in the policy of an account, in place of the one that concerns the same calls, if
    /// there is one. It is in force here when this returns, and on other gates with their next
    /// reading. A rule that says nothing new is not written.
    ///
    /// # Errors
    /// There is no such app, the account sells none, the rule cannot be meant, the policy is full,
    /// or the store fails.
    pub async fn set_agent_rule(
        &self,
        mut request: AgentRuleRequest,
    ) -> Result<Arc<AgentRule>, Error> {
        request.matches = request.matches.in_normal_form();
        self.check_sold(&request.matches)?;
        let _alone = self.agents.writing.lock().await;
        for _ in 0..TRIES {
            let policies = self.agents.known().await?;
            let own = policies.rules_of(&request.matches.account);
            let mut same = own.rules.iter();
            let same = same.find(|(_, rule)| rule.matches == request.matches);
            if let Some((_, rule)) = same.filter(|(_, rule)| request.is_said_by(rule)) {
                return Ok(rule.clone());
            }
            let rule = Arc::new(AgentRule {
                id: same.map_or_else(AgentRuleId::generate, |(_, rule)| rule.id),
                matches: request.matches.clone(),
                access: request.access,
                answer: request.answer.clone(),
                instead_of_license: request.instead_of_license,
                set_at: self.clock.now(),
            });
            rule.check().map_err(|error| refused(&error))?;
            let others = own.rules.iter().map(|(_, rule)| &**rule);
            check_bounds(others.filter(|other| other.id != rule.id), &rule)?;
            let change = Change {
                account: &request.matches.account,
                place: same.map_or_else(|| own.free_place(), |(place, _)| *place),
                in_place_of: own.number,
                before: same.map(|(_, rule)| &**rule),
                after: Some(rule.clone()),
            };
            if self.put_rule("agent-rule.set", rule.id, change).await? {
                return Ok(rule);
            }
            // Another gate was faster.
            self.agents.read().await?;
        }
        Err(busy())
    }

    /// Removes a rule from the policy of an account. Returns whether there was one.
    ///
    /// # Errors
    /// The store fails.
    pub async fn remove_agent_rule(
        &self,
        account: &AccountName,
        id: AgentRuleId,
    ) -> Result<bool, Error> {
        let _alone = self.agents.writing.lock().await;
        for _ in 0..TRIES {
            self.agents.read().await?;
            let policies = self.agents.known().await?;
            let own = policies.rules_of(account);
            let Some((place, rule)) = own.rules.iter().find(|(_, rule)| rule.id == id) else {
                return Ok(false);
            };
            let change = Change {
                account,
                place: *place,
                in_place_of: own.number,
                before: Some(rule),
                after: None,
            };
            if self.put_rule("agent-rule.remove", id, change).await? {
                return Ok(true);
            }
        }
        Err(busy())
    }

    /// Makes a change, unless another came first.
    async fn put_rule(
        &self,
        action: &str,
        id: AgentRuleId,
        change: Change<'_>,
    ) -> Result<bool, Error> {
        let line = self.own_audit_writer().line(action, id).of(change.account);
        let (before, after) = (change.before.map(shown), change.after.as_deref().map(shown));
        let entries = AuditEntries::of(vec![line.between(before.as_ref(), after.as_ref())]);
        let put = self.store.agents()?.put_agent_rule(
            change.account,
            change.in_place_of,
            change.place,
            change.after.clone(),
            entries,
        );
        let Some(number) = put.await? else {
            return Ok(false);
        };
        let row = StoredAgentRule {
            account: change.account.clone(),
            place: change.place,
            number,
            rule: change.after,
        };
        self.agents.learn(row).await;
        Ok(true)
    }

    /// Refuses a rule for an app that the account does not sell, and for an account without apps.
    fn check_sold(&self, matches: &AgentMatch) -> Result<(), Error> {
        let plans = self.plans.load();
        let mut sold = plans.apps().filter(|app| app.account == matches.account);
        match &matches.app {
            Some(named) if !sold.any(|app| app.app == *named) => {
                Err(Error::AppUnknown(named.clone()))
            }
            None if sold.next().is_none() => {
                let reason = format!(
                    "`{}` sells no app of the configuration, so that a rule would concern nothing",
                    matches.account
                );
                Err(Error::invalid("account", reason))
            }
            _ => Ok(()),
        }
    }
}

impl AgentRuleRequest {
    /// Returns whether a rule says the same already.
    fn is_said_by(&self, rule: &AgentRule) -> bool {
        self.access == rule.access
            && self.answer == rule.answer
            && self.instead_of_license == rule.instead_of_license
    }
}

/// Checks that a policy with this rule beside the others is within its bounds.
fn check_bounds<'a>(
    others: impl Iterator<Item = &'a AgentRule>,
    rule: &AgentRule,
) -> Result<(), Error> {
    let bytes = |rule: &AgentRule| rule.answer.as_ref().map_or(0, AgentAnswer::bytes);
    let (mut count, mut all_bytes) = (1, bytes(rule));
    for other in others {
        count += 1;
        all_bytes += bytes(other);
    }
    if count > AgentPolicy::MAX_RULES {
        let most = AgentPolicy::MAX_RULES;
        let reason = format!(
            "the policy of the account has {most} rules, the most there can be: remove one first"
        );
        return Err(Error::invalid("rules", reason));
    }
    if all_bytes > AgentPolicy::MAX_ANSWER_BYTES {
        let most = AgentPolicy::MAX_ANSWER_BYTES;
        let reason = format!(
            "the answers of all rules of an account have at most {most} bytes together, with this one they have {all_bytes}: write a shorter one"
        );
        return Err(Error::invalid("answer", reason));
    }
    Ok(())
}

fn refused(error: &RuleError) -> Error {
    Error::invalid(error.field(), error.to_string())
}

fn busy() -> Error {
    let why = "the policy of the account is changed all the time";
    Error::Store(store::Error::Unavailable(why.to_owned()))
}

/// Returns a rule as the audit log shows it: the bodies of its answer, which may be long, by their
/// lengths.
fn shown(rule: &AgentRule) -> Value {
    let mut value = serde_json::to_value(rule).unwrap_or(Value::Null);
    let bodies = value.get_mut("answer").and_then(Value::as_object_mut);
    for (name, body) in bodies.into_iter().flatten() {
        match (name.as_str(), &*body) {
            ("html", Value::String(text)) => *body = json!(format!("{} bytes", text.len())),
            ("json", value) => *body = json!(format!("{} bytes", value.to_string().len())),
            _ => {}
        }
    }
    value
}
