//! Where Redis is and how long it may take.

use std::time::Duration;

use crate::address::Address;
use crate::error::Error;

/// How Redis is used.
#[derive(Clone)]
pub struct CoordinatorOptions {
    /// `redis://`, `rediss://` or `redis+unix://` of one server, `redis+sentinel://` or `rediss+sentinel://` of its
    /// Sentinels, or several of a Cluster. They may hold passwords.
    pub urls: Vec<String>,
    /// What all names begin with, so that several stores can share one Redis.
    pub namespace: String,
    /// Longest time of a command.
    pub timeout: Duration,
    /// Longest time of making a connection, from asking a Sentinel to the first answer.
    pub connect_timeout: Duration,
    /// Time between two looks at a connection that is not used.
    pub heartbeat: Duration,
    /// Longest pause between two tries of a connection that failed.
    pub longest_pause: Duration,
}

impl CoordinatorOptions {
    /// For these servers, with the usual bounds.
    #[must_use]
    pub fn new(urls: Vec<String>, namespace: &str) -> Self {
        Self {
            urls,
            namespace: namespace.to_owned(),
            timeout: Duration::from_millis(100),
            connect_timeout: Duration::from_secs(1),
            heartbeat: Duration::from_secs(1),
            longest_pause: Duration::from_secs(2),
        }
    }
}

impl CoordinatorOptions {
    /// Whether the URLs can be meant, without asking anybody.
    ///
    /// # Errors
    /// [`Error::Url`] for what cannot be read.
    pub fn check(&self) -> Result<(), Error> {
        Address::parse(&self.urls).map(drop)
    }
}

impl std::fmt::Debug for CoordinatorOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CoordinatorOptions")
            .field("urls", &format_args!("{} redacted", self.urls.len()))
            .field("namespace", &self.namespace)
            .field("timeout", &self.timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("heartbeat", &self.heartbeat)
            .field("longest_pause", &self.longest_pause)
            .finish()
    }
}
