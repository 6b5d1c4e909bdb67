//! The circuit breaker of the connection to Redis. It opens as soon as a command fails, and only a
//! new connection closes it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use licensing::fleet::FleetAway;
use redis::{Cmd, FromRedisValue, RedisError, RedisResult, ScriptInvocation};
use tokio::sync::Notify;

use crate::link::Link;

/// The circuit breaker, with the connection while it is closed.
pub(crate) struct Circuit {
    live: ArcSwapOption<Live>,
    timeout: Duration,
    opened: Notify,
    on_change: Box<dyn Fn(bool) + Send + Sync>,
}

struct Live {
    link: Link,
    number: u64,
}

impl Circuit {
    pub(crate) fn new(timeout: Duration, on_change: impl Fn(bool) + Send + Sync + 'static) -> Self {
        Self {
            live: ArcSwapOption::empty(),
            timeout,
            opened: Notify::new(),
            on_change: Box::new(on_change),
        }
    }

    /// Returns whether the circuit is closed, so that commands are sent.
    pub(crate) fn is_closed(&self) -> bool {
        self.live.load().is_some()
    }

    /// Closes the circuit: commands are sent by this connection from now on.
    pub(crate) fn close(&self, link: Link, number: u64) {
        self.live.store(Some(Arc::new(Live { link, number })));
        (self.on_change)(true);
    }

    /// Opens the circuit, since its connection failed. Does nothing if the circuit has another
    /// connection by now.
    pub(crate) fn open(&self, number: u64, reason: &dyn std::fmt::Display) {
        let current = self.live.load();
        if current.as_ref().is_none_or(|live| live.number != number) {
            return;
        }
        let before = self.live.compare_and_swap(&*current, None);
        if before.as_ref().is_some_and(|live| live.number == number) {
            (self.on_change)(false);
            tracing::warn!(reason = %reason, "redis is out of reach, the store serves alone");
            self.opened.notify_one();
        }
    }

    /// Waits until the circuit opens.
    pub(crate) async fn opened(&self) {
        self.opened.notified().await;
    }

    /// Sends a command and waits for its answer, up to the timeout.
    pub(crate) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, FleetAway> {
        let live = self.live.load_full().ok_or(FleetAway)?;
        let mut link = live.link.clone();
        self.bound(&live, command.query_async(&mut link)).await
    }

    /// Runs a script and waits for its answer, up to the timeout.
    pub(crate) async fn invoke<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, FleetAway> {
        let live = self.live.load_full().ok_or(FleetAway)?;
        let mut link = live.link.clone();
        self.bound(&live, script.invoke_async(&mut link)).await
    }

    async fn bound<T>(
        &self,
        live: &Live,
        work: impl Future<Output = RedisResult<T>>,
    ) -> Result<T, FleetAway> {
        match store::suspend_aware::timeout(self.timeout, work).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if is_answer(&error) => {
                tracing::debug!(%error, "redis refused a command");
                Err(FleetAway)
            }
            Ok(Err(error)) => {
                self.open(live.number, &error);
                Err(FleetAway)
            }
            Err(_) => {
                self.open(
                    live.number,
                    &format_args!("no answer within {:?}", self.timeout),
                );
                Err(FleetAway)
            }
        }
    }
}

/// Returns whether an error is an answer to one command by a server in good order, such as that its
/// memory is full.
fn is_answer(error: &RedisError) -> bool {
    const GRAVE: [&str; 6] = [
        "READONLY",
        "LOADING",
        "CLUSTERDOWN",
        "MASTERDOWN",
        "NOAUTH",
        "UNBLOCKED",
    ];
    let code = error.code();
    code.is_some_and(|code| !GRAVE.contains(&code)) && !error.is_unrecoverable_error()
}
