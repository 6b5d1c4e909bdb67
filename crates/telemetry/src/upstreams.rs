//! Counts of failed attempts, by app, upstream and kind.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// The way in which an attempt failed by its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UpstreamFailure {
    /// The upstream took no connection.
    Connect,
    /// The upstream took too long.
    Timeout,
    /// The upstream broke off.
    Broken,
    /// The upstream's answer is not valid HTTP.
    Invalid,
}

impl UpstreamFailure {
    const ALL: [Self; 4] = [Self::Connect, Self::Timeout, Self::Broken, Self::Invalid];

    /// Returns the word for this kind of failure.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Broken => "broken",
            Self::Invalid => "invalid",
        }
    }
}

/// The counts, under a lock: attempts that fail are rare, or slow.
#[derive(Debug, Default)]
pub(crate) struct UpstreamFailures(Mutex<BTreeMap<Upstream, [u64; UpstreamFailure::ALL.len()]>>);

/// An app and one of its upstreams, as the file names them.
type Upstream = (Box<str>, Box<str>);

impl UpstreamFailures {
    /// Shows an upstream from now on, at 0 until it fails.
    pub(crate) fn expect(&self, app: &str, upstream: &str) {
        let key = (app.into(), upstream.into());
        self.0.lock().entry(key).or_default();
    }

    pub(crate) fn count(&self, app: &str, upstream: &str, failure: UpstreamFailure) {
        let key = (app.into(), upstream.into());
        self.0.lock().entry(key).or_default()[failure as usize] += 1;
    }

    /// Calls `visit` with the labels and the value of every count.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(&[(&str, &str)], u64)) {
        for ((app, upstream), counts) in &*self.0.lock() {
            for (failure, count) in UpstreamFailure::ALL.iter().zip(counts) {
                let kind = ("kind", failure.as_str());
                visit(&[("app", app), kind, ("upstream", upstream)], *count);
            }
        }
    }
}
