//! The listeners of the control plane, with their limits and the peer of each connection.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use api_types::SOCKET_NAME;
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tower::ServiceExt;

/// The number of connections that a listener serves at once; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 512;
/// The time within which a request's head must have arrived, which is also how long an idle
/// connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The time that requests in progress have to end at shutdown.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// The credentials that a listener asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// No credential: whoever can open the socket has full rights. For the Unix socket of mode 0600
    /// only.
    Local,
    /// A management key on every request.
    Keys {
        /// The networks that may send unencrypted requests, besides loopback.
        plain_http_from: Arc<[IpNet]>,
    },
}

/// A bound listener of either kind.
#[derive(Debug)]
pub enum Listener {
    /// A TCP listener.
    Tcp(TcpListener),
    /// A listener on a Unix socket.
    Unix(UnixListener),
}

/// The peer of a connection; an extension of every request.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// The credentials that are asked for.
    pub(crate) access: Access,
    /// The address of the peer; `None` on a Unix socket.
    pub(crate) address: Option<SocketAddr>,
}

/// Binds the gate's Unix socket with mode 0600, in place of one that another start left behind.
///
/// The socket is bound under another name and renamed, so that nobody can connect before its mode
/// is set, and so that a second process takes over without a gap. Must be called within a tokio
/// runtime.
///
/// # Errors
/// Returns errors of the file system, and an error if the path is longer than a socket's name may
/// be (about 100 bytes).
pub fn bind_socket(data_dir: &Path) -> io::Result<UnixListener> {
    bind_private(data_dir, SOCKET_NAME)
}

/// Binds a Unix socket of this name in the gate's `data_dir`, as [`bind_socket`] does.
///
/// # Errors
/// Returns the errors of [`bind_socket`].
pub fn bind_private(data_dir: &Path, name: &str) -> io::Result<UnixListener> {
    let path = data_dir.join(name);
    let fresh = data_dir.join(format!("{name}.{}", std::process::id()));
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&fresh)?;
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&fresh, &path)?;
    Ok(listener)
}

/// Serves until `shutdown` is done; then takes no more connections, waits up to 5 seconds for the
/// requests in progress, and returns.
///
/// # Panics
/// If a TCP listener is given [`Access::Local`], which would give full rights to everybody.
pub async fn serve(
    listener: impl Into<Listener>,
    router: Router,
    access: Access,
    shutdown: impl Future<Output = ()>,
) {
    let listener = listener.into();
    assert!(
        access != Access::Local || matches!(listener, Listener::Unix(_)),
        "full rights are given on a unix socket only"
    );
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let place = Arc::clone(&places).acquire_owned();
        let next = async {
            let place = place.await.expect("the semaphore is never closed");
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            () = &mut shutdown => break,
            next = next => next,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Most often the file descriptors are used up: give others time to close theirs.
                tracing::warn!(%error, "the API cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let peer = Peer {
            access: access.clone(),
            address,
        };
        let (router, stopped) = (router.clone(), stopped.clone());
        connections.spawn(async move {
            match stream {
                Stream::Tcp(stream) => connection(stream, router, peer, stopped).await,
                Stream::Unix(stream) => connection(stream, router, peer, stopped).await,
            }
            drop(place);
        });
    }
    stop.send_replace(true);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_TIMEOUT, drained).await.is_err() {
        tracing::warn!("requests to the API were cut at shutdown");
    }
}

/// An accepted connection of either kind.
enum Stream {
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream),
}

// === impl Listener ===

impl Listener {
    async fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Stream::Tcp(stream), Some(address)))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Unix(stream), None))
            }
        }
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Self::Unix(listener)
    }
}

/// Serves one connection to its end.
async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    peer: Peer,
    mut stopped: watch::Receiver<bool>,
) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        router.clone().oneshot(request.map(Body::new))
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    let mut serving = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let stop = async move {
        // An error means that the sender is gone, which is a stop as well.
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    let ended = tokio::select! {
        ended = &mut serving => ended,
        () = stop => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the API ended badly");
    }
}
