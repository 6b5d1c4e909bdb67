//! The header `Forwarded` (RFC 7239): read whole or not at all, and written anew from what was
//! read.

use std::fmt::Write;

use crate::address::Address;

/// All lines of `Forwarded` as one list (RFC 9110, section 5.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded(String);

/// The error for lines that are not such a list, so that the end of an element is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`Forwarded` is a list of elements such as `for=192.0.2.7;proto=https`")]
pub struct MalformedForwarded;

impl Forwarded {
    /// Reads the lines. Addresses become canonical, names of nobody become `unknown` (section 6.2),
    /// and the rest stays as it is.
    ///
    /// # Errors
    /// [`MalformedForwarded`]: for example, an open quote would swallow the element that is added
    /// behind it.
    pub fn read<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Result<Self, MalformedForwarded> {
        let mut whole = String::new();
        for line in lines {
            let line = std::str::from_utf8(line)
                .ok()
                .filter(|line| line.is_ascii());
            if !whole.is_empty() {
                whole.push(',');
            }
            whole.push_str(line.ok_or(MalformedForwarded)?);
        }
        let mut reader = Reader { rest: &whole };
        let mut list = String::with_capacity(whole.len());
        loop {
            reader.skip_blanks();
            reader.element(&mut list)?;
            reader.skip_blanks();
            match reader.take_one() {
                Some(',') => {}
                Some(_) => return Err(MalformedForwarded),
                None => return Ok(Self(list)),
            }
        }
    }

    /// Returns the value for the next server: the list, and behind it an element for the peer,
    /// which called by `proto` (`http`).
    #[must_use]
    pub fn with_peer(&self, peer: Address, proto: &str) -> String {
        let separator = if self.0.is_empty() { "" } else { ", " };
        format!("{}{separator}for={};proto={proto}", self.0, Node(peer))
    }
}

/// An address as the value of `for` and `by`: IPv6 in brackets, and therefore in quotes (section
/// 6).
struct Node(Address);

impl std::fmt::Display for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.ip() {
            std::net::IpAddr::V4(address) => write!(f, "{address}"),
            std::net::IpAddr::V6(address) => write!(f, "\"[{address}]\""),
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    fn take_one(&mut self) -> Option<char> {
        let mut signs = self.rest.chars();
        let first = signs.next()?;
        self.rest = signs.as_str();
        Some(first)
    }

    /// Reads pairs with `;` between them and writes them behind the list. Writes nothing for an
    /// empty element.
    fn element(&mut self, list: &mut String) -> Result<(), MalformedForwarded> {
        let start = list.len();
        let mut names: Vec<&str> = Vec::new();
        loop {
            self.skip_blanks();
            let name = self.token();
            if !name.is_empty() {
                // Each name may stand once: of two values, two readers could take different ones
                // (section 4).
                if names.iter().any(|other| other.eq_ignore_ascii_case(name)) {
                    return Err(MalformedForwarded);
                }
                let separator = match (names.is_empty(), start) {
                    (false, _) => ";",
                    (true, 0) => "",
                    (true, _) => ", ",
                };
                list.push_str(separator);
                names.push(name);
                self.value_of(name, list)?;
            }
            self.skip_blanks();
            match self.rest.strip_prefix(';') {
                Some(rest) => self.rest = rest,
                None => return Ok(()),
            }
        }
    }

    /// Reads `=` and a value, and writes both behind the list.
    fn value_of(&mut self, name: &str, list: &mut String) -> Result<(), MalformedForwarded> {
        self.rest = self.rest.strip_prefix('=').ok_or(MalformedForwarded)?;
        let before = self.rest;
        let content = match before.strip_prefix('"') {
            Some(rest) => {
                self.rest = rest;
                self.quoted()?
            }
            None => self.token().to_owned(),
        };
        let raw = &before[..before.len() - self.rest.len()];
        if raw.is_empty() {
            return Err(MalformedForwarded);
        }
        let is_node = name.eq_ignore_ascii_case("for") || name.eq_ignore_ascii_case("by");
        let written = match Address::parse(&content) {
            _ if !is_node => write!(list, "{name}={raw}"),
            Ok(address) => write!(list, "{name}={}", Node(address)),
            // A name that a proxy gave in order to hide an address.
            Err(_) if content.starts_with('_') && content.bytes().all(is_of_a_name) => {
                write!(list, "{name}={content}")
            }
            Err(_) => write!(list, "{name}=unknown"),
        };
        written.map_err(|_| MalformedForwarded)
    }

