//! The edge: threads that accept connections, cap them, cut them and let them drain.
//!
//! Each proxy thread has a current-thread runtime, its own Pingora proxy and so its own pool of upstream connections: nothing
//! of a call crosses threads.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gate::CutCheck;
use parking_lot::Mutex;
use pingora::apps::ServerApp;
use pingora::protocols::l4::listener::Listener;
use tokio::sync::{Notify, watch};

/// How often a thread looks whether calls under way are to be cut.
const CARE: Duration = Duration::from_millis(25);
/// How often it looks for connections that wait too long for a request head, in units of [`CARE`].
const HEAD_CARE: u32 = 40;

/// What the edge is told.
#[derive(Clone, Copy, Debug)]
pub struct EdgeOptions {
    /// Connections that may be open at once, over all threads; further ones are closed as they come.
    pub max_connections: usize,
    /// How long a connection may wait for a whole request head, idle time included.
    pub head_timeout: Duration,
    /// How long calls under way may go on after the stop signal.
    pub drain: Duration,
}

/// One connection of a caller.
pub struct Connection {
    state: Mutex<State>,
    cut: AtomicBool,
}

struct State {
    /// Since when it has been waiting for a request head; `None` while a call is under way.
    waiting_since: Option<Instant>,
    /// Asked now and then while a call is under way: whether to cut it.
    cut_check: Option<CutCheck>,
    waker: Option<Waker>,
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<Connection>>> = const { RefCell::new(None) };
}

impl Connection {
    fn new() -> Self {
        let state = State {
            waiting_since: Some(Instant::now()),
            cut_check: None,
            waker: None,
        };
        Self {
            state: Mutex::new(state),
            cut: AtomicBool::new(false),
        }
    }

    /// The connection whose task is being polled; `None` outside of one.
    #[must_use]
    pub fn current() -> Option<Arc<Self>> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// Notes that a request head has come.
    pub fn call_begins(&self) {
        self.state.lock().waiting_since = None;
    }

    /// Has the edge ask until the call ends whether to cut it.
    pub fn watch(&self, check: CutCheck) {
        self.state.lock().cut_check = Some(check);
    }

    /// Notes that the call is over.
    pub fn call_ends(&self) {
        let mut state = self.state.lock();
        state.waiting_since = Some(Instant::now());
        state.cut_check = None;
    }

    fn cut(&self) {
        self.cut.store(true, Ordering::Release);
        if let Some(waker) = self.state.lock().waker.take() {
            waker.wake();
        }
    }

    /// Cuts the connection if it has waited too long for a head.
    fn cut_if_overdue(&self, now: Instant, head_timeout: Duration) {
        let since = self.state.lock().waiting_since;
        if since.is_some_and(|since| now.saturating_duration_since(since) > head_timeout) {
            self.cut();
        }
    }

    /// Cuts the connection if its call is to be cut.
    fn cut_if_asked(&self) {
        let is_cut = self
            .state
            .lock()
            .cut_check
            .as_ref()
            .is_some_and(CutCheck::is_cut);
        if is_cut {
            self.cut();
        }
    }
}

/// A connection's task: sets [`Connection::current`] while it runs, and ends when the connection is cut.
///
/// Ending drops the call's context, which writes the record of a call that was cut short.
struct Cuttable<F> {
    inner: Pin<Box<F>>,
    /// Here between polls, in [`CURRENT`] during them: moved rather than cloned.
    connection: Option<Arc<Connection>>,
    /// Whether the waker is known to the connection. A spawned task keeps its waker.
    registered: bool,
}

