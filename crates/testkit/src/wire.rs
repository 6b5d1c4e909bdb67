//! The parts of HTTP/1.1 that both sides of a test need: heads, and the framing of bodies. Strict
//! on purpose.

use std::fmt;

/// A parsed head: its first line and its headers, in order and with their case as sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The request line or the status line, without its line end.
    pub first_line: String,
    /// The names and values of the headers.
    pub headers: Vec<(String, String)>,
}

/// The rule by which the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// The body has this many bytes; 0 for none.
    Length(u64),
    /// The body comes in chunks, until the empty one.
    Chunked,
    /// The body ends with the connection.
    UntilClose,
}

/// A head or a chunk that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(pub String);

impl Head {
    /// Parses a head as found by [`find_head`], its empty line included.
    ///
    /// # Errors
    /// When a line has no colon or the bytes are not UTF-8.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(bytes).map_err(|_| Malformed("head is not UTF-8".into()))?;
        let mut lines = text.split("\r\n");
        let first_line = lines.next().unwrap_or_default().to_owned();
        let headers = lines
            .filter(|line| !line.is_empty())
            .map(|line| match line.split_once(':') {
                Some((name, value)) => Ok((name.to_owned(), value.trim().to_owned())),
                None => Err(Malformed(format!("header without a colon: {line:?}"))),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            first_line,
            headers,
        })
    }

    /// Returns the value of the first header of a name, compared without case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// Returns the status of a status line.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        let mut words = self.first_line.split(' ');
        words
            .next()
            .filter(|version| version.starts_with("HTTP/1."))?;
        words.next()?.parse().ok()
    }

    /// Returns method and target of a request line.
    #[must_use]
    pub fn method_and_target(&self) -> Option<(&str, &str)> {
        let mut words = self.first_line.split(' ');
        Some((words.next()?, words.next()?))
    }

    /// Returns the framing of the body of a request with this head.
    #[must_use]
    pub fn request_framing(&self) -> Framing {
        self.declared_framing().unwrap_or(Framing::Length(0))
    }

    /// Returns the framing of the body of a response with this head to a request with a method.
    #[must_use]
    pub fn response_framing(&self, method: &str) -> Framing {
        let status = self.status().unwrap_or(0);
        if method == "HEAD" || matches!(status, 100..=199 | 204 | 304) {
            return Framing::Length(0);
        }
        self.declared_framing().unwrap_or(Framing::UntilClose)
    }

    fn declared_framing(&self) -> Option<Framing> {
        if self
            .header("transfer-encoding")
            .is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
        {
            return Some(Framing::Chunked);
        }
        Some(Framing::Length(
            self.header("content-length")?.parse().ok()?,
        ))
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

/// Returns the value of the first header of a name, compared without case.
#[must_use]
pub fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

/// Returns the length of the head at the start of `bytes`, its empty line included, once it is
/// there whole.
#[must_use]
pub fn find_head(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map(|at| at + 4)
}

/// Decodes a chunked body, once it is there whole. Returns how many bytes of `bytes` it took, and
/// its content.
///
/// # Errors
/// When a chunk's length is not hexadecimal.
pub fn parse_chunked(bytes: &[u8]) -> Result<Option<(usize, Vec<u8>)>, Malformed> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let Some(line_length) = bytes[at..].windows(2).position(|window| window == b"\r\n") else {
            return Ok(None);
        };
        let line = String::from_utf8_lossy(&bytes[at..at + line_length]).into_owned();
        let digits = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(digits, 16)
            .map_err(|_| Malformed(format!("chunk length is not hexadecimal: {line:?}")))?;
        at += line_length + 2;
        if size == 0 {
            return Ok(end_of_trailers(&bytes[at..]).map(|length| (at + length, body)));
        }
        if bytes.len() < at + size + 2 {
            return Ok(None);
        }
        body.extend_from_slice(&bytes[at..at + size]);
        at += size + 2;
    }
}

// Returns the end of the trailer: lines, then an empty one.
fn end_of_trailers(bytes: &[u8]) -> Option<usize> {
    if bytes.starts_with(b"\r\n") {
        Some(2)
    } else {
        find_head(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_found_once_it_is_whole() {
        assert_eq!(find_head(b"GET / HTTP/1.1\r\nHost: a\r\n"), None);
        assert_eq!(find_head(b"GET / HTTP/1.1\r\n\r\nrest"), Some(18));
    }

    #[test]
    fn a_head_keeps_order_and_case() {
        let head = Head::parse(b"HTTP/1.1 404 Not Found\r\nX-One: 1\r\nx-two:2\r\n\r\n").unwrap();
        assert_eq!(head.status(), Some(404));
        assert_eq!(head.headers[0], ("X-One".to_owned(), "1".to_owned()));
        assert_eq!(head.header("X-TWO"), Some("2"));
    }

    #[test]
    fn a_body_is_framed_as_the_head_says() {
        let length = Head::parse(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n").unwrap();
        assert_eq!(length.response_framing("GET"), Framing::Length(7));
        assert_eq!(length.response_framing("HEAD"), Framing::Length(0));
        let open = Head::parse(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        assert_eq!(open.response_framing("GET"), Framing::UntilClose);
        assert_eq!(open.request_framing(), Framing::Length(0));
    }

    #[test]
    fn a_chunked_body_is_read_with_extensions_and_trailers() {
        let whole = b"3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\nnext";
        assert_eq!(
            parse_chunked(whole).unwrap(),
            Some((whole.len() - 4, b"abcde".to_vec()))
        );
        assert_eq!(parse_chunked(&whole[..20]).unwrap(), None);
        assert!(parse_chunked(b"zz\r\n").is_err());
    }
}
