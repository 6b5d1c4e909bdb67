//! Streamed answers, which are written as fast as their reader takes them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use http_body::Frame;
use tokio::sync::mpsc;

/// The number of pieces that may wait for the reader.
const PIECES: usize = 8;

/// The writing end of a streamed answer.
pub(crate) type Pieces = mpsc::Sender<io::Result<Bytes>>;

/// The body of a streamed answer: the reading end of [`Pieces`].
struct Streamed(mpsc::Receiver<io::Result<Bytes>>);

/// Returns a body and the end that its pieces are written to. An error that is sent cuts the
/// connection, so that the reader sees that the answer is not whole. `send` fails once the reader
/// is gone.
pub(crate) fn channel() -> (Pieces, Body) {
    let (sender, receiver) = mpsc::channel(PIECES);
    (sender, Body::new(Streamed(receiver)))
}

impl HttpBody for Streamed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0
            .poll_recv(context)
            .map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

/// A writer of JSON lines to a streamed answer, which sends them in pieces of [`PIECE`] bytes or
/// more.
pub(crate) struct Lines {
    pieces: Pieces,
    buffer: Vec<u8>,
}

/// The size at which a piece is sent, in bytes.
const PIECE: usize = 32 * 1_024;

/// The error of a reader that is gone.
pub(crate) struct Gone;

impl Lines {
    pub(crate) fn new(pieces: Pieces) -> Self {
        Self {
            pieces,
            buffer: Vec::with_capacity(2 * PIECE),
        }
    }

    /// Writes a value as one line of JSON.
    pub(crate) async fn push(&mut self, value: &impl serde::Serialize) -> Result<(), Gone> {
        serde_json::to_writer(&mut self.buffer, value).expect("answers are plain data");
        self.buffer.push(b'\n');
        if self.buffer.len() >= PIECE {
            self.flush().await
        } else {
            Ok(())
        }
    }

    /// Sends the lines that are buffered.
    pub(crate) async fn flush(&mut self) -> Result<(), Gone> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(2 * PIECE));
        self.pieces
            .send(Ok(Bytes::from(piece)))
            .await
            .map_err(|_| Gone)
    }

    /// Ends the answer with an error, so that the reader sees that it is not whole.
    pub(crate) async fn fail(self, cause: impl std::fmt::Display) {
        fail(&self.pieces, cause).await;
    }
}

/// Ends an answer with an error, so that the reader sees that it is not whole. The cause is logged.
pub(crate) async fn fail(pieces: &Pieces, cause: impl std::fmt::Display) {
    tracing::warn!(error = %cause, "a streamed answer was cut");
    // A reader that went away needs no telling.
    let _ = pieces
        .send(Err(io::Error::other("the answer could not be completed")))
        .await;
}
