//! A caller's connection: whether it waits, since when, and whether to cut it.

mod caller;
mod cuttable;
mod leaving;
mod taking;
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

pub(crate) use self::caller::{Absence, BodyRate, CallerSide};
pub(crate) use self::cuttable::Cuttable;
pub(crate) use self::leaving::Leaving;
use self::taking::Taking;
pub(crate) use self::upstream_wait::UpstreamWait;
use crate::caller::Caller;
use crate::outlet::{Outlet, Socket};
use crate::shared::Shared;
use crate::ticks::{self, ticks_in};
use crate::upstream::IdleSockets;

/// One connection of a caller.
pub(crate) struct Connection {
    phase: AtomicU8,
    /// The tick of the edge in which the phase began.
    since: AtomicU64,
    /// Ticks that a tunnel may be quiet.
    tunnel_limit: AtomicU64,
    shared: Arc<Shared>,
    caller: CallerSide,
    taking: Taking,
    upstream_wait: UpstreamWait,
    /// An empty line may follow the last call.
    blank_line: AtomicBool,
    /// The request of a call that is over may still be coming.
    owing: AtomicBool,
    /// The connection takes no other call.
    unwanted: AtomicBool,
    gives_way: AtomicBool,
    cut: AtomicBool,
    cut_check: Mutex<Option<CutCheck>>,
    waker: Mutex<Option<Waker>>,
    outlet: Mutex<Outlet>,
    origin: Origin,
}

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A caller.
    Caller(Caller),
    /// The control plane, which passes on what a caller asked for by rpc.
    Rpc,
}

/// Nothing is under way.
const IDLE: u8 = 0;
/// Bytes of a head have come.
const HEAD: u8 = 1;
/// A call is under way, and perhaps its request still comes.
const CALL: u8 = 2;
/// A call is under way whose request has come whole.
const WHOLE: u8 = 3;
/// The framework refused a head; the connection ends.
const REFUSED: u8 = 4;
/// Protocols were switched.
const TUNNEL: u8 = 5;

thread_local! {
    static CURRENT: RefCell<Option<Arc<Connection>>> = const { RefCell::new(None) };
}

