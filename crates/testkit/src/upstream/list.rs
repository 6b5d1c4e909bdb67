//! The upstream's list of the requests that came and the answers that were sent.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use serde_json::json;

use crate::wire;

/// A request as the upstream saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServedRequest {
    /// The number of the arrival, from 0.
    pub sequence: usize,
    /// The number of the connection, from 0.
    pub connection: usize,
    /// The `Tallygate-Call-Id` of the request.
    pub call_id: Option<String>,
    /// The method.
    pub method: String,
    /// The path and the query, as sent.
    pub target: String,
    /// The headers, as sent.
    pub headers: Vec<(String, String)>,
    /// The number of bytes of the request's body that were read.
    pub body_bytes: u64,
    /// The status that was sent, once its line was written.
    pub status: Option<u16>,
    /// Whether the whole answer was handed to the kernel.
    pub complete: bool,
}

impl ServedRequest {
    /// Returns the value of the first header of a name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        wire::header(&self.headers, name)
    }

    fn to_line(&self) -> String {
        let mut line = json!({
            "sequence": self.sequence, "connection": self.connection, "call_id": self.call_id, "method": self.method,
            "target": self.target, "headers": self.headers, "body_bytes": self.body_bytes, "status": self.status,
            "complete": self.complete,
        })
        .to_string();
        line.push('\n');
        line
    }
}

#[derive(Debug)]
pub(super) struct ServedRequests {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: Vec<ServedRequest>,
    // The sequence number of the first entry; those before it were taken.
    first: usize,
    log: Option<File>,
}

impl ServedRequests {
    pub(super) fn new(log: Option<&Path>) -> Self {
        let open = |path| {
            File::options()
                .create(true)
                .append(true)
                .open(path)
                .expect("the upstream's log can be opened")
        };
        Self {
            inner: Mutex::new(Inner {
                log: log.map(open),
                ..Inner::default()
            }),
        }
    }

    /// Adds a request that has just arrived and returns its sequence number.
    pub(super) fn arrived(&self, mut served: ServedRequest) -> usize {
        let mut inner = self.lock();
        served.sequence = inner.first + inner.entries.len();
        let sequence = served.sequence;
        inner.write(&served);
        inner.entries.push(served);
        sequence
    }

    /// Changes an entry. One that was taken meanwhile is left alone.
    pub(super) fn change(&self, sequence: usize, change: impl FnOnce(&mut ServedRequest)) {
        let mut inner = self.lock();
        let Some(at) = sequence.checked_sub(inner.first) else {
            return;
        };
        let Some(entry) = inner.entries.get_mut(at) else {
            return;
        };
        change(entry);
        if inner.log.is_some() {
            let changed = inner.entries[at].clone();
            inner.write(&changed);
        }
    }

    pub(super) fn all(&self) -> Vec<ServedRequest> {
        self.lock().entries.clone()
    }

    pub(super) fn take(&self) -> Vec<ServedRequest> {
        let mut inner = self.lock();
        inner.first += inner.entries.len();
        std::mem::take(&mut inner.entries)
    }

    pub(super) fn len(&self) -> usize {
        self.lock().entries.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder of the list panics")
    }
}

impl Inner {
    fn write(&mut self, served: &ServedRequest) {
        if let Some(log) = &mut self.log {
            log.write_all(served.to_line().as_bytes())
                .expect("the upstream's log can be written");
        }
    }
}
