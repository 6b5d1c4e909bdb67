//! The output buffer of a caller's connection: it gathers bytes into few writes, and holds them
//! back until the record of the call is durable.
//!
//! A call whose record waits for the disk need not wait itself: its answer stays here, as bytes,
//! and the call's task, its buffers and its upstream connection are free at once. When the record
//! is durable, the notifier writes the bytes, without waking the task. An answer that is larger
//! than the buffer makes its task wait.

use std::fmt::Debug;
use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use gate::{Closing, Committed, HeadCommit, Moment, Worker};
use model::{Blame, Ending};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// The size of the buffer. Head and body of a small answer leave in one write; larger pieces bypass
/// the buffer.
const MAX_BUFFERED_BYTES: usize = 4_096;

/// The socket of a caller's connection.
pub(crate) trait Socket:
    AsyncRead + AsyncWrite + AsRawFd + Debug + Send + Sync + Unpin + 'static
{
    /// Returns whether the other side has reset the connection. Costs a system call.
    fn has_failed(&self) -> bool;
}

impl Socket for TcpStream {
    fn has_failed(&self) -> bool {
        !matches!(self.take_error(), Ok(None))
    }
}

impl Socket for UnixStream {
    fn has_failed(&self) -> bool {
        !matches!(self.take_error(), Ok(None))
    }
}

/// A call that is over but for the bytes of its answer. Dropped, it is closed as `gateway_failed`.
pub(crate) struct EndedCall {
    pub(crate) committed: Committed,
    pub(crate) closing: Closing,
}

/// The socket of a connection, and the bytes on their way to it.
pub(crate) struct OutputBuffer {
    /// `None` once the connection is over.
    socket: Option<Box<dyn Socket>>,
    buffer: Vec<u8>,
    /// The bytes of the buffer that were written.
    written: usize,
    /// The commit before which nothing is written.
    awaited: Option<HeadCommit>,
    /// The call that is closed when the buffer is empty.
    ended: Option<EndedCall>,
    /// Whether the caller is gone and bytes were lost. Every further write is an error.
    lost: bool,
    /// Whether a byte of the last answer has left.
    begun: bool,
    /// Whether the caller may be gone unnoticed. A call is then closed only by
    /// [`OutputBuffer::take_watched`].
    watched: bool,
    /// The connection's task, if it waits for room or for an empty buffer.
    waiting: Option<Waker>,
    /// The moment since which the task waits for the journal.
    blocked_since: Option<Moment>,
    blocked_us: u64,
}

/// The state of bytes that were held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// The bytes are held back: the record is not durable yet.
    Held,
    /// The bytes have left, or the caller is gone.
    Sent,
    /// The socket did not take all bytes. The connection's task has to write the rest.
    Blocked,
    /// No byte may leave, since the record cannot be made durable.
    NotDurable,
}

/// The part of an answer that has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// All bytes that were written.
    Whole,
    /// Some bytes: the caller is gone.
    Part,
    /// No byte: the caller was gone before.
    Nothing,
}

impl EndedCall {
    /// Writes the tail of the record: the last byte has left, or cannot any more.
    pub(crate) fn close(mut self, delivery: Delivery) {
        let ending = &mut self.closing.ending;
        if delivery != Delivery::Whole && ending.error.is_none() {
            ending.error = Some(Blame::Caller);
            ending.response_complete = false;
        }
        if delivery == Delivery::Nothing && ending.error == Some(Blame::Caller) {
            // A caller who left before the answer began did not get the upstream's status.
            ending.forwarded_status = false;
            ending.response_complete = false;
        }
        self.committed.close(&self.closing);
    }

    /// Returns the call with another moment of its end.
    pub(crate) fn at(mut self, at: Moment) -> Self {
        self.closing.at = at;
        self
    }

    /// Writes the tail of a call whose answer we cut short.
    pub(crate) fn cut_short(mut self) {
        self.closing.ending = Ending {
            error: Some(Blame::Us),
            response_complete: false,
            ..self.closing.ending
        };
        self.committed.close(&self.closing);
    }
}

impl OutputBuffer {
    pub(crate) fn new(socket: Box<dyn Socket>) -> Self {
        Self {
            socket: Some(socket),
            buffer: Vec::new(),
            written: 0,
            awaited: None,
            ended: None,
            lost: false,
            begun: false,
            watched: false,
            waiting: None,
            blocked_since: None,
            blocked_us: 0,
        }
    }

