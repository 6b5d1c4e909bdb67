//! A timeout that does not count time in which this process was suspended: stopped, swapped out, or
//! on a machine that slept.
//!
//! After such a time the answer may have come long ago and be unread in a socket, while a timer
//! that looks at the clock says that it is too late: a gate would take its own pause for a failure
//! of its store.

use std::time::Duration;

use tokio::time::{self, Instant};

/// The error of a wait whose limit has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no answer in time")]
pub struct Elapsed;

/// The number of slices that a wait is divided into.
const SLICES: u32 = 8;

/// Waits for work, at most `limit` in which this process ran. A process that is suspended again and
/// again waits for twice as many slices at most.
///
/// # Errors
/// [`Elapsed`] when it is not done by then; it is dropped.
pub async fn timeout<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, Elapsed> {
    let slice = limit / SLICES;
    tokio::pin!(work);
    let (mut waited, mut forgiven) = (0, 0);
    while waited < SLICES {
        let begun = Instant::now();
        if let Ok(done) = time::timeout(slice, &mut work).await {
            return Ok(done);
        }
        // A slice that ended so late was suspended for a while: what it waits for gets its turn
        // only now.
        if begun.elapsed() > 2 * slice && forgiven < SLICES {
            forgiven += 1;
        } else {
            waited += 1;
        }
    }
    Err(Elapsed)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// An answer that is there after so long, and takes some turns of the runtime to be read.
    async fn answer(after: Duration) -> u32 {
        tokio::time::sleep(after).await;
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        7
    }

    #[tokio::test(start_paused = true)]
    async fn work_has_its_limit_and_no_more() {
        let limit = Duration::from_secs(4);
        let begun = Instant::now();
        assert_eq!(timeout(limit, answer(limit / 2)).await, Ok(7));
        assert_eq!(timeout(limit, answer(limit * 2)).await, Err(Elapsed));
        assert_eq!(begun.elapsed(), limit / 2 + limit);
    }

    /// Stops this very process for a second; somebody else lets it go on.
    fn freeze() {
        let id = std::process::id();
        let script = format!("kill -STOP {id}; sleep 1; kill -CONT {id}");
        let mut other = Command::new("sh").args(["-c", &script]).spawn().unwrap();
        assert!(other.wait().unwrap().success());
    }

    #[tokio::test]
    async fn a_process_that_stood_still_reads_the_answer_that_came_meanwhile() {
        let limit = Duration::from_millis(400);
        let pause = || {
            tokio::task::spawn_blocking(move || {
                std::thread::sleep(limit / 4);
                freeze();
            })
        };
        let paused = pause();
        let by_the_clock = time::timeout(limit, answer(limit / 2)).await;
        paused.await.unwrap();
        assert!(by_the_clock.is_err(), "this is what it is for");
        let paused = pause();
        assert_eq!(timeout(limit, answer(limit / 2)).await, Ok(7));
        paused.await.unwrap();
    }
}
