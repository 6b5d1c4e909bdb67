//! Active health checks: probes of the addresses of upstreams at a steady interval, where the
//! configuration asks for them.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::upstreams::peer::HttpPeer;

/// The health check of an app's upstreams.
#[derive(Clone, Debug)]
pub struct HealthCheck {
    /// The path and query of the request.
    pub path: String,
    /// The time between two checks.
    pub interval: Duration,
    /// The longest time of one check.
    pub timeout: Duration,
    /// The number of good answers (2xx or 3xx) in a row that bring an address back.
    pub healthy_after: u32,
    /// The number of bad answers in a row that take an address out of service.
    pub unhealthy_after: u32,
}

/// The findings of probes about one address: its health, and the number of like results in a row.
#[derive(Debug)]
pub(super) struct Health {
    pub(super) healthy: AtomicBool,
    good: AtomicU32,
    bad: AtomicU32,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            healthy: AtomicBool::new(true),
            good: AtomicU32::new(0),
            bad: AtomicU32::new(0),
        }
    }
}

impl Health {
    /// Counts a probe. Returns the new health if it changed.
    pub(super) fn note(&self, good: bool, check: &HealthCheck) -> Option<bool> {
        let (row, other) = match good {
            true => (&self.good, &self.bad),
            false => (&self.bad, &self.good),
        };
        other.store(0, Ordering::Relaxed);
        let count = row.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let enough = match good {
            true => check.healthy_after,
            false => check.unhealthy_after,
        };
        let changes = count >= enough && self.healthy.swap(good, Ordering::Relaxed) != good;
        changes.then_some(good)
    }
}

/// Probes one address of an upstream. Returns whether the answer is good: 2xx or 3xx.
///
/// # Errors
/// The failure of the connection or of the exchange.
pub(super) async fn probe(
    connector: &Connector,
    peer: &HttpPeer,
    host: &str,
    check: &HealthCheck,
) -> pingora::Result<bool> {
    let mut request = RequestHeader::build("GET", check.path.as_bytes(), Some(2))?;
    request.insert_header("host", host)?;
    request.insert_header("user-agent", "tallygate")?;
    let mut peer = peer.clone();
    // The probe has a connection of its own: those of calls belong to the threads of their callers.
    peer.options.custom_l4 = None;
    let (mut session, _) = connector.get_http_session(&peer).await?;
    session.set_read_timeout(Some(check.timeout));
    session.write_request_header(Box::new(request)).await?;
    session.finish_request_body().await?;
    session.read_response_header().await?;
    let good = session
        .response_header()
        .is_some_and(|head| head.status.is_success() || head.status.is_redirection());
    session.shutdown().await;
    Ok(good)
}
