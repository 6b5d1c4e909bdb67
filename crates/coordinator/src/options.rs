//! The options of the Redis tier: its servers and the limits on their time.

use std::time::Duration;

use crate::address::Address;
use crate::error::Error;

/// Options of the Redis tier.
#[derive(Clone)]
pub struct CoordinatorOptions {
    /// The URLs: `redis://`, `rediss://` or `redis+unix://` of one server, `redis+sentinel://` or
    /// `rediss+sentinel://` of its Sentinels, or several of a Cluster. They may hold passwords.
    pub urls: Vec<String>,
    /// The prefix of all names, so that several stores can share one Redis.
    pub namespace: String,
    /// The timeout of a command \[100 ms\].
    pub timeout: Duration,
    /// The timeout of making a connection, from asking a Sentinel to the first answer \[1 s\].
    pub connect_timeout: Duration,
    /// The time between two probes of a connection that is not used \[1 s\].
    pub heartbeat: Duration,
    /// The longest pause between two tries to connect \[2 s\].
    pub longest_pause: Duration,
}

impl CoordinatorOptions {
    /// Returns the options for these servers, with the default limits.
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
    /// Checks that the URLs can be read, without connecting.
    ///
    /// # Errors
    /// [`Error::Url`] for a URL that cannot be read.
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
