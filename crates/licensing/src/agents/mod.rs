//! AI agents: the policies of accounts in memory, the operations on their rules, the decision on a
//! call, and the tokens that agents show.

mod decide;
mod policies;
mod renewal;
mod rules;
mod tokens;

pub use decide::{AgentAsked, AgentDecided};
pub use policies::AgentPolicies;
pub(crate) use policies::CurrentPolicies;
pub use renewal::{AgentRefreshToken, AgentTokens};
pub use rules::AgentRuleRequest;
pub use tokens::AgentTokenFound;
