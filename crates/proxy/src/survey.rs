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
    /// `Connection`.
    pub(crate) has_options: bool,
    /// `Upgrade`.
    pub(crate) has_upgrade: bool,
    /// `Keep-Alive` or `Proxy-Connection`.
    pub(crate) keeps_alive: bool,
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
        } else if *name == CONNECTION {
            self.has_options = true;
        } else if *name == UPGRADE {
            self.has_upgrade = true;
        } else if *name == EXPECT {
            self.expects = true;
        } else if *name == TRAILER {
            self.has_trailers = true;
        } else if matches!(name.as_str(), "keep-alive" | "proxy-connection") {
            self.keeps_alive = true;
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
        assert!(seen.expects && !seen.has_trailers && !seen.has_options && !seen.keeps_alive);
        for name in ["connection", "upgrade", "keep-alive", "proxy-connection"] {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_static(name), "1".parse().expect("a value"));
            let seen = Survey::of(&headers);
            let found = [seen.has_options, seen.has_upgrade, seen.keeps_alive];
            assert_eq!(found.iter().filter(|found| **found).count(), 1, "{name}");
        }
    }
}
