//! The present: the records that were closed when a question was asked, and the wait until they may
//! be read.

use std::time::Duration;

use journal::Unavailable;

use crate::error::Error;
use crate::ledger::Shared;

impl Shared {
    /// Waits until every record that was closed before the call may be read: readers of a journal
    /// see only what no power cut can take back.
    ///
    /// # Errors
    /// Returns [`Error::Behind`] when the disk refuses, or is not so far within
    /// [`LedgerOptions::visibility_timeout`](crate::LedgerOptions::visibility_timeout).
    pub(crate) async fn visible(&self) -> Result<(), Error> {
        self.visible_within(self.options.visibility_timeout).await
    }

    /// Waits as [`Shared::visible`] does, up to another `timeout`, on a thread that may block.
    pub(crate) fn wait_until_visible(&self, timeout: Duration) -> Result<(), Error> {
        self.runtime.block_on(self.visible_within(timeout))
    }

    async fn visible_within(&self, timeout: Duration) -> Result<(), Error> {
        // The waits are begun for all lanes now: what is written while the first one lasts is not
        // waited for.
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

    /// Returns the number of the last record that was closed, by lane.
    pub(crate) fn closed(&self) -> Vec<u64> {
        self.lanes.iter().map(|lane| lane.lane.closed()).collect()
    }

    /// Returns how many records up to these numbers are not rolled up.
    pub(crate) fn not_rolled(&self, closed: &[u64]) -> u64 {
        let lanes = closed.iter().zip(self.rolled());
        lanes
            .map(|(closed, rolled)| closed.saturating_sub(rolled))
            .sum()
    }
}
