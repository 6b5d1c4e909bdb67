//! The names of nodes. The folder's lock lets only one gate use it, so only a second claim of this
//! process is left to refuse.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::SqliteStore;
use crate::error::Error;
use crate::node::{NodeClaim, NodeStore};

/// The names that are claimed.
pub(super) type Nodes = Arc<Mutex<HashSet<String>>>;

/// A claim of a name, which is free again when this is dropped.
struct Claim(Nodes, String);

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.lock().remove(&self.1);
    }
}

#[async_trait]
impl NodeStore for SqliteStore {
    async fn claim_node(&self, node: &str) -> Result<NodeClaim, Error> {
        if !self.nodes.lock().insert(node.to_owned()) {
            return Err(Error::NodeTaken(node.to_owned()));
        }
        Ok(NodeClaim::new(Claim(
            Arc::clone(&self.nodes),
            node.to_owned(),
        )))
    }

    async fn claimed_nodes(&self, mut nodes: Vec<String>) -> Result<Vec<String>, Error> {
        let claimed = self.nodes.lock();
        nodes.retain(|node| claimed.contains(node));
        Ok(nodes)
    }
}
