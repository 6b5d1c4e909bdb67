//! Plain connections to upstreams, as Pingora reads and writes them during one call.
//!
//! Pingora keeps an unused connection with a task, two channels and a timer of its own, asks the
//! kernel who is at its other end before it is used again, and sets a timer for each wait. That is
//! 7 % of what a call costs, so plain connections are kept by [`IdleSockets`](super::IdleSockets)
//! and timed by ticks (`docs/decisions/0006-own-upstream-connections.md`). Those with TLS, which
//! cost more anyway, are left to Pingora.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use pingora::connectors::L4Connect;
use pingora::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora::{Error, ErrorType};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::connection::Connection;
use crate::failure::internal;
use crate::ticks::ticks_in;
use crate::upstream::PoolOptions;

/// A connector of calls to one upstream, by a connection that is open and unused or by a new one.
#[derive(Debug)]
pub(crate) struct Dialer {
    connect_timeout: Duration,
    /// The ticks for which an upstream may be silent while it is awaited.
    read_limit: u64,
    /// The ticks for which an unused connection is kept.
    idle_limit: u64,
}

/// A plain connection to an upstream during one call.
#[derive(Debug)]
struct UpstreamSocket {
    /// The socket; `None` once it is given back.
    socket: Option<TcpStream>,
    address: SocketAddr,
    connection: Arc<Connection>,
    idle_limit: u64,
    /// Whether Pingora found it fit for another call.
    rests: bool,
}

impl Dialer {
    pub(crate) fn new(options: &PoolOptions) -> Self {
        Self {
            connect_timeout: options.connect_timeout,
            read_limit: ticks_in(options.read_timeout),
            idle_limit: ticks_in(options.idle_timeout),
        }
    }
}

#[async_trait]
impl L4Connect for Dialer {
    async fn connect(&self, address: &PeerAddress) -> pingora::Result<Stream> {
        let connection = Connection::current()
            .ok_or_else(|| internal("a call is made outside of its connection's task"))?;
        let address = *address
            .as_inet()
            .ok_or_else(|| internal("an upstream has an internet address"))?;
        let idle = connection.idle_sockets().take(&address, connection.now());
        let reused = idle.is_some();
        let socket = match idle {
            Some(socket) => socket,
            None => connect(address, self.connect_timeout).await?,
        };
        connection
            .upstream_wait()
            .connected(reused, self.read_limit);
        let socket = UpstreamSocket {
            socket: Some(socket),
            address,
            connection,
            idle_limit: self.idle_limit,
            rests: false,
        };
        Ok(VirtualSocketStream::new(Box::new(socket)).into())
    }
}

async fn connect(address: SocketAddr, limit: Duration) -> pingora::Result<TcpStream> {
    let failed = |error: io::Error| {
        let kind = match error.kind() {
            io::ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
            io::ErrorKind::TimedOut => ErrorType::ConnectTimedout,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                ErrorType::ConnectNoRoute
            }
            _ => ErrorType::ConnectError,
        };
        Error::because(kind, "while connecting to an upstream", error)
    };
    let connected = tokio::time::timeout(limit, TcpStream::connect(address)).await;
    let socket = connected
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(failed)?;
    socket.set_nodelay(true).map_err(failed)?;
    Ok(socket)
}

impl UpstreamSocket {
    fn socket(&mut self) -> Pin<&mut TcpStream> {
        Pin::new(
            self.socket
                .as_mut()
                .expect("it is here until it is dropped"),
        )
    }
}

impl AsyncRead for UpstreamSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let poll = self.socket().poll_read(context, buffer);
        let wait = self.connection.upstream_wait();
        if poll.is_ready() {
            wait.bytes_received(self.connection.now());
            return poll;
        }
        // A waker without data is Pingora's check, which does not wait, before it keeps this
        // connection for another call. The connection is silent, as it should be. Pingora is given
        // the end of it, drops it, and so leaves the keeping to us.
        if context.waker().data().is_null() {
            self.rests = true;
            return Poll::Ready(Ok(()));
        }
        if self.connection.awaits_rest_of_request() {
            // The upstream may be waiting for the rest of the request, as we are.
            wait.over();
        } else if wait.lasts_too_long(self.connection.now()) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl AsyncWrite for UpstreamSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.connection.upstream_wait().bytes_sent();
        self.socket().poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.connection.upstream_wait().bytes_sent();
        self.socket().poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().poll_shutdown(context)
    }
}

impl VirtualSocket for UpstreamSocket {
    /// Does nothing: the options are set at the connect, once for all calls.
    fn set_socket_option(&self, _: VirtualSockOpt) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for UpstreamSocket {
    fn drop(&mut self) {
        self.connection.upstream_wait().over();
        if let (true, Some(socket)) = (self.rests, self.socket.take()) {
            let (idle, now) = (self.connection.idle_sockets(), self.connection.now());
            idle.put(self.address, socket, now, self.idle_limit);
        }
    }
}
