//! The way to Redis: open as soon as something fails, closed again by a new connection and by nothing else.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use licensing::fleet::FleetAway;
use redis::{Cmd, FromRedisValue, RedisError, RedisResult, ScriptInvocation};
use tokio::sync::Notify;

use crate::link::Link;

/// A connection that worked until now, if there is one.
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

    /// Whether commands are sent.
    pub(crate) fn is_closed(&self) -> bool {
        self.live.load().is_some()
    }

    /// Sends commands by this connection from now on.
    pub(crate) fn close(&self, link: Link, number: u64) {
        self.live.store(Some(Arc::new(Live { link, number })));
        (self.on_change)(true);
    }

    /// Sends nothing more by a connection that failed. Does nothing if it is another one by now.
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

    /// Waits until it opens.
    pub(crate) async fn opened(&self) {
        self.opened.notified().await;
    }

    /// Sends a command and waits for its answer, at most the timeout.
    pub(crate) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, FleetAway> {
        let live = self.live.load_full().ok_or(FleetAway)?;
        let mut link = live.link.clone();
        self.bound(&live, command.query_async(&mut link)).await
    }

    /// Runs a script, at most the timeout.
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

/// Whether an error is what a server in good order says to one command, such as that its memory is full.
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
