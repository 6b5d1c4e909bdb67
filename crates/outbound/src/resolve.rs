//! Names of hosts to their addresses.

use std::io;
use std::net::{IpAddr, SocketAddr};

use async_trait::async_trait;

/// A source of the addresses of hosts.
#[async_trait]
pub trait Resolve: Send + Sync + 'static {
    /// Returns the addresses of a host, the best first. The caller bounds the time.
    ///
    /// # Errors
    /// The name cannot be looked up.
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The resolver of the operating system, which knows `/etc/hosts` and the network's name servers.
/// Each look-up takes a thread of the runtime for as long as the system needs.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let found = tokio::net::lookup_host((host, 0)).await?;
        Ok(found.map(|address: SocketAddr| address.ip()).collect())
    }
}
