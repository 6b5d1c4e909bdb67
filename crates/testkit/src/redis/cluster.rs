//! A Redis Cluster of three masters.

use std::process::{Command, Stdio};

use super::Redis;
use crate::eventually::{test_timeout, wait_for};
use crate::port::Port;

/// Three masters that share the slots.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
    // The ports on which the nodes talk with each other.
    _buses: Vec<Port>,
}

impl RedisCluster {
    /// Starts the nodes, makes a Cluster of them and waits until each of them reports it in order.
    ///
    /// # Panics
    /// When that does not happen in time.
    #[must_use]
    pub fn start() -> Self {
        let buses: Vec<Port> = (0..3).map(|_| Port::take()).collect();
        let node = |bus: &Port| {
            let port = format!("--cluster-port {}", bus.number());
            let settings = [
                "--cluster-enabled yes",
                "--cluster-node-timeout 2000",
                &port,
            ];
            Redis::start_with(&settings)
        };
        let nodes: Vec<Redis> = buses.iter().map(node).collect();
        let made = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(nodes.iter().map(|node| node.addr().to_string()))
            .args(["--cluster-yes"])
            .stdin(Stdio::null())
            .output()
            .expect("redis-cli is installed");
        assert!(
            made.status.success(),
            "no cluster: {}",
            String::from_utf8_lossy(&made.stdout)
        );
        let well = |node: &Redis| {
            let info = node.command(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        };
        let ready = wait_for(test_timeout(), || nodes.iter().all(well).then_some(()));
        assert!(ready.is_some(), "the cluster does not come together");
        Self {
            nodes,
            _buses: buses,
        }
    }

    /// Returns the URLs of all nodes.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Redis::url).collect()
    }

    /// Returns the nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }
}
