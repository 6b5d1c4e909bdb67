//! The present: what was closed when a question was asked, and waiting until it may be read.

use std::time::Duration;

use journal::Unavailable;

use crate::error::Error;
use crate::ledger::Shared;

impl Shared {
    /// Waits until what was closed before may be read: readers of a journal see what no power cut can take back.
    ///
    /// # Errors
    /// [`Error::Behind`] when the disk refuses, or is not so far within [`LedgerOptions::timeout`](crate::LedgerOptions::patience).
    pub(crate) async fn visible(&self) -> Result<(), Error> {
        self.visible_within(self.options.visibility_timeout).await
    }

    /// [`Shared::visible`] with another patience, for a thread that may wait.
    pub(crate) fn wait_until_visible(&self, timeout: Duration) -> Result<(), Error> {
        self.runtime.block_on(self.visible_within(timeout))
    }

    async fn visible_within(&self, timeout: Duration) -> Result<(), Error> {
        // Of all lanes now: what is written while the first is waited for is not asked for.
        let lanes = self.lanes.iter().map(|lane| lane.lane.wait_visible());
        let commits: Vec<_> = lanes.collect();
        let all = async {
            for commit in commits {
                commit.await?;
            }
            Ok::<_, Unavailable>(())
        };
        match tokio::time::timeout(timeout, all).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Error::Behind),
        }
    }

    /// The last record of each lane that was closed.
    pub(crate) fn closed(&self) -> Vec<u64> {
        self.lanes.iter().map(|lane| lane.lane.closed()).collect()
    }

    /// How many records up to these are not rolled up.
    pub(crate) fn not_rolled(&self, closed: &[u64]) -> u64 {
        let lanes = closed.iter().zip(self.rolled());
        lanes
            .map(|(closed, rolled)| closed.saturating_sub(rolled))
            .sum()
    }
}
