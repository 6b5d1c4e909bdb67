//! Streamed answers, written as fast as their reader takes them.

use std::io;

use axum::body::{Body, Bytes};
use futures_util::stream;
use tokio::sync::mpsc;

/// The number of chunks that may wait for the reader.
const MAX_QUEUED_CHUNKS: usize = 8;

/// The writing end of a streamed answer.
pub(crate) type ChunkSender = mpsc::Sender<io::Result<Bytes>>;

/// Returns a body and the end that its chunks are written to. An error that is sent cuts the
/// connection, so that the reader sees that the answer is not whole. `send` fails once the reader
/// is gone.
pub(crate) fn channel() -> (ChunkSender, Body) {
    let (sender, mut receiver) = mpsc::channel(MAX_QUEUED_CHUNKS);
    let chunks = stream::poll_fn(move |context| receiver.poll_recv(context));
    (sender, Body::from_stream(chunks))
}

/// A writer of JSON lines to a streamed answer, which sends them in chunks of [`CHUNK_BYTES`] or
/// more.
pub(crate) struct Lines {
    chunks: ChunkSender,
    buffer: Vec<u8>,
}

/// The size at which a chunk is sent, in bytes.
const CHUNK_BYTES: usize = 32 * 1_024;

/// The error of a reader that is gone.
pub(crate) struct ReaderGone;

impl Lines {
    pub(crate) fn new(chunks: ChunkSender) -> Self {
        Self {
            chunks,
            buffer: Vec::with_capacity(2 * CHUNK_BYTES),
        }
    }

    /// Writes a value as one line of JSON.
    pub(crate) async fn push(&mut self, value: &impl serde::Serialize) -> Result<(), ReaderGone> {
        serde_json::to_writer(&mut self.buffer, value).expect("answers are plain data");
        self.buffer.push(b'\n');
        if self.buffer.len() >= CHUNK_BYTES {
            self.flush().await
        } else {
            Ok(())
        }
    }

    /// Sends the lines that are buffered.
    pub(crate) async fn flush(&mut self) -> Result<(), ReaderGone> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.buffer, Vec::with_capacity(2 * CHUNK_BYTES));
        self.chunks
            .send(Ok(Bytes::from(chunk)))
            .await
            .map_err(|_| ReaderGone)
    }

    /// Ends the answer with an error, so that the reader sees that it is not whole.
    pub(crate) async fn fail(self, cause: impl std::fmt::Display) {
        fail(&self.chunks, cause).await;
    }
}

/// Ends an answer with an error, so that the reader sees that it is not whole. The cause is logged.
pub(crate) async fn fail(chunks: &ChunkSender, cause: impl std::fmt::Display) {
    tracing::warn!(error = %cause, "a streamed answer was cut");
    // The error of a reader that is gone does not matter.
    let _ = chunks
        .send(Err(io::Error::other("the answer could not be completed")))
        .await;
}
