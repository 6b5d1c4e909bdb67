//! The errors of a Redis for which a gate does not start.

impl Error {
    /// Returns what is wrong, without the key of the configuration that it is about.
    #[must_use]
    pub fn detail(&self) -> String {
        let text = self.to_string();
        text.strip_prefix("[redis] url: ")
            .map_or(text.clone(), str::to_owned)
    }
}

/// A fault of the Redis that the configuration names. All of them are for the operator to mend. A
/// Redis that does not answer is no error: it is a cache, and is used as soon as it answers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is no URL of a Redis.
    #[error("[redis] url: {0}")]
    Url(String),
    /// The user lacks rights that are needed.
    #[error(
        "[redis] url: {server} does not give the user these rights: {rights}; give them with `ACL SETUSER`, docs/redis.md has the whole line"
    )]
    NotPermitted {
        /// The name of the server, without the password.
        server: String,
        /// The rights that are missing, as `ACL SETUSER` names them.
        rights: String,
    },
    /// The user or the password is wrong.
    #[error("[redis] url: {server} refuses the user or the password: {reason}")]
    Denied {
        /// The name of the server, without the password.
        server: String,
        /// The answer of the server.
        reason: String,
    },
    /// The server is older than what is needed.
    #[error("[redis] url: {server} is Redis {found}: use {oldest} or newer")]
    TooOld {
        /// The name of the server, without the password.
        server: String,
        /// The version of the server.
        found: String,
        /// The oldest version that can be used.
        oldest: &'static str,
    },
    /// The server evicts keys, counts of rate windows among them, when its memory is full.
    #[error(
        "[redis] url: {server} has `maxmemory-policy {policy}`, by which it throws keys away when its memory is full: set it to `noeviction`, and `maxmemory` high enough"
    )]
    Evicts {
        /// The name of the server, without the password.
        server: String,
        /// The eviction policy of the server.
        policy: String,
    },
    /// The server is not what the URL says, such as no Cluster, or no Redis at all.
    #[error("[redis] url: {server} cannot be used: {reason}")]
    Unfit {
        /// The name of the server, without the password.
        server: String,
        /// What is wrong and what to do.
        reason: String,
    },
}