    fn token(&mut self) -> &'a str {
        let end = self.rest.find(|sign: char| !is_of_a_token(sign));
        let (token, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        token
    }

    /// Reads a quoted string from behind its opening quote.
    fn quoted(&mut self) -> Result<String, MalformedForwarded> {
        let mut content = String::new();
        loop {
            let sign = match self.take_one() {
                Some('"') => return Ok(content),
                Some('\\') => self.take_one(),
                other => other,
            };
            let is_plain = |sign: &char| matches!(sign, '\t' | ' '..='~');
            content.push(sign.filter(is_plain).ok_or(MalformedForwarded)?);
        }
    }
}

const fn is_of_a_token(sign: char) -> bool {
    sign.is_ascii_alphanumeric()
        || matches!(
            sign,
            '!' | '#'
                | '$'
                | '%'
                | '&'
                | '\''
                | '*'
                | '+'
                | '-'
                | '.'
                | '^'
                | '_'
                | '`'
                | '|'
                | '~'
        )
}

const fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// Takes any bytes as lines, for fuzzers, and panics if a property does not hold.
///
/// # Panics
/// If the written list cannot be read, or reads as another one.
pub fn exercise(bytes: &[u8]) {
    let Ok(forwarded) = Forwarded::read(bytes.split(|byte| *byte == b'\n')) else {
        return;
    };
    let again = Forwarded::read([forwarded.0.as_bytes()].into_iter());
    assert_eq!(again.as_ref(), Ok(&forwarded), "reading twice changes it");
    let peer = Address::parse("2001:db8::1").expect("an address");
    let written = forwarded.with_peer(peer, "http");
    let end = "for=\"[2001:db8::1]\";proto=http";
    assert!(written.ends_with(end), "{written}");
    let next = Forwarded::read([written.as_bytes()].into_iter());
    assert_eq!(next, Ok(Forwarded(written)), "what is added is swallowed");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_read_is_what_is_written_on(text in "[for=by;, \"\\\\\\[\\]:.0-9_a-f\n]{0,40}", bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            exercise(text.as_bytes());
            exercise(format!("for={text}").as_bytes());
            exercise(&bytes);
        }
    }

    fn read(lines: &[&str]) -> Result<String, MalformedForwarded> {
        let forwarded = Forwarded::read(lines.iter().map(|line| line.as_bytes()))?;
        Ok(forwarded.with_peer(Address::LOCALHOST, "http"))
    }

    #[test]
    fn all_lines_are_written_on_with_the_peer_behind_them() {
        let own = "for=127.0.0.1;proto=http";
        for (lines, expected) in [
            (&[][..], ""),
            (&[""], ""),
            (&["for=192.0.2.7"], "for=192.0.2.7, "),
            (
                &["For=192.0.2.7 ; Proto=https", "for=\"192.0.2.8:80\",,"],
                "For=192.0.2.7;Proto=https, for=192.0.2.8, ",
            ),
            (
                &["for=\"[2001:DB8::1]:80\";by=\"[::ffff:1.2.3.4]\""],
                "for=\"[2001:db8::1]\";by=1.2.3.4, ",
            ),
            (
                &["for=_hidden;host=\"a\\\"b, c\""],
                "for=_hidden;host=\"a\\\"b, c\", ",
            ),
            (&["for=unknown;"], "for=unknown, "),
            (&["for=\"a b\""], "for=unknown, "),
        ] {
            assert_eq!(read(lines), Ok(format!("{expected}{own}")), "{lines:?}");
        }
    }

    #[test]
    fn what_could_swallow_the_rest_is_not_read_at_all() {
        for line in [
            "for=\"",
            "for=\"a\\",
            "for",
            "for=",
            "=a",
            "for=a b",
            "for=1.2.3.4:80",
            "for=a;for=b",
            "for=\u{e9}",
            "for=\"\u{7f}\"",
        ] {
            assert_eq!(read(&[line]), Err(MalformedForwarded), "{line}");
        }
    }
}
