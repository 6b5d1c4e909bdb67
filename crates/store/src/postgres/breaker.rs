//! The circuit breaker: while the server is known to be dead or hanging, no call waits for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::error::Error;

/// The longest pause between two looks at a server that does not answer.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// A circuit breaker. Closed: work passes. Open: work fails at once, and a task looks for the
/// server in the background.
pub(super) struct Breaker {
    /// The reason why it is open; `None`: it is closed.
    reason: watch::Sender<Option<Arc<str>>>,
}

impl Breaker {
    pub(super) fn new() -> Self {
        Self {
            reason: watch::Sender::new(None),
        }
    }

    /// Lets work pass.
    ///
    /// # Errors
    /// [`Error::Unavailable`] while it is open.
    pub(super) fn pass(&self) -> Result<(), Error> {
        match &*self.reason.borrow() {
            None => Ok(()),
            Some(reason) => Err(unavailable(reason)),
        }
    }

    /// Waits until it opens. Returns the error that it opened for.
    pub(super) async fn opened(&self) -> Error {
        let mut reason = self.reason.subscribe();
        let opened = reason.wait_for(Option::is_some).await;
        // An error means that the sender is gone, and it lives as long as this breaker.
        let why = opened.ok().and_then(|reason| reason.clone());
        unavailable(why.as_deref().unwrap_or_default())
    }

    /// Opens it. Returns whether it was closed, so that one caller starts the task that looks for
    /// the server.
    pub(super) fn open(&self, why: &str) -> bool {
        self.reason.send_if_modified(|reason| {
            let closed = reason.is_none();
            *reason = Some(why.into());
            closed
        })
    }

    /// Closes it: work passes again.
    pub(super) fn close(&self) {
        self.reason.send_replace(None);
    }
}

fn unavailable(reason: &str) -> Error {
    Error::Unavailable(reason.to_owned())
}

/// The pauses between looks: none before the first, then longer and longer ones, each a little
/// different, so that many gates do not come back at once.
pub(super) struct Pauses {
    next: Duration,
}

impl Pauses {
    pub(super) const fn new() -> Self {
        Self {
            next: Duration::ZERO,
        }
    }

    pub(super) async fn pause(&mut self) {
        if !self.next.is_zero() {
            tokio::time::sleep(self.next.mul_f64(0.75 + 0.5 * chance())).await;
        }
        self.next = (self.next * 2).clamp(Duration::from_millis(50), MAX_PAUSE);
    }
}

/// Returns a number from 0 to 1 that differs between processes and moments; nothing depends on it
/// being good.
fn chance() -> f64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = now.map_or(0, |since| since.subsec_nanos()) ^ std::process::id().rotate_left(11);
    f64::from(nanos % 1_000) / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_open_breaker_fails_everybody_at_once_and_one_alone_is_told_to_look() {
        let breaker = Arc::new(Breaker::new());
        assert_eq!(breaker.pass(), Ok(()));
        let waiting = Arc::clone(&breaker);
        let waiting = tokio::spawn(async move { waiting.opened().await });
        assert!(breaker.open("it hangs"));
        assert!(!breaker.open("it still hangs"));
        let error = waiting.await.expect("no panic");
        assert!(error.is_unavailable());
        assert!(
            breaker
                .pass()
                .expect_err("open")
                .to_string()
                .contains("still hangs")
        );
        breaker.close();
        assert_eq!(breaker.pass(), Ok(()));
    }
}
