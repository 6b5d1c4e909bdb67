//! Why a gate does not start with a Redis.

impl Error {
    /// What is wrong, without the key of the configuration that it is about.
    #[must_use]
    pub fn detail(&self) -> String {
        let text = self.to_string();
        text.strip_prefix("[redis] url: ")
            .map_or(text.clone(), str::to_owned)
    }
}

/// What is wrong with the Redis that the configuration names. All of it is the operator's to mend. A Redis that does not
/// answer is no error: it is a cache, and is used once it does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is no URL of a Redis.
    #[error("[redis] url: {0}")]
    Url(String),
    /// The user may not do what is needed.
    #[error(
        "[redis] url: {server} does not give the user these rights: {rights}; give them with `ACL SETUSER`, docs/redis.md has the whole line"
    )]
    NotPermitted {
        /// Which server, without the password.
        server: String,
        /// What is missing, as `ACL SETUSER` names it.
        rights: String,
    },
    /// User or password is wrong.
    #[error("[redis] url: {server} refuses the user or the password: {reason}")]
    Denied {
        /// Which server, without the password.
        server: String,
        /// What it said.
        reason: String,
    },
    /// It is older than what is needed.
    #[error("[redis] url: {server} is Redis {found}: use {oldest} or newer")]
    TooOld {
        /// Which server.
        server: String,
        /// Its version.
        found: String,
        /// The oldest that serves.
        oldest: &'static str,
    },
    /// It throws away what is kept in it, counts of rate windows among it, when its memory is full.
    #[error(
        "[redis] url: {server} has `maxmemory-policy {policy}`, by which it throws keys away when its memory is full: set it to `noeviction`, and `maxmemory` high enough"
    )]
    Evicts {
        /// Which server.
        server: String,
        /// Its policy.
        policy: String,
    },
    /// It is not what the URL says, such as no Cluster, or no Redis at all.
    #[error("[redis] url: {server} cannot be used: {reason}")]
    Unfit {
        /// Which server.
        server: String,
        /// What is wrong and what to do.
        reason: String,
    },
}
