//! The records of earlier starts that the store lacks: what a start refuses, and what it waits for.

use std::time::Duration;

use ledger::{Backlog, Ledger};

use crate::start_error::StartError;

/// The time for which a start waits for the records of earlier starts, so that every quota is
/// exact. After it the gate serves while they are read.
pub(super) const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(2);

/// Waits until the records that a restored store lacks are in it again, however long that takes:
/// the store knows nothing of leases that were taken after the backup, and would hand out the same
/// units twice.
pub(super) async fn recompute(ledger: &Ledger) -> Result<(), StartError> {
    tracing::warn!(
        "the store is older than what it acknowledged, as one that was restored from a backup: nothing is leased until the journals \
         of this gate are in its books again"
    );
    while !ledger.caught_up(CATCH_UP_TIMEOUT).await? {
        let behind = ledger.counts().behind;
        tracing::warn!(
            behind,
            "records are still to be brought into the restored store"
        );
        // A store that fails answers at once.
        tokio::time::sleep(CATCH_UP_TIMEOUT / 4).await;
    }
    Ok(())
}

/// Refuses a journal of a newer version. A damaged one was reported and stays.
pub(super) fn judge(mut backlog: Backlog) -> Result<Backlog, StartError> {
    let mut failed = backlog.take_failed();
    match failed.iter().position(|(_, error)| error.is_newer()) {
        None => Ok(backlog),
        Some(at) => {
            let (path, error) = failed.swap_remove(at);
            Err(StartError::Newer {
                path: path.display().to_string(),
                error: Box::new(error),
            })
        }
    }
}
