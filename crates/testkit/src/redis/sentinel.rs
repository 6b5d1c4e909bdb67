//! A master, a replica, and a Sentinel that watches them.

use std::fs;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::Redis;
use crate::eventually::{test_timeout, wait_for};
use crate::port::Port;

/// A master and a replica with one Sentinel, whose vote alone decides a failover.
#[derive(Debug)]
pub struct RedisSentinel {
    first: Redis,
    second: Redis,
    port: Port,
    child: Child,
    _folder: TempDir,
}

impl RedisSentinel {
    /// The name by which the Sentinel knows the master.
    pub const SERVICE: &'static str = "main";

    /// Starts all three and waits until the Sentinel knows both servers.
    ///
    /// # Panics
    /// When that does not happen in time.
    #[must_use]
    pub fn start() -> Self {
        let first = Redis::start();
        let follow = format!("--replicaof 127.0.0.1 {}", first.addr().port());
        let second = Redis::start_with(&[&follow, "--repl-diskless-sync-delay 0"]);
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let port = Port::take();
        let text = format!(
            "port {}\nbind 127.0.0.1\ndir {}\n\
             sentinel monitor {name} 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds {name} 500\n\
             sentinel failover-timeout {name} 3000\n",
            port.number(),
            folder.path().display(),
            first.addr().port(),
            name = Self::SERVICE,
        );
        let file = folder.path().join("sentinel.conf");
        fs::write(&file, text).expect("a file can be written");
        let child = Command::new("redis-server")
            .arg(&file)
            .arg("--sentinel")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let started = Self {
            first,
            second,
            port,
            child,
            _folder: folder,
        };
        let linked = wait_for(test_timeout(), || {
            let replicas = started.ask(&["SENTINEL", "REPLICAS", Self::SERVICE]);
            let followed = started.second.ask(&["INFO", "replication"]);
            let ready = replicas.contains(&started.second.addr().port().to_string())
                && followed.contains("master_link_status:up");
            ready.then_some(())
        });
        assert!(linked.is_some(), "the sentinel does not find the replica");
        started
    }

    /// Returns the URL of the Sentinel.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis+sentinel://{}/{}", self.port.addr(), Self::SERVICE)
    }

    /// Returns the server that was the master at first.
    #[must_use]
    pub const fn initial_master(&self) -> &Redis {
        &self.first
    }

    /// Returns the server that was the replica at first.
    #[must_use]
    pub const fn initial_replica(&self) -> &Redis {
        &self.second
    }

    /// Returns the port of the present master, as the Sentinel knows it.
    #[must_use]
    pub fn master_port(&self) -> Option<u16> {
        let answer = self.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", Self::SERVICE]);
        answer.lines().last()?.trim().parse().ok()
    }

    /// Lets the Sentinel make the replica the master, as for maintenance, while both servers run.
    ///
    /// # Panics
    /// When the Sentinel refuses.
    pub fn fail_over(&self) {
        let answer = self.ask(&["SENTINEL", "FAILOVER", Self::SERVICE]);
        assert_eq!(answer, "OK", "a planned failover begins");
    }

    fn ask(&self, arguments: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .args(["-h", "127.0.0.1", "-p", &self.port.number().to_string()])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("redis-cli is installed");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for RedisSentinel {
    fn drop(&mut self) {
        // The Sentinel may have ended by itself.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}
