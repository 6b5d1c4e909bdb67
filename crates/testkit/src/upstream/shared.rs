//! The state that a scripted upstream shares with its connections.

use std::sync::atomic::AtomicUsize;

use tokio::sync::watch;

use super::list::ServedRequests;

/// The state of a scripted upstream: its list, its counts, and the signals of the test.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) list: ServedRequests,
    pub(super) connections: AtomicUsize,
    /// The number of connections that have not ended.
    pub(super) open: AtomicUsize,
    /// The number of requests after which a connection is closed without notice, so that pooled
    /// connections of the gate become stale.
    pub(super) close_after: Option<usize>,
    /// The number of releases by the test. A held request waits for the next one.
    pub(super) releases: watch::Sender<u64>,
    /// The number of times that the test ended every connection with a request.
    pub(super) breaks: watch::Sender<u64>,
}
