//! Paths in one normal form, so that another spelling cannot evade routes and permissions.
//!
//! A normal path is for decisions only: the gate forwards the path that the caller sent. Two
//! accepted paths have the same normal form exactly if they decode to the same bytes, and no path
//! is accepted that a later reader could take for another place.

use std::borrow::Cow;
use std::fmt;

/// The path of a request target in normal form: absolute, without empty or dot segments, every byte
/// that may stand in a path literal, all others as `%XX` with capitals. A trailing slash is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NormalPath<'a>(Cow<'a, str>);

/// The reason why a path is refused: some reader could take it for another path. Blame: caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AmbiguousPath {
    /// The path does not begin with `/`.
    #[error("a path begins with `/`")]
    NotAbsolute,
    /// The path holds a raw `?` or `#`, which end a path.
    #[error("a path holds no `?` and no `#`")]
    NotPathOnly,
    /// The path holds `//`.
    #[error("a path holds no empty segments (`//`)")]
    EmptySegment,
    /// The path holds a segment `.` or `..`, in any encoding, also before parameters.
    #[error("a path holds no `.` or `..` segments in any encoding")]
    DotSegment,
    /// The path holds `%2F`.
    #[error("a path holds no encoded slash (`%2F`)")]
    EncodedSlash,
    /// The path holds a backslash, raw or encoded.
    #[error("a path holds no backslash, raw or encoded")]
    Backslash,
    /// The path holds a raw `;`, which begins a parameter for some readers and not for others.
    #[error("a path holds no parameters (`;`)")]
    Parameter,
    /// The path holds a control character, raw or encoded (NUL among them), or a raw blank.
    #[error("a path holds no control characters, raw or encoded, and no blanks")]
    Control,
    /// The path holds a `%` that two hexadecimal digits do not follow.
    #[error("a `%` in a path is followed by two hexadecimal digits")]
    MalformedPercent,
    /// The path holds `%25` and two hexadecimal digits, however these are written.
    #[error("a path is encoded once (no `%25` before two hexadecimal digits)")]
    DoubleEncoding,
    /// The path holds an over-long UTF-8 form, by which `/` and `.` can be disguised.
    #[error("a path holds no over-long UTF-8")]
    Overlong,
    /// The path holds a raw byte outside ASCII.
    #[error("a path holds bytes outside ASCII in encoded form only")]
    NonAscii,
}

impl<'a> NormalPath<'a> {
    /// Returns the normal form of the path of a request target (without its query). Borrows where
    /// the path is clean, which most are.
    ///
    /// # Errors
    /// A path that could be read in two ways.
    pub fn parse<P: AsRef<[u8]> + ?Sized>(raw: &'a P) -> Result<Self, AmbiguousPath> {
        let raw = raw.as_ref();
        if raw.first() != Some(&b'/') {
            return Err(AmbiguousPath::NotAbsolute);
        }
        if is_clean(raw) {
            let text = std::str::from_utf8(raw).expect("a clean path is ASCII");
            return Ok(Self(Cow::Borrowed(text)));
        }
        normalise(raw).map(|text| Self(Cow::Owned(text)))
    }

    /// Returns the path as text; ASCII, begins with `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the same path, independent of the request it came from.
    #[must_use]
    pub fn into_owned(self) -> NormalPath<'static> {
        NormalPath(Cow::Owned(self.0.into_owned()))
    }

    /// Returns the segments; the last is empty where the path ends in a slash.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0[1..].split('/')
    }
}

impl fmt::Display for NormalPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The bytes that stand for themselves in the normal form (RFC 3986 `pchar`, but for `;`), as a
/// table.
const LITERAL: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        let b = byte as u8;
        table[byte] = b.is_ascii_alphanumeric()
            || matches!(b, b'-' | b'.' | b'_' | b'~')
            || matches!(b, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*')
            || matches!(b, b'+' | b',' | b'=' | b':' | b'@');
        byte += 1;
    }
    table
};

/// Returns whether the path is its own normal form. Returns false as well for a few that are, but
/// hold encoded bytes.
fn is_clean(raw: &[u8]) -> bool {
    let mut segments = raw[1..].split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        let literal = segment.iter().all(|byte| LITERAL[usize::from(*byte)]);
        if !literal || is_dots(segment) || (segment.is_empty() && !is_last) {
            return false;
        }
    }
    true
}

fn normalise(raw: &[u8]) -> Result<String, AmbiguousPath> {
    let mut normal = String::with_capacity(raw.len() + 16);
    let mut decoded = Vec::new();
    let mut segments = raw[1..].split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        if segment.is_empty() && segments.peek().is_some() {
            return Err(AmbiguousPath::EmptySegment);
        }
        decoded.clear();
        decode(segment, &mut decoded)?;
        inspect(&decoded)?;
        normal.push('/');
        encode(&decoded, &mut normal);
    }
    Ok(normal)
}

