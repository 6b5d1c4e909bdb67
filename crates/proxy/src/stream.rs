//! The stream of a caller's connection, as Pingora reads and writes it.
//!
//! It costs less than Pingora's own stream, which reads the clock around every wait. It reports to
//! the [`Connection`] the first byte of a head, and the framework's answer to a head that became no
//! call.

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

use crate::connection::{Absence, Connection};
use crate::refused_head::{HeadSize, RefusedHead};
use crate::request_line::RequestLine;

/// The stream of a caller's connection. One per connection, owned by its task.
#[derive(Debug)]
pub(crate) struct CallerStream {
    connection: Arc<Connection>,
    descriptor: RawFd,
    digest: Arc<SocketDigest>,
    /// The bytes that were received while a call was under way.
    ahead: Vec<u8>,
    /// The request line that is being received.
    line: RequestLine,
    /// The size of the head that is being received.
    head: HeadSize,
    /// The answer to the last head, where the framework could not read it.
    refused: Option<RefusedHead>,
}

/// The most bytes that are read ahead during a call. Further ones wait in the kernel.
const MAX_READ_AHEAD: usize = 65_536;
/// The most bytes that are read ahead at a time.
const READ_SIZE: usize = 256;

impl CallerStream {
    /// Returns the stream of a connection. `descriptor` is its socket's; `peer` is `None` on a Unix
    /// socket.
    pub(crate) fn new(
        connection: Arc<Connection>,
        descriptor: RawFd,
        peer: Option<SocketAddr>,
    ) -> Self {
        let digest = SocketDigest::from_raw_fd(descriptor);
        // Empty until now, so this cannot fail. Set here, it needs no system call later.
        let _ = digest.peer_addr.set(peer.map(Into::into));
        Self {
            connection,
            descriptor,
            digest: Arc::new(digest),
            ahead: Vec::new(),
            line: RequestLine::default(),
            head: HeadSize::default(),
            refused: None,
        }
    }
}

impl CallerStream {
    /// Reads while a whole request is being answered. The bytes are for the next call, or show that
    /// the caller is gone. The framework gets none of them: it would take the call for broken.
    fn poll_ahead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let connection = &self.connection;
        let caller = connection.caller();
        loop {
            let absence = caller.absence();
            if caller.is_gone() && absence != Absence::Ignored {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            if caller.has_said_end() && absence == Absence::Ends {
                return Poll::Ready(Ok(()));
            }
            if caller.is_gone() || caller.has_said_end() || self.ahead.len() >= MAX_READ_AHEAD {
                if absence != Absence::Ignored {
                    caller.is_unread();
                }
                return Poll::Pending;
            }
            let mut piece = [0; READ_SIZE];
            let mut piece = ReadBuf::new(&mut piece);
            match connection.poll_socket(context, &mut piece) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => caller.goes(),
                Poll::Ready(Ok(())) if piece.filled().is_empty() => caller.says_end(),
                Poll::Ready(Ok(())) => self.ahead.extend_from_slice(piece.filled()),
            }
        }
    }

    /// Percent-encodes, in the bytes received from `before` on, what a request line may not hold.
    fn encode_line(&mut self, buffer: &mut ReadBuf<'_>, before: usize) {
        if self.connection.is_idle() {
            self.line.begins();
            self.head = HeadSize::default();
        } else if !self.connection.is_in_head() {
            return;
        }
        self.head.add(&buffer.filled()[before..]);
        if let Some(encoded) = self.line.encoded(&buffer.filled()[before..]) {
            buffer.set_filled(before);
            let fits = encoded.len().min(buffer.remaining());
            buffer.put_slice(&encoded[..fits]);
            // The rest is read next, before the bytes that were read ahead.
            self.ahead.splice(0..0, encoded[fits..].iter().copied());
        }
    }

    /// Returns whether the framework refuses a head with the bytes that it is about to write. The
    /// head is then answered here.
    fn refuses_head(&mut self, bytes: &[u8]) -> bool {
        // Nothing is known of a head that was received together with the request before.
        let is_known = self.connection.is_in_head();
        if self.connection.bytes_written() {
            let (size, target) = match is_known {
                true => (self.head, self.line.target_length()),
                false => (HeadSize::default(), 0),
            };
            self.refused = Some(RefusedHead::new(&self.connection, bytes, size, target));
        }
        self.refused.is_some()
    }

    /// Writes the refusal in place of `length` bytes of the framework's.
    fn poll_refusal(
        &mut self,
        context: &mut Context<'_>,
        length: usize,
    ) -> Poll<io::Result<usize>> {
        match &mut self.refused {
            Some(refused) => refused.poll_write(&self.connection, context, length),
            None => Poll::Ready(Ok(length)),
        }
    }

    /// Reads for the framework: first the bytes that were read ahead.
    fn poll_next(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let count = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(&self.ahead[..count]);
            self.ahead.drain(..count);
            return Poll::Ready(Ok(()));
        }
        if self.connection.caller().has_said_end() {
            return Poll::Ready(Ok(()));
        }
        self.connection.poll_socket(context, buffer)
    }
}

impl AsyncRead for CallerStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // Pingora flushes an answer of known length only at its end. A task that reads has nothing
        // more to write for now, so the buffer is flushed: an answer reaches the caller piece by
        // piece.
        let flushed = this
            .connection
            .with_output(|output, worker| match output.has_bytes() {
                true => output.poll_flush(context, worker),
                false => Poll::Pending,
            });
        if let Poll::Ready(Err(error)) = flushed {
            return Poll::Ready(Err(error));
        }
        if this.connection.reads_ahead() {
            return this.poll_ahead(context);
        }
        loop {
            let before = buffer.filled().len();
            let poll = this.poll_next(context, buffer);
            let bytes = &buffer.filled()[before..];
            // Some callers send an empty line after a body, which belongs to nothing (RFC 9112,
            // section 2.2).
            if bytes == b"\r\n" && this.connection.skips_blank_line() {
                buffer.set_filled(before);
                continue;
            }
            if !bytes.is_empty() {
                let count = bytes.len();
                this.encode_line(buffer, before);
                this.connection.bytes_received(count);
            }
            return match poll {
                Poll::Pending => this.connection.poll_wait_over(),
                ready => ready,
            };
        }
    }
}

impl AsyncWrite for CallerStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.refuses_head(bytes) {
            return this.poll_refusal(context, bytes.len());
        }
        let poll = this
            .connection
            .with_output(|output, worker| output.poll_write(context, bytes, worker));
        this.connection.write_polled(&poll, bytes.len());
        poll
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.refuses_head(slices.first().map_or(&[], |slice| slice)) {
            let length = slices.iter().map(|slice| slice.len()).sum();
            return this.poll_refusal(context, length);
        }
        let poll = this
            .connection
            .with_output(|output, worker| output.poll_write_vectored(context, slices, worker));
        let length = slices.iter().map(|slice| slice.len()).sum();
        this.connection.write_polled(&poll, length);
        poll
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = self
            .connection
            .with_output(|output, worker| output.poll_flush(context, worker));
        self.connection.write_polled(&poll, 0);
        poll
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection
            .with_output(|output, worker| output.poll_shutdown(context, worker))
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
