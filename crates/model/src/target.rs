//! The target of a request, in the one form that is both judged and forwarded.
//!
//! A gate that judges one spelling and forwards another can be made to let an expensive path pass
//! for a cheap one. So a target is read once, here: decisions go by the path of a
//! [`RequestTarget`], and its text goes upstream.

use std::borrow::Cow;

/// A request target in origin form: an absolute path and perhaps a query (RFC 9112, section 3.2.1).
///
/// Targets in absolute form (`http://host/path`) are turned into it, with their authority beside
/// it. Its bytes are those that the caller sent. Routes are looked up by the normal form instead,
/// [`NormalPath`](crate::NormalPath).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestTarget<'a> {
    text: Cow<'a, [u8]>,
    path_length: usize,
    authority: Option<&'a str>,
}

/// The reason why bytes are not a target that can be forwarded. Blame: caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum MalformedTarget {
    /// The target begins with neither `/` nor `http://` nor `https://`: it is `*`, an authority, or
    /// a path without its slash.
    #[error("a request target begins with `/`")]
    NotAbsolute,
    /// The authority of an absolute form is not a host with or without a port.
    #[error("the authority of a request target is a host, perhaps with a port")]
    Authority,
    /// The target holds a blank or a control character other than NUL, and readers disagree where
    /// such a target ends.
    #[error("a request target holds no blanks and no control characters")]
    Control,
}

impl<'a> RequestTarget<'a> {
    /// Reads the target of a request line, or the `:path` of HTTP/2.
    ///
    /// A path in origin form is borrowed as it is. Whether the path is ambiguous is not checked
    /// here, since it matters only where something depends on the path.
    ///
    /// # Errors
    /// [`MalformedTarget`] for every other form. RFC 9112, section 3.2, has them for CONNECT and
    /// for `OPTIONS *` alone, which address a server and not what lies behind it.
    pub fn parse(raw: &'a [u8]) -> Result<Self, MalformedTarget> {
        if raw.first() == Some(&b'/') {
            // A blank there may be the end of the target to one reader and part of it to the next.
            return match raw.iter().any(|byte| matches!(byte, 1..=b' ' | 0x7f)) {
                true => Err(MalformedTarget::Control),
                false => Ok(Self::of_origin_form(Cow::Borrowed(raw), None)),
            };
        }
        let rest = after_scheme(raw).ok_or(MalformedTarget::NotAbsolute)?;
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?'));
        let (authority, rest) = rest.split_at(end.unwrap_or(rest.len()));
        let authority = std::str::from_utf8(authority).ok().filter(|text| {
            // A target without a host addresses nobody (RFC 9110, section 4.2.1).
            !text.is_empty() && is_host_with_port(text)
        });
        let authority = Some(authority.ok_or(MalformedTarget::Authority)?);
        if rest.iter().any(|byte| matches!(byte, 1..=b' ' | 0x7f)) {
            return Err(MalformedTarget::Control);
        }
        let text = match rest.first() {
            Some(b'/') => Cow::Borrowed(rest),
            // An empty path is `/` (RFC 9110, section 4.2.3).
            _ => Cow::Owned([b"/", rest].concat()),
        };
        Ok(Self::of_origin_form(text, authority))
    }

    fn of_origin_form(text: Cow<'a, [u8]>, authority: Option<&'a str>) -> Self {
        let path_length = text.iter().position(|byte| *byte == b'?');
        Self {
            path_length: path_length.unwrap_or(text.len()),
            text,
            authority,
        }
    }

    /// Returns path and query as they go upstream; begins with `/`.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    /// Returns the path alone, as it goes upstream; begins with `/`.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        &self.text[..self.path_length]
    }

    /// Returns the query as it goes upstream, without its question mark; `None`: there is none.
    #[must_use]
    pub fn query(&self) -> Option<&[u8]> {
        self.text.get(self.path_length + 1..)
    }

    /// Returns the host, perhaps with a port, of a target in absolute form. It takes the place of
    /// `Host` (RFC 9112, section 3.2.2). `None` in origin form.
    #[must_use]
    pub const fn authority(&self) -> Option<&'a str> {
        self.authority
    }
}

/// Returns whether a text can stand in `Host`: a name, an IPv4 address or an IPv6 address in
/// brackets, perhaps with a port (RFC 9110, section 7.2). The empty text can, too, for a target
/// without an authority.
#[must_use]
pub fn is_host_with_port(text: &str) -> bool {
    let (host, after) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, after)) if is_ipv6(address) => ("", after),
            _ => return false,
        },
        None => {
            let end = text.bytes().position(|byte| byte == b':');
            text.split_at(end.unwrap_or(text.len()))
        }
    };
    let port = match after.strip_prefix(':') {
        Some(port) => port,
        None if after.is_empty() => "",
        None => return false,
    };
    let is_name = host
        .bytes()
        .fold(true, |so_far, byte| so_far & OF_A_NAME[byte as usize]);
    is_name && port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit())
}

/// Returns whether a byte occurs in the names of real hosts, internationalised ones in their ASCII
/// form. RFC 3986 also allows sub-delimiters and percent encoding, which no resolver takes and by
/// which a host can be written in two ways.
const fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