/// Decodes one raw segment and refuses bytes that may not stand in it raw.
fn decode(segment: &[u8], decoded: &mut Vec<u8>) -> Result<(), AmbiguousPath> {
    let mut rest = segment;
    while let [byte, after @ ..] = rest {
        rest = after;
        let byte = match byte {
            b'%' => {
                let [high, low, after @ ..] = rest else {
                    return Err(AmbiguousPath::MalformedPercent);
                };
                rest = after;
                let (Some(high), Some(low)) = (hex_digit(*high), hex_digit(*low)) else {
                    return Err(AmbiguousPath::MalformedPercent);
                };
                high << 4 | low
            }
            b';' => return Err(AmbiguousPath::Parameter),
            b' ' => return Err(AmbiguousPath::Control),
            b'?' | b'#' => return Err(AmbiguousPath::NotPathOnly),
            128.. => return Err(AmbiguousPath::NonAscii),
            literal => *literal,
        };
        decoded.push(byte);
    }
    Ok(())
}

/// Refuses a decoded segment that a later reader could take for something else.
fn inspect(decoded: &[u8]) -> Result<(), AmbiguousPath> {
    for (at, byte) in decoded.iter().enumerate() {
        match (byte, &decoded[at + 1..]) {
            (b'/', _) => return Err(AmbiguousPath::EncodedSlash),
            (b'\\', _) => return Err(AmbiguousPath::Backslash),
            (0..0x20 | 0x7f, _) => return Err(AmbiguousPath::Control),
            (b'%', [high, low, ..]) if hex_digit(*high).and(hex_digit(*low)).is_some() => {
                return Err(AmbiguousPath::DoubleEncoding);
            }
            (0xc0 | 0xc1, _) | (0xe0, [0x80..0xa0, ..]) | (0xf0, [0x80..0x90, ..]) => {
                return Err(AmbiguousPath::Overlong);
            }
            _ => {}
        }
    }
    let name = decoded.split(|byte| *byte == b';').next();
    if name.is_some_and(is_dots) {
        return Err(AmbiguousPath::DotSegment);
    }
    Ok(())
}

