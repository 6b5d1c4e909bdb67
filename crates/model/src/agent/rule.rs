//! Rules of a policy on agents.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::access::{Access, AccessKind};
use super::answer::{AgentAnswer, AnswerError};
use super::name::{AgentName, Operator};
use super::policy::AgentCall;
use super::price::AgentPrice;
use super::word::{Purpose, Verification};
use crate::id::AgentRuleId;
use crate::name::{AccountName, AppName};
use crate::parent_path::{ParentPath, lies_below};
use crate::time::Timestamp;

/// A rule on agents: whom it concerns, and what they get.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Form", into = "Form")]
pub struct AgentRule {
    /// The id.
    pub id: AgentRuleId,
    /// Whom it concerns.
    pub matches: AgentMatch,
    /// What they get.
    pub access: Access,
    /// The answer to who is sent away; `None`: the usual one.
    pub answer: Option<AgentAnswer>,
    /// Whether the agent is let in by this rule on routes that want a license, too. Without it, only
    /// a license opens those.
    pub instead_of_license: bool,
    /// The time at which it was set.
    pub set_at: Timestamp,
}

/// Whom a rule concerns: the calls for which all holds that it names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AgentMatch {
    /// The account that sells the app.
    pub account: AccountName,
    /// The app; `None`: every app of the account.
    pub app: Option<AppName>,
    /// The path that the call's path is or lies below; `None`: every path.
    pub path: Option<ParentPath>,
    /// Who operates the agent; `None`: whoever.
    pub operator: Option<Operator>,
    /// The agent; `None`: whichever.
    pub agent: Option<AgentName>,
    /// The purpose of the agent; `None`: whatever.
    pub purpose: Option<Purpose>,
    /// What is known of the agent; `None`: whatever.
    pub verification: Option<Verification>,
}

/// The place of a rule among those that concern the same call: the greatest decides.
///
/// It compares, in this order: whether an agent is named, an operator, a purpose; the segments of
/// the path; whether an app is named; whether a verification is; the time at which the rule was
/// set; the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Precedence {
    agent: bool,
    operator: bool,
    purpose: bool,
    path_segments: usize,
    app: bool,
    verification: bool,
    set_at: Timestamp,
    id: AgentRuleId,
}

/// The reason why something is no rule. Blame: who wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// It wants to be paid and does not say how much.
    #[error("`access` is `pay` without a price: write `price`, such as `USD 0.01`")]
    PriceLacking,
    /// It has a price and does not want to be paid.
    #[error("`price` stands beside `access = {0}`: leave it out, or write `pay`")]
    PriceTooMany(AccessKind),
    /// It sends away, and lets in.
    #[error("`instead_of_license` says whom a rule lets in, and `access` is `deny`: leave it out")]
    DeniedInstead,
    /// Its answer cannot be given.
    #[error(transparent)]
    Answer(#[from] AnswerError),
}

impl RuleError {
    /// Returns the field that is to blame.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        match self {
            Self::PriceLacking | Self::PriceTooMany(_) => "price",
            Self::DeniedInstead => "instead_of_license",
            Self::Answer(_) => "answer",
        }
    }
}

/// A rule as it stands in JSON.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AgentRule")]
struct Form {
    /// The id.
    id: AgentRuleId,
    /// The account that sells the app.
    account: AccountName,
    /// The app; absent: every app of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    app: Option<AppName>,
    /// The path that the call's path is or lies below; absent: every path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<ParentPath>,
    /// Who operates the agent; absent: whoever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    operator: Option<Operator>,
    /// The agent; absent: whichever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    agent: Option<AgentName>,
    /// The purpose of the agent; absent: whatever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    purpose: Option<Purpose>,
    /// What is known of the agent; absent: whatever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verification: Option<Verification>,
    /// What it gets.
    access: AccessKind,
    /// The price of one call, with `pay` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    price: Option<AgentPrice>,
    /// The answer to who is sent away; absent: the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answer: Option<AgentAnswer>,
    /// Whether it is let in on routes that want a license, too.
    #[serde(default)]
    instead_of_license: bool,
    /// The time at which the rule was set.
    set_at: Timestamp,
}

// === impl AgentRule ===

impl AgentRule {
    /// Returns the access of a kind, with the price that stands beside it.
    ///
    /// # Errors
    /// A price is lacking, or there is one too many.
    pub fn access(kind: AccessKind, price: Option<AgentPrice>) -> Result<Access, RuleError> {
        Access::of(kind, price).ok_or(match price {
            None => RuleError::PriceLacking,
            Some(_) => RuleError::PriceTooMany(kind),
        })
    }

    /// Checks what a rule says as a whole.
    ///
    /// # Errors
    /// The first thing that cannot be meant.
    pub fn check(&self) -> Result<(), RuleError> {
        if self.instead_of_license && self.access == Access::Deny {
            return Err(RuleError::DeniedInstead);
        }
        self.answer.as_ref().map_or(Ok(()), AgentAnswer::check)?;
        Ok(())
    }

    /// Returns its place among the rules that concern the same call.
    #[must_use]
    pub fn precedence(&self) -> Precedence {
        let whom = &self.matches;
        Precedence {
            agent: whom.agent.is_some(),
            operator: whom.operator.is_some(),
            purpose: whom.purpose.is_some(),
            path_segments: whom.path.as_ref().map_or(0, |path| path.segments().count()),
            app: whom.app.is_some(),
            verification: whom.verification.is_some(),
            set_at: self.set_at,
            id: self.id,
        }
    }
}

