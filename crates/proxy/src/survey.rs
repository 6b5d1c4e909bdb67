//! Which fields of a head have to be looked at: one pass over its names costs less than asking for each.

use http::HeaderMap;
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HeaderName, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

/// What a head says of its connection and its body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Survey {
    /// Lines of `Content-Length`.
    pub(crate) lengths: u16,
    /// Lines of `Transfer-Encoding`.
    pub(crate) codings: u16,
    /// `Connection`, `Keep-Alive`, `Proxy-Connection` or `Upgrade`.
    pub(crate) of_one_connection: bool,
    pub(crate) expects: bool,
    pub(crate) has_trailers: bool,
}

impl Survey {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut seen = Self::default();
        // A name comes once for each of its lines.
        for (name, _) in headers {
            seen.note(name);
        }
        seen
    }

    fn note(&mut self, name: &HeaderName) {
        if *name == CONTENT_LENGTH {
            self.lengths += 1;
        } else if *name == TRANSFER_ENCODING {
            self.codings += 1;
        } else if *name == CONNECTION || *name == UPGRADE {
            self.of_one_connection = true;
        } else if *name == EXPECT {
            self.expects = true;
        } else if *name == TRAILER {
            self.has_trailers = true;
        } else if matches!(name.as_str(), "keep-alive" | "proxy-connection") {
            self.of_one_connection = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_seen_whatever_else_is_there() {
        let mut headers = HeaderMap::new();
        assert_eq!(Survey::of(&headers), Survey::default());
        for name in ["content-length", "x-own", "transfer-encoding", "expect"] {
            let name = HeaderName::from_static(name);
            headers.append(name.clone(), "1".parse().expect("a value"));
            headers.append(name, "2".parse().expect("a value"));
        }
        let seen = Survey::of(&headers);
        assert_eq!((seen.lengths, seen.codings), (2, 2));
        assert!(seen.expects && !seen.has_trailers && !seen.of_one_connection);
        for name in ["connection", "upgrade", "keep-alive", "proxy-connection"] {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_static(name), "1".parse().expect("a value"));
            assert!(Survey::of(&headers).of_one_connection, "{name}");
        }
    }
}
