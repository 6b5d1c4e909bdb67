//! The start of the proxy: one per thread, each with its worker and its own upstream connections.

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use arc_swap::ArcSwap;
use gate::{Gate, Worker};
use pingora::apps::HttpServerOptions;
use pingora::proxy::http_proxy;
use pingora::server::configuration::ServerConf;

use crate::backend::Backends;
use crate::edge::{Edge, EdgeOptions};
use crate::metered_proxy::{MAX_ATTEMPTS, MeteredProxy};
use crate::session::CallerTimeouts;
use crate::upstream::MAX_IDLE_SOCKETS;

/// The parts that the proxy is made of.
pub struct ProxyParts {
    /// The gate.
    pub gate: Arc<Gate>,
    /// One worker per thread.
    pub workers: Vec<Arc<Worker>>,
    /// The backends. They may be replaced while calls are under way.
    pub backends: Arc<ArcSwap<Backends>>,
    /// The timeouts towards callers.
    pub timeouts: CallerTimeouts,
    /// The options of the edge.
    pub edge: EdgeOptions,
}

/// Serves calls from these listeners, and from `rpc` those that the control plane passes on, with
/// one thread per worker, until the edge is stopped. A process that can connect to `rpc` may name
/// any caller, so its socket must be the gate's alone.
///
/// # Errors
/// A listener cannot be shared, or a thread cannot be started.
pub fn serve(listeners: &[TcpListener], rpc: &UnixListener, parts: ProxyParts) -> io::Result<Edge> {
    let conf = Arc::new(ServerConf {
        max_retries: usize::from(MAX_ATTEMPTS),
        // For connections with TLS; the others are kept by `IdleSockets`.
        upstream_keepalive_pool_size: MAX_IDLE_SOCKETS,
        threads: 1,
        ..ServerConf::default()
    });
    // The calls after the first.
    let again = parts.edge.keepalive_requests.saturating_sub(1);
    let threads = parts.workers.into_iter().map(|worker| {
        let proxy = MeteredProxy {
            gate: parts.gate.clone(),
            worker: worker.clone(),
            backends: parts.backends.clone(),
            timeouts: parts.timeouts,
        };
        let mut proxy = http_proxy(&conf, proxy);
        let mut options = HttpServerOptions::default();
        options.keepalive_request_limit = Some(again);
        proxy.server_options = Some(options);
        (worker, Arc::new(proxy))
    });
    Edge::start(listeners, rpc, threads.collect(), &parts.edge)
}
