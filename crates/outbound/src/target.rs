//! The place that a URL names.

use std::net::IpAddr;

use url::{Host, Url};

use crate::addresses::is_public;

/// The parts of a URL that a request goes to: `https`, or `http` where that is allowed, without user, password
/// or fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub(crate) is_tls: bool,
    /// The name or address, as a URL writes it; an IPv6 address without its brackets.
    pub(crate) host: String,
    /// The address, if the URL names one instead of a host.
    pub(crate) address: Option<IpAddr>,
    pub(crate) port: u16,
    /// The value of `Host`.
    pub(crate) authority: String,
    /// Path and query.
    pub(crate) path: String,
}

/// The servers that an operator allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TargetRules {
    /// Whether a server may be on a private network, this host included.
    pub allow_private: bool,
    /// Whether a server may do without TLS.
    pub allow_plain: bool,
}

/// The rule that a URL breaks. Blame: caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetInvalid {
    /// It is no URL, or one without a host.
    #[error("this is no URL: write such as `https://example.com/hooks`")]
    Malformed,
    /// It is too long.
    #[error("a URL has at most {max} bytes", max = Target::MAX_URL_BYTES)]
    TooLong,
    /// It is without TLS.
    #[error("the URL must begin with `https://`")]
    Plain,
    /// It has another scheme than HTTP's.
    #[error("the URL must begin with `https://`")]
    Scheme,
    /// It holds a user or a password, which nobody keeps secret in a URL.
    #[error("a URL must hold no user and no password: what is sent is signed")]
    User,
    /// It has a fragment, which is never sent.
    #[error("a URL must have no `#`: what stands behind it is never sent")]
    Fragment,
    /// It leads into a private network.
    #[error("the URL leads to an address that is not on the public internet")]
    Private,
}

impl Target {
    /// The length of the longest URL, in bytes.
    pub const MAX_URL_BYTES: usize = 2_048;

    /// Reads a URL. A host's name is judged by its addresses, later and each time; an address is
    /// judged here.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn parse(text: &str, rules: TargetRules) -> Result<Self, TargetInvalid> {
        if text.len() > Self::MAX_URL_BYTES {
            return Err(TargetInvalid::TooLong);
        }
        // The parser drops tabs, line breaks and blanks at the ends: such a text is not what it
        // seems to be.
        if text
            .chars()
            .any(|sign| sign.is_control() || sign.is_whitespace())
        {
            return Err(TargetInvalid::Malformed);
        }
        let url = Url::parse(text).map_err(|_| TargetInvalid::Malformed)?;
        let is_tls = match url.scheme() {
            "https" => true,
            "http" if rules.allow_plain => false,
            "http" => return Err(TargetInvalid::Plain),
            _ => return Err(TargetInvalid::Scheme),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(TargetInvalid::User);
        }
        if url.fragment().is_some() {
            return Err(TargetInvalid::Fragment);
        }
        let host = url.host().ok_or(TargetInvalid::Malformed)?;
        let address = match host {
            Host::Ipv4(address) => Some(IpAddr::V4(address)),
            Host::Ipv6(address) => Some(IpAddr::V6(address)),
            Host::Domain(_) => None,
        };
        if address.is_some_and(|address| !rules.allow(address)) {
            return Err(TargetInvalid::Private);
        }
        let port = url
            .port_or_known_default()
            .ok_or(TargetInvalid::Malformed)?;
        let written = host.to_string();
        let authority = match url.port() {
            Some(port) => format!("{written}:{port}"),
            None => written.clone(),
        };
        let query = url.query().map(|query| format!("?{query}"));
        Ok(Self {
            is_tls,
            host: address.map_or(written, |address| address.to_string()),
            address,
            port,
            authority,
            path: [url.path(), query.as_deref().unwrap_or("")].concat(),
        })
    }
}

impl TargetRules {
    /// Returns whether an address may be called.
    pub(crate) fn allow(self, address: IpAddr) -> bool {
        self.allow_private || is_public(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TargetInvalid::{Fragment, Malformed, Plain, Private, Scheme, TooLong, User};

    #[test]
    fn a_url_is_read_once_into_its_parts() {
        let target = Target::parse(
            "https://Hooks.Example.com/a%20b?c=d",
            TargetRules::default(),
        );
        let target = target.expect("valid");
        assert_eq!(
            (target.host.as_str(), target.port),
            ("hooks.example.com", 443)
        );
        assert_eq!(target.path, "/a%20b?c=d");
        assert!(target.is_tls && target.address.is_none());
        let all = TargetRules {
            allow_private: true,
            allow_plain: true,
        };
        let target = Target::parse("http://[::1]:8080", all).expect("valid");
        assert_eq!(
            (target.authority.as_str(), target.path.as_str()),
            ("[::1]:8080", "/")
        );
        assert_eq!(target.host, "::1");
    }

    #[test]
    fn what_would_be_called_by_mistake_or_malice_is_refused() {
        let long = format!("https://example.com/{}", "x".repeat(2_048));
        for (text, why) in [
            ("", Malformed),
            ("example.com/hook", Malformed),
            ("https://", Malformed),
            ("https://exa mple.com", Malformed),
            ("https://example.com/\n", Malformed),
            (" https://example.com", Malformed),
            ("http://example.com", Plain),
            ("ftp://example.com", Scheme),
            ("file:///etc/passwd", Scheme),
            ("https://user@example.com", User),
            ("https://:secret@example.com", User),
            ("https://example.com/#part", Fragment),
            ("https://127.0.0.1/", Private),
            ("https://0x7f.1/", Private),
            ("https://2130706433/", Private),
            ("https://[::ffff:10.0.0.1]/", Private),
            ("https://[fd00:ec2::254]/", Private),
            (&long, TooLong),
        ] {
            assert_eq!(
                Target::parse(text, TargetRules::default()),
                Err(why),
                "{text:?}"
            );
        }
    }
}