impl<F> Cuttable<F> {
    fn new(connection: Arc<Connection>, inner: F) -> Self {
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
            connection.state.lock().waker = Some(context.waker().clone());
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

/// The threads that serve.
pub struct Edge {
    threads: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

impl Edge {
    /// Starts one thread per item of `apps`, all accepting from all `listeners`.
    ///
    /// `started` runs first on each thread, inside its runtime.
    ///
    /// # Errors
    /// If a listener cannot be shared or a thread cannot be started.
    pub fn start<A, S>(
        listeners: &[TcpListener],
        apps: Vec<(Arc<A>, S)>,
        options: &EdgeOptions,
    ) -> io::Result<Self>
    where
        A: ServerApp + Send + Sync + 'static,
        S: FnOnce() + Send + 'static,
    {
        let (stop, stopped) = watch::channel(false);
        let open = Arc::new(AtomicUsize::new(0));
        let mut threads = Vec::new();
        for (index, (app, started)) in apps.into_iter().enumerate() {
            let mine = listeners
                .iter()
                .map(TcpListener::try_clone)
                .collect::<io::Result<Vec<_>>>()?;
            for listener in &mine {
                listener.set_nonblocking(true)?;
            }
            let thread = Thread {
                app,
                open: open.clone(),
                options: *options,
                stopped: stopped.clone(),
            };
            let body = move || thread.run(mine, started);
            let name = format!("proxy-{index}");
            threads.push(std::thread::Builder::new().name(name).spawn(body)?);
        }
        Ok(Self { threads, stop })
    }

    /// Stops accepting, closes idle connections, lets calls under way end within the drain time, and cuts the rest.
    /// Blocks until all threads are done.
    pub fn stop(self) {
        // An error means that every thread has ended already.
        let _ = self.stop.send(true);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a proxy thread panicked");
            }
        }
    }
}

struct Thread<A> {
    app: Arc<A>,
    open: Arc<AtomicUsize>,
    options: EdgeOptions,
    stopped: watch::Receiver<bool>,
}

/// The connections of one thread.
#[derive(Default)]
struct Connections {
    all: Mutex<Vec<Weak<Connection>>>,
    active: AtomicUsize,
    none_left: Notify,
}

impl<A: ServerApp + Send + Sync + 'static> Thread<A> {
    fn run<S: FnOnce()>(self, listeners: Vec<TcpListener>, started: S) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime needs only memory and an epoll descriptor");
        runtime.block_on(self.serve(listeners, started));
        // Connections that outlived the drain time end here: dropping their calls writes their records.
        runtime.shutdown_background();
    }

    async fn serve<S: FnOnce()>(mut self, listeners: Vec<TcpListener>, started: S) {
        started();
        let connections = Arc::new(Connections::default());
        let mut accepting = Vec::new();
        for listener in listeners {
            match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => accepting.push(tokio::spawn(accept(
                    Listener::from(listener),
                    self.app.clone(),
                    connections.clone(),
                    self.open.clone(),
                    self.options.max_connections,
                    self.stopped.clone(),
                ))),
                Err(error) => tracing::error!(%error, "a listener cannot be used by this thread"),
            }
        }
        let caring = tokio::spawn(care(connections.clone(), self.options));
        // The sender lives as long as the edge; an error means that it is gone, which is a stop too.
        let _ = self.stopped.wait_for(|stopped| *stopped).await;
        for task in &accepting {
            task.abort();
        }
        self.app.cleanup().await;
        let drained = async {
            while connections.active.load(Ordering::Acquire) > 0 {
                connections.none_left.notified().await;
            }
        };
        if tokio::time::timeout(self.options.drain, drained)
            .await
            .is_err()
        {
            let left = connections.active.load(Ordering::Acquire);
            tracing::warn!(
                connections = left,
                "the drain time is over, connections are cut"
            );
            connections.each(Connection::cut);
            let cut = async {
                while connections.active.load(Ordering::Acquire) > 0 {
                    connections.none_left.notified().await;
                }
            };
            // A task that does not even end when cut is dropped with the runtime.
            let _ = tokio::time::timeout(Duration::from_secs(1), cut).await;
        }
        caring.abort();
    }
}

async fn accept<A: ServerApp + Send + Sync + 'static>(
    listener: Listener,
    app: Arc<A>,
    connections: Arc<Connections>,
    open: Arc<AtomicUsize>,
    max_connections: usize,
    stopped: watch::Receiver<bool>,
) {
    loop {
        let stream = match listener.accept().await {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                // Out of descriptors or memory: others must end before more can be taken.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if open.fetch_add(1, Ordering::AcqRel) >= max_connections {
            open.fetch_sub(1, Ordering::AcqRel);
            continue;
        }
        let mut stream = stream;
        if let Err(error) = stream.set_nodelay() {
            tracing::debug!(%error, "a connection was gone before it was served");
        }
        let connection = Arc::new(Connection::new());
        connections.admit(&connection);
        let count = Counted {
            connections: connections.clone(),
            open: open.clone(),
        };
        let (app, stopped) = (app.clone(), stopped.clone());
        let serving = async move {
            let _count = count;
            let mut next = app.process_new(Box::new(stream), &stopped).await;
            while let Some(stream) = next {
                next = app.process_new(stream, &stopped).await;
            }
        };
        tokio::spawn(Cuttable::new(connection, serving));
    }
}

impl Connections {
    fn each(&self, action: impl Fn(&Connection)) {
        let all = self.all.lock();
        for connection in all.iter().filter_map(Weak::upgrade) {
            action(&connection);
        }
    }

    fn admit(&self, connection: &Arc<Connection>) {
        self.active.fetch_add(1, Ordering::AcqRel);
        let mut all = self.all.lock();
        // Forgotten ones are swept out whenever the list would grow.
        if all.len() == all.capacity() {
            all.retain(|connection| connection.strong_count() > 0);
        }
        all.push(Arc::downgrade(connection));
    }
}

/// Counts a connection for as long as its task lives, however that ends.
struct Counted {
    connections: Arc<Connections>,
    open: Arc<AtomicUsize>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::AcqRel);
        if self.connections.active.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.connections.none_left.notify_one();
        }
    }
}

async fn care(connections: Arc<Connections>, options: EdgeOptions) {
    let mut ticks = tokio::time::interval(CARE);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    for tick in (0..HEAD_CARE).cycle() {
        ticks.tick().await;
        connections.each(Connection::cut_if_asked);
        if tick == 0 {
            let now = Instant::now();
            connections.each(|connection| connection.cut_if_overdue(now, options.head_timeout));
        }
    }
}
