//! The options of an app's upstreams.

use std::time::Duration;

use super::health::HealthCheck;

/// The address of an upstream, as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamAddress {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// The host name or address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl std::fmt::Display for UpstreamAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

/// The way in which calls are spread over upstreams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// At random.
    Random,
    /// In turn.
    #[default]
    RoundRobin,
}

/// The upstreams of one app, with their timeouts.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// The addresses; at least one.
    pub addresses: Vec<UpstreamAddress>,
    /// The way in which calls are spread.
    pub balance: Balance,
    /// The longest time for a connection, TLS included.
    pub connect_timeout: Duration,
    /// The longest time between two reads.
    pub read_timeout: Duration,
    /// The longest time of one write.
    pub write_timeout: Duration,
    /// The longest time for which an unused connection is kept.
    pub idle_timeout: Duration,
    /// The active health checks; `None`: no probe is sent.
    pub health_check: Option<HealthCheck>,
}
