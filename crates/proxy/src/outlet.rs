//! What leaves a caller's connection: gathered into few writes, and held back until the record of the call is durable.
//!
//! A call whose record waits for the disk is not kept waiting itself: its answer stays here, as bytes, and the call's task, its
//! buffers and its upstream connection are free at once. When the record is durable the bytes are written by whoever says so,
//! without a turn of the task. An answer that is larger than the buffer makes its task wait.

use std::fmt::Debug;
use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use gate::{Closing, Committed, HeadCommit, Moment, Worker};
use model::{Blame, Ending};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// Head and body of a small answer leave in one write; larger pieces bypass the buffer.
const BUFFER: usize = 4_096;

/// What a caller's connection is made of.
pub(crate) trait Socket:
    AsyncRead + AsyncWrite + AsRawFd + Debug + Send + Sync + Unpin + 'static
{
    /// Whether the other side has reset the connection. Costs a system call.
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

/// A call that is over but for the bytes of its answer. Dropped, it is closed as one that we failed.
pub(crate) struct Ended {
    pub(crate) committed: Committed,
    pub(crate) closing: Closing,
}

/// The socket of a connection and what is on its way out.
pub(crate) struct Outlet {
    /// `None` once the connection is over.
    socket: Option<Box<dyn Socket>>,
    buffer: Vec<u8>,
    /// So much of the buffer was written.
    written: usize,
    /// While this is here, nothing is written.
    awaited: Option<HeadCommit>,
    /// To be closed when the buffer is empty.
    ended: Option<Ended>,
    /// Bytes were lost, for the caller is gone: whatever is written from now on is an error.
    lost: bool,
    /// A byte of the last answer has left.
    begun: bool,
    /// The caller may have gone without a word: a call is closed only by [`Outlet::take_watched`].
    watched: bool,
    /// The connection's task, where it waits for room or for the end.
    waiting: Option<Waker>,
    /// Since when the task waits for the journal.
    blocked_since: Option<Moment>,
    blocked_us: u64,
}

/// What became of bytes that were held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Released {
    /// Not yet: the record is not durable.
    Held,
    /// They left, or will as the socket takes them.
    Left,
    /// The socket did not take them all: the connection's task has to go on.
    Stuck,
    /// The record cannot be made durable: not a byte may leave.
    Never,
}

/// How much of an answer has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    /// All that was written.
    Whole,
    /// Not all: the caller is gone.
    Part,
    /// Not a byte: the caller was gone before.
    Nothing,
}

impl Ended {
    /// Writes the tail: the last byte has left, or could not.
    pub(crate) fn close(mut self, departure: Departure) {
        let ending = &mut self.closing.ending;
        if departure != Departure::Whole && ending.error.is_none() {
            ending.error = Some(Blame::Caller);
            ending.response_complete = false;
        }
        if departure == Departure::Nothing && ending.error == Some(Blame::Caller) {
            // Who left before the answer began did not get the upstream's status.
            ending.forwarded_status = false;
            ending.response_complete = false;
        }
        self.committed.close(&self.closing);
    }

    /// The same, over at another moment than the call's own end.
    pub(crate) fn at(mut self, at: Moment) -> Self {
        self.closing.at = at;
        self
    }

    /// Writes the tail of a call whose answer we did not let out whole.
    pub(crate) fn cut_short(mut self) {
        self.closing.ending = Ending {
            error: Some(Blame::Us),
            response_complete: false,
            ..self.closing.ending
        };
        self.committed.close(&self.closing);
    }
}

impl Outlet {
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

    /// Whether bytes wait to be written.
    pub(crate) fn has_bytes(&self) -> bool {
        self.written < self.buffer.len()
    }

    /// Whether bytes are held back for the journal.
    pub(crate) fn is_held(&self) -> bool {
        self.awaited.is_some()
    }

    /// Holds back what is written from now on, until `commit` is ready. `context` is of whoever will say so.
    ///
    /// Nothing may be held or buffered: an answer of an earlier call would be held back by this one's record.
    pub(crate) fn hold(&mut self, mut commit: HeadCommit, context: &mut Context<'_>) -> Released {
        match Pin::new(&mut commit).poll(context) {
            Poll::Ready(Ok(())) => Released::Left,
            Poll::Ready(Err(_)) => Released::Never,
            Poll::Pending => {
                self.awaited = Some(commit);
                Released::Held
            }
        }
    }

    /// Takes a call that is over, to be closed when its last byte has left; gives it back if that is so already.
    pub(crate) fn end(&mut self, ended: Ended) -> Option<(Ended, Departure)> {
        if !self.has_bytes() && !self.watched {
            return Some((ended, self.departure()));
        }
        // There is no other: the next call gets its head when this one's answer has left.
        self.ended = Some(ended);
        None
    }

