//! AI agents on the wire: rules of policies, decisions, the agents that are known, and tokens.

use std::fmt;

use model::agent::{
    AccessKind, AgentAnswer, AgentName, AgentPrice, AgentReason, AgentRule, Operator, Purpose,
    Verification,
};
use model::{
    AccountName, AppName, Digits, LicenseId, LicenseStatus, ParentPath, PlanName, Timestamp,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A rule to be set in the policy of an account, in place of the one that concerns the same calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetAgentRule {
    /// The account whose policy it is; absent: that of the app, of the key that asks, or `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountName>,
    /// The app; absent: every app of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
    /// The path that the call's path is or lies below; absent: every path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<ParentPath>,
    /// Who operates the agent; absent: whoever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<Operator>,
    /// The agent; absent: whichever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentName>,
    /// The purpose of the agent; absent: whatever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<Purpose>,
    /// What is known of the agent; absent: whatever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
    /// What they get.
    pub access: AccessKind,
    /// The price of one call, with `pay` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<AgentPrice>,
    /// The answer to who is sent away; absent: the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<AgentAnswer>,
    /// Whether the agent is let in on routes that want a license, too.
    #[serde(default)]
    pub instead_of_license: bool,
}

/// The filter and the page of a list of rules: by account, and of each those that decide before
/// others first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentRuleQuery {
    /// The app that they name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
    /// The largest number of items of a page; 1 to 1,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// The `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<u32>,
}

/// A call of an agent to be decided on without being made. The agent is named by its user agent, or
/// by its names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestAgent {
    /// The user agent, at most 65,536 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// Who operates the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<Operator>,
    /// The agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentName>,
    /// The account whose policy decides; absent: that of the app, of the key that asks, or `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountName>,
    /// The app; absent: whichever, so that rules for one app do not concern the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
    /// The path; absent: `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What is known of the agent; absent: nothing.
    #[serde(default)]
    pub verification: Verification,
}

/// What happens to a call of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AgentVerdict {
    /// It is let in.
    Allow,
    /// It is sent away.
    Deny,
    /// It is let in if it pays.
    Pay,
}

/// A decision on a call of an agent without a token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgentDecision {
    /// Who operates the agent; `null`: nobody knows.
    pub operator: Option<Operator>,
    /// The agent; `null`: nobody knows.
    pub agent: Option<AgentName>,
    /// The purpose of the agent; `null`: nobody knows.
    pub purpose: Option<Purpose>,
    /// What happens to the call.
    pub access: AgentVerdict,
    /// The reason.
    pub reason: AgentReason,
    /// The price of the call, with `pay` alone.
    pub price: Option<AgentPrice>,
    /// Whether it is let in on routes that want a license, too.
    pub instead_of_license: bool,
    /// The rule that decided; `null`: the app's `[app.agents]` did, or a rule that the key that asks does not see.
    pub rule: Option<AgentRule>,
}

/// An agent that is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KnownAgent {
    /// Who operates it.
    pub operator: Operator,
    /// Its name.
    pub agent: AgentName,
    /// For what it fetches.
    pub purpose: Purpose,
    /// How it can be told from others who use its name: `signature`, `addresses`, `names` or `none`. The gate checks signatures.
    pub verifiable: String,
    /// The texts in its user agent by which it is recognized.
    pub patterns: Vec<String>,
    /// The page that says what it does.
    pub page: String,
}

/// A request to make a token of an agent, which is a license that this agent alone can use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateAgentToken {
    /// Who operates the agent.
    pub operator: Operator,
    /// The agent that alone may show it; absent: every agent of the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentName>,
    /// The account whose apps it opens; absent: that of the app, of the key that asks, or `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountName>,
    /// The app that it opens; absent: every app of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
    /// The license that pays for calls with it; absent: the token itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer: Option<LicenseId>,
    /// The plan; absent: that of the app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanName>,
    /// A label for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The time at which it ends; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The number of units that it may use; absent: not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = model::MAX_SAFE_INTEGER))]
    pub remaining: Option<u64>,
}

/// A token of an agent as it is answered. It is a license, and can be changed as one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AgentToken {
    /// The identity, which is that of its license.
    pub id: LicenseId,
    /// The token itself, in the answer to its creation only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The first characters of the token.
    pub prefix: String,
    /// Who operates the agent.
    pub operator: Operator,
    /// The agent that alone may show it; `null`: every agent of the operator.
    pub agent: Option<AgentName>,
    /// The account whose apps it opens.
    pub account: AccountName,
    /// The app that it opens; `*`: every app of the account.
    pub app: AppName,
    /// The license that pays for calls with it; `null`: the token itself.
    pub payer: Option<LicenseId>,
    /// The label for people.
    pub label: Option<String>,
    /// The status: `active`, `disabled` or `revoked`.
    pub status: LicenseStatus,
    /// The time at which it was made.
    pub created_at: Timestamp,
    /// The time at which it ends; `null`: never.
    pub expires_at: Option<Timestamp>,
    /// The units that are left; `null`: not counted.
    pub remaining: Option<u64>,
    /// The text of `remaining`, where that is above 9007199254740991.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_text: Option<Digits>,
}

impl fmt::Debug for AgentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentToken")
            .field("id", &self.id)
            .field("token", &self.token.as_ref().map(|_| "redacted"))
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}
