//! Percent-encoding of characters that a request target may not hold and that callers send all the
//! same: `curl` and some browsers write `GET /x?f={"a":1}`. The framework accepts such a target
//! only encoded. The target that is judged and the one that is forwarded are then the same.

/// The part of the line that the next byte belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Method,
    /// The first byte of the target.
    Target,
    Path,
    Query,
    Over,
}

/// An encoder of request lines, one after the other, in pieces of any size.
#[derive(Debug, Default)]
pub(crate) struct RequestLine {
    part: Part,
    /// The bytes of the target and of what follows it on the line.
    length: usize,
}

impl RequestLine {
    /// Begins another head.
    pub(crate) fn begins(&mut self) {
        *self = Self::default();
    }

    /// Returns the number of bytes of the target, as far as it was received.
    pub(crate) const fn target_length(&self) -> usize {
        self.length.saturating_sub(VERSION_LENGTH)
    }

    /// Reads the next bytes. Returns them encoded; `None` if nothing has to be encoded, as in most
    /// heads.
    pub(crate) fn encoded(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        if self.part == Part::Over || self.passes(bytes) {
            return None;
        }
        let mut encoded: Option<Vec<u8>> = None;
        for (at, &byte) in bytes.iter().enumerate() {
            if self.part == Part::Over {
                if let Some(encoded) = &mut encoded {
                    encoded.extend_from_slice(&bytes[at..]);
                }
                break;
            }
            let is_foreign = self.meets(byte);
            if is_foreign {
                let line = encoded.get_or_insert_with(|| bytes[..at].to_vec());
                line.extend_from_slice(format!("%{byte:02X}").as_bytes());
            } else if let Some(line) = &mut encoded {
                line.push(byte);
            }
        }
        encoded
    }

    /// Returns whether the line is whole and has nothing to encode, as nearly all lines. Found
    /// without looking at each byte in turn.
    fn passes(&mut self, bytes: &[u8]) -> bool {
        let begins =
            self.part == Part::Method && bytes.first().is_some_and(u8::is_ascii_alphabetic);
        let Some(end) = memchr::memchr(b'\n', bytes).filter(|_| begins) else {
            return false;
        };
        let line = &bytes[..end];
        let is_foreign = |byte: u8| matches!(byte, b'<' | b'>' | b'"' | b'`');
        // Without an early exit, so that many bytes are compared at a time.
        if line
            .iter()
            .fold(false, |found, byte| found | is_foreign(*byte))
        {
            return false;
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let method = memchr::memchr(b' ', line).unwrap_or(line.len());
        self.length = line.len().saturating_sub(method + 1);
        self.part = Part::Over;
        true
    }

    /// Returns whether a byte has to be encoded at this part of the line, and moves on to the next
    /// part.
    fn meets(&mut self, byte: u8) -> bool {
        match (self.part, byte) {
            (Part::Method, b' ') => self.part = Part::Target,
            // The rest of a head whose beginning was received with the request before. No line
            // begins like that.
            (Part::Method, b':' | b'/' | b',' | b';' | b'(' | b'"') => self.part = Part::Over,
            (Part::Target, b'/' | b'h' | b'H') => self.part = Part::Path,
            (Part::Target, _) => self.part = Part::Over,
            (Part::Path, b'?') => self.part = Part::Query,
            (Part::Path | Part::Query, b'\n') => self.part = Part::Over,
            (Part::Path, b'<' | b'>' | b'`') | (Part::Query, b'<' | b'>' | b'"') => {
                self.length += 3;
                return true;
            }
            _ => {}
        }
        let is_counted = matches!(self.part, Part::Path | Part::Query) && byte != b'\r';
        self.length += usize::from(is_counted);
        false
    }
}

/// The bytes of ` HTTP/1.1`.
const VERSION_LENGTH: usize = " HTTP/1.1".len();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_foreign_to_a_target_is_encoded() {
        let cases = [
            (
                "GET /x?f={\"a\":1} HTTP/1.1\r\nX: <\"\r\n",
                "GET /x?f={%22a%22:1} HTTP/1.1\r\nX: <\"\r\n",
            ),
            (
                "\r\nGET /`<b>?<b>` HTTP/1.1\r\n",
                "\r\nGET /%60%3Cb%3E?%3Cb%3E` HTTP/1.1\r\n",
            ),
        ];
        for (given, expected) in cases {
            // In pieces of any size.
            for size in 1..given.len() {
                let mut line = RequestLine::default();
                let pieces = given.as_bytes().chunks(size);
                let all: Vec<u8> = pieces
                    .flat_map(|piece| line.encoded(piece).unwrap_or_else(|| piece.to_vec()))
                    .collect();
                assert_eq!(String::from_utf8_lossy(&all), expected, "{size}");
            }
        }
        let mut line = RequestLine::default();
        for same in ["GET /a?b=[1]|{2}^~é#' HTTP/1.1\r\n\"<>", "<>\""] {
            assert_eq!(line.encoded(same.as_bytes()), None);
        }
        assert_eq!(line.target_length(), "/a?b=[1]|{2}^~é#'".len());
        for (head, size) in [("GET /abc HTTP/1.1\n", 30), ("GET /abc HTTP/1.1\r\n", 1)] {
            let mut line = RequestLine::default();
            for piece in head.as_bytes().chunks(size) {
                assert_eq!(line.encoded(piece), None);
            }
            assert_eq!(line.target_length(), "/abc".len(), "{head}");
        }
    }

    #[test]
    fn the_rest_of_a_head_is_no_request_line() {
        for rest in [
            "Title: <b>\r\n",
            "tle: /<b>\r\n",
            "lla/5.0 /<b>\r\n",
            "is <b>\r\n",
            "t, /<b>\r\n",
        ] {
            let mut line = RequestLine::default();
            assert_eq!(line.encoded(rest.as_bytes()), None, "{rest}");
        }
    }
}