/// The same as a table, since the host of every call is looked at.
static OF_A_NAME: [bool; 256] = {
    let mut of_a_name = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        of_a_name[byte] = is_of_a_name(byte as u8);
        byte += 1;
    }
    of_a_name
};

fn is_ipv6(text: &str) -> bool {
    text.parse::<std::net::Ipv6Addr>().is_ok()
}

fn after_scheme(raw: &[u8]) -> Option<&[u8]> {
    ["http://", "https://"].iter().find_map(|scheme| {
        let (start, rest) = raw.split_at_checked(scheme.len())?;
        start
            .eq_ignore_ascii_case(scheme.as_bytes())
            .then_some(rest)
    })
}

/// Takes any bytes as a target, for fuzzers, and panics if a property does not hold.
///
/// # Panics
/// If an accepted target is not in origin form, or reads differently a second time.
pub fn exercise(bytes: &[u8]) {
    let Ok(target) = RequestTarget::parse(bytes) else {
        return;
    };
    assert_eq!(target.as_bytes().first(), Some(&b'/'));
    assert!(target.as_bytes().starts_with(target.path()));
    assert!(!target.path().contains(&b'?'));
    let again = RequestTarget::parse(target.as_bytes()).expect("what is forwarded is a target");
    assert_eq!(
        again.as_bytes(),
        target.as_bytes(),
        "reading twice changes it"
    );
    assert_eq!(
        again.path(),
        target.path(),
        "another path is judged upstream"
    );
    assert_eq!(again.authority(), None);
    if bytes.first() == Some(&b'/') {
        assert_eq!(target.as_bytes(), bytes, "origin form stays as it came");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_judged_is_what_is_forwarded(bytes in "[ -~]{0,40}", scheme in prop::sample::select(vec!["", "/", "http://", "HTTPS://a"])) {
            exercise(&[scheme.as_bytes(), bytes.as_bytes()].concat());
            exercise(bytes.as_bytes());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            exercise(&bytes);
        }
    }

    #[test]
    fn a_target_in_origin_form_is_borrowed_as_it_came() {
        for (raw, path) in [
            ("/", "/"),
            ("/a/b?c=/d?e", "/a/b"),
            ("//a", "//a"),
            ("/?", "/"),
            ("/%2e%2E/{x}", "/%2e%2E/{x}"),
        ] {
            let target = RequestTarget::parse(raw.as_bytes()).expect(raw);
            assert!(matches!(target.text, Cow::Borrowed(_)));
            assert_eq!(target.as_bytes(), raw.as_bytes());
            assert_eq!(target.path(), path.as_bytes());
            assert_eq!(target.authority(), None);
        }
    }

    #[test]
    fn a_target_in_absolute_form_becomes_origin_form() {
        for (raw, text, authority) in [
            ("http://h/a", "/a", "h"),
            ("HTTP://h.test:80/a?b", "/a?b", "h.test:80"),
            ("https://[::1]:8", "/", "[::1]:8"),
            ("http://h?b=//", "/?b=//", "h"),
            ("http://h//x", "//x", "h"),
        ] {
            let target = RequestTarget::parse(raw.as_bytes()).expect(raw);
            assert_eq!(target.as_bytes(), text.as_bytes(), "{raw}");
            assert_eq!(target.authority(), Some(authority), "{raw}");
        }
    }

    #[test]
    fn every_other_target_is_refused() {
        use MalformedTarget as M;
        for (raw, reason) in [
            ("", M::NotAbsolute),
            ("*", M::NotAbsolute),
            ("dear", M::NotAbsolute),
            ("?a", M::NotAbsolute),
            ("#", M::NotAbsolute),
            ("\\dear", M::NotAbsolute),
            ("%2Fdear", M::NotAbsolute),
            ("./dear", M::NotAbsolute),
            ("h:443", M::NotAbsolute),
            ("http:/a", M::NotAbsolute),
            ("ftp://h/a", M::NotAbsolute),
            ("javascript:1", M::NotAbsolute),
            ("http://", M::Authority),
            ("http:///a", M::Authority),
            ("http://u@h/a", M::Authority),
            ("http://h:x/a", M::Authority),
            ("http://h\\a", M::Authority),
            ("http://h/a\tb", M::Control),
        ] {
            assert_eq!(RequestTarget::parse(raw.as_bytes()), Err(reason), "{raw}");
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_or_without_a_port() {
        for good in [
            "",
            "a",
            "api.test",
            "a_b.c-d",
            "1.2.3.4:80",
            "[2001:db8::1]",
            "[::1]:8080",
            "a:",
        ] {
            assert!(is_host_with_port(good), "{good}");
        }
        for bad in [
            "<script>",
            "api.test:x/y",
            "a b",
            "a/b",
            "a:b",
            "a:123456",
            "[::1",
            "[x]",
            "[::1]x",
            "u@h",
            "a,b",
            "é",
            "a%2eb",
        ] {
            assert!(!is_host_with_port(bad), "{bad}");
        }
    }
}
