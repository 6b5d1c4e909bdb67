//! The state of a caller's connection: what is under way on it, since when, and whether to cut it.

mod caller_state;
mod cuttable;
mod output;
mod read_progress;
mod upstream_wait;

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use gate::CutCheck;
use model::{CallId, Refusal};
use parking_lot::Mutex;

pub(crate) use self::caller_state::{Absence, BodyRate, CallerState};
pub(crate) use self::cuttable::Cuttable;
pub(crate) use self::output::SocketGuard;
use self::read_progress::ReadProgress;
pub(crate) use self::upstream_wait::UpstreamWait;
use crate::caller::Caller;
use crate::output_buffer::{OutputBuffer, Socket};
use crate::shared::Shared;
use crate::ticks::{self, ticks_in};
use crate::upstream::IdleSockets;

/// One connection of a caller. Its task and the edge of its thread share it.
pub(crate) struct Connection {
    phase: AtomicU8,
    /// The tick in which the phase began; in a tunnel, in which something moved last.
    since: AtomicU64,
    /// The ticks for which a tunnel may be silent.
    tunnel_limit: AtomicU64,
    shared: Arc<Shared>,
    caller: CallerState,
    read_progress: ReadProgress,
    upstream_wait: UpstreamWait,
    /// Whether an empty line after the last call is still to be skipped.
    blank_line: AtomicBool,
    /// Whether the request of a call that is over may still be on its way.
    request_unfinished: AtomicBool,
    /// Whether the connection takes no other call.
    retiring: AtomicBool,
    /// Whether the connection was told to make room for another one.
    gives_way: AtomicBool,
    cut: AtomicBool,
    cut_check: Mutex<Option<CutCheck>>,
    waker: Mutex<Option<Waker>>,
    output: Mutex<OutputBuffer>,
    origin: Origin,
}

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A caller, by its own connection.
    Caller(Caller),
    /// The control plane, which passes on calls by rpc.
    Rpc,
}

/// The phase in which nothing is under way.
const IDLE: u8 = 0;
/// The phase in which a head is being received.
const HEAD: u8 = 1;
/// The phase of a call whose request may still be on its way.
const CALL: u8 = 2;
/// The phase of a call whose request was received whole.
const WHOLE: u8 = 3;
/// The phase in which the connection ends, since the framework refused a head.
const REFUSED: u8 = 4;
/// The phase after a switch of protocols.
const TUNNEL: u8 = 5;

thread_local! {
    static CURRENT: RefCell<Option<Arc<Connection>>> = const { RefCell::new(None) };
}

impl Connection {
    /// Returns a new connection on which nothing is under way.
    pub(crate) fn new(socket: Box<dyn Socket>, shared: Arc<Shared>, origin: Origin) -> Self {
        Self {
            phase: AtomicU8::new(IDLE),
            since: AtomicU64::new(shared.ticks.now()),
            tunnel_limit: AtomicU64::new(0),
            shared,
            caller: CallerState::default(),
            read_progress: ReadProgress::default(),
            upstream_wait: UpstreamWait::default(),
            blank_line: AtomicBool::new(false),
            request_unfinished: AtomicBool::new(false),
            retiring: AtomicBool::new(false),
            gives_way: AtomicBool::new(false),
            cut: AtomicBool::new(false),
            cut_check: Mutex::new(None),
            waker: Mutex::new(None),
            output: Mutex::new(OutputBuffer::new(socket)),
            origin,
        }
    }

    pub(crate) const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Returns the connection whose task is being polled; `None` outside of one.
    #[must_use]
    pub(crate) fn current() -> Option<Arc<Self>> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// Returns the current tick, without reading the clock.
    pub(crate) fn now(&self) -> u64 {
        self.shared.ticks.now()
    }

    pub(crate) fn idle_sockets(&self) -> &IdleSockets {
        &self.shared.idle_sockets
    }

    pub(crate) const fn caller(&self) -> &CallerState {
        &self.caller
    }

    pub(crate) const fn upstream_wait(&self) -> &UpstreamWait {
        &self.upstream_wait
    }

    fn enter(&self, phase: u8) {
        let now = self.now();
        self.since.store(now, Ordering::Relaxed);
        self.phase.store(phase, Ordering::Release);
    }

