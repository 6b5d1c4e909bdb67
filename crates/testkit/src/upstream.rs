//! A scripted upstream on a port of its own. It keeps a list of every request that it saw, with
//! which the ledger is compared. It runs in the test's process, so that killing the gate cannot
//! touch that list.
//!
//! The first of these words in a request's path decides what happens; without any the answer is a
//! small 200.
//!
//! | path | behaviour |
//! |---|---|
//! | `/status/418[/bytes]` | that status with a small body |
//! | `/bytes/N`, `/until-close/N` | 200 with N bytes, framed by length or by the end of the connection |
//! | `/delay/MS` | 200 after a pause |
//! | `/stream/CHUNKS/BYTES/MS`, `/slow-body/BYTES/MS` | a chunked body, or a byte at a time, with pauses |
//! | `/slow-head/BYTES/MS` | 200 whose head has a header that comes a byte at a time |
//! | `/units/N`, `/header/NAME/VALUE` | 200 with `X-Units`, or with that header |
//! | `/echo` | 200, the request's head as JSON with `method`, `target`, `headers`, `body` |
//! | `/informational/103` | that status first, then 200 |
//! | `/early-413` | 413 without reading the body, then the connection is closed |
//! | `/last-answer` | 200 with `Connection: close` |
//! | `/hold`, `/hold-mid-body` | nothing, or half the body, until [`Upstream::release`]; then the rest of a 200 |
//! | `/early-hold-mid-body` | the same, without reading the request's body |
//! | `/hang` | nothing until the other side leaves |
//! | `/reset-before-head`, `/close-before-head`, `/close-mid-head` | the connection ends without a whole head |
//! | `/reset-mid-body`, `/close-mid-body`, `/cut-chunked` | 200, then the connection ends within the body |
//! | `/garbage` | bytes that are not HTTP |
//! | `/upgrade` | 101, then every byte comes back |
//! | `/raw/HEX[/close]`, `/early-raw/HEX` | exactly these bytes, then perhaps the end, or without reading the body; see [`raw_answer`](crate::raw_answer) |

mod connection;
mod list;
mod shared;

use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

pub use self::list::ServedRequest;
use self::list::ServedRequests;
use self::shared::Shared;
use crate::eventually::{test_timeout, wait_for};

/// The options of a scripted upstream.
#[derive(Debug, Default)]
pub struct Builder {
    close_after: Option<usize>,
    log: Option<PathBuf>,
    port: u16,
}

/// A running scripted upstream. Dropping it closes its port and all its connections.
#[derive(Debug)]
pub struct Upstream {
    addr: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

// === impl Builder ===

impl Builder {
    /// Closes each connection silently after so many requests, as a server does whose keep-alive
    /// ends.
    #[must_use]
    pub fn close_after(mut self, requests: usize) -> Self {
        self.close_after = Some(requests);
        self
    }

    /// Also appends each event to a file, one JSON object a line. The last line of a sequence
    /// number is the newest.
    #[must_use]
    pub fn log_to(mut self, path: impl Into<PathBuf>) -> Self {
        self.log = Some(path.into());
        self
    }

    /// Listens on this port of 127.0.0.1, so that an upstream can come back on the same address.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Binds the port and serves in a thread of its own.
    ///
    /// # Panics
    /// When the port cannot be bound or the log cannot be opened.
    #[must_use]
    pub fn start(self) -> Upstream {
        let listener = std::net::TcpListener::bind(("127.0.0.1", self.port))
            .expect("the upstream's port can be bound");
        listener
            .set_nonblocking(true)
            .expect("a listener can be made non-blocking");
        let addr = listener
            .local_addr()
            .expect("a bound listener has an address");
        let shared = Arc::new(Shared {
            list: ServedRequests::new(self.log.as_deref()),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            close_after: self.close_after,
            releases: watch::Sender::new(0),
            breaks: watch::Sender::new(0),
        });
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("upstream".into())
            .spawn(move || serve(listener, serving, stopped))
            .expect("a thread can be started");
        Upstream {
            addr,
            shared,
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

// === impl Upstream ===

impl Upstream {
    /// Starts an upstream on a free port.
    ///
    /// # Panics
    /// When no port can be bound.
    #[must_use]
    pub fn start() -> Self {
        Builder::default().start()
    }

    /// Starts building an upstream.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Returns the address of the upstream.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the address in the form of the configuration.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Returns the number of connections that were ever opened to the upstream.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Acquire)
    }

    /// Returns all requests in the order of arrival, those still unanswered included.
    #[must_use]
    pub fn served(&self) -> Vec<ServedRequest> {
        self.shared.list.all()
    }

    /// Returns all requests as [`served`](Self::served) does, and empties the list. To be called
    /// only while nothing is in flight.
    #[must_use]
    pub fn take_served(&self) -> Vec<ServedRequest> {
        self.shared.list.take()
    }

    /// Returns the number of requests that arrived and were not taken yet.
    #[must_use]
    pub fn served_count(&self) -> usize {
        self.shared.list.len()
    }

    /// Waits until so many requests have arrived.
    ///
    /// # Panics
    /// When they do not come in time.
    pub fn wait_for_served(&self, count: usize) {
        let arrived = wait_for(test_timeout(), || {
            (self.served_count() >= count).then_some(())
        });
        assert!(
            arrived.is_some(),
            "{} of {count} requests reached the upstream",
            self.served_count()
        );
    }

    /// Waits until every connection so far has ended. Then the list holds all requests of a gate
    /// that was killed; before, some of them may still wait in the kernel to be read.
    ///
    /// # Panics
    /// When connections stay open.
    pub fn wait_until_left(&self) {
        // Connections are accepted in the order in which they came: when this one has ended, those
        // before it were accepted.
        let mut last = std::net::TcpStream::connect(self.addr).expect("the upstream listens");
        let closed = last.shutdown(std::net::Shutdown::Write);
        let ended = closed.and_then(|()| last.read(&mut [0]));
        assert!(
            matches!(ended, Ok(0)),
            "the upstream does not hang up: {ended:?}"
        );
        let open = || self.shared.open.load(Ordering::Acquire);
        let left = wait_for(test_timeout(), || (open() == 0).then_some(()));
        assert!(left.is_some(), "{} connections stay open", open());
    }

    /// Lets everything go on that is held now.
    pub fn release(&self) {
        self.shared.releases.send_modify(|count| *count += 1);
    }

    /// Ends every connection on which a request is under way.
    pub fn disconnect_all(&self) {
        self.shared.breaks.send_modify(|count| *count += 1);
    }

    /// Closes the port and all connections, and returns the list.
    #[must_use]
    pub fn stop(mut self) -> Vec<ServedRequest> {
        self.end();
        self.shared.list.all()
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the upstream's thread panicked");
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.end();
    }
}

fn serve(listener: std::net::TcpListener, shared: Arc<Shared>, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be built");
    runtime.block_on(async move {
        let listener = TcpListener::from_std(listener).expect("the listener is non-blocking");
        tokio::select! {
            () = accept(listener, shared) => {}
            // An error says that the handle was dropped, which means the same.
            _ = stopped => {}
        }
    });
    // Dropping the runtime drops every connection.
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => panic!("the upstream cannot accept: {error}"),
        };
        let number = shared.connections.fetch_add(1, Ordering::AcqRel);
        shared.open.fetch_add(1, Ordering::AcqRel);
        stream.set_nodelay(true).ok();
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            connection::serve(stream, number, Arc::clone(&shared)).await;
            shared.open.fetch_sub(1, Ordering::AcqRel);
        });
    }
}
