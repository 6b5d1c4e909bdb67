//! The edge: threads that accept connections, limit their number, cut them and drain them at a
//! stop.
//!
//! Each proxy thread has a current-thread runtime, its own Pingora proxy and its own connections to
//! upstreams: nothing of a call crosses threads.

mod address_counts;
mod connections;
mod options;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use gate::Worker;
use pingora::apps::ServerApp;
use tokio::net::{TcpListener as AsyncListener, TcpStream, UnixListener as AsyncUnixListener};
use tokio::sync::watch;

use self::connections::{AllConnections, Connections, TickLimits};
pub use self::options::EdgeOptions;
use crate::caller::Caller;
use crate::connection::{Connection, Cuttable, Origin, SocketGuard};
use crate::output_buffer::Socket;
use crate::stream::CallerStream;

/// The number of connections in the kernel's queue that are still accepted at a stop, for each
/// listener and thread.
const MAX_BACKLOG: usize = 1_024;

/// The threads that serve connections.
pub struct Edge {
    threads: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

impl Edge {
    /// Starts one thread per worker, with the app that serves it. All accept from all `listeners`,
    /// and from `rpc` the calls that the control plane passes on.
    ///
    /// # Errors
    /// A listener cannot be shared, or a thread cannot be started.
    pub fn start<A: ServerApp + Send + Sync + 'static>(
        listeners: &[TcpListener],
        rpc: &UnixListener,
        apps: Vec<(Arc<Worker>, Arc<A>)>,
        options: &EdgeOptions,
    ) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let all_connections = Arc::new(AllConnections::new(
            options,
            apps.iter().map(|(worker, _)| worker.clone()),
        ));
        let mut threads = Vec::new();
        for (index, (_, app)) in apps.into_iter().enumerate() {
            let own_listeners = listeners
                .iter()
                .map(TcpListener::try_clone)
                .collect::<io::Result<Vec<_>>>()?;
            for listener in &own_listeners {
                listener.set_nonblocking(true)?;
            }
            let rpc = rpc.try_clone()?;
            rpc.set_nonblocking(true)?;
            let thread = Arc::new(Thread {
                app,
                connections: all_connections.threads[index].clone(),
                all_connections: all_connections.clone(),
                options: options.clone(),
                stopped: stopped.clone(),
            });
            let body = move || thread.run(own_listeners, rpc);
            let name = format!("proxy-{index}");
            threads.push(std::thread::Builder::new().name(name).spawn(body)?);
        }
        Ok(Self { threads, stop })
    }

    /// Stops accepting, closes idle connections, lets calls under way end within the drain time,
    /// and cuts the rest. Blocks until all threads have ended.
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

/// The state that the tasks of one thread share.
struct Thread<A> {
    app: Arc<A>,
    /// The connections of all threads.
    all_connections: Arc<AllConnections>,
    connections: Arc<Connections>,
    options: EdgeOptions,
    stopped: watch::Receiver<bool>,
}