    /// Writes what was held back if its record is durable, as far as the socket takes it without waiting.
    pub(crate) fn release(&mut self, context: &mut Context<'_>, worker: &Worker) -> Released {
        let Some(commit) = &mut self.awaited else {
            return Released::Left;
        };
        match Pin::new(commit).poll(context) {
            Poll::Pending => return Released::Held,
            Poll::Ready(Err(_)) => return Released::Never,
            Poll::Ready(Ok(())) => self.awaited = None,
        }
        if let Some(since) = self.blocked_since.take() {
            self.blocked_us += worker.now().micros_since(since);
        }
        match self.poll_empty(&mut Context::from_waker(Waker::noop()), worker) {
            Poll::Ready(_) => Released::Left,
            Poll::Pending => Released::Stuck,
        }
    }

    /// Microseconds that the task has waited for the journal since it was asked last.
    pub(crate) fn take_blocked(&mut self) -> u64 {
        std::mem::take(&mut self.blocked_us)
    }

    /// The task that waits here, to be woken.
    pub(crate) fn take_waiting(&mut self) -> Option<Waker> {
        self.waiting.take()
    }

    /// The call whose last byte has left, or cannot leave any more; and whether it has left.
    pub(crate) fn take_ended(&mut self) -> Option<(Ended, Departure)> {
        // Mostly there is none, and moving nothing costs as much as moving one.
        if self.ended.is_none() || self.has_bytes() || self.watched {
            return None;
        }
        let departure = self.departure();
        self.ended.take().map(|ended| (ended, departure))
    }

    /// Notes that the next bytes are of another answer.
    pub(crate) fn begin(&mut self) {
        self.begun = false;
    }

    fn departure(&self) -> Departure {
        match (self.lost, self.begun) {
            (false, _) => Departure::Whole,
            (true, true) => Departure::Part,
            (true, false) => Departure::Nothing,
        }
    }

    /// Has the call that ends next wait until somebody has seen what becomes of its last bytes.
    pub(crate) fn watch(&mut self) {
        self.watched = true;
    }

    /// Whether a call that is over waits for that.
    pub(crate) fn is_watched(&self) -> bool {
        self.watched && self.ended.is_some()
    }

    /// The call that was watched; `gone`: its caller reset the connection before the end.
    pub(crate) fn take_watched(&mut self, gone: bool) -> Option<(Ended, Departure)> {
        self.watched = false;
        self.lost |= gone;
        self.take_ended()
    }

    /// Whether the other side has reset the connection.
    pub(crate) fn has_failed(&self) -> bool {
        self.socket
            .as_ref()
            .is_none_or(|socket| socket.has_failed())
    }

    /// Ends the connection: what has not left never will. Gives the call that this cuts short.
    pub(crate) fn close(&mut self) -> Option<(Ended, Option<Departure>)> {
        // A watched call whose bytes have left is over, seen or not.
        let departure = (!self.has_bytes()).then(|| self.departure());
        self.awaited = None;
        self.socket = None;
        self.forget();
        self.ended.take().map(|ended| (ended, departure))
    }

    fn forget(&mut self) {
        self.buffer.clear();
        self.written = 0;
    }

    /// The caller is gone, and with it what was for it.
    fn lose(&mut self, error: io::Error) -> Poll<io::Result<()>> {
        self.forget();
        self.lost = true;
        Poll::Ready(Err(error))
    }

    /// Writes what is buffered. An error forgets it.
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
            self.forget();
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
        self.forget();
        Poll::Ready(Ok(()))
    }

    /// Takes bytes of an answer.
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

    /// Takes bytes of an answer that lie in several places.
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

    /// Notes what came of bytes that were not buffered.
    fn note(&mut self, poll: &Poll<io::Result<usize>>) {
        match poll {
            Poll::Ready(Ok(1..)) => self.begun = true,
            Poll::Ready(Err(_)) => self.lost = true,
            _ => {}
        }
    }

    /// Whether so many bytes go into the buffer; if not, it is empty and nothing is held.
    fn poll_room(
        &mut self,
        context: &mut Context<'_>,
        length: usize,
        worker: &Worker,
    ) -> Poll<io::Result<bool>> {
        if self.buffer.len() + length > BUFFER {
            ready!(self.poll_empty(context, worker))?;
        }
        Poll::Ready(Ok(length <= BUFFER))
    }

    /// Flushes; what is held back leaves by itself later.
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

    /// Says the end, once everything has left.
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