    fn is_in(&self, phase: u8) -> bool {
        self.phase.load(Ordering::Acquire) == phase
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.is_in(IDLE)
    }

    /// Returns whether a head is being received.
    pub(crate) fn is_in_head(&self) -> bool {
        self.is_in(HEAD)
    }

    /// Notes bytes that were received for the framework: outside of a call, the first of a head.
    pub(crate) fn bytes_received(&self, count: usize) {
        if self.is_in(IDLE) {
            self.enter(HEAD);
        } else {
            self.caller.moves(count, self.now());
        }
    }

    /// Notes that bytes are written. Returns whether the framework refuses a head with them: nobody
    /// else writes before a call.
    pub(crate) fn bytes_written(&self) -> bool {
        let refused = self.is_in(HEAD) || self.is_in(IDLE);
        if refused {
            self.enter(REFUSED);
        }
        refused
    }

    /// Counts the refusal of a head and returns its identity.
    pub(crate) fn refuse_head(&self, refusal: Refusal) -> CallId {
        self.shared.worker.refuse_head(refusal)
    }

    /// Notes that a request head was received whole.
    pub(crate) fn call_begins(&self) {
        self.caller.begins();
        self.read_progress.begins();
        self.phase.store(CALL, Ordering::Release);
    }

    /// Notes that the request was received whole: further bytes are for the next call.
    pub(crate) fn request_is_whole(&self) {
        if self.is_in(CALL) {
            self.phase.store(WHOLE, Ordering::Release);
        }
    }

    /// Returns whether received bytes are kept for the next call.
    pub(crate) fn reads_ahead(&self) -> bool {
        self.is_in(WHOLE)
    }

    /// Notes a switch of protocols: further bytes are the tunnel's, which may be silent for
    /// `limit`.
    pub(crate) fn tunnel_begins(&self, limit: Duration) {
        self.tunnel_limit.store(ticks_in(limit), Ordering::Relaxed);
        self.upstream_wait.has_no_end();
        self.enter(TUNNEL);
    }

    pub(crate) fn is_tunnel(&self) -> bool {
        self.is_in(TUNNEL)
    }

