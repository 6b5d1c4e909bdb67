//! AI agents: who they are, what a site decides about them, and what they show to be let in.
//!
//! [`decide`] is the one rule for all who ask: the gate and the protocols.

mod access;
mod answer;
mod decision;
mod name;
mod policy;
mod price;
mod rule;
mod settlement;
mod terms;
mod token;
mod word;

pub use access::{Access, AccessKind};
pub use answer::{AgentAnswer, AnswerError};
pub use decision::{AgentDecision, AgentDefault, TokenShown, Verdict, decide};
pub use name::{AgentName, AgentNameError, Operator};
pub use policy::{AgentCall, AgentPolicy, TooManyRules};
pub use price::{AgentPrice, ParseAgentPriceError};
pub use rule::{AgentMatch, AgentRule, Precedence, RuleError};
pub use settlement::{ParsePaymentIdError, PaymentId, Settlement, SettlementState};
pub use terms::AgentTerms;
pub use token::{AgentIdentity, AgentTokenState, CallingAgent};
pub use word::{AgentReason, Purpose, Verification};
