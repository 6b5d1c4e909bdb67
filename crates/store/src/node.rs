//! The name of a node, which one gate at a time may run under.

use std::any::Any;
use std::fmt;

use async_trait::async_trait;

use crate::error::Error;

/// The right to run under a name; it ends when it is dropped, and with the process.
#[must_use = "the name is free again as soon as this is dropped"]
pub struct NodeClaim(
    #[expect(dead_code, reason = "it is kept to be dropped")] Box<dyn Any + Send + Sync>,
);

impl NodeClaim {
    /// Makes a claim that ends when the store's part of it, `held`, is dropped.
    pub(crate) fn new(held: impl Any + Send + Sync) -> Self {
        Self(Box::new(held))
    }
}

impl fmt::Debug for NodeClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeClaim").finish_non_exhaustive()
    }
}

/// The store of the names of nodes.
#[async_trait]
pub trait NodeStore: Send + Sync + 'static {
    /// Claims a name for this process. It waits a few seconds for a claim that is about to end, as
    /// that of a process that died.
    ///
    /// # Errors
    /// [`Error::NodeTaken`] if another gate of this store runs under it.
    async fn claim_node(&self, node: &str) -> Result<NodeClaim, Error>;

    /// Returns those of these names that are claimed at this moment, in no order. A gate that was
    /// cut off from the store claims its name again when it is back, which may take a moment.
    async fn claimed_nodes(&self, nodes: Vec<String>) -> Result<Vec<String>, Error>;
}
