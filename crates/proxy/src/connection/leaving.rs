//! What leaves a connection, and when: the outlet with its lock, and whoever waits for it.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::Duration;

use gate::{Closing, Committed, HeadCommit, Worker};
use tokio::io::ReadBuf;

use super::{Connection, REFUSED};
use crate::outlet::{Ended, Outlet, Released};
use crate::ticks::{TICK, ticks_in};

/// Longest time that a connection is kept after its last byte has left.
const LINGER: Duration = Duration::from_secs(1);

/// A call that ended is closed outside the lock: closing takes locks of the journal.
impl Connection {
    /// Does something with the outlet, then closes the call whose last byte has left by that.
    pub(crate) fn with_outlet<T>(&self, action: impl FnOnce(&mut Outlet, &Worker) -> T) -> T {
        let mut outlet = self.outlet.lock();
        let result = action(&mut outlet, &self.shared.worker);
        let ended = outlet.take_ended();
        drop(outlet);
        if let Some((ended, departure)) = ended {
            ended.at(self.shared.worker.now()).close(departure);
        }
        result
    }

    /// Reads from the caller's socket.
    pub(crate) fn poll_socket(
        &self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.outlet.lock().socket()?.poll_read(context, buffer)
    }

    /// Notes that the next bytes are those of another answer. Only in its [`turn`](Self::turn).
    pub(crate) fn answer_begins(&self) {
        self.outlet.lock().begin();
    }

    /// Waits until the answers to earlier calls have left: not at all, but for a caller who does not wait for them.
    pub(crate) async fn turn(&self) {
        // A caller who is gone takes no bytes: as good as left.
        let _ = poll_fn(|context| self.poll_empty(context)).await;
    }

    /// Holds back what is written from now on until the record of its call is durable. Only in its [`turn`](Self::turn).
    ///
    /// # Errors
    /// If the record cannot be made durable.
    pub(crate) fn hold(self: &Arc<Self>, commit: HeadCommit) -> Result<(), Never> {
        let waker = Waker::from(self.clone());
        let mut context = Context::from_waker(&waker);
        match self.outlet.lock().hold(commit, &mut context) {
            Released::Never => Err(Never),
            _ => Ok(()),
        }
    }

    /// Closes a call when the last byte of its answer has left.
    ///
    /// A caller who has said that he sends nothing more may have gone altogether, which only his answer to the last bytes tells.
    pub(crate) fn close_when_left(&self, committed: Committed, closing: Closing) {
        let mut outlet = self.outlet.lock();
        if self.caller().has_said_end() && closing.ending.error.is_none() {
            outlet.watch();
        }
        let ended = outlet.end(Ended { committed, closing });
        drop(outlet);
        if let Some((ended, departure)) = ended {
            ended.close(departure);
        }
    }

    /// Microseconds that the call has waited for the journal.
    pub(crate) fn take_blocked(&self) -> u64 {
        self.outlet.lock().take_blocked()
    }

    fn poll_empty(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with_outlet(|outlet, worker| outlet.poll_empty(context, worker))
    }

    /// Waits until everything has left, for so long after it may.
    async fn empty(&self, limit: Duration) {
        // No timer where there is nothing to wait for, and none for the journal, which has its own end.
        poll_fn(|context| self.poll_released(context)).await;
        if self.outlet.lock().has_bytes() {
            let _ = tokio::time::timeout(limit, poll_fn(|context| self.poll_empty(context))).await;
        }
    }

    /// Sees what becomes of the last bytes of a call whose caller may have gone.
    async fn see_the_end(&self) {
        if !self.outlet.lock().is_watched() {
            return;
        }
        let mut gone = false;
        let last = self.now() + ticks_in(LINGER);
        while !gone && self.now() <= last {
            tokio::time::sleep(TICK).await;
            gone = self.is_reset();
        }
        let ended = self.outlet.lock().take_watched(gone);
        if let Some((ended, departure)) = ended {
            ended.close(departure);
        }
    }

    /// Whether the caller has reset the connection. His socket tells once.
    pub(super) fn is_reset(&self) -> bool {
        if self.outlet.lock().has_failed() {
            self.caller.goes();
        }
        self.caller.is_gone()
    }

    /// Says the end and hears out whoever may still be sending: were the socket closed on what he sends, the answer that he has
    /// not read would be lost (RFC 9112, section 9.6).
    async fn linger(&self) {
        if !self.owing.load(Ordering::Relaxed) && !self.is_in(REFUSED) {
            return;
        }
        let hearing = poll_fn(|context| {
            let mut outlet = self.outlet.lock();
            let mut rest = [0; 1_024];
            loop {
                let mut rest = ReadBuf::new(&mut rest);
                ready!(outlet.socket()?.poll_read(context, &mut rest))?;
                if rest.filled().is_empty() {
                    return Poll::Ready(io::Result::Ok(()));
                }
            }
        });
        let said =
            poll_fn(|context| self.with_outlet(|it, worker| it.poll_shutdown(context, worker)));
        if said.await.is_ok() {
            let _ = tokio::time::timeout(LINGER, hearing).await;
        }
    }

    fn poll_released(&self, context: &mut Context<'_>) -> Poll<()> {
        self.with_outlet(|outlet, worker| match outlet.is_held() {
            true => outlet.poll_empty(context, worker).map(drop),
            false => Poll::Ready(()),
        })
    }

    /// Lets out what was held back, if its record is durable.
    fn release(self: &Arc<Self>) {
        let waker = Waker::from(self.clone());
        let (released, waiting) = self.with_outlet(|outlet, worker| {
            let released = outlet.release(&mut Context::from_waker(&waker), worker);
            let waiting = match released {
                Released::Held => None,
                _ => outlet.take_waiting(),
            };
            (released, waiting)
        });
        match released {
            Released::Held | Released::Left => {}
            Released::Stuck => self.wake_task(),
            Released::Never => self.cut(),
        }
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }
}

/// The committer's call: the record of the call whose answer is held back is durable, or never will be.
impl Wake for Connection {
    fn wake(self: Arc<Self>) {
        self.release();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.release();
    }
}

/// The record of a call cannot be made durable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Never;

/// Closes a connection's socket when dropped; a call whose answer has not left by then was cut short.
pub(crate) struct Leaving(pub(crate) Arc<Connection>);

impl Leaving {
    /// Lets out what is still to be written, for so long at most.
    pub(crate) async fn finish(self, limit: Duration) {
        self.0.empty(limit).await;
        self.0.see_the_end().await;
        self.0.linger().await;
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let ended = self.0.outlet.lock().close();
        match ended {
            None => {}
            Some((ended, Some(departure))) => ended.close(departure),
            Some((ended, None)) => ended.at(self.0.shared.worker.now()).cut_short(),
        }
    }
}