impl Connection {
    /// A new connection of a thread.
    pub(crate) fn new(socket: Box<dyn Socket>, shared: Arc<Shared>, origin: Origin) -> Self {
        Self {
            phase: AtomicU8::new(IDLE),
            since: AtomicU64::new(shared.ticks.now()),
            tunnel_limit: AtomicU64::new(0),
            shared,
            caller: CallerSide::default(),
            taking: Taking::default(),
            upstream_wait: UpstreamWait::default(),
            blank_line: AtomicBool::new(false),
            owing: AtomicBool::new(false),
            unwanted: AtomicBool::new(false),
            gives_way: AtomicBool::new(false),
            cut: AtomicBool::new(false),
            cut_check: Mutex::new(None),
            waker: Mutex::new(None),
            outlet: Mutex::new(Outlet::new(socket)),
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

    /// The tick that is now: time that costs no reading of the clock.
    pub(crate) fn now(&self) -> u64 {
        self.shared.ticks.now()
    }

    pub(crate) fn idle_sockets(&self) -> &IdleSockets {
        &self.shared.idle_sockets
    }

    pub(crate) const fn caller(&self) -> &CallerSide {
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

    /// Whether a head is coming.
    pub(crate) fn is_in_head(&self) -> bool {
        self.is_in(HEAD)
    }

    /// Notes that bytes came for the framework: outside of a call, the first of a head.
    pub(crate) fn bytes_came(&self, count: usize) {
        if self.is_in(IDLE) {
            self.enter(HEAD);
        } else {
            self.caller.moves(count, self.now());
        }
    }

    /// Notes that bytes are written. Whether it is the framework that refuses a head: nobody else writes before a call.
    pub(crate) fn bytes_leave(&self) -> bool {
        let refused = self.is_in(HEAD) || self.is_in(IDLE);
        if refused {
            self.enter(REFUSED);
        }
        refused
    }

    /// Counts the refusal of a head; its identity.
    pub(crate) fn refuse_head(&self, refusal: Refusal) -> CallId {
        self.shared.worker.refuse_head(refusal)
    }

    /// Notes that a request head has come.
    pub(crate) fn call_begins(&self) {
        self.caller.begins();
        self.taking.begins();
        self.phase.store(CALL, Ordering::Release);
    }

    /// Notes that the request has come whole: what comes from now on is for the next call.
    pub(crate) fn request_is_whole(&self) {
        if self.is_in(CALL) {
            self.phase.store(WHOLE, Ordering::Release);
        }
    }

    /// Whether what comes is kept for the next call.
    pub(crate) fn reads_ahead(&self) -> bool {
        self.is_in(WHOLE)
    }

    /// Notes that protocols are switched: what comes is the tunnel's, which may be quiet for so long.
    pub(crate) fn tunnel_begins(&self, limit: Duration) {
        self.tunnel_limit.store(ticks_in(limit), Ordering::Relaxed);
        self.upstream_wait.has_no_end();
        self.enter(TUNNEL);
    }

    pub(crate) fn is_tunnel(&self) -> bool {
        self.is_in(TUNNEL)
    }

    /// Notes that something moves in the tunnel, if there is one.
    pub(crate) fn bytes_pass(&self) {
        if self.is_in(TUNNEL) {
            self.since.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Whether the tunnel has been quiet for too long.
    fn is_quiet_tunnel(&self, now: u64) -> bool {
        let limit = self.tunnel_limit.load(Ordering::Relaxed);
        self.is_in(TUNNEL) && ticks::is_over(self.since.load(Ordering::Relaxed), limit, now)
    }

    /// Whether the caller has not sent his whole request, and does not wait to be told that he may.
    pub(crate) fn is_owed_more(&self) -> bool {
        self.is_in(CALL) && !self.caller.is_waiting_to_go_on()
    }

    /// Notes what became of a write of so many bytes of an answer, or of letting out what was buffered of it.
    pub(crate) fn is_written<T>(&self, poll: &Poll<io::Result<T>>, count: usize) {
        match poll {
            Poll::Ready(Ok(_)) => self.taking.takes(count, self.now()),
            Poll::Ready(Err(_)) => {}
            // What waits for the journal does not wait for the caller.
            Poll::Pending if self.outlet.lock().is_held() => {}
            Poll::Pending => self.taking.takes_nothing(self.now()),
        }
    }

    /// Whether the call is stopped by its caller: he has been silent within his request, or lets it drip, or does not read his
    /// answer.
    pub(crate) fn is_stalled_by_caller(&self) -> bool {
        let now = self.now();
        self.is_owed_more() && self.caller.stalls(now) || self.taking.held_up_upstream(now)
    }

    /// Whether an empty line is skipped that came before a head. Once for each call.
    pub(crate) fn takes_blank_line(&self) -> bool {
        self.is_in(IDLE) && self.blank_line.swap(false, Ordering::Relaxed)
    }

    /// What whoever reads in vain is told: to wait on, or that nothing more will come that anybody waits for.
    pub(crate) fn poll_patience(&self) -> Poll<io::Result<()>> {
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

    /// Has the edge ask until the call ends whether to cut it.
    pub(crate) fn watch(&self, check: CutCheck) {
        *self.cut_check.lock() = Some(check);
    }

    /// Notes that the call is over.
    pub(crate) fn call_ends(&self) {
        *self.cut_check.lock() = None;
        if self.is_in(CALL) {
            self.owing.store(true, Ordering::Relaxed);
        }
        self.blank_line.store(true, Ordering::Relaxed);
        self.enter(IDLE);
    }

    /// Ends the connection's task at its next turn, and has it take that turn.
    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::Release);
        self.wake_task();
    }

    /// Since which tick nothing is under way; `None`: something is, or it is not a caller's.
    pub(crate) fn idle_since(&self) -> Option<u64> {
        let is_idle = self.is_in(IDLE) && self.origin != Origin::Rpc;
        let is_wanted = !self.unwanted.load(Ordering::Relaxed);
        (is_idle && is_wanted).then(|| self.since.load(Ordering::Relaxed))
    }

    /// Makes room for another connection. Whether nobody told it before.
    pub(crate) fn give_way(&self) -> bool {
        let told = !self.gives_way.swap(true, Ordering::AcqRel);
        self.end_when_idle();
        told
    }

    pub(crate) fn was_told_to_give_way(&self) -> bool {
        self.gives_way.load(Ordering::Acquire)
    }

    /// Ends the connection if nothing has been under way for more than so many ticks.
    pub(crate) fn end_if_idle(&self, most_ticks: u64) {
        let since = self.idle_since();
        if since.is_some_and(|since| ticks::is_over(since, most_ticks, self.now())) {
            self.end_when_idle();
        }
    }

    fn end_when_idle(&self) {
        self.unwanted.store(true, Ordering::Release);
        self.wake_task();
    }

    /// Ends the call if its request has been waited for too long, for what came of it.
    pub(crate) fn end_if_it_drips(&self, rate: BodyRate) {
        if self.is_in(CALL) && self.caller.drips(rate, self.now()) {
            self.wake_task();
        }
    }

    /// Whether no call is under way and none may begin: whoever waits for a head hears that the connection has ended, once
    /// everything that came was read.
    pub(crate) fn is_over(&self) -> bool {
        self.is_in(IDLE) && self.is_last_call()
    }

    /// Whether the answer that is about to leave is the last one of the connection.
    pub(crate) fn ends_with_this_call(&self) -> bool {
        self.is_last_call() || self.caller.has_said_end()
    }

    fn is_last_call(&self) -> bool {
        self.shared.is_draining() || self.unwanted.load(Ordering::Acquire)
    }

    /// Has the connection's task take a turn.
    pub(crate) fn wake_task(&self) {
        let waker = self.waker.lock().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Cuts the connection if its head has been coming for more than so many ticks.
    pub(crate) fn cut_if_overdue(&self, most_ticks: u64) {
        if self.is_in(HEAD) || self.is_in(REFUSED) {
            let since = self.since.load(Ordering::Relaxed);
            if ticks::is_over(since, most_ticks, self.now()) {
                self.cut();
            }
        }
    }

    /// Looks, once in a tick, for what nobody tells.
    pub(crate) fn look(&self) {
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

    /// Cuts the connection if its call is to be cut.
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
