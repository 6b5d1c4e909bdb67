//! The connection to the internal listener of the data plane, one for each call.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::response::Parts;
use axum::http::{HeaderMap, Request};
use gate::rpc;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::protocol::mount::AbortOnDrop;

/// An answer of the data plane, whose body is still to come. Dropping it closes the connection, as
/// a caller does who leaves.
pub(super) struct Answer {
    head: Parts,
    body: Relayed,
}

/// A body with the connection that it arrives over.
pub(super) struct Relayed {
    body: Incoming,
    _connection: AbortOnDrop<()>,
}

/// Sends a request over a new connection. Dropping the future closes the connection.
///
/// # Errors
/// Returns an error if the listener cannot be reached, or if the connection ends before the answer.
pub(super) async fn send(socket: &Path, request: Request<Body>) -> io::Result<Answer> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let connection = AbortOnDrop(tokio::spawn(async move {
        // The data plane closes a connection after some answers. An answer that was cut short shows
        // in its body.
        let _ = connection.await;
    }));
    let response = sender.send_request(request).await;
    let (head, body) = response.map_err(io::Error::other)?.into_parts();
    let body = Relayed {
        body,
        _connection: connection,
    };
    Ok(Answer { head, body })
}

impl Answer {
    /// Returns the code of the gate's refusal; `None` if the answer is none.
    pub(super) fn refusal(&self) -> Option<&str> {
        self.header(rpc::REFUSAL.as_str())
    }

    /// Returns the id of the call.
    pub(super) fn call_id(&self) -> &str {
        self.header("tallygate-call-id").unwrap_or_default()
    }

    pub(super) const fn status(&self) -> axum::http::StatusCode {
        self.head.status
    }

    pub(super) const fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let value = self.head.headers.get(name)?;
        value.to_str().ok()
    }

    pub(super) fn into_body(self) -> Relayed {
        self.body
    }
}

impl HttpBody for Relayed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
