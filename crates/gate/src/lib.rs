//! The gate: the way of a call from admission to its record, as types.
//!
//! Every use of a license goes through it. It knows licenses and the journal, and neither Pingora
//! nor axum. A call moves through [`Admitted`], [`Forwarding`] and [`Committed`]; each of them
//! leaves the record that is true at that point when it is dropped.
//!
//! ```text
//! route ─ admit ─▶ Admitted ─ mark ─▶ Forwarding ─ commit ─▶ Committed ─ close
//!            │         │ drop: nothing      │ drop: gateway_failed  │ drop: gateway_failed
//!            ▼ Refused
//! ```
//!
//! Uses that are not forwarded (a verification, a token, a stamp) are spent by [`Gate::spend`],
//! with the same check, limits and record.
//!
//! ```
//! # use std::sync::Arc;
//! # use gate::{CallRequest, Closing, Gate, Presented, Refused, Worker};
//! # use model::{Ending, Refusal};
//! // Dropped at any of its steps, the call leaves the record that is true there.
//! async fn call(gate: &Gate, worker: &Arc<Worker>, key: &[u8]) -> Result<(), Refused> {
//!     let routed = gate.route(worker, "api.test", "GET", b"/v1/today")?;
//!     let call_id = routed.call_id;
//!     let request = CallRequest {
//!         path: b"/v1/today",
//!         address: None,
//!         presented: Presented::Credential(key),
//!         idempotency: 0,
//!         head: None,
//!     };
//!     let admitted = gate.admit(worker, routed, request).await?;
//!     let mut forwarding = admitted.mark().map_err(|refusal| Refused::new(refusal, call_id))?;
//!     forwarding.sending();
//!     // Forward the request. Its answer has status 200.
//!     let (committed, durable) = forwarding.commit(200, true);
//!     if durable.await.is_err() {
//!         return Err(Refused::new(Refusal::JournalUnavailable, call_id));
//!     }
//!     // Now the caller may see the status. Pass the answer on.
//!     let ending = Ending { error: None, response_complete: true, forwarded_status: true };
//!     committed.close(&Closing {
//!         ending,
//!         attempts: 1,
//!         request_bytes: 0,
//!         response_bytes: 5,
//!         upstream_us: 120,
//!         at: worker.now(),
//!     });
//!     Ok(())
//! }
//! ```
//!
//! `examples/without_a_proxy.rs` does the same with everything that a gate needs around it: a
//! journal, a store, a license.
//!
//! | module | idea |
//! |---|---|
//! | `rules`, `app`, `apps` | the configuration's rules, the apps and routes made of them, their tables |
//! | `catalogue` | apps and plans with the numbers that records name them by |
//! | `gate`, `routed`, `rpc`, `refused` | the route of a call, refusals |
//! | `look_up`, `admit`, `reserve` | license, limits and room in the journal |
//! | `agents` | AI agents, before the license and in its place |
//! | `call`, `answer_units`, `unreadable`, `settle` | the steps of an admitted call, and its cost |
//! | `spend`, `held`, `note`, `token`, `spender` | uses that are not forwarded |
//! | `worker`, `time` | the part of the gate that each thread has for itself |
//! | `observer` | what happens to licenses, counted in metrics |

#![forbid(unsafe_code)]

mod admit;
mod agents;
mod answer_units;
mod app;
mod apps;
mod call;
mod catalogue;
mod gate;
mod held;
mod look_up;
mod note;
mod observer;
mod payer;
mod refused;
mod reserve;
mod routed;
pub mod rpc;
mod rules;
mod settle;
mod spend;
mod spender;
mod time;
mod token;
mod unreadable;
mod worker;

pub use self::agents::{
    AgentRefusal, AgentRules, Agents, CHARGED, Policies, RequestHead, is_agent_token,
};
pub use admit::{CallRequest, Presented};
pub use app::{App, Route};
pub use apps::{Apps, BuildError};
pub use call::{Admitted, Committed, CutCheck, Forwarding, HeadCommit};
pub use gate::Gate;
pub use held::Held;
pub use note::Note;
pub use observer::LicenseMetrics;
pub use refused::Refused;
pub use routed::Routed;
pub use rules::{AppRules, RouteRules};
pub use settle::{Closing, Failure};
pub use spend::{AtLimit, Holder, Payer, Spend, Spent};
pub use spender::Spender;
pub use time::Moment;
pub use token::{ConsumeToken, ConsumedToken, IssueToken};
pub use unreadable::UnitsUnreadable;
pub use worker::{Worker, WorkerParts};

#[doc(no_inline)]
pub use licensing::{EffectiveLimits, IssuedToken, RateView};
pub use telemetry::UpstreamFailure;
