//! Metrics and logs: every metric name and label in one place, and the subscriber for logs.
//!
//! No label names a license, key, user or address: the number of series is bounded by the
//! configuration.

#![forbid(unsafe_code)]

mod agents;
mod families;
mod histogram;
mod log;
mod lookups;
mod metrics;
mod shard;
mod upstreams;
mod webhooks;

pub use agents::{AgentVerdict, AgentVerification};
pub use histogram::Histogram;
pub use log::{LogFormat, LogOptions, Mask, start_logging};
pub use lookups::{LookupResult, LookupTier};
pub use metrics::{LedgerCounts, Metrics};
pub use shard::{CallLabels, Shard};
pub use upstreams::UpstreamFailure;
pub use webhooks::WebhookCounts;
