//! A caller's connection as Pingora reads and writes it.
//!
//! Leaner than Pingora's own stream, which reads the clock around every wait. It tells the [`Connection`] when the first byte of
//! a head comes, and when the framework answers a head that no call came of.

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufWriter, ReadBuf};

use crate::connection::Connection;

/// Head and body of a small answer leave in one write; larger pieces bypass the buffer.
const WRITE_BUFFER: usize = 4_096;

/// See the module.
#[derive(Debug)]
pub(crate) struct CallerStream<S> {
    inner: BufWriter<S>,
    digest: Arc<SocketDigest>,
    connection: Arc<Connection>,
}

/// What a caller's connection is made of.
pub(crate) trait Socket:
    AsyncRead + AsyncWrite + AsRawFd + Debug + Send + Sync + Unpin + 'static
{
}

impl<S: AsyncRead + AsyncWrite + AsRawFd + Debug + Send + Sync + Unpin + 'static> Socket for S {}

impl<S: Socket> CallerStream<S> {
    /// A connection from this address; `None` on a Unix socket.
    pub(crate) fn new(stream: S, peer: Option<SocketAddr>, connection: Arc<Connection>) -> Self {
        let digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
        // Empty until now, so this cannot fail; told here, it needs no system call later.
        let _ = digest.peer_addr.set(peer.map(Into::into));
        let inner = BufWriter::with_capacity(WRITE_BUFFER, stream);
        Self {
            inner,
            digest: Arc::new(digest),
            connection,
        }
    }
}

impl<S: Socket> AsyncRead for CallerStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Pingora flushes an answer of known length at its end only. Whoever reads has nothing more to write for now, so what is
        // buffered leaves: an answer reaches the caller as it comes.
        if !self.inner.buffer().is_empty()
            && let Poll::Ready(Err(error)) = Pin::new(&mut self.inner).poll_flush(context)
        {
            return Poll::Ready(Err(error));
        }
        let before = buffer.filled().len();
        let poll = Pin::new(self.inner.get_mut()).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.connection.bytes_came();
        }
        poll
    }
}

impl<S: Socket> AsyncWrite for CallerStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.connection.bytes_leave();
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.connection.bytes_leave();
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[async_trait]
impl<S: Socket> Shutdown for CallerStream<S> {
    async fn shutdown(&mut self) {
        if let Err(error) = AsyncWriteExt::shutdown(&mut self.inner).await {
            tracing::debug!(%error, "a connection was gone before it was shut down");
        }
    }
}

impl<S: Socket> UniqueID for CallerStream<S> {
    fn id(&self) -> UniqueIDType {
        self.inner.get_ref().as_raw_fd()
    }
}

impl<S: Socket> Ssl for CallerStream<S> {}

impl<S: Socket> GetTimingDigest for CallerStream<S> {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl<S: Socket> GetProxyDigest for CallerStream<S> {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl<S: Socket> GetSocketDigest for CallerStream<S> {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(self.digest.clone())
    }
}

impl<S: Socket> Peek for CallerStream<S> {}
