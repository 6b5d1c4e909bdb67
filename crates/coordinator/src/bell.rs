//! The bell of changes: a channel on which gates publish the number of the last change that they made.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::AsyncPushSender;
use redis::{FromRedisValue, PushInfo, PushKind, cmd};
use store::ChangeNumber;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::circuit::Circuit;

/// What other gates announced and this one has not heard yet.
pub(crate) struct Bell {
    channel: String,
    pending: Mutex<Option<Ring>>,
    rung: Notify,
    heard_at: Mutex<Option<Instant>>,
}

/// The highest number announced; `None`: something may have been missed.
type Ring = Option<ChangeNumber>;

/// Listens on one connection.
pub(crate) struct Ear {
    pub(crate) bell: Arc<Bell>,
    pub(crate) circuit: Weak<Circuit>,
    pub(crate) number: u64,
}

impl Bell {
    /// Whoever can publish can ring, but not more often than this makes a gate read the changes.
    const PAUSE: Duration = Duration::from_millis(5);

    pub(crate) fn new(namespace: &str) -> Self {
        Self {
            channel: format!("tg:{namespace}:changes"),
            pending: Mutex::new(None),
            rung: Notify::new(),
            heard_at: Mutex::new(None),
        }
    }

    pub(crate) fn channel(&self) -> &str {
        &self.channel
    }

    pub(crate) fn ring(&self, number: Ring) {
        let mut pending = self.pending.lock();
        *pending = Some(match *pending {
            Some(before) => before.zip(number).map(|(a, b)| a.max(b)),
            None => number,
        });
        drop(pending);
        self.rung.notify_one();
    }

    /// Waits for the bell.
    pub(crate) async fn next(&self) -> Ring {
        let heard_at = *self.heard_at.lock();
        if let Some(heard_at) = heard_at {
            tokio::time::sleep_until(heard_at + Self::PAUSE).await;
        }
        loop {
            let pending = self.pending.lock().take();
            if let Some(ring) = pending {
                *self.heard_at.lock() = Some(Instant::now());
                return ring;
            }
            self.rung.notified().await;
        }
    }

    /// Publishes the last of the numbers for ever. What comes while one is on its way goes with the next.
    pub(crate) async fn publish(&self, circuit: &Circuit, mut numbers: watch::Receiver<u64>) {
        while numbers.changed().await.is_ok() {
            let number = *numbers.borrow_and_update();
            let mut publish = cmd("PUBLISH");
            publish.arg(&self.channel).arg(number);
            // Away: the other gates read the changes by themselves, and again when they are connected.
            let _ = circuit.query::<i64>(&publish).await;
        }
    }
}

impl AsyncPushSender for Ear {
    fn send(&self, push: PushInfo) -> Result<(), redis::aio::SendError> {
        match push.kind {
            PushKind::Message => {
                let mut parts = push.data.into_iter();
                let channel = parts.next().map(String::from_redis_value);
                let number = parts.next().map(u64::from_redis_value);
                if let (Some(Ok(channel)), Some(Ok(number))) = (channel, number)
                    && channel == self.bell.channel
                {
                    self.bell.ring(Some(ChangeNumber(number)));
                }
            }
            PushKind::Disconnection => {
                if let Some(circuit) = self.circuit.upgrade() {
                    circuit.open(self.number, &"the connection ended");
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn rings_that_come_together_are_heard_once_with_the_highest_number() {
        let bell = Bell::new("x");
        bell.ring(Some(ChangeNumber(3)));
        bell.ring(Some(ChangeNumber(7)));
        bell.ring(Some(ChangeNumber(5)));
        assert_eq!(bell.next().await, Some(ChangeNumber(7)));
        bell.ring(None);
        bell.ring(Some(ChangeNumber(9)));
        assert_eq!(bell.next().await, None);
    }
}