fn encode(decoded: &[u8], normal: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in decoded {
        if LITERAL[usize::from(*byte)] {
            normal.push(char::from(*byte));
        } else {
            normal.push('%');
            normal.push(char::from(DIGITS[usize::from(byte >> 4)]));
            normal.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
}

fn is_dots(segment: &[u8]) -> bool {
    matches!(segment, b"." | b"..")
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

/// Takes any bytes as a path, for fuzzers, and panics if a property does not hold.
///
/// # Panics
/// If an accepted path is not its own normal form, or decodes to a path with other segments.
pub fn exercise(bytes: &[u8]) {
    let Ok(normal) = NormalPath::parse(bytes) else {
        return;
    };
    let again = NormalPath::parse(normal.as_str()).expect("a normal path is a path");
    assert_eq!(again, normal, "normalising twice changes the path");
    assert_eq!(
        normalise(bytes).as_deref(),
        Ok(normal.as_str()),
        "the short way and the long way differ"
    );
    let mut decoded = Vec::new();
    let mut stages = vec![bytes.to_vec(), normal.as_str().as_bytes().to_vec()];
    while let Some(stage) = stages.pop() {
        decoded.clear();
        lenient_decode(&stage, &mut decoded);
        assert_eq!(
            resolve(&decoded).len(),
            normal.segments().count(),
            "`{normal}` decodes to a path with other segments"
        );
        if decoded != stage {
            stages.push(decoded.clone());
        }
    }
}

/// Decodes as the most careless reader does: malformed bytes are kept, over-long UTF-8 is
/// understood.
fn lenient_decode(mut rest: &[u8], decoded: &mut Vec<u8>) {
    while let [byte, after @ ..] = rest {
        rest = after;
        match (byte, after) {
            (b'%', [high, low, after @ ..]) => match (hex_digit(*high), hex_digit(*low)) {
                (Some(high), Some(low)) => {
                    decoded.push(high << 4 | low);
                    rest = after;
                }
                _ => decoded.push(b'%'),
            },
            (0xc0 | 0xc1, [next, after @ ..]) => {
                decoded.push((byte & 3) << 6 | (next & 0x3f));
                rest = after;
            }
            _ => decoded.push(*byte),
        }
    }
}

/// Returns the segments as the most careless reader sees them: backslashes are slashes, empty
/// segments vanish (but the last), parameters are dropped where that leaves a dot segment, dot
/// segments are followed, NUL ends the path.
fn resolve(path: &[u8]) -> Vec<&[u8]> {
    let path = path.split(|byte| *byte == 0).next().unwrap_or_default();
    let mut parts: Vec<&[u8]> = path
        .split(|byte| matches!(byte, b'/' | b'\\'))
        .skip(1)
        .collect();
    let last_is_empty = parts.pop_if(|part| part.is_empty()).is_some();
    let mut segments = Vec::new();
    for part in parts {
        match part.split(|byte| *byte == b';').next() {
            Some(b".") => {}
            Some(b"..") => {
                segments.pop();
            }
            _ if part.is_empty() => {}
            _ => segments.push(part),
        }
    }
    if last_is_empty {
        segments.push(b"");
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn normal(raw: &str) -> Result<String, AmbiguousPath> {
        NormalPath::parse(raw).map(|path| path.as_str().to_owned())
    }

    #[test]
    fn a_clean_path_is_borrowed_as_it_is() {
        for raw in [
            "/",
            "/v1/reports/2026",
            "/v1/",
            "/.well-known/x.json",
            "/a..b/...",
            "/users/@me:x,y=(1)*!$&'+~_-",
        ] {
            let path = NormalPath::parse(raw).expect(raw);
            assert!(matches!(path.0, Cow::Borrowed(text) if text == raw));
        }
    }

    #[test]
    fn every_spelling_of_a_path_has_one_normal_form() {
        for (raw, expected) in [
            ("/%61%62c", "/abc"),
            ("/%7euser", "/~user"),
            ("/%40me%3a%2c", "/@me:,"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/a%20b", "/a%20b"),
            ("/100%25", "/100%25"),
            ("/{id}|\"", "/%7Bid%7D%7C%22"),
            ("/a%3bb", "/a%3Bb"),
            ("/a%3fb%23", "/a%3Fb%23"),
            ("/%2ewell-known", "/.well-known"),
            ("/v1/%61/", "/v1/a/"),
        ] {
            assert_eq!(normal(raw).as_deref(), Ok(expected), "{raw}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        use AmbiguousPath as A;
        for (raw, reason) in [
            ("", A::NotAbsolute),
            ("*", A::NotAbsolute),
            ("a/b", A::NotAbsolute),
            ("http://x/", A::NotAbsolute),
            ("/a?b", A::NotPathOnly),
            ("/a#b", A::NotPathOnly),
            ("//", A::EmptySegment),
            ("/a//b", A::EmptySegment),
            ("/.", A::DotSegment),
            ("/a/../b", A::DotSegment),
            ("/a/%2e%2E/b", A::DotSegment),
            ("/a/.%2e", A::DotSegment),
            ("/a/..%3b/b", A::DotSegment),
            ("/a%2fb", A::EncodedSlash),
            ("/a%2Fb", A::EncodedSlash),
            ("/a\\b", A::Backslash),
            ("/a%5cb", A::Backslash),
            ("/a;v=1/b", A::Parameter),
            ("/a/..;/b", A::Parameter),
            ("/a%00", A::Control),
            ("/a\0", A::Control),
            ("/a%0d%0a", A::Control),
            ("/a\tb", A::Control),
            ("/a b", A::Control),
            ("/a%7f", A::Control),
            ("/a%", A::MalformedPercent),
            ("/a%2", A::MalformedPercent),
            ("/a%zz", A::MalformedPercent),
            ("/a%u002e", A::MalformedPercent),
            ("/a%+1", A::MalformedPercent),
            ("/%252e%252e/", A::DoubleEncoding),
            ("/%25%32%65", A::DoubleEncoding),
            ("/%2525", A::DoubleEncoding),
            ("/%c0%ae%c0%ae/", A::Overlong),
            ("/%c1%9c", A::Overlong),
            ("/%e0%80%af", A::Overlong),
            ("/%f0%80%80%af", A::Overlong),
            ("/café", A::NonAscii),
        ] {
            assert_eq!(normal(raw), Err(reason), "{raw}");
        }
        assert_eq!(NormalPath::parse(b"/\xff"), Err(A::NonAscii));
    }

    fn spellings() -> impl Strategy<Value = String> {
        let pieces = [
            "/", "/", "/", "a", "b", ".", "..", "%2e", "%2E", "%2f", "%5c", "\\", "%", "%25", "2",
            "e", "5", "%32", "%65", ";", "%3b", "%00", "%c0", "%ae", "%c3%a9", "%61", "%40", "@",
            "{", "%7b", "%20", "é",
        ];
        // Short enough that a fair share of them is accepted.
        prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..9)
            .prop_map(|parts| format!("/{}", parts.concat()))
    }

    fn decoded(raw: impl AsRef<[u8]>) -> Vec<u8> {
        let mut bytes = Vec::new();
        lenient_decode(raw.as_ref(), &mut bytes);
        bytes
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn no_decoding_of_an_accepted_path_leads_elsewhere(raw in spellings()) {
            exercise(raw.as_bytes());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            exercise(&bytes);
            exercise(&[b"/", bytes.as_slice()].concat());
        }

        #[test]
        fn two_paths_are_one_exactly_if_they_decode_to_the_same(one in spellings(), other in spellings()) {
            if let (Ok(first), Ok(second)) = (normal(&one), normal(&other)) {
                prop_assert_eq!(first == second, decoded(&one) == decoded(&other));
            }
        }

        #[test]
        fn what_lies_below_a_parent_lies_below_it_in_every_reading(raw in spellings(), cut in 0_usize..4) {
            let Ok(path) = NormalPath::parse(&raw) else { return Ok(()) };
            let kept: Vec<&str> = path.segments().take(cut).collect();
            let mut reading = raw.clone().into_bytes();
            for _ in 0..4 {
                for (expected, found) in kept.iter().zip(resolve(&reading)) {
                    prop_assert_eq!(decoded(expected), decoded(found));
                }
                reading = decoded(&reading);
            }
        }
    }
}
