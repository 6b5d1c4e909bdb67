//! Load from many connections at once, with a list of what each of its calls saw.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::client::{CALL_ID_HEADER, Connection, NoResponse, Request, Response};

/// A call of a load, as its caller saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedCall {
    /// The connection of the load that made the call, counted from 0.
    pub worker: usize,
    /// The number of the call on its connection, counted from 0.
    pub number: usize,
    /// The status, if a status line came.
    pub status: Option<u16>,
    /// The call id of the answer.
    pub call_id: Option<String>,
    /// The code, if the answer is one of the gate's own refusals.
    pub refusal: Option<String>,
    /// Whether the whole answer came.
    pub complete: bool,
    /// The time from the first byte of the request to the end of the answer, or to the moment at
    /// which there was none.
    pub took: Duration,
}

/// A load that is not started yet: keep-alive, one call at a time on each connection.
pub struct Load {
    addr: SocketAddr,
    connections: usize,
    calls_per_connection: usize,
    pause: Duration,
    request: RequestMaker,
}

type RequestMaker = Arc<dyn Fn(usize, usize) -> Request + Send + Sync>;

/// A load that is running. Dropping it stops it.
#[derive(Debug)]
pub struct RunningLoad {
    workers: Vec<JoinHandle<Vec<ObservedCall>>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    answered: AtomicUsize,
}

// === impl ObservedCall ===

impl ObservedCall {
    fn of(
        worker: usize,
        number: usize,
        outcome: &Result<Response, NoResponse>,
        took: Duration,
    ) -> Self {
        let mut seen = Self {
            worker,
            number,
            status: None,
            call_id: None,
            refusal: None,
            complete: false,
            took,
        };
        if let Ok(response) = outcome {
            seen.status = Some(response.status);
            seen.call_id = response.header(CALL_ID_HEADER).map(str::to_owned);
            // A refusal whose body was cut by a kill is a refusal all the same.
            let code = || {
                response
                    .refusal_code()
                    .unwrap_or_else(|| "(cut)".to_owned())
            };
            seen.refusal = response.is_refusal().then(code);
            seen.complete = response.complete;
        }
        seen
    }
}

// === impl Load ===

impl Load {
    /// Makes a load without end on so many connections. `request` makes a request from the numbers
    /// of the connection and the call.
    pub fn new(
        addr: SocketAddr,
        connections: usize,
        request: impl Fn(usize, usize) -> Request + Send + Sync + 'static,
    ) -> Self {
        Self {
            addr,
            connections,
            calls_per_connection: usize::MAX,
            pause: Duration::ZERO,
            request: Arc::new(request),
        }
    }

    /// Lets each connection make so many calls and end.
    #[must_use]
    pub fn calls_per_connection(mut self, calls: usize) -> Self {
        self.calls_per_connection = calls;
        self
    }

    /// Lets each connection wait so long after an answer other than 200.
    #[must_use]
    pub fn pause_after_refusal(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Starts the load.
    ///
    /// # Panics
    /// When a thread cannot be started.
    #[must_use]
    pub fn start(self) -> RunningLoad {
        let shared = Arc::new(Shared::default());
        let workers = (0..self.connections)
            .map(|worker| {
                let (addr, calls, pause) = (self.addr, self.calls_per_connection, self.pause);
                let (request, shared) = (Arc::clone(&self.request), Arc::clone(&shared));
                std::thread::Builder::new()
                    .stack_size(256 * 1024)
                    .spawn(move || run_worker(addr, worker, calls, pause, &request, &shared))
                    .expect("a thread can be started")
            })
            .collect();
        RunningLoad { workers, shared }
    }

    /// Runs the load to its end.
    ///
    /// # Panics
    /// When the load has no end: see [`calls_per_connection`](Self::calls_per_connection).
    #[must_use]
    pub fn run(self) -> Vec<ObservedCall> {
        assert!(
            self.calls_per_connection < usize::MAX,
            "this load never ends by itself"
        );
        self.start().join()
    }
}

// === impl RunningLoad ===

impl RunningLoad {
    /// Returns the number of calls that have seen a status line so far.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.shared.answered.load(Ordering::Acquire)
    }

    /// Waits until every connection has made its calls, and returns them all.
    ///
    /// # Panics
    /// When a worker panicked.
    #[must_use]
    pub fn join(mut self) -> Vec<ObservedCall> {
        self.workers
            .drain(..)
            .flat_map(|worker| worker.join().expect("a worker of the load panicked"))
            .collect()
    }

    /// Lets each call in flight end, makes no more, and returns them all.
    ///
    /// # Panics
    /// When a worker panicked.
    #[must_use]
    pub fn stop(self) -> Vec<ObservedCall> {
        self.shared.stop.store(true, Ordering::Release);
        self.join()
    }
}

impl Drop for RunningLoad {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
    }
}

fn run_worker(
    addr: SocketAddr,
    worker: usize,
    calls: usize,
    pause: Duration,
    request: &RequestMaker,
    shared: &Shared,
) -> Vec<ObservedCall> {
    let mut list = Vec::new();
    let mut connection = None;
    while list.len() < calls && !shared.stop.load(Ordering::Acquire) {
        let Some(mut open) = connection.take().or_else(|| Connection::open(addr).ok()) else {
            // The gate is down for a moment: that is not a call.
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        let begun = Instant::now();
        let outcome = open.call(&request(worker, list.len()));
        list.push(ObservedCall::of(
            worker,
            list.len(),
            &outcome,
            begun.elapsed(),
        ));
        if outcome
            .as_ref()
            .is_ok_and(|response| response.status != 200)
        {
            std::thread::sleep(pause);
        }
        if let Ok(response) = outcome {
            shared.answered.fetch_add(1, Ordering::AcqRel);
            let closes = response
                .header("connection")
                .is_some_and(|value| value.eq_ignore_ascii_case("close"));
            connection = (response.complete && !closes).then_some(open);
        }
    }
    list
}
