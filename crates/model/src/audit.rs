//! The entries of the audit log: who did what. No entry holds a secret.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::address::Address;
use crate::forms::text_form;
use crate::id::{AuditId, LicenseId, ManagementKeyId, ParseIdError};
use crate::name::AccountName;
use crate::time::Timestamp;

/// The originator of an action, and the address that they act from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Actor {
    /// The originator.
    pub who: Who,
    /// The address; `None` on the gate's own host.
    pub address: Option<Address>,
}

/// The originator of an action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Who {
    /// A person or program that may open the gate's Unix socket.
    Operator,
    /// The holder of a management key, or of a token that was made with it.
    Key(ManagementKeyId),
    /// The holder of a license.
    License(LicenseId),
    /// The gate itself.
    Gate,
    /// Somebody who could not prove who they are.
    #[default]
    Unknown,
}

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// The entry's id.
    pub id: AuditId,
    /// The time of the action.
    pub at: Timestamp,
    /// The account that the subject belongs to; `None` if there is none, or it is not known.
    #[serde(default)]
    pub account: Option<AccountName>,
    /// The originator of the action.
    pub who: Who,
    /// The address that the originator acted from; `None` on the gate's own host.
    #[serde(default)]
    pub address: Option<Address>,
    /// The action, such as `license.create`: at most [`AuditEntry::MAX_WORD_BYTES`] bytes.
    pub action: String,
    /// The id or name of the thing acted on: at most [`AuditEntry::MAX_WORD_BYTES`] bytes.
    pub subject: String,
    /// The state before, as far as it changed; `None`: nothing.
    #[serde(default)]
    pub before: Option<Value>,
    /// The state after, as far as it changed; `None`: nothing.
    #[serde(default)]
    pub after: Option<Value>,
    /// The number of actions that the entry stands for: more than 1 where repetitions were folded.
    pub count: u32,
}

impl Actor {
    /// The operator on the gate's own host.
    pub const OPERATOR: Self = Self {
        who: Who::Operator,
        address: None,
    };

    /// The gate itself.
    pub const GATE: Self = Self {
        who: Who::Gate,
        address: None,
    };

    /// Returns somebody at an address who could not prove who they are.
    #[must_use]
    pub const fn unknown(address: Option<Address>) -> Self {
        Self {
            who: Who::Unknown,
            address,
        }
    }
}

impl AuditEntry {
    /// The highest number of bytes in an action and in a subject; longer ones are cut.
    pub const MAX_WORD_BYTES: usize = 200;
    /// The highest number of bytes that a state before or after has as JSON. A larger state is
    /// replaced by a text that says so.
    pub const MAX_STATE_BYTES: usize = 16 * 1_024;

    /// Returns an entry for something that an actor just did.
    #[must_use]
    pub fn new(actor: &Actor, at: Timestamp, action: &str, subject: impl fmt::Display) -> Self {
        Self {
            id: AuditId::generate(),
            at,
            account: None,
            who: actor.who,
            address: actor.address,
            action: cut(action.to_owned()),
            subject: cut(subject.to_string()),
            before: None,
            after: None,
            count: 1,
        }
    }

    /// Sets the account of the entry.
    #[must_use]
    pub fn of(mut self, account: &AccountName) -> Self {
        self.account = Some(account.clone());
        self
    }

    /// Sets the states before and after, of which it keeps the fields that differ.
    ///
    /// The states must hold no secret. States that are not objects are kept whole.
    #[must_use]
    pub fn between<B: Serialize, A: Serialize>(
        mut self,
        before: Option<&B>,
        after: Option<&A>,
    ) -> Self {
        let state = |value: Result<Value, _>| value.unwrap_or(Value::Null);
        let mut before = before.map(|before| state(serde_json::to_value(before)));
        let mut after = after.map(|after| state(serde_json::to_value(after)));
        if let (Some(Value::Object(old)), Some(Value::Object(new))) = (&mut before, &mut after) {
            let same: Vec<String> = old
                .iter()
                .filter(|(field, value)| new.get(*field) == Some(*value))
                .map(|(field, _)| field.clone())
                .collect();
            for field in same {
                old.remove(&field);
                new.remove(&field);
            }
        }
        self.before = before.map(bounded);
        self.after = after.map(bounded);
        self
    }
}

fn bounded(state: Value) -> Value {
    let length = state.to_string().len();
    if length <= AuditEntry::MAX_STATE_BYTES {
        state
    } else {
        Value::String(format!("left out: {length} bytes"))
    }
}

fn cut(mut text: String) -> String {
    let mut end = AuditEntry::MAX_WORD_BYTES.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator => f.pad("operator"),
            Self::Key(id) => fmt::Display::fmt(id, f),
            Self::License(id) => fmt::Display::fmt(id, f),
            Self::Gate => f.pad("gate"),
            Self::Unknown => f.pad("unknown"),
        }
    }
}

impl FromStr for Who {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        match text {
            "operator" => Ok(Self::Operator),
            "gate" => Ok(Self::Gate),
            "unknown" => Ok(Self::Unknown),
            id if id.starts_with(LicenseId::PREFIX) => id.parse().map(Self::License),
            id => id.parse().map(Self::Key),
        }
    }
}

text_form! { Who }

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry() -> AuditEntry {
        AuditEntry::new(
            &Actor::OPERATOR,
            Timestamp::default(),
            "license.change",
            "x",
        )
    }

    #[test]
    fn an_entry_keeps_what_changed_and_nothing_else() {
        let before = json!({"plan": "pro", "label": null, "gone": 1});
        let after = json!({"plan": "max", "label": null, "new": 2});
        let entry = entry().between(Some(&before), Some(&after));
        assert_eq!(entry.before, Some(json!({"plan": "pro", "gone": 1})));
        assert_eq!(entry.after, Some(json!({"plan": "max", "new": 2})));
    }

    #[test]
    fn what_is_too_long_is_cut_or_left_out() {
        let huge = json!({"x": "y".repeat(AuditEntry::MAX_STATE_BYTES)});
        let entry = entry().between(None::<&Value>, Some(&huge));
        assert!(entry.after.expect("said").to_string().len() < 100);
        let long = AuditEntry::new(&Actor::GATE, Timestamp::default(), "a", "ä".repeat(200));
        assert_eq!(long.subject.len(), AuditEntry::MAX_WORD_BYTES);
    }

    #[test]
    fn who_survives_the_text_form() {
        for who in [
            Who::Operator,
            Who::Key(ManagementKeyId::from_u128(7)),
            Who::License(LicenseId::from_u128(7)),
            Who::Gate,
            Who::Unknown,
        ] {
            assert_eq!(who.to_string().parse(), Ok(who));
        }
        assert!("nobody".parse::<Who>().is_err());
    }
}
