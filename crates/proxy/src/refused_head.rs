//! The answer to a head that the framework cannot read: problem details in place of its bare 400.

use std::task::{Context, Poll, ready};
use std::{io, iter};

use bytes::{Buf, Bytes, BytesMut};
use model::{Method, Methods, Refusal};
use pingora::protocols::http::date::get_cached_date;

use crate::connection::{Connection, Origin};
use crate::problem::Problem;

/// The size of a head, as far as it was received.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HeadSize {
    bytes: usize,
    /// The lines, without the empty one at the end of the head.
    lines: usize,
    /// The bytes of the line that is not complete yet.
    begun: usize,
}

/// The most bytes of a target that the framework reads.
const MAX_TARGET_BYTES: usize = 65_534;
/// The most bytes of a head that the framework reads.
const MAX_HEAD_BYTES: usize = (1 << 20) - 1;
/// The most headers of a head that the framework reads.
const MAX_HEADERS: usize = 256;
/// The bytes up to which a head cannot have more than [`MAX_HEADERS`] headers, since each has a
/// name, a colon and a line end.
const MAX_UNCOUNTED_BYTES: usize = 3 * MAX_HEADERS;

impl HeadSize {
    /// Counts received bytes of the head. Bytes of a body in the same piece are counted, too:
    /// telling them apart would cost more, and matters only if the head is refused.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        let is_whole = self.bytes == 0 && bytes.ends_with(b"\r\n\r\n");
        self.bytes += bytes.len();
        // Nearly all heads: there is nothing to count.
        if is_whole && bytes.len() <= MAX_UNCOUNTED_BYTES {
            return;
        }
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            // An empty line has a carriage return at most.
            self.lines += usize::from(self.begun + end > 1);
            self.begun = 0;
            rest = &rest[end + 1..];
        }
        self.begun += rest.len();
    }

    /// Returns the number of lines with the one that has begun: the framework refuses a header at
    /// its first byte.
    fn lines(self) -> usize {
        self.lines + usize::from(self.begun > 0)
    }

    /// Returns the reason why the framework refused the head, and a sentence that says what would
    /// work.
    fn refusal(self, target: usize) -> (Refusal, Option<String>) {
        if target > MAX_TARGET_BYTES {
            let detail = format!("send a target of at most {MAX_TARGET_BYTES} bytes");
            (Refusal::TargetTooLong, Some(detail))
        } else if self.bytes > MAX_HEAD_BYTES || self.lines() > MAX_HEADERS + 1 {
            let detail = format!(
                "send at most {MAX_HEADERS} headers, and with the request line at most {MAX_HEAD_BYTES} bytes"
            );
            (Refusal::HeadTooLarge, Some(detail))
        } else {
            // The framework does not say which of them it was.
            let detail = "send a request line, headers with names of letters and hyphens, one `Host` and at most one \
                `Content-Length`, of digits alone";
            (Refusal::RequestMalformed, Some(detail.to_owned()))
        }
    }
}

/// Returns whether the framework's answer refuses the method, as it does `CONNECT`.
fn is_about_method(framework: &[u8]) -> bool {
    framework.get(9..12) == Some(b"405")
}

/// The part of the answer that is not written yet.
#[derive(Debug)]
pub(crate) struct RefusedHead(Bytes);

impl RefusedHead {
    /// Returns the answer to a head of this size whose target has `target` bytes, in place of the
    /// `framework`'s, and counts the refusal.
    pub(crate) fn new(
        connection: &Connection,
        framework: &[u8],
        size: HeadSize,
        target: usize,
    ) -> Self {
        let (refusal, detail) = match is_about_method(framework) {
            true => (Refusal::MethodNotAllowed, None),
            false => size.refusal(target),
        };
        let mut problem = Problem::new(refusal, connection.refuse_head(refusal));
        problem.detail = detail;
        let rpc = *connection.origin() == Origin::Rpc;
        // An answer that cannot be made is left out: the connection ends without one.
        Self(written(&problem, rpc).unwrap_or_default())
    }

    /// Writes the answer in place of `instead_of` bytes of the framework's, which count as written
    /// once the answer has left.
    pub(crate) fn poll_write(
        &mut self,
        connection: &Connection,
        context: &mut Context<'_>,
        instead_of: usize,
    ) -> Poll<io::Result<usize>> {
        while !self.0.is_empty() {
            let count = ready!(
                connection
                    .with_output(|output, worker| output.poll_write(context, &self.0, worker))
            )?;
            self.0.advance(count);
        }
        Poll::Ready(Ok(instead_of))
    }
}

/// Returns the head and the body as bytes.
fn written(problem: &Problem, rpc: bool) -> pingora::Result<Bytes> {
    let (mut head, body) = problem.answer(rpc)?;
    head.insert_header("Date", get_cached_date())?;
    head.insert_header("Connection", "close")?;
    if problem.refusal() == Refusal::MethodNotAllowed {
        let named = Method::ALL.iter().copied();
        let all = named.fold(Methods::default(), Methods::with);
        head.insert_header("Allow", all.to_string())?;
    }
    let reason = head.status.canonical_reason().unwrap_or_default();
    let line = format!("HTTP/1.1 {} {reason}\r\n", head.status.as_u16());
    let mut bytes = BytesMut::from(line.as_bytes());
    head.header_to_h1_wire(&mut bytes);
    bytes.extend(iter::once(&b"\r\n"[..]).chain([&body[..]]).flatten());
    Ok(bytes.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_head_are_counted_however_it_comes() {
        let head = [&b"GET / HTTP/1.1\r\n"[..], &b"a:\r\n".repeat(257), b"\r\n"].concat();
        let most = head.len() - "a:\r\n\r\n".len();
        for piece in [1, 4, 5, 767, head.len()] {
            let refusal = |head: &[u8]| {
                let mut size = HeadSize::default();
                head.chunks(piece).for_each(|bytes| size.add(bytes));
                size.refusal(1).0
            };
            assert_eq!(refusal(&head), Refusal::HeadTooLarge, "{piece}");
            // One byte of the header that is one too many.
            assert_eq!(refusal(&head[..=most]), Refusal::HeadTooLarge, "{piece}");
            let allowed = [&head[..most], b"\r\n"].concat();
            assert_eq!(refusal(&allowed), Refusal::RequestMalformed, "{piece}");
        }
        let mut size = HeadSize::default();
        size.add(b"GET / HTTP/1.1\r\n\r\n");
        assert_eq!(size.refusal(1).0, Refusal::RequestMalformed);
    }

    #[test]
    fn a_head_is_too_large_by_its_target_its_bytes_or_its_lines() {
        let size = |target, bytes, lines| {
            let begun = 0;
            HeadSize {
                bytes,
                lines,
                begun,
            }
            .refusal(target)
            .0
        };
        // The request line and the headers.
        assert_eq!(size(65_534, 65_600, 257), Refusal::RequestMalformed);
        assert_eq!(size(65_535, 65_600, 1), Refusal::TargetTooLong);
        assert_eq!(size(9, 1 << 20, 9), Refusal::HeadTooLarge);
        assert_eq!(size(9, 2_000, 258), Refusal::HeadTooLarge);
    }
}
