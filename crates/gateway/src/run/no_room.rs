//! A start for which the disk has no room. The gate lives, listens, and refuses every call with 503
//! until there is room, and then goes on by itself. If it ended instead, every caller's connection
//! would be refused, and somebody would have to start it again.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use model::{CallId, Refusal};
use rustix::fs::FallocateFlags;
use telemetry::Metrics;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::observe::{Readiness, State};
use crate::start_error::StartError;

/// The bytes that the store takes beside the journal.
const STORE_BYTES: u64 = 1 << 20;
/// The interval at which the disk is checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The number of checks after which the log repeats why nothing is served.
const CHECKS_PER_REMINDER: u64 = 60;
/// The time that a connection may take for its one call.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// The number of connections at once on each listener; further ones are closed when they arrive.
const MAX_CONNECTIONS: usize = 1_024;

/// The disk space that a start needs, and the places where a lack of it is reported.
pub(super) struct Room<'a> {
    /// The directory of the gate's data.
    pub(super) data_dir: &'a Path,
    /// The bytes that the journal takes when it is created.
    pub(super) journal: u64,
    /// The listeners of the data plane.
    pub(super) listeners: &'a [TcpListener],
    /// The metrics that count refused calls.
    pub(super) metrics: &'a Arc<Metrics>,
    /// The readiness that names the reason.
    pub(super) readiness: &'a Readiness,
}

impl Room<'_> {
    /// Returns whether a start may have failed for lack of room.
    pub(super) fn is_missing(&self) -> bool {
        is_full(self.data_dir, self.needed())
    }

    /// Refuses calls until there is room.
    pub(super) async fn wait(&self, error: &StartError) -> Result<(), StartError> {
        let needed = self.needed() >> 20;
        let why =
            format!("no room for a start, which takes {needed} MiB: free some space ({error})");
        self.readiness.set(State::Refusing(why.clone()));
        let _refusing = RefusingListeners::on(self.listeners, self.metrics).map_err(|error| {
            StartError::Files {
                path: "the listeners".to_owned(),
                error,
            }
        })?;
        let mut checks = 0;
        while self.is_missing() {
            if checks % CHECKS_PER_REMINDER == 0 {
                tracing::error!(data_dir = %self.data_dir.display(), "{why}; calls are refused until then");
            }
            checks += 1;
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
        self.readiness.set(State::Closed);
        tracing::info!("there is room again, the start goes on");
        Ok(())
    }

    const fn needed(&self) -> u64 {
        self.journal + STORE_BYTES
    }
}

/// Returns whether `bytes` cannot be had on the disk of `directory`. This is tried by taking them
/// for a moment, because not all that a file system reports as free can be had. If it cannot be
/// tried, it is no reason to wait.
fn is_full(directory: &Path, bytes: u64) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    let taken = tempfile::tempfile_in(directory).and_then(|file| {
        let none = FallocateFlags::empty();
        rustix::fs::fallocate(&file, none, 0, bytes).map_err(io::Error::from)
    });
    taken.is_err_and(|error| matches!(error.kind(), StorageFull | QuotaExceeded))
}

/// The tasks that answer every call with 503, until this is dropped.
struct RefusingListeners(Vec<JoinHandle<()>>);

impl RefusingListeners {
    fn on(listeners: &[TcpListener], metrics: &Arc<Metrics>) -> io::Result<Self> {
        let mut tasks = Self(Vec::new());
        for listener in listeners {
            let listener = listener.try_clone()?;
            listener.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(listener)?;
            tasks.0.push(tokio::spawn(take(listener, metrics.clone())));
        }
        Ok(tasks)
    }
}

impl Drop for RefusingListeners {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

async fn take(listener: tokio::net::TcpListener, metrics: Arc<Metrics>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(CHECK_INTERVAL).await;
            continue;
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            continue;
        };
        let metrics = metrics.clone();
        tokio::spawn(async move {
            let _place = place;
            // Callers that are slow or gone are not reported.
            let _ = tokio::time::timeout(CALL_TIMEOUT, answer(stream, metrics)).await;
        });
    }
}

async fn answer(stream: TcpStream, metrics: Arc<Metrics>) -> hyper::Result<()> {
    let service = service_fn(move |_: Request<Incoming>| {
        let app = 0;
        metrics
            .shard(0)
            .refused(app, Refusal::JournalUnavailable as u8);
        std::future::ready(Ok::<_, Infallible>(refusal()))
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

/// Returns the answer of a gate whose disk has become full while it served.
fn refusal() -> Response<Full<Bytes>> {
    let (refusal, call_id) = (Refusal::JournalUnavailable, CallId::generate());
    let body = serde_json::json!({
        "type": "about:blank",
        "title": refusal.title(),
        "status": refusal.status(),
        "code": refusal.code(),
        "call_id": call_id,
    });
    Response::builder()
        .status(refusal.status())
        .header("Content-Type", "application/problem+json")
        .header("Cache-Control", "no-store")
        .header("Retry-After", "1")
        .header("Tallygate-Call-Id", call_id.to_string())
        .body(Full::new(Bytes::from(body.to_string())))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_full_only_for_what_it_cannot_take() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        assert!(!is_full(folder.path(), 1 << 16));
        // A folder that is gone is no lack of room.
        assert!(!is_full(&folder.path().join("gone"), 1));
    }
}
