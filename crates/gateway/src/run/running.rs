//! A gate that takes calls, and its stop.

use std::fs::File;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gate::Spender;
use journal::Journal;
use ledger::Ledger;
use proxy::Edge;
use store::NodeClaim;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::demo;
use crate::observe::{Readiness, State};

/// A gate that takes calls.
pub(crate) struct Running {
    pub(super) listen: Vec<SocketAddr>,
    pub(super) control: SocketAddr,
    pub(super) metrics: SocketAddr,
    pub(super) readiness: Arc<Readiness>,
    pub(super) edge: Edge,
    pub(super) ledger: Ledger,
    pub(super) journal: Journal,
    pub(super) spender: Arc<Spender>,
    pub(super) stop: watch::Sender<bool>,
    pub(super) servers: Vec<JoinHandle<()>>,
    pub(super) background: Vec<JoinHandle<()>>,
    /// The lock of the data directory, held as long as the gate lives.
    pub(super) _lock: File,
    /// The claim of the gate's label, held as long as the gate lives.
    pub(super) _node: NodeClaim,
}

/// The records that a gate leaves when it has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// All records of this start are in the ledger.
    Nothing,
    /// Records of this start are in the journal and not in the ledger. The next start ships them.
    ForTheNextStart,
}

impl Running {
    /// Drains and stops the gate: takes no call any more, lets those in progress end, and flushes
    /// everything.
    pub(crate) async fn stop(self) -> Left {
        self.readiness.set(State::Closed);
        let edge = self.edge;
        if tokio::task::spawn_blocking(move || edge.stop())
            .await
            .is_err()
        {
            tracing::error!("stopping the proxy panicked");
        }
        // An error means that nobody listens any more.
        let _ = self.stop.send(true);
        // The control plane writes to the journal too, so its servers end before it does.
        for server in self.servers {
            let _ = tokio::time::timeout(Duration::from_secs(5), server).await;
        }
        // Refusals that wait for the next second belong into the records as well.
        self.spender.tick();
        let left = match self.ledger.shutdown().await {
            Ok(ended) if ended.clean => {
                if ended.left > 0 {
                    tracing::warn!(
                        instances = ended.left,
                        "what earlier starts left is not all in the books, the next start goes on with it"
                    );
                }
                Left::Nothing
            }
            Ok(ended) => {
                tracing::warn!(
                    pending = ended.pending,
                    "records are left in the journal, the next start ships them"
                );
                Left::ForTheNextStart
            }
            Err(error) => {
                tracing::warn!(%error, "the ledger could not be brought up to date, the next start does it");
                Left::ForTheNextStart
            }
        };
        self.journal.shutdown();
        for task in self.background {
            task.abort();
        }
        left
    }
}

impl demo::Gate for Running {
    fn listen(&self) -> SocketAddr {
        self.listen[0]
    }

    fn control(&self) -> SocketAddr {
        self.control
    }

    fn metrics(&self) -> SocketAddr {
        self.metrics
    }

    async fn stop(self) {
        // People who try the gate out start it again; what is left is found then.
        let _ = Self::stop(self).await;
    }
}
