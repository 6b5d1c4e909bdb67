//! Whether the addresses of upstreams are well: asked at a steady pace where the configuration says so.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;

use super::{Member, Server};

/// Addresses of one name that are probed; those beyond count as healthy.
const MAX_PROBES: usize = 256;

/// How an upstream is asked whether it is well.
#[derive(Clone, Debug)]
pub struct HealthCheck {
    /// Path and query of the request.
    pub path: String,
    /// Time between two checks.
    pub every: Duration,
    /// Longest time of one.
    pub timeout: Duration,
    /// Good answers (2xx or 3xx) in a row that bring an upstream back.
    pub healthy_after: u32,
    /// Bad ones in a row that take it out of service.
    pub unhealthy_after: u32,
}

/// What probes have found, and how many alike in a row.
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
    /// Counts a probe; the new health, if that changed it.
    fn note(&self, good: bool, check: &HealthCheck) -> Option<bool> {
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

impl Member {
    /// Probes every address of the name, all at once, again and again.
    pub(super) async fn check_for_ever(&self, check: &HealthCheck) {
        let connector = Connector::new(None);
        loop {
            let servers = self.servers.load_full();
            let probes = servers.iter().take(MAX_PROBES).map(async |server: &Server| {
                let probe = self.probe(&connector, server, check);
                let answer = tokio::time::timeout(check.timeout, probe).await;
                if let Some(healthy) = server.health.note(matches!(answer, Ok(Ok(true))), check) {
                    let (host, address) = (&self.address.host, server.address);
                    tracing::warn!(%host, %address, healthy, "the health of an upstream changed");
                }
            });
            join_all(probes).await;
            tokio::time::sleep(check.every).await;
        }
    }

    async fn probe(
        &self,
        connector: &Connector,
        server: &Server,
        check: &HealthCheck,
    ) -> pingora::Result<bool> {
        let mut request = RequestHeader::build("GET", check.path.as_bytes(), Some(2))?;
        request.insert_header("host", &self.address.host)?;
        request.insert_header("user-agent", "tallygate")?;
        let mut peer = server.peer.clone();
        // A connection of its own: those of calls belong to the threads of their callers.
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
}