    pub(crate) fn socket(&mut self) -> io::Result<Pin<&mut dyn Socket>> {
        let socket = self.socket.as_deref_mut();
        socket.map(Pin::new).ok_or_else(closed)
    }

    /// Returns whether bytes wait to be written.
    pub(crate) fn has_bytes(&self) -> bool {
        self.written < self.buffer.len()
    }

    /// Returns whether bytes are held back for the journal.
    pub(crate) fn is_held(&self) -> bool {
        self.awaited.is_some()
    }

    /// Holds back what is written from now on, until `commit` is ready. `context` wakes the
    /// notifier that calls [`OutputBuffer::release`] then.
    ///
    /// Nothing may be held or buffered yet, or else the answer of an earlier call would wait for
    /// this one's record.
    pub(crate) fn hold(&mut self, mut commit: HeadCommit, context: &mut Context<'_>) -> Release {
        match Pin::new(&mut commit).poll(context) {
            Poll::Ready(Ok(())) => Release::Sent,
            Poll::Ready(Err(_)) => Release::NotDurable,
            Poll::Pending => {
                self.awaited = Some(commit);
                Release::Held
            }
        }
    }

    /// Keeps a call that is over until its last byte has left. Returns it at once if that is so
    /// already.
    pub(crate) fn end(&mut self, ended: EndedCall) -> Option<(EndedCall, Delivery)> {
        if !self.has_bytes() && !self.watched {
            return Some((ended, self.delivery()));
        }
        // No other call is kept here: the next one gets its head when this one's answer has left.
        self.ended = Some(ended);
        None
    }

    /// Writes the bytes that were held back if their record is durable, as far as the socket takes
    /// them without waiting.
    pub(crate) fn release(&mut self, context: &mut Context<'_>, worker: &Worker) -> Release {
        let Some(commit) = &mut self.awaited else {
            return Release::Sent;
        };
        match Pin::new(commit).poll(context) {
            Poll::Pending => return Release::Held,
            Poll::Ready(Err(_)) => return Release::NotDurable,
            Poll::Ready(Ok(())) => self.awaited = None,
        }
        if let Some(since) = self.blocked_since.take() {
            self.blocked_us += worker.now().micros_since(since);
        }
        match self.poll_empty(&mut Context::from_waker(Waker::noop()), worker) {
            Poll::Ready(_) => Release::Sent,
            Poll::Pending => Release::Blocked,
        }
    }

    /// Returns the microseconds that the task has waited for the journal since the last call of
    /// this.
    pub(crate) fn take_blocked(&mut self) -> u64 {
        std::mem::take(&mut self.blocked_us)
    }

    /// Returns the task that waits here, to be woken.
    pub(crate) fn take_waiting(&mut self) -> Option<Waker> {
        self.waiting.take()
    }

    /// Returns the call whose last byte has left, or cannot leave any more, and how much has left.
    pub(crate) fn take_ended(&mut self) -> Option<(EndedCall, Delivery)> {
        // Mostly there is none, and moving a `None` costs as much as moving a call.
        if self.ended.is_none() || self.has_bytes() || self.watched {
            return None;
        }
        let delivery = self.delivery();
        self.ended.take().map(|ended| (ended, delivery))
    }

    /// Begins another answer: the next bytes are of it.
    pub(crate) fn begin(&mut self) {
        self.begun = false;
    }

    fn delivery(&self) -> Delivery {
        match (self.lost, self.begun) {
            (false, _) => Delivery::Whole,
            (true, true) => Delivery::Part,
            (true, false) => Delivery::Nothing,
        }
    }

    /// Keeps the call that ends next until [`OutputBuffer::take_watched`] says what became of its
    /// last bytes.
    pub(crate) fn watch(&mut self) {
        self.watched = true;
    }

    /// Returns whether a call that is over is kept for that.
    pub(crate) fn is_watched(&self) -> bool {
        self.watched && self.ended.is_some()
    }

    /// Returns the call that was kept. `gone`: its caller reset the connection before the end.
    pub(crate) fn take_watched(&mut self, gone: bool) -> Option<(EndedCall, Delivery)> {
        self.watched = false;
        self.lost |= gone;
        self.take_ended()
    }

