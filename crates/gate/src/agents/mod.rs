//! AI agents at the gate: who calls, what the policy of the account says of it, and the order in
//! which policy and license come.
//!
//! ```text
//! sight ─ identify ─ decide ─▶ denied by the policy             agent_denied
//!   │        │ nobody  ├─────▶ a license was presented          as anybody's
//!   ▼        ▼         ├─────▶ on open routes, or instead of a license: allow, token, pay
//! people: as without   └─────▶ else                             license_missing
//! ```

mod admit;
mod charge;
mod decided;
mod head;
mod identify;
mod refusal;
mod rules;
mod shared;
mod token;

pub(crate) use admit::sight_of;
pub use charge::CHARGED;
pub(crate) use charge::Charge;
pub use head::RequestHead;
pub use refusal::AgentRefusal;
pub use rules::AgentRules;
pub use shared::{Agents, Policies};
pub use token::is_token as is_agent_token;
