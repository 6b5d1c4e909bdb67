//! The answer to a request.

use std::time::Duration;

use http::{HeaderMap, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// An answer whose head came. Its connection is closed when it is dropped.
pub struct Reply {
    response: Response<Incoming>,
    _driver: Driver,
}

/// The body of an answer, as far as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// What came, at most as many bytes as were asked for.
    pub bytes: Vec<u8>,
    /// Whether this is all.
    pub is_whole: bool,
}

/// The task that reads and writes a connection. Dropping it closes the connection.
pub(crate) struct Driver(pub(crate) JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Reply {
    pub(crate) const fn new(response: Response<Incoming>, driver: Driver) -> Self {
        Self {
            response,
            _driver: driver,
        }
    }

    /// Returns the status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// Returns the headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Reads the body: up to `max` bytes of what comes within a time.
    pub async fn body(self, max: usize, within: Duration) -> Body {
        let mut incoming = self.response.into_body();
        let mut bytes = Vec::new();
        let end = Instant::now() + within;
        loop {
            let frame = match timeout_at(end, incoming.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                came => {
                    let is_whole = matches!(came, Ok(None));
                    return Body { bytes, is_whole };
                }
            };
            let Some(data) = frame.data_ref() else {
                continue;
            };
            let room = max - bytes.len();
            bytes.extend_from_slice(&data[..data.len().min(room)]);
            if data.len() > room
                || (bytes.len() == max && !hyper::body::Body::is_end_stream(&incoming))
            {
                return Body {
                    bytes,
                    is_whole: false,
                };
            }
        }
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}