    /// Returns whether the other side has reset the connection.
    pub(crate) fn has_failed(&self) -> bool {
        self.socket
            .as_ref()
            .is_none_or(|socket| socket.has_failed())
    }

    /// Ends the connection and drops the bytes that have not left. Returns the call that was kept,
    /// if any; without a delivery it is cut short.
    pub(crate) fn close(&mut self) -> Option<(EndedCall, Option<Delivery>)> {
        // A watched call whose bytes have left is over, whether or not its caller's reaction was
        // seen.
        let delivery = (!self.has_bytes()).then(|| self.delivery());
        self.awaited = None;
        self.socket = None;
        self.clear();
        self.ended.take().map(|ended| (ended, delivery))
    }

    fn clear(&mut self) {
        self.buffer.clear();
        self.written = 0;
    }

    /// Drops the buffered bytes, since the caller is gone, and returns the error.
    fn lose(&mut self, error: io::Error) -> Poll<io::Result<()>> {
        self.clear();
        self.lost = true;
        Poll::Ready(Err(error))
    }

    /// Writes the buffered bytes. An error drops them.
    pub(crate) fn poll_empty(
        &mut self,
        context: &mut Context<'_>,
        worker: &Worker,
    ) -> Poll<io::Result<()>> {
        if self.is_held() {
            self.waiting = Some(context.waker().clone());
            self.blocked_since.get_or_insert_with(|| worker.now());
            return Poll::Pending;
        }
        if self.lost {
            self.clear();
            return Poll::Ready(Err(closed()));
        }
        while self.has_bytes() {
            let Some(socket) = &mut self.socket else {
                return self.lose(closed());
            };
            let rest = &self.buffer[self.written..];
            match ready!(Pin::new(&mut **socket).poll_write(context, rest)) {
                Ok(0) => return self.lose(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.written += count;
                    self.begun = true;
                }
                Err(error) => return self.lose(error),
            }
        }
        self.clear();
        Poll::Ready(Ok(()))
    }

    /// Writes bytes of an answer, or buffers them if they fit.
    pub(crate) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
        worker: &Worker,
    ) -> Poll<io::Result<usize>> {
        if ready!(self.poll_room(context, bytes.len(), worker))? {
            self.buffer.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        let poll = self.socket()?.poll_write(context, bytes);
        self.note(&poll);
        poll
    }

    /// Writes or buffers bytes of an answer that lie in several slices.
    pub(crate) fn poll_write_vectored(
        &mut self,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
        worker: &Worker,
    ) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        if ready!(self.poll_room(context, length, worker))? {
            for slice in slices {
                self.buffer.extend_from_slice(slice);
            }
            return Poll::Ready(Ok(length));
        }
        let poll = self.socket()?.poll_write_vectored(context, slices);
        self.note(&poll);
        poll
    }

    /// Notes the result of a write that bypassed the buffer.
    fn note(&mut self, poll: &Poll<io::Result<usize>>) {
        match poll {
            Poll::Ready(Ok(1..)) => self.begun = true,
            Poll::Ready(Err(_)) => self.lost = true,
            _ => {}
        }
    }

    /// Returns whether `length` bytes go into the buffer. If not, it is empty and nothing is held.
    fn poll_room(
        &mut self,
        context: &mut Context<'_>,
        length: usize,
        worker: &Worker,
    ) -> Poll<io::Result<bool>> {
        if self.buffer.len() + length > MAX_BUFFERED_BYTES {
            ready!(self.poll_empty(context, worker))?;
        }
        Poll::Ready(Ok(length <= MAX_BUFFERED_BYTES))
    }

    /// Flushes the buffer and the socket. Bytes that are held back leave later, without another
    /// flush.
    pub(crate) fn poll_flush(
        &mut self,
        context: &mut Context<'_>,
        worker: &Worker,
    ) -> Poll<io::Result<()>> {
        if self.is_held() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_empty(context, worker))?;
        self.socket()?.poll_flush(context)
    }

    /// Half-closes the socket, once everything has left.
    pub(crate) fn poll_shutdown(
        &mut self,
        context: &mut Context<'_>,
        worker: &Worker,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_empty(context, worker))?;
        self.socket()?.poll_shutdown(context)
    }
}

fn closed() -> io::Error {
    io::ErrorKind::NotConnected.into()
}
