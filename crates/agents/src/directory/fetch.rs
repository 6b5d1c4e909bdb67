//! What a fetch of a directory may bring.
//!
//! Whoever fetches does not follow redirects, gives up after [`MAX_TIME`], reads no more than
//! [`KeySet::MAX_BYTES`] of the decoded body, and connects to no private address.

use std::time::Duration;

use crate::directory_url::{DirectoryKind, DirectoryUrl};
use crate::web_bot_auth::{KeySet, KeySetError};

/// The longest time for a fetch, from the look-up of the name to the end of the body.
pub const MAX_TIME: Duration = Duration::from_secs(5);
/// The type of a directory at its well-known place, which is the value of `Accept`, too.
pub const MEDIA_TYPE: &str = "application/http-message-signatures-directory+json";

/// A directory that came.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The keys.
    pub keys: KeySet,
    /// The time for which it holds, as it says; `None`: it does not say.
    pub max_age: Option<Duration>,
}

/// The reason why a directory did not come.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchFailure {
    /// It could not be reached. The text says why, for logs. Blame: the agent, or the network.
    #[error("the directory could not be fetched: {0}")]
    Unreachable(String),
    /// Its server answered with another status than 200; a redirect is one, too. Blame: the agent.
    #[error("the directory was answered with status {0}, and only 200 is taken")]
    Status(u16),
    /// It has another type. Blame: the agent.
    #[error("the directory is not of the type `{MEDIA_TYPE}`")]
    MediaType,
    /// It is no set of keys, or too large. Blame: the agent.
    #[error(transparent)]
    Keys(#[from] KeySetError),
}

/// The answer of a server to the request for a directory.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The status.
    pub status: u16,
    /// The value of `Content-Type`; `None`: there is none.
    pub media_type: Option<&'a str>,
    /// The value of `Cache-Control`; `None`: there is none.
    pub cache_control: Option<&'a str>,
    /// The body, decoded, up to one byte more than [`KeySet::MAX_BYTES`].
    pub body: &'a [u8],
}

impl Answer<'_> {
    /// Reads the answer as the directory that was asked for.
    ///
    /// # Errors
    /// Any answer that is no directory.
    pub fn read(&self, directory: &DirectoryUrl) -> Result<Fetched, FetchFailure> {
        if self.status != 200 {
            return Err(FetchFailure::Status(self.status));
        }
        let essence = self.media_type.and_then(|value| value.split(';').next());
        let is_directory =
            essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case(MEDIA_TYPE));
        if directory.kind() == DirectoryKind::WellKnown && !is_directory {
            return Err(FetchFailure::MediaType);
        }
        Ok(Fetched {
            keys: KeySet::read(self.body)?,
            max_age: self.cache_control.and_then(max_age),
        })
    }
}

/// Returns for how long an answer holds (RFC 9111, section 5.2.2), none for one that is not kept.
fn max_age(cache_control: &str) -> Option<Duration> {
    let directives = || cache_control.split(',').map(str::trim);
    let is_kept = |directive: &str| {
        !directive.eq_ignore_ascii_case("no-store") && !directive.eq_ignore_ascii_case("no-cache")
    };
    if !directives().all(is_kept) {
        return Some(Duration::ZERO);
    }
    directives().find_map(|directive| {
        let (name, value) = directive.split_once('=')?;
        let seconds = value.trim_matches('"').parse().ok()?;
        name.eq_ignore_ascii_case("max-age")
            .then(|| Duration::from_secs(seconds))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_holds_for_as_long_as_it_says() {
        for (value, seconds) in [
            ("max-age=86400", Some(86_400)),
            ("public, Max-Age=\"60\"", Some(60)),
            ("max-age=60, no-store", Some(0)),
            ("no-cache", Some(0)),
            ("public", None),
            ("max-age=-1", None),
        ] {
            assert_eq!(max_age(value), seconds.map(Duration::from_secs), "{value}");
        }
    }
}
