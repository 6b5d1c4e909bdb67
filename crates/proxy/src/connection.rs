//! A caller's connection: whether it waits, since when, whether to cut it, and what is on its way out.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use gate::{Closing, Committed, CutCheck, HeadCommit, Worker};
use http::HeaderValue;
use parking_lot::Mutex;

use crate::outlet::{Ended, Outlet, Released, Socket};

/// One connection of a caller.
pub(crate) struct Connection {
    phase: AtomicU8,
    /// The tick of the edge in which the phase began.
    since: AtomicU64,
    ticks: Arc<AtomicU64>,
    cut: AtomicBool,
    cut_check: Mutex<Option<CutCheck>>,
    waker: Mutex<Option<Waker>>,
    outlet: Mutex<Outlet>,
    worker: Arc<Worker>,
    origin: Origin,
}

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A caller; the address as text, made once for all calls.
    Caller(HeaderValue),
    /// The control plane, which passes on what a caller asked for by rpc.
    Rpc,
}

/// Nothing is under way.
const IDLE: u8 = 0;
/// Bytes of a head have come.
const HEAD: u8 = 1;
/// A call is under way.
const CALL: u8 = 2;
/// The framework refused a head; the connection ends.
const REFUSED: u8 = 3;

impl Origin {
    /// A caller with this address.
    pub(crate) fn caller(address: IpAddr) -> Self {
        let text = HeaderValue::try_from(address.to_string());
        Self::Caller(text.expect("an address is plain ASCII"))
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<Connection>>> = const { RefCell::new(None) };
}

impl Connection {
    /// A new connection. `ticks` is moved on by the edge, so that a phase costs no reading of the clock.
    pub(crate) fn new(
        socket: Box<dyn Socket>,
        worker: Arc<Worker>,
        ticks: Arc<AtomicU64>,
        origin: Origin,
    ) -> Self {
        Self {
            phase: AtomicU8::new(IDLE),
            since: AtomicU64::new(0),
            ticks,
            cut: AtomicBool::new(false),
            cut_check: Mutex::new(None),
            waker: Mutex::new(None),
            outlet: Mutex::new(Outlet::new(socket)),
            worker,
            origin,
        }
    }

    pub(crate) const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The connection whose task is being polled; `None` outside of one.
    #[must_use]
    pub(crate) fn current() -> Option<Arc<Self>> {
        CURRENT.with_borrow(Clone::clone)
    }

    fn enter(&self, phase: u8) {
        let now = self.ticks.load(Ordering::Relaxed);
        self.since.store(now, Ordering::Relaxed);
        self.phase.store(phase, Ordering::Release);
    }

    /// Notes that bytes came: outside of a call, the first of a head.
    pub(crate) fn bytes_came(&self) {
        if self.phase.load(Ordering::Relaxed) == IDLE {
            self.enter(HEAD);
        }
    }

    /// Notes that bytes are written: before a call, it is the framework that refuses a head it cannot read.
    pub(crate) fn bytes_leave(&self) {
        if self.phase.load(Ordering::Relaxed) == HEAD {
            self.enter(REFUSED);
            self.worker.malformed();
        }
    }

    /// Notes that a request head has come.
    pub(crate) fn call_begins(&self) {
        self.phase.store(CALL, Ordering::Release);
    }

    /// Has the edge ask until the call ends whether to cut it.
    pub(crate) fn watch(&self, check: CutCheck) {
        *self.cut_check.lock() = Some(check);
    }

    /// Notes that the call is over.
    pub(crate) fn call_ends(&self) {
        *self.cut_check.lock() = None;
        self.enter(IDLE);
    }

    /// Ends the connection's task at its next turn, and has it take that turn.
    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::Release);
        self.wake_task();
    }

    fn wake_task(&self) {
        let waker = self.waker.lock().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Cuts the connection if its head has been coming for more than so many ticks.
    pub(crate) fn cut_if_overdue(&self, most_ticks: u64) {
        if matches!(self.phase.load(Ordering::Acquire), HEAD | REFUSED) {
            let now = self.ticks.load(Ordering::Relaxed);
            if now.saturating_sub(self.since.load(Ordering::Relaxed)) > most_ticks {
                self.cut();
            }
        }
    }

    /// Cuts the connection if its call is to be cut.
    pub(crate) fn cut_if_asked(&self) {
        let is_cut = self.cut_check.lock().as_ref().is_some_and(CutCheck::is_cut);
        if is_cut {
            self.cut();
        }
    }
}

/// What leaves. A call that ended is closed outside the lock: closing takes locks of the journal.
impl Connection {
    /// Does something with the outlet, then closes the call whose last byte has left by that.
    pub(crate) fn with_outlet<T>(&self, action: impl FnOnce(&mut Outlet, &Worker) -> T) -> T {
        let mut outlet = self.outlet.lock();
        let result = action(&mut outlet, &self.worker);
        let ended = outlet.take_ended();
        drop(outlet);
        if let Some((ended, left)) = ended {
            ended.at(self.worker.now()).close(left);
        }
        result
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
    pub(crate) fn close_when_left(&self, committed: Committed, closing: Closing) {
        let ended = self.outlet.lock().end(Ended { committed, closing });
        if let Some((ended, left)) = ended {
            ended.close(left);
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
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let ended = self.0.outlet.lock().close();
        if let Some(ended) = ended {
            ended.at(self.0.worker.now()).cut_short();
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

/// A connection's task: sets [`Connection::current`] while it runs, and ends when the connection is cut.
///
/// Ending drops the call's context, which writes the record of a call that was cut short.
pub(crate) struct Cuttable<F> {
    inner: Pin<Box<F>>,
    /// Here between polls, in [`CURRENT`] during them: moved rather than cloned.
    connection: Option<Arc<Connection>>,
    /// Whether the waker is known to the connection. A spawned task keeps its waker.
    registered: bool,
}

impl<F> Cuttable<F> {
    pub(crate) fn new(connection: Arc<Connection>, inner: F) -> Self {
        Self {
            inner: Box::pin(inner),
            connection: Some(connection),
            registered: false,
        }
    }
}

impl<F: Future<Output = ()>> Future for Cuttable<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(connection) = self.connection.take() else {
            // A panic of the last poll kept it; the task is over.
            return Poll::Ready(());
        };
        if !self.registered {
            *connection.waker.lock() = Some(context.waker().clone());
            self.registered = true;
        }
        if connection.cut.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        CURRENT.with_borrow_mut(|current| *current = Some(connection));
        let poll = self.inner.as_mut().poll(context);
        self.connection = CURRENT.take();
        poll
    }
}
