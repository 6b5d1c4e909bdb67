//! The output of a connection: its buffer behind a lock, and the tasks that wait for it.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::Duration;

use gate::{Closing, Committed, HeadCommit, Worker};
use tokio::io::ReadBuf;

use super::{Connection, REFUSED};
use crate::output_buffer::{EndedCall, OutputBuffer, Release};
use crate::ticks::{TICK, ticks_in};

/// The longest time for which a connection is kept after its last byte has left.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);

/// A call that has ended is closed outside the lock, since closing takes locks of the journal.
impl Connection {
    /// Does `action` with the output, then closes the call whose last byte has left by that.
    pub(crate) fn with_output<T>(&self, action: impl FnOnce(&mut OutputBuffer, &Worker) -> T) -> T {
        let mut output = self.output.lock();
        let result = action(&mut output, &self.shared.worker);
        let ended = output.take_ended();
        drop(output);
        if let Some((ended, delivery)) = ended {
            ended.at(self.shared.worker.now()).close(delivery);
        }
        result
    }

    /// Reads from the caller's socket.
    pub(crate) fn poll_socket(
        &self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.output.lock().socket()?.poll_read(context, buffer)
    }

    /// Notes that the next bytes are of another answer. Only in its [turn](Self::wait_for_turn).
    pub(crate) fn answer_begins(&self) {
        self.output.lock().begin();
    }

    /// Waits until the answers to earlier calls have left. Only a caller who pipelines requests
    /// makes it wait.
    pub(crate) async fn wait_for_turn(&self) {
        // An error means that the caller is gone and takes no bytes.
        let _ = poll_fn(|context| self.poll_empty(context)).await;
    }

    /// Holds back what is written from now on until the record of its call is durable. Only in the
    /// call's [turn](Self::wait_for_turn).
    ///
    /// # Errors
    /// The record cannot be made durable.
    pub(crate) fn hold(self: &Arc<Self>, commit: HeadCommit) -> Result<(), NotDurable> {
        let waker = Waker::from(self.clone());
        let mut context = Context::from_waker(&waker);
        match self.output.lock().hold(commit, &mut context) {
            Release::NotDurable => Err(NotDurable),
            _ => Ok(()),
        }
    }

    /// Closes a call when the last byte of its answer has left.
    ///
    /// A caller who has half-closed the connection may be gone altogether, which only its reaction
    /// to the last bytes shows.
    pub(crate) fn close_when_left(&self, committed: Committed, closing: Closing) {
        let mut output = self.output.lock();
        if self.caller().has_said_end() && closing.ending.error.is_none() {
            output.watch();
        }
        let ended = output.end(EndedCall { committed, closing });
        drop(output);
        if let Some((ended, delivery)) = ended {
            ended.close(delivery);
        }
    }

    /// Returns the microseconds that the call has waited for the journal, and begins again at 0.
    pub(crate) fn take_blocked(&self) -> u64 {
        self.output.lock().take_blocked()
    }

    fn poll_empty(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with_output(|output, worker| output.poll_empty(context, worker))
    }

    /// Waits until everything has left: without limit for the journal, which has its own, then up
    /// to `limit` for the caller.
    async fn empty(&self, limit: Duration) {
        // No timer where there is nothing to wait for.
        poll_fn(|context| self.poll_released(context)).await;
        if self.output.lock().has_bytes() {
            let _ = tokio::time::timeout(limit, poll_fn(|context| self.poll_empty(context))).await;
        }
    }

    /// Waits up to [`LINGER_TIMEOUT`] for a reset by a caller who may be gone, then closes its
    /// call.
    async fn see_the_end(&self) {
        if !self.output.lock().is_watched() {
            return;
        }
        let mut gone = false;
        let last = self.now() + ticks_in(LINGER_TIMEOUT);
        while !gone && self.now() <= last {
            tokio::time::sleep(TICK).await;
            gone = self.is_reset();
        }
        let ended = self.output.lock().take_watched(gone);
        if let Some((ended, delivery)) = ended {
            ended.close(delivery);
        }
    }

    /// Returns whether the caller has reset the connection. The socket reports that once.
    pub(super) fn is_reset(&self) -> bool {
        if self.output.lock().has_failed() {
            self.caller.goes();
        }
        self.caller.is_gone()
    }

    /// Half-closes the connection and reads on from a caller who may still be sending. If the
    /// socket were closed on unread bytes, the part of the answer that the caller has not read
    /// would be lost (RFC 9112, section 9.6).
    async fn linger(&self) {
        if !self.request_unfinished.load(Ordering::Relaxed) && !self.is_in(REFUSED) {
            return;
        }
        let hearing = poll_fn(|context| {
            let mut output = self.output.lock();
            let mut rest = [0; 1_024];
            loop {
                let mut rest = ReadBuf::new(&mut rest);
                ready!(output.socket()?.poll_read(context, &mut rest))?;
                if rest.filled().is_empty() {
                    return Poll::Ready(io::Result::Ok(()));
                }
            }
        });
        let said =
            poll_fn(|context| self.with_output(|it, worker| it.poll_shutdown(context, worker)));
        if said.await.is_ok() {
            let _ = tokio::time::timeout(LINGER_TIMEOUT, hearing).await;
        }
    }

    fn poll_released(&self, context: &mut Context<'_>) -> Poll<()> {
        self.with_output(|output, worker| match output.is_held() {
            true => output.poll_empty(context, worker).map(drop),
            false => Poll::Ready(()),
        })
    }

    /// Writes the bytes that were held back, if their record is durable.
    fn release(self: &Arc<Self>) {
        let waker = Waker::from(self.clone());
        let (released, waiting) = self.with_output(|output, worker| {
            let released = output.release(&mut Context::from_waker(&waker), worker);
            let waiting = match released {
                Release::Held => None,
                _ => output.take_waiting(),
            };
            (released, waiting)
        });
        match released {
            Release::Held | Release::Sent => {}
            Release::Blocked => self.wake_task(),
            Release::NotDurable => self.cut(),
        }
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }
}

/// The notice of the committer: the record of the call whose answer is held back is durable, or
/// never will be.
impl Wake for Connection {
    fn wake(self: Arc<Self>) {
        self.release();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.release();
    }
}

/// The error of a call whose record cannot be made durable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NotDurable;

/// A guard that closes a connection's socket when it is dropped. A call whose answer has not left
/// by then was cut short.
pub(crate) struct SocketGuard(pub(crate) Arc<Connection>);

impl SocketGuard {
    /// Writes the rest of the output, for at most `limit`, and lingers where the caller may still
    /// send.
    pub(crate) async fn finish(self, limit: Duration) {
        self.0.empty(limit).await;
        self.0.see_the_end().await;
        self.0.linger().await;
    }
}

impl Drop for SocketGuard {
    fn drop(&mut self) {
        let ended = self.0.output.lock().close();
        match ended {
            None => {}
            Some((ended, Some(delivery))) => ended.close(delivery),
            Some((ended, None)) => ended.at(self.0.shared.worker.now()).cut_short(),
        }
    }
}
