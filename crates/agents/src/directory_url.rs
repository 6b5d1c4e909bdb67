//! The URLs at which agents publish their keys.

use std::fmt;
use std::sync::Arc;

use url::Url;

/// The URL at which an agent publishes its keys, which is what identifies it (Web Bot Auth, section
/// "Identifiers and Trust Model"). https, in normal form, at most [`DirectoryUrl::MAX_BYTES`] bytes.
/// Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DirectoryUrl {
    url: Arc<str>,
    kind: DirectoryKind,
}

/// The form in which keys are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DirectoryKind {
    /// A directory at the well-known place of an origin.
    WellKnown,
    /// A set of keys at a URL of its own (`type=jwks_uri`).
    KeySet,
}

/// The reason why a text does not say where keys are. Blame: the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryUrlError {
    /// It is longer than any that is looked at.
    #[error("the URL has {0} bytes, at most {max} are allowed", max = DirectoryUrl::MAX_BYTES)]
    Long(usize),
    /// It is no URL.
    #[error("it is no URL: write such as `https://agent.example`")]
    NotUrl,
    /// It is not https.
    #[error("it is not https")]
    NotHttps,
    /// It has a user name, a query or a fragment.
    #[error("it may not have a user name, a query or a fragment")]
    NotPlain,
    /// It has a path and no type that wants one.
    #[error("it must be an origin without a path, such as `https://agent.example`")]
    NotOrigin,
}

impl DirectoryUrl {
    /// The length of the longest URL, in bytes.
    pub const MAX_BYTES: usize = 1_024;
    /// The path of a directory at its origin.
    pub const WELL_KNOWN: &'static str = "/.well-known/http-message-signatures-directory";

    /// Returns the directory of an origin, such as `https://agent.example`; a slash at its end is
    /// let through.
    ///
    /// # Errors
    /// Anything that is no https origin.
    pub fn of_origin(text: &str) -> Result<Self, DirectoryUrlError> {
        let mut url = plain(text)?;
        if !matches!(url.path(), "" | "/") {
            return Err(DirectoryUrlError::NotOrigin);
        }
        url.set_path(Self::WELL_KNOWN);
        Self::new(url.as_str(), DirectoryKind::WellKnown)
    }

    /// Returns the directory that is a set of keys at this URL. A query is refused: with one, an
    /// agent could give one set of keys as many names as it likes.
    ///
    /// # Errors
    /// Anything that is no https URL without a query.
    pub fn of_key_set(text: &str) -> Result<Self, DirectoryUrlError> {
        let url = plain(text)?;
        Self::new(url.as_str(), DirectoryKind::KeySet)
    }

    /// Returns the URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// Returns the form in which the keys are published there.
    #[must_use]
    pub const fn kind(&self) -> DirectoryKind {
        self.kind
    }

    /// Returns the host, without the port.
    #[must_use]
    pub fn host(&self) -> &str {
        let behind = self.url.strip_prefix("https://").unwrap_or(&self.url);
        let authority = behind.split_once('/').map_or(behind, |(host, _)| host);
        match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => authority,
        }
    }

    /// Bounds the normal form: it may be several times as long as what was written.
    fn new(url: &str, kind: DirectoryKind) -> Result<Self, DirectoryUrlError> {
        match url.len() {
            0..=Self::MAX_BYTES => Ok(Self {
                url: url.into(),
                kind,
            }),
            bytes => Err(DirectoryUrlError::Long(bytes)),
        }
    }
}

impl fmt::Display for DirectoryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl fmt::Debug for DirectoryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.url)
    }
}

fn plain(text: &str) -> Result<Url, DirectoryUrlError> {
    if text.len() > DirectoryUrl::MAX_BYTES {
        return Err(DirectoryUrlError::Long(text.len()));
    }
    // A reader of URLs drops blanks and line ends, which another reader may take for something else.
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(DirectoryUrlError::NotUrl);
    }
    let url = Url::parse(text).map_err(|_| DirectoryUrlError::NotUrl)?;
    if url.scheme() != "https" {
        return Err(DirectoryUrlError::NotHttps);
    }
    let has_user = !url.username().is_empty() || url.password().is_some();
    if has_user || url.query().is_some() || url.fragment().is_some() {
        return Err(DirectoryUrlError::NotPlain);
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_origin_has_one_directory_however_it_is_spelled() {
        let expected = "https://agent.example/.well-known/http-message-signatures-directory";
        for text in [
            "https://agent.example",
            "https://agent.example/",
            "HTTPS://Agent.Example:443",
        ] {
            let directory = DirectoryUrl::of_origin(text).expect("an origin");
            assert_eq!(directory.as_str(), expected);
            assert_eq!(directory.kind(), DirectoryKind::WellKnown);
        }
        let other = DirectoryUrl::of_origin("https://agent.example:8443").expect("an origin");
        assert!(other.as_str().starts_with("https://agent.example:8443/"));
    }

    #[test]
    fn what_is_no_origin_is_refused_with_its_reason() {
        use DirectoryUrlError::*;
        let long = format!("https://{}", "a".repeat(DirectoryUrl::MAX_BYTES));
        for (text, reason) in [
            ("http://agent.example", NotHttps),
            ("data:text/plain,x", NotHttps),
            ("agent.example", NotUrl),
            ("https://", NotUrl),
            ("https://agent.example\n", NotUrl),
            ("https://agent.example/keys", NotOrigin),
            ("https://agent.example?a", NotPlain),
            ("https://agent.example#a", NotPlain),
            ("https://user@agent.example", NotPlain),
            (long.as_str(), Long(long.len())),
        ] {
            assert_eq!(DirectoryUrl::of_origin(text), Err(reason), "{text}");
        }
    }

    #[test]
    fn a_key_set_has_a_path_and_no_query() {
        let set = DirectoryUrl::of_key_set("https://agent.example/jwks.json").expect("valid");
        assert_eq!(set.as_str(), "https://agent.example/jwks.json");
        let query = DirectoryUrl::of_key_set("https://agent.example/jwks.json?v=1");
        assert_eq!(query, Err(DirectoryUrlError::NotPlain));
    }

    #[test]
    fn the_bound_is_that_of_the_normal_form() {
        // Each of these is three characters in the normal form.
        let grows = format!("https://agent.example/{}", "\"".repeat(400));
        let refused = DirectoryUrl::of_key_set(&grows);
        assert_eq!(refused, Err(DirectoryUrlError::Long(22 + 3 * 400)));
        let path = "a".repeat(DirectoryUrl::MAX_BYTES - 22);
        assert!(DirectoryUrl::of_key_set(&format!("https://agent.example/{path}")).is_ok());
    }

    #[test]
    fn a_host_has_no_port() {
        for (text, host) in [
            ("https://agent.example", "agent.example"),
            ("https://Agent.example:8443", "agent.example"),
            ("https://[2001:db8::1]", "[2001:db8::1]"),
            ("https://[2001:db8::1]:8443", "[2001:db8::1]"),
        ] {
            assert_eq!(DirectoryUrl::of_origin(text).expect(text).host(), host);
        }
    }
}
