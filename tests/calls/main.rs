//! One gate before one API: what a call brings about, and what disturbs it.

mod agent_libraries;
mod agent_signatures;
mod agent_tokens;
mod agents;
mod answers;
mod blame;
mod callers;
mod crowds;
mod forwarding;
mod metering;
mod outage;
mod quota;
mod refusals;
mod smuggling;
mod upstream_connections;
mod upstreams;

#[path = "../support"]
mod support {
    pub(crate) mod agents;
}
