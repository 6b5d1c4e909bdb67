//! The gate: Admit → Mark → Commit → Close, as types.
//!
//! Every way of spending goes through it. It knows licenses and the journal, and neither Pingora nor axum. A call moves through
//! [`Admitted`], [`Forwarding`] and [`Committed`]; whichever of them is dropped leaves the record that is true at that point.
//!
//! ```text
//! route ─ admit ─▶ Admitted ─ mark ─▶ Forwarding ─ commit ─▶ Committed ─ close
//!            │         │ drop: nothing      │ drop: spent if sent   │ drop: gateway_failed
//!            ▼ Refused
//! ```
//!
//! What is not forwarded (a verification, a token, a stamp) is spent by [`Gate::spend`]: the same check, limits and record.

#![forbid(unsafe_code)]

mod admit;
mod app;
mod call;
mod catalogue;
mod look_up;
mod named;
mod observer;
mod refused;
pub mod rpc;
mod settle;
mod spend;
mod spender;
mod time;
mod token;
mod unreadable;
mod worker;

pub use admit::{CallRequest, Gate, Presented, Routed};
pub use app::{App, AppRules, Apps, BuildError, Route, RouteRules};
pub use call::{Admitted, Committed, CutCheck, Forwarding, HeadCommit};

pub use observer::LicenseMetrics;
pub use refused::Refused;
pub use settle::{Closing, Failure};
pub use spend::{AtLimit, Holder, Spend, Spent};
pub use spender::Spender;
pub use time::Moment;
pub use token::{ConsumeToken, ConsumedToken, IssueToken};
pub use unreadable::UnitsUnreadable;
pub use worker::{Worker, WorkerParts};

/// What a license may use, and where it stands: for the headers of an answer.
pub use licensing::{EffectiveLimits, IssuedToken, RateView};
pub use telemetry::UpstreamFailure;