impl<A: ServerApp + Send + Sync + 'static> Thread<A> {
    fn run(self: Arc<Self>, listeners: Vec<TcpListener>, rpc: UnixListener) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime needs only memory and an epoll descriptor");
        runtime.block_on(self.serve(listeners, rpc));
        // Connections that outlived the drain time end here: dropping their calls writes their
        // records.
        runtime.shutdown_background();
    }

    async fn serve(self: Arc<Self>, listeners: Vec<TcpListener>, rpc: UnixListener) {
        let worker = &self.connections.shared.worker;
        tokio::spawn(worker.durable_notifier().serve());
        tokio::spawn(tick(worker.clone()));
        let limits = TickLimits::new(&self.options);
        tokio::spawn(self.connections.clone().maintain(limits));
        let mut accepting = Vec::new();
        for listener in listeners {
            match AsyncListener::from_std(listener) {
                Ok(listener) => accepting.push(tokio::spawn(self.clone().accept(listener))),
                Err(error) => tracing::error!(%error, "a listener cannot be used by this thread"),
            }
        }
        let rpc = match AsyncUnixListener::from_std(rpc) {
            Ok(listener) => Some(tokio::spawn(self.clone().accept_rpc(listener))),
            Err(error) => {
                tracing::error!(%error, "calls by rpc cannot be taken by this thread");
                None
            }
        };
        let mut stopped = self.stopped.clone();
        // The sender lives as long as the edge. An error means that it is gone, which is a stop
        // too.
        let _ = stopped.wait_for(|stopped| *stopped).await;
        if let Some(rpc) = rpc {
            rpc.abort();
        }
        for task in accepting {
            // An error is a panic of the task, which the log has.
            let _ = task.await;
        }
        // Not by the framework, which would drop heads that are partly received.
        self.connections.drain();
        let drain = tokio::time::timeout(self.options.drain, self.connections.gone());
        if drain.await.is_err() {
            let connections = self.connections.active();
            tracing::warn!(connections, "the drain time is over, connections are cut");
            self.connections.each(Connection::cut);
            // A task that does not even end when cut is dropped with the runtime.
            let _ = tokio::time::timeout(Duration::from_secs(1), self.connections.gone()).await;
        }
    }

    async fn accept(self: Arc<Self>, listener: AsyncListener) {
        let mut stopped = self.stopped.clone();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stopped.wait_for(|stopped| *stopped) => break,
            };
            match accepted {
                Ok((stream, peer)) => self.admit_caller(stream, peer),
                Err(error) => not_accepted(&error).await,
            }
        }
        // Callers in the kernel's queue may have sent part of a head already.
        let Ok(listener) = listener.into_std() else {
            return;
        };
        for (stream, peer) in std::iter::from_fn(|| listener.accept().ok()).take(MAX_BACKLOG) {
            let ready = stream.set_nonblocking(true);
            if let Ok(stream) = ready.and_then(|()| TcpStream::from_std(stream)) {
                self.admit_caller(stream, peer);
            }
        }
    }

    fn admit_caller(&self, stream: TcpStream, peer: SocketAddr) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection was gone before it was served");
        }
        let caller = Caller::new(peer.ip().into());
        self.admit(stream, Some(peer), Origin::Caller(caller));
    }

    async fn accept_rpc(self: Arc<Self>, listener: AsyncUnixListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => self.admit(stream, None, Origin::Rpc),
                Err(error) => not_accepted(&error).await,
            }
        }
    }

    /// Serves a connection in a task of its own, or closes it if there are too many.
    fn admit(&self, stream: impl Socket, peer: Option<SocketAddr>, origin: Origin) {
        let Some(permit) = self.all_connections.permit(peer.map(|peer| peer.ip())) else {
            return;
        };
        let descriptor = stream.as_raw_fd();
        let connection = Arc::new(Connection::new(
            Box::new(stream),
            self.connections.shared.clone(),
            origin,
        ));
        let guard = self.connections.register(&connection, permit);
        let stream = CallerStream::new(connection.clone(), descriptor, peer);
        let (app, stopped) = (self.app.clone(), self.stopped.clone());
        let socket = SocketGuard(connection.clone());
        let limit = self.options.write_timeout;
        let serving = async move {
            let _guard = guard;
            let socket = socket;
            let mut next = app.process_new(Box::new(stream), &stopped).await;
            while let Some(stream) = next {
                next = app.process_new(stream, &stopped).await;
            }
            socket.finish(limit).await;
        };
        tokio::spawn(Cuttable::new(connection, serving));
    }
}

/// Logs a failure to accept and waits: the process is out of descriptors or memory until other
/// connections end.
async fn not_accepted(error: &io::Error) {
    tracing::warn!(%error, "a connection could not be accepted");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// Calls [`Worker::tick`] once a second, for ever.
async fn tick(worker: Arc<Worker>) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    loop {
        seconds.tick().await;
        worker.tick();
    }
}
