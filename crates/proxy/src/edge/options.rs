//! The options of the edge.

use std::time::Duration;

use ipnet::IpNet;

/// The options of the edge.
#[derive(Clone, Debug)]
pub struct EdgeOptions {
    /// The number of connections that may be open at once, over all threads. For further ones the
    /// oldest idle ones are closed; if there are none, the new ones are.
    pub max_connections: usize,
    /// The number of connections of one address that may be open at once.
    pub max_connections_per_address: usize,
    /// The networks to which `max_connections_per_address` does not apply.
    pub unbounded: Vec<IpNet>,
    /// The longest time that a request head may take from its first byte.
    pub head_timeout: Duration,
    /// The longest time for which a connection is kept on which nothing is under way.
    pub keepalive_timeout: Duration,
    /// The number of calls that one connection carries at most.
    pub keepalive_requests: u32,
    /// The least bytes a second of a request body; 0: any rate.
    pub min_body_rate: u64,
    /// The longest time that a caller may take to receive the rest of an answer when its connection
    /// ends.
    pub write_timeout: Duration,
    /// The longest time for which calls under way go on after the stop signal.
    pub drain: Duration,
}