// === impl AgentMatch ===

impl AgentMatch {
    /// Returns the match of every agent in every app of an account.
    #[must_use]
    pub fn everything(account: AccountName) -> Self {
        Self {
            account,
            app: None,
            path: None,
            operator: None,
            agent: None,
            purpose: None,
            verification: None,
        }
    }

    /// Returns the match in the one form of all that concern the same calls, by which two are
    /// compared: a path has no slash at its end, and the root is none.
    #[must_use]
    pub fn in_normal_form(mut self) -> Self {
        self.app = self.app.filter(|app| !app.is_every());
        self.path = self.path.and_then(|path| {
            let text = path.as_str().trim_end_matches('/');
            text.parse().ok().filter(|_| !text.is_empty())
        });
        self
    }

    /// Returns whether it concerns a call.
    #[must_use]
    pub fn concerns(&self, call: &AgentCall<'_>) -> bool {
        fn fits<T: PartialEq>(wanted: Option<&T>, is: Option<&T>) -> bool {
            wanted.is_none_or(|wanted| is == Some(wanted))
        }
        self.account == *call.account
            && fits(self.app.as_ref(), Some(call.app))
            && fits(self.operator.as_ref(), call.operator)
            && fits(self.agent.as_ref(), call.agent)
            && fits(self.purpose.as_ref(), call.purpose.as_ref())
            && fits(self.verification.as_ref(), Some(&call.verification))
            && self
                .path
                .as_ref()
                .is_none_or(|path| lies_below(path.as_str(), call.path))
    }
}

// === impl Form ===

impl From<AgentRule> for Form {
    fn from(rule: AgentRule) -> Self {
        let whom = rule.matches;
        Self {
            id: rule.id,
            account: whom.account,
            app: whom.app,
            path: whom.path,
            operator: whom.operator,
            agent: whom.agent,
            purpose: whom.purpose,
            verification: whom.verification,
            access: rule.access.kind(),
            price: rule.access.price(),
            answer: rule.answer,
            instead_of_license: rule.instead_of_license,
            set_at: rule.set_at,
        }
    }
}

impl TryFrom<Form> for AgentRule {
    type Error = RuleError;

    fn try_from(form: Form) -> Result<Self, RuleError> {
        let access = Self::access(form.access, form.price)?;
        let rule = Self {
            id: form.id,
            matches: AgentMatch {
                account: form.account,
                app: form.app.filter(|app| !app.is_every()),
                path: form.path,
                operator: form.operator,
                agent: form.agent,
                purpose: form.purpose,
                verification: form.verification,
            },
            access,
            answer: form.answer,
            instead_of_license: form.instead_of_license,
            set_at: form.set_at,
        };
        rule.check()?;
        Ok(rule)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn form(fields: Value) -> Value {
        let mut rule = json!({
            "id": AgentRuleId::from_u128(1), "account": "default", "access": "allow",
            "set_at": Timestamp::from_micros(0), "instead_of_license": false,
        });
        let object = rule.as_object_mut().expect("an object");
        object.extend(fields.as_object().expect("an object").clone());
        rule
    }

    #[test]
    fn a_rule_survives_its_json() {
        for fields in [
            json!({}),
            json!({ "access": "deny", "operator": "OpenAI", "agent": "GPTBot" }),
            json!({ "access": "pay", "price": "USD 0.01", "path": "/news", "instead_of_license": true }),
            json!({ "access": "token", "app": "news", "purpose": "training", "verification": "verified",
                    "answer": { "code": 402, "html": "<p>Pay</p>" } }),
        ] {
            let text = form(fields);
            let rule: AgentRule = serde_json::from_value(text.clone()).expect("valid");
            assert_eq!(serde_json::to_value(rule).expect("plain data"), text);
        }
        let all = form(json!({ "app": "*" }));
        let rule: AgentRule = serde_json::from_value(all).expect("valid");
        assert_eq!(rule.matches.app, None);
    }

    #[test]
    fn the_schema_of_a_rule_has_the_fields_of_its_json() {
        let schema = schemars::schema_for!(AgentRule);
        let properties = schema.get("properties").and_then(Value::as_object);
        let properties = properties.expect("an object");
        for field in [
            "account",
            "path",
            "agent",
            "access",
            "price",
            "instead_of_license",
        ] {
            assert!(properties.contains_key(field), "{field} in {schema:?}");
        }
    }

    #[test]
    fn a_rule_that_cannot_be_meant_is_refused_by_its_field() {
        for (fields, word) in [
            (json!({ "access": "pay" }), "`access` is `pay` without"),
            (json!({ "price": "USD 1" }), "`price` stands beside"),
            (
                json!({ "access": "pay", "price": "USD -1" }),
                "a price of -1",
            ),
            (json!({ "access": "maybe" }), "unknown variant `maybe`"),
            (
                json!({ "access": "deny", "instead_of_license": true }),
                "`instead_of_license`",
            ),
            (json!({ "answer": { "code": 99 } }), "`answer.code`"),
            (json!({ "answer": [402] }), "an object with `code`"),
            (json!({ "path": "news" }), "`news` is not a path"),
            (json!({ "agents": "GPTBot" }), "unknown field `agents`"),
        ] {
            let error = serde_json::from_value::<AgentRule>(form(fields)).expect_err(word);
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}
