//! A survey of a head: one pass over its fields finds those that have to be looked at, which costs
//! less than a look-up of each.

use http::HeaderMap;
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HeaderName, HeaderValue, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};

/// The fields of a head about its connection and its body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Survey {
    /// The number of lines of `Content-Length`.
    pub(crate) lengths: u16,
    /// Whether a length is anything but 1 to 18 digits.
    pub(crate) has_odd_length: bool,
    /// Whether a length is `0`.
    pub(crate) has_length_zero: bool,
    /// The number of lines of `Transfer-Encoding`.
    pub(crate) codings: u16,
    /// The number of lines of `Connection`.
    pub(crate) connections: u16,
    /// Whether `Connection` says more than `keep-alive` or `close`, so that it may name other
    /// fields.
    pub(crate) has_options: bool,
    /// Whether there is `Upgrade`.
    pub(crate) has_upgrade: bool,
    /// Whether there is `Keep-Alive` or `Proxy-Connection`.
    pub(crate) keeps_alive: bool,
    /// Whether there is `Expect`.
    pub(crate) expects: bool,
    /// Whether there is `Trailer`.
    pub(crate) has_trailers: bool,
}

impl Survey {
    /// Returns the survey of a head. Costs one pass over its lines.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut seen = Self::default();
        // A name comes once for each of its lines.
        for (name, value) in headers {
            seen.note(name, value);
        }
        seen
    }

    fn note(&mut self, name: &HeaderName, value: &HeaderValue) {
        if *name == CONTENT_LENGTH {
            self.lengths += 1;
            self.has_odd_length |= !is_few_digits(value.as_bytes());
            self.has_length_zero |= value == "0";
        } else if *name == TRANSFER_ENCODING {
            self.codings += 1;
        } else if *name == CONNECTION {
            self.connections += 1;
            // Several lines are one list, which is read as a whole.
            self.has_options |=
                self.connections > 1 || !is_about_connection_alone(value.as_bytes());
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

fn is_few_digits(text: &[u8]) -> bool {
    matches!(text.len(), 1..=18) && text.iter().all(u8::is_ascii_digit)
}

fn is_about_connection_alone(options: &[u8]) -> bool {
    options.eq_ignore_ascii_case(b"keep-alive") || options.eq_ignore_ascii_case(b"close")
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

    #[test]
    fn what_is_usual_needs_no_second_look() {
        let of = |name, value: &'static str| {
            let value = HeaderValue::from_static(value);
            Survey::of(&HeaderMap::from_iter([(name, value)]))
        };
        for usual in ["keep-alive", "Close"] {
            assert!(!of(CONNECTION, usual).has_options, "{usual}");
        }
        for odd in ["", "close, X-Own", "keep-alive, Upgrade"] {
            assert!(of(CONNECTION, odd).has_options, "{odd}");
        }
        let twice = [(CONNECTION, "close"), (CONNECTION, "close")];
        let twice = twice.map(|(name, value)| (name, HeaderValue::from_static(value)));
        let mut headers = HeaderMap::new();
        for (name, value) in twice {
            headers.append(name, value);
        }
        assert!(Survey::of(&headers).has_options, "two lines");
        for (length, is_odd, is_zero) in [
            ("0", false, true),
            ("17", false, false),
            ("00", false, false),
            ("", true, false),
            ("+0", true, false),
            ("3, 3", true, false),
            ("1234567890123456789", true, false),
        ] {
            let seen = of(CONTENT_LENGTH, length);
            let found = (seen.has_odd_length, seen.has_length_zero);
            assert_eq!(found, (is_odd, is_zero), "{length}");
        }
    }
}
