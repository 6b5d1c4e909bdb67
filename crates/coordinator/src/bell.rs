//! The bell of changes: a channel on which gates publish the number of the last change that they made, and that management
//! keys changed.

use std::sync::{Arc, Weak};
use std::time::Duration;

use licensing::fleet::Announced;
use parking_lot::Mutex;
use redis::aio::AsyncPushSender;
use redis::{FromRedisValue, PushInfo, PushKind, cmd};
use store::ChangeNumber;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::circuit::Circuit;

/// What other gates announced and this one has not heard yet.
pub(crate) struct ChangeNotifier {
    channel: String,
    pending: Mutex<Option<Announced>>,
    rung: Notify,
    heard_at: Mutex<Option<Instant>>,
}

/// What this gate has to tell.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct News {
    /// The number of its last change.
    pub(crate) number: u64,
    /// How often management keys or accounts changed.
    pub(crate) keys: u64,
}

/// What is published when management keys or accounts changed, in the place of a number.
const KEYS: &str = "keys";

/// Listens on one connection.
pub(crate) struct Subscriber {
    pub(crate) bell: Arc<ChangeNotifier>,
    pub(crate) circuit: Weak<Circuit>,
    pub(crate) number: u64,
}

impl ChangeNotifier {
    /// Whoever can publish can ring, but not more often than this makes a gate read the changes.
    const MIN_INTERVAL: Duration = Duration::from_millis(5);

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

    /// Rings for changes up to a number; `None`: something may have been missed.
    pub(crate) fn ring(&self, number: Option<ChangeNumber>) {
        let keys = false;
        self.add(Announced { number, keys });
    }

    /// Rings for management keys.
    pub(crate) fn ring_for_keys(&self) {
        self.add(Announced {
            number: Some(ChangeNumber(0)),
            keys: true,
        });
    }

    fn add(&self, heard: Announced) {
        let mut pending = self.pending.lock();
        *pending = Some(match *pending {
            Some(before) => Announced {
                number: before.number.zip(heard.number).map(|(a, b)| a.max(b)),
                keys: before.keys || heard.keys,
            },
            None => heard,
        });
        drop(pending);
        self.rung.notify_one();
    }

    /// Waits for the bell.
    pub(crate) async fn next(&self) -> Announced {
        let heard_at = *self.heard_at.lock();
        if let Some(heard_at) = heard_at {
            tokio::time::sleep_until(heard_at + Self::MIN_INTERVAL).await;
        }
        loop {
            let pending = self.pending.lock().take();
            if let Some(heard) = pending {
                *self.heard_at.lock() = Some(Instant::now());
                return heard;
            }
            self.rung.notified().await;
        }
    }

    /// Publishes what is new for ever. What comes while something is on its way goes with the next.
    pub(crate) async fn publish(&self, circuit: &Circuit, mut news: watch::Receiver<News>) {
        let mut told = News::default();
        while news.changed().await.is_ok() {
            let new = *news.borrow_and_update();
            // Away: the other gates read the changes by themselves, and again when they are connected.
            if new.keys != told.keys {
                let _ = circuit.query::<i64>(&self.message(KEYS)).await;
            }
            if new.number != told.number {
                let _ = circuit.query::<i64>(&self.message(new.number)).await;
            }
            told = new;
        }
    }

    fn message(&self, text: impl redis::ToSingleRedisArg) -> redis::Cmd {
        let mut publish = cmd("PUBLISH");
        publish.arg(&self.channel).arg(text);
        publish
    }
}

impl AsyncPushSender for Subscriber {
    fn send(&self, push: PushInfo) -> Result<(), redis::aio::SendError> {
        match push.kind {
            PushKind::Message => {
                let mut parts = push.data.into_iter();
                let channel = parts.next().map(String::from_redis_value);
                let text = parts.next().map(String::from_redis_value);
                if let (Some(Ok(channel)), Some(Ok(text))) = (channel, text)
                    && channel == self.bell.channel
                {
                    if text == KEYS {
                        self.bell.ring_for_keys();
                    } else if let Ok(number) = text.parse() {
                        self.bell.ring(Some(ChangeNumber(number)));
                    }
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
        let bell = ChangeNotifier::new("x");
        bell.ring(Some(ChangeNumber(3)));
        bell.ring(Some(ChangeNumber(7)));
        bell.ring(Some(ChangeNumber(5)));
        let heard = |number: Option<u64>, keys| Announced {
            number: number.map(ChangeNumber),
            keys,
        };
        assert_eq!(bell.next().await, heard(Some(7), false));
        bell.ring(None);
        bell.ring(Some(ChangeNumber(9)));
        assert_eq!(bell.next().await, heard(None, false));
        bell.ring_for_keys();
        bell.ring(Some(ChangeNumber(9)));
        assert_eq!(bell.next().await, heard(Some(9), true));
        bell.ring_for_keys();
        assert_eq!(
            bell.next().await,
            heard(Some(0), true),
            "nobody changed a license"
        );
    }
}
