//! Upstreams: the servers that an app's calls go to.

use std::fmt;
use std::str::FromStr;

use model::HostPattern;

use crate::value::{clip, from_text, words};

words! {
    /// The protocol that an upstream is spoken to by.
    Scheme {
        /// Plain HTTP.
        #[default]
        Http = "http",
        /// HTTP over TLS.
        Https = "https",
    }
}

/// A server that answers an app's calls. Text form: `http://host:port`, `https://host`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Upstream {
    /// The scheme.
    pub scheme: Scheme,
    /// The DNS name or IP address in lower case; IPv6 stands in brackets.
    pub host: String,
    /// The port; 80 or 443 by the scheme where the text names none.
    pub port: u16,
}

/// The error for a text that is not an [`Upstream`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an upstream: {reason}, write `http://host:port` or `https://host:port`")]
pub struct ParseUpstreamError {
    text: String,
    reason: &'static str,
}

impl FromStr for Upstream {
    type Err = ParseUpstreamError;

    fn from_str(text: &str) -> Result<Self, ParseUpstreamError> {
        parse(text).map_err(|reason| ParseUpstreamError {
            // The text before an `@` may be a password.
            text: clip(text.rsplit('@').next().unwrap_or_default()),
            reason,
        })
    }
}

fn parse(text: &str) -> Result<Upstream, &'static str> {
    let (scheme, rest) = text.split_once("://").ok_or("it lacks a scheme")?;
    let (scheme, default_port) = match scheme {
        "http" => (Scheme::Http, 80),
        "https" => (Scheme::Https, 443),
        _ => return Err("its scheme is not http or https"),
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains('@') {
        return Err("it names a user");
    }
    if authority.contains(['/', '?', '#']) {
        return Err("it has a path or a query");
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, parse_port(port)?),
        _ => (authority, default_port),
    };
    match host.parse() {
        Ok(HostPattern::Exact(host)) => Ok(Upstream {
            scheme,
            host: host.into(),
            port,
        }),
        _ => Err("its host is not a name or an address"),
    }
}

fn parse_port(text: &str) -> Result<u16, &'static str> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|port| plain && *port > 0);
    port.ok_or("its port is not a number from 1 to 65535")
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme.as_str(), self.host, self.port)
    }
}

from_text! { Upstream, "an upstream in a string, such as \"http://127.0.0.1:9000\""; }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_are_read_with_the_port_of_their_scheme() {
        for (text, expected) in [
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
            ("http://API.internal/", "http://api.internal:80"),
            ("https://api.example.com", "https://api.example.com:443"),
            ("https://[::1]:8443", "https://[::1]:8443"),
            ("https://[::1]", "https://[::1]:443"),
        ] {
            assert_eq!(text.parse::<Upstream>().expect(text).to_string(), expected);
        }
    }

    #[test]
    fn texts_that_are_not_upstreams_are_refused_without_showing_a_password() {
        for bad in [
            "",
            "localhost:9000",
            "ftp://a",
            "http://",
            "http://a/v1",
            "http://a?b",
            "http://a:0",
            "http://a:65536",
            "http://a:+1",
            "http://a:",
            "http://::1",
            "http://*.a",
            "http://a b",
            "HTTP://a",
        ] {
            assert!(bad.parse::<Upstream>().is_err(), "{bad}");
        }
        let error = "http://user:hunter2@a"
            .parse::<Upstream>()
            .expect_err("user");
        assert_eq!(
            error.to_string(),
            "`a` is not an upstream: it names a user, write `http://host:port` or `https://host:port`"
        );
    }
}
