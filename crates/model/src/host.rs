//! Hosts of apps: patterns that the configuration declares, and the host of a request.

use std::fmt;
use std::str::FromStr;

/// A host that an app is served on: one name, or all names below one (`*.example.com`). Lower-case,
/// without port.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// One host: a DNS name, an IPv4 address, or an IPv6 address in brackets.
    Exact(Box<str>),
    /// Every name below this one, at any depth, and not the name itself.
    Below(Box<str>),
}

/// The error for a text that is not a [`HostPattern`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a host: write a name such as `api.example.com` or `*.example.com`, without scheme, port and path"
)]
pub struct ParseHostError(pub String);

/// The length of the longest DNS name in bytes, with room for the brackets of an IPv6 address.
pub(crate) const MAX_HOST_BYTES: usize = 255;

/// Returns the host without port and final dot, in lower case; `None` if it is too long for any
/// name.
pub(crate) fn canonical_host<'a>(
    host: &'a str,
    buffer: &'a mut [u8; MAX_HOST_BYTES],
) -> Option<&'a str> {
    let name = match host.rfind(':') {
        Some(colon) if !host.ends_with(']') => &host[..colon],
        _ => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if !name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Some(name);
    }
    let lower = buffer.get_mut(..name.len())?;
    lower.copy_from_slice(name.as_bytes());
    lower.make_ascii_lowercase();
    std::str::from_utf8(lower).ok()
}

impl FromStr for HostPattern {
    type Err = ParseHostError;

    fn from_str(text: &str) -> Result<Self, ParseHostError> {
        let lower = text.to_ascii_lowercase();
        let parsed = match lower.strip_prefix("*.") {
            Some(parent) => is_name(parent).then(|| Self::Below(parent.into())),
            None => (is_name(&lower) || is_bracketed_address(&lower))
                .then(|| Self::Exact(lower.as_str().into())),
        };
        parsed.ok_or_else(|| ParseHostError(crate::quoted(text, 80)))
    }
}

fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

fn is_bracketed_address(text: &str) -> bool {
    text.strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Below(name) => write!(f, "*.{name}"),
        }
    }
}

impl fmt::Debug for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_are_not_hosts_are_refused() {
        for bad in [
            "",
            "*",
            "*.",
            "a..b",
            "http://a",
            "a:80",
            "a/b",
            "*.*.com",
            "é.com",
            "[1.2.3.4]",
            "::1",
            "a.",
        ] {
            assert!(bad.parse::<HostPattern>().is_err(), "{bad}");
        }
    }
}
