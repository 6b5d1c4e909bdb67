//! The upstream's own list of what it was asked and what it said.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use serde_json::json;

use crate::wire;

/// One request as the upstream saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Counts arrivals, from 0.
    pub sequence: usize,
    /// Which connection it came on, counted from 0.
    pub connection: usize,
    /// The `Tallygate-Call-Id` it carried.
    pub call_id: Option<String>,
    /// The request's method.
    pub method: String,
    /// Path and query as sent.
    pub target: String,
    /// Every header as sent.
    pub headers: Vec<(String, String)>,
    /// Bytes of the request's body that were read.
    pub body_bytes: u64,
    /// The status that was sent, once its line was written.
    pub status: Option<u16>,
    /// Whether the whole answer was handed to the kernel.
    pub complete: bool,
}

impl Served {
    /// The value of the first header of that name.
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
pub(super) struct ServedList {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: Vec<Served>,
    // Sequence number of the first entry: what came before it was taken.
    first: usize,
    log: Option<File>,
}

impl ServedList {
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

    /// Adds a request that has just arrived and gives its sequence number.
    pub(super) fn arrived(&self, mut served: Served) -> usize {
        let mut inner = self.lock();
        served.sequence = inner.first + inner.entries.len();
        let sequence = served.sequence;
        inner.write(&served);
        inner.entries.push(served);
        sequence
    }

    /// Changes an entry; one that was taken meanwhile is left alone.
    pub(super) fn change(&self, sequence: usize, change: impl FnOnce(&mut Served)) {
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

    pub(super) fn all(&self) -> Vec<Served> {
        self.lock().entries.clone()
    }

    pub(super) fn take(&self) -> Vec<Served> {
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
    fn write(&mut self, served: &Served) {
        if let Some(log) = &mut self.log {
            log.write_all(served.to_line().as_bytes())
                .expect("the upstream's log can be written");
        }
    }
}
