//! The way into the data plane: its internal listener, a connection for each call.

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

use crate::protocol::mount::Ended;

/// An answer of the data plane, its body still to come. Dropping it hangs up, as a caller does who leaves.
pub(super) struct Answer {
    head: Parts,
    body: Relayed,
}

/// A body with the connection that it comes over.
pub(super) struct Relayed {
    body: Incoming,
    _connection: Ended<()>,
}

/// Sends a request. Dropping the future hangs up.
///
/// # Errors
/// The listener cannot be reached, or the connection ends before the answer.
pub(super) async fn send(socket: &Path, request: Request<Body>) -> io::Result<Answer> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let connection = Ended(tokio::spawn(async move {
        // The data plane closes a connection after some answers; what was cut short shows in the body.
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
    /// The code of the gate's refusal, if it is one.
    pub(super) fn refusal(&self) -> Option<&str> {
        self.header(rpc::REFUSAL.as_str())
    }

    /// The identity of the call.
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
