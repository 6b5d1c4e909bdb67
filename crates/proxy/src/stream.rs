//! A caller's connection as Pingora reads and writes it.
//!
//! Leaner than Pingora's own stream, which reads the clock around every wait. It tells the [`Connection`] when the first byte of
//! a head comes, and when the framework answers a head that no call came of.

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::connection::Connection;

/// See the module.
#[derive(Debug)]
pub(crate) struct CallerStream {
    connection: Arc<Connection>,
    descriptor: RawFd,
    digest: Arc<SocketDigest>,
}

impl CallerStream {
    /// A connection from this address; `None` on a Unix socket. `descriptor` is its socket's.
    pub(crate) fn new(
        connection: Arc<Connection>,
        descriptor: RawFd,
        peer: Option<SocketAddr>,
    ) -> Self {
        let digest = SocketDigest::from_raw_fd(descriptor);
        // Empty until now, so this cannot fail; told here, it needs no system call later.
        let _ = digest.peer_addr.set(peer.map(Into::into));
        Self {
            connection,
            descriptor,
            digest: Arc::new(digest),
        }
    }
}

impl AsyncRead for CallerStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let poll = self.connection.with_outlet(|outlet, worker| {
            // Pingora flushes an answer of known length at its end only. Whoever reads has nothing more to write for now, so
            // what is buffered leaves: an answer reaches the caller as it comes.
            if outlet.has_bytes()
                && let Poll::Ready(Err(error)) = outlet.poll_flush(context, worker)
            {
                return Poll::Ready(Err(error));
            }
            outlet.socket()?.poll_read(context, buffer)
        });
        if buffer.filled().len() > before {
            self.connection.bytes_came();
        }
        if poll.is_pending() && self.connection.is_over() {
            return Poll::Ready(Ok(()));
        }
        poll
    }
}

impl AsyncWrite for CallerStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.connection.bytes_leave();
        self.connection
            .with_outlet(|outlet, worker| outlet.poll_write(context, bytes, worker))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.connection.bytes_leave();
        self.connection
            .with_outlet(|outlet, worker| outlet.poll_write_vectored(context, slices, worker))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection
            .with_outlet(|outlet, worker| outlet.poll_flush(context, worker))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection
            .with_outlet(|outlet, worker| outlet.poll_shutdown(context, worker))
    }
}

#[async_trait]
impl Shutdown for CallerStream {
    async fn shutdown(&mut self) {
        if let Err(error) = AsyncWriteExt::shutdown(self).await {
            tracing::debug!(%error, "a connection was gone before it was shut down");
        }
    }
}

impl UniqueID for CallerStream {
    fn id(&self) -> UniqueIDType {
        self.descriptor
    }
}

impl Ssl for CallerStream {}

impl GetTimingDigest for CallerStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for CallerStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for CallerStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(self.digest.clone())
    }
}

impl Peek for CallerStream {}