    /// Notes that bytes pass through the tunnel, if there is one.
    pub(crate) fn bytes_pass(&self) {
        if self.is_in(TUNNEL) {
            self.since.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Returns whether the tunnel has been silent for too long.
    fn is_quiet_tunnel(&self, now: u64) -> bool {
        let limit = self.tunnel_limit.load(Ordering::Relaxed);
        self.is_in(TUNNEL) && ticks::is_over(self.since.load(Ordering::Relaxed), limit, now)
    }

    /// Returns whether the rest of the request is awaited, from a caller who does not wait for
    /// `100 Continue`.
    pub(crate) fn awaits_rest_of_request(&self) -> bool {
        self.is_in(CALL) && !self.caller.is_waiting_to_go_on()
    }

    /// Notes the result of writing `count` bytes of an answer, or of flushing its buffered bytes
    /// (0).
    pub(crate) fn write_polled<T>(&self, poll: &Poll<io::Result<T>>, count: usize) {
        match poll {
            Poll::Ready(Ok(_)) => self.read_progress.reads(count, self.now()),
            Poll::Ready(Err(_)) => {}
            // An answer that waits for the journal does not wait for the caller.
            Poll::Pending if self.output.lock().is_held() => {}
            Poll::Pending => self.read_progress.reads_nothing(self.now()),
        }
    }

    /// Returns whether the caller holds up the call: it is silent within its request, sends it too
    /// slowly, or does not read its answer.
    pub(crate) fn is_stalled_by_caller(&self) -> bool {
        let now = self.now();
        self.awaits_rest_of_request() && self.caller.stalls(now)
            || self.read_progress.held_up_upstream(now)
    }

    /// Returns whether an empty line before a head is skipped. Once for each call.
    pub(crate) fn skips_blank_line(&self) -> bool {
        self.is_in(IDLE) && self.blank_line.swap(false, Ordering::Relaxed)
    }

    /// Returns the result of a read for which there are no bytes: pending, the end where nothing
    /// more is waited for, or the error of a request that has been waited for too long.
    pub(crate) fn poll_wait_over(&self) -> Poll<io::Result<()>> {
        let now = self.now();
        if self.is_over() || self.is_quiet_tunnel(now) {
            return Poll::Ready(Ok(()));
        }
        if self.is_in(CALL) {
            self.caller.is_awaited(now);
            if self.caller.is_done_with(now) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        Poll::Pending
    }

    /// Has the edge repeat a check, until the call ends, whether to cut the connection.
    pub(crate) fn watch(&self, check: CutCheck) {
        *self.cut_check.lock() = Some(check);
    }

    /// Notes that the call is over.
    pub(crate) fn call_ends(&self) {
        *self.cut_check.lock() = None;
        if self.is_in(CALL) {
            self.request_unfinished.store(true, Ordering::Relaxed);
        }
        self.blank_line.store(true, Ordering::Relaxed);
        self.enter(IDLE);
    }

    /// Ends the connection's task when it is polled next, and wakes it.
    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::Release);
        self.wake_task();
    }

    /// Returns the tick since which nothing is under way; `None`: something is, the connection ends
    /// already, or it is the control plane's.
    pub(crate) fn idle_since(&self) -> Option<u64> {
        let is_idle = self.is_in(IDLE) && self.origin != Origin::Rpc;
        let is_wanted = !self.retiring.load(Ordering::Relaxed);
        (is_idle && is_wanted).then(|| self.since.load(Ordering::Relaxed))
    }

    /// Ends the idle connection to make room for another one. Returns whether this is the first
    /// request to do so.
    pub(crate) fn give_way(&self) -> bool {
        let is_first = !self.gives_way.swap(true, Ordering::AcqRel);
        self.end_when_idle();
        is_first
    }

    pub(crate) fn is_giving_way(&self) -> bool {
        self.gives_way.load(Ordering::Acquire)
    }

    /// Ends the connection if nothing has been under way for more than `max_ticks`.
    pub(crate) fn end_if_idle(&self, max_ticks: u64) {
        let since = self.idle_since();
        if since.is_some_and(|since| ticks::is_over(since, max_ticks, self.now())) {
            self.end_when_idle();
        }
    }

    fn end_when_idle(&self) {
        self.retiring.store(true, Ordering::Release);
        self.wake_task();
    }

    /// Wakes the task, to end the call, if its request is slower than `rate`.
    pub(crate) fn end_if_it_drips(&self, rate: BodyRate) {
        if self.is_in(CALL) && self.caller.drips(rate, self.now()) {
            self.wake_task();
        }
    }

    /// Returns whether no call is under way and none may begin. The framework, which waits for a
    /// head, is then given the end of the connection once all received bytes were read.
    pub(crate) fn is_over(&self) -> bool {
        self.is_in(IDLE) && self.is_last_call()
    }

    /// Returns whether the answer that is about to leave is the last one of the connection.
    pub(crate) fn ends_with_this_call(&self) -> bool {
        self.is_last_call() || self.caller.has_said_end()
    }

    fn is_last_call(&self) -> bool {
        self.shared.is_draining() || self.retiring.load(Ordering::Acquire)
    }

    /// Wakes the connection's task.
    pub(crate) fn wake_task(&self) {
        let waker = self.waker.lock().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Cuts the connection if its head has taken more than `max_ticks` so far.
    pub(crate) fn cut_if_overdue(&self, max_ticks: u64) {
        if self.is_in(HEAD) || self.is_in(REFUSED) {
            let since = self.since.load(Ordering::Relaxed);
            if ticks::is_over(since, max_ticks, self.now()) {
                self.cut();
            }
        }
    }

    /// Looks for timeouts, resets and cuts, which no event announces. Called once a tick.
    pub(crate) fn check_deadlines(&self) {
        self.cut_if_asked();
        let now = self.now();
        if self.upstream_wait.is_due(now)
            || self.is_in(CALL) && self.caller.is_done_with(now)
            || self.is_quiet_tunnel(now)
        {
            self.wake_task();
        }
        if self.caller.is_to_be_asked() && self.is_reset() {
            self.wake_task();
        }
    }

    /// Cuts the connection if its call must be cut.
    fn cut_if_asked(&self) {
        let is_cut = self.cut_check.lock().as_ref().is_some_and(CutCheck::is_cut);
        if is_cut {
            self.cut();
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
