//! The store of the upstreams that gates find down: one event for a fleet when the first gate finds
//! one down, and one when the last of them finds it up again.
//!
//! As SQL, for whoever writes another store:
//!
//! ```sql
//! CREATE TABLE upstreams_down (app, upstream, node, account, since, PRIMARY KEY (app, upstream, node));
//! -- Whoever adds the first row of an upstream, or removes its last, writes the event in the same transaction.
//! ```

use async_trait::async_trait;
use model::{AccountName, AppName, Timestamp};

use crate::error::Error;

/// The finding of a node that an upstream is down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DownUpstream {
    /// The node, by its name.
    pub node: String,
    /// The account that sells the app.
    pub account: AccountName,
    /// The app.
    pub app: AppName,
    /// The upstream, by the name of the configuration file.
    pub upstream: String,
    /// The time since which nothing of it answered this node.
    pub since: Timestamp,
}

/// The store of upstreams that are down.
#[async_trait]
pub trait UpstreamStore: Send + Sync + 'static {
    /// Keeps the finding of a node. If it is the first about this upstream, it is told
    /// (`upstream.down`) where the account has a webhook. A second time does nothing.
    async fn upstream_is_down(&self, found: DownUpstream, now: Timestamp) -> Result<(), Error>;

    /// Forgets the finding of a node. If it was the last about this upstream, it is told
    /// (`upstream.up`) where the account has a webhook. Where there is none it does nothing.
    async fn upstream_is_up(&self, found: DownUpstream, now: Timestamp) -> Result<(), Error>;

    /// Returns the findings of all nodes, at most 10,000.
    async fn down_upstreams(&self) -> Result<Vec<DownUpstream>, Error>;
}
