//! The notices of changes: a channel on which gates publish the number of the last change that they
//! made, and that management keys or accounts changed.

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

/// The announcements of other gates that this gate has not taken yet, merged into one.
pub(crate) struct ChangeNotifier {
    channel: String,
    pending: Mutex<Option<Announced>>,
    changed: Notify,
    last_at: Mutex<Option<Instant>>,
}

/// The changes of this gate that are to be published. Later ones replace earlier ones.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OwnChanges {
    /// The number of the last change that this gate made.
    pub(crate) number: u64,
    /// The number of times that management keys or accounts changed.
    pub(crate) keys: u64,
}

/// The message that is published when management keys or accounts changed, in the place of a
/// number.
const KEYS: &str = "keys";

/// The receiver of pushes on one connection: messages of the channel, and the end of the
/// connection.
pub(crate) struct Subscriber {
    pub(crate) notifier: Arc<ChangeNotifier>,
    pub(crate) circuit: Weak<Circuit>,
    pub(crate) number: u64,
}

impl ChangeNotifier {
    /// The shortest time between two announcements that are handed out. Whoever can publish can
    /// make a gate read the changes, but not more often than this.
    const MIN_INTERVAL: Duration = Duration::from_millis(5);

    pub(crate) fn new(namespace: &str) -> Self {
        Self {
            channel: format!("tg:{namespace}:changes"),
            pending: Mutex::new(None),
            changed: Notify::new(),
            last_at: Mutex::new(None),
        }
    }

    pub(crate) fn channel(&self) -> &str {
        &self.channel
    }

    /// Announces changes up to a number; `None`: some announcements may have been missed.
    pub(crate) fn notify(&self, number: Option<ChangeNumber>) {
        let keys = false;
        self.add(Announced { number, keys });
    }

    /// Announces that management keys or accounts changed.
    pub(crate) fn notify_keys(&self) {
        self.add(Announced {
            number: Some(ChangeNumber(0)),
            keys: true,
        });
    }

    fn add(&self, announced: Announced) {
        let mut pending = self.pending.lock();
        *pending = Some(match *pending {
            Some(before) => Announced {
                number: before.number.zip(announced.number).map(|(a, b)| a.max(b)),
                keys: before.keys || announced.keys,
            },
            None => announced,
        });
        drop(pending);
        self.changed.notify_one();
    }

    /// Waits for the next announcement, and at least [`MIN_INTERVAL`](Self::MIN_INTERVAL) after the
    /// one before.
    pub(crate) async fn next(&self) -> Announced {
        let last_at = *self.last_at.lock();
        if let Some(last_at) = last_at {
            tokio::time::sleep_until(last_at + Self::MIN_INTERVAL).await;
        }
        loop {
            let pending = self.pending.lock().take();
            if let Some(announced) = pending {
                *self.last_at.lock() = Some(Instant::now());
                return announced;
            }
            self.changed.notified().await;
        }
    }

    /// Publishes the changes of this gate, until their sender is dropped. Changes that are made
    /// while a message is on its way go with the next one.
    pub(crate) async fn publish(
        &self,
        circuit: &Circuit,
        mut own_changes: watch::Receiver<OwnChanges>,
    ) {
        let mut published = OwnChanges::default();
        while own_changes.changed().await.is_ok() {
            let new = *own_changes.borrow_and_update();
            // If Redis is away, the other gates read the changes at their next poll, and when they
            // are connected again.
            if new.keys != published.keys {
                let _ = circuit.query::<i64>(&self.message(KEYS)).await;
            }
            if new.number != published.number {
                let _ = circuit.query::<i64>(&self.message(new.number)).await;
            }
            published = new;
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
                    && channel == self.notifier.channel
                {
                    if text == KEYS {
                        self.notifier.notify_keys();
                    } else if let Ok(number) = text.parse() {
                        self.notifier.notify(Some(ChangeNumber(number)));
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
        let notifier = ChangeNotifier::new("x");
        notifier.notify(Some(ChangeNumber(3)));
        notifier.notify(Some(ChangeNumber(7)));
        notifier.notify(Some(ChangeNumber(5)));
        let announced = |number: Option<u64>, keys| Announced {
            number: number.map(ChangeNumber),
            keys,
        };
        assert_eq!(notifier.next().await, announced(Some(7), false));
        notifier.notify(None);
        notifier.notify(Some(ChangeNumber(9)));
        assert_eq!(notifier.next().await, announced(None, false));
        notifier.notify_keys();
        notifier.notify(Some(ChangeNumber(9)));
        assert_eq!(notifier.next().await, announced(Some(9), true));
        notifier.notify_keys();
        assert_eq!(
            notifier.next().await,
            announced(Some(0), true),
            "nobody changed a license"
        );
    }
}
