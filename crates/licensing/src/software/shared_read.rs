//! Reads of the store for what is not known here, each shared by all who wait for one.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::error::Error;

/// A read of the store that is made for whoever presents what is not known here: another gate may
/// have made it a moment ago. However many present something unknown, the reads have a pause
/// between them; everybody is answered by one that began after they came.
#[derive(Default)]
pub(crate) struct SharedRead {
    /// When the last read began; held while one is under way.
    began: Mutex<Option<Instant>>,
}

impl SharedRead {
    /// The shortest time between the beginnings of two reads.
    const PAUSE: Duration = Duration::from_millis(200);

    /// Waits until a read has been made that began after `came`; makes it, unless another does.
    ///
    /// # Errors
    /// The error of the read. The next who waits makes one at once.
    pub(crate) async fn since<T>(
        &self,
        came: Instant,
        read: impl Future<Output = Result<T, Error>>,
    ) -> Result<(), Error> {
        let mut began = self.began.lock().await;
        if began.is_some_and(|began| began >= came) {
            return Ok(());
        }
        if let Some(last) = *began {
            sleep_until(last + Self::PAUSE).await;
        }
        let now = Instant::now();
        read.await?;
        *began = Some(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_who_came_before_a_read_began_share_it_and_who_came_later_waits_for_the_next() {
        let (shared, reads) = (Arc::new(SharedRead::default()), Arc::new(AtomicU32::new(0)));
        let began = Instant::now();
        let ask = |came| {
            let (shared, reads) = (shared.clone(), reads.clone());
            tokio::spawn(async move {
                let read = async {
                    sleep_until(Instant::now() + Duration::from_millis(10)).await;
                    reads.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                };
                shared.since(came, read).await.expect("the read succeeds");
                reads.load(Ordering::Relaxed)
            })
        };
        let first: Vec<_> = (0..50).map(|_| ask(began)).collect();
        for asked in first {
            assert_eq!(asked.await.expect("no panic"), 1);
        }
        let later = Instant::now();
        let second: Vec<_> = (0..50).map(|_| ask(later)).collect();
        for asked in second {
            assert_eq!(asked.await.expect("no panic"), 2);
        }
        assert!(began.elapsed() >= SharedRead::PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_that_fails_is_nobodys_and_the_next_is_made_at_once() {
        let shared = SharedRead::default();
        let came = Instant::now();
        let failed = shared.since(came, async { Err::<(), _>(Error::KeyringMalformed) });
        assert!(failed.await.is_err());
        assert!(shared.since(came, async { Ok(()) }).await.is_ok());
        assert_eq!(came.elapsed(), Duration::ZERO);
    }
}
