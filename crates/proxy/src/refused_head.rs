//! What callers get for a head that the framework cannot read: a problem of ours, in place of its bare 400.

use std::task::{Context, Poll, ready};
use std::{io, iter};

use bytes::{Buf, Bytes, BytesMut};
use model::{Method, Methods, Refusal};
use pingora::protocols::http::date::get_cached_date;

use crate::connection::{Connection, Origin};
use crate::problem::Problem;

/// How much of a head has come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HeadSize {
    bytes: usize,
    /// The request line and the headers, without the empty line at their end.
    lines: usize,
    /// Bytes of the line that is coming, if it has begun.
    begun: usize,
}

/// Most bytes of a target that the framework reads.
const MAX_TARGET_BYTES: usize = 65_534;
/// Most bytes of a head that it reads.
const MAX_HEAD_BYTES: usize = (1 << 20) - 1;
/// Most headers of a head that it reads.
const MAX_HEADERS: usize = 256;
/// A head of no more bytes has no more headers than that, since each has a name, a colon and its end.
const FEW_LINES: usize = 3 * MAX_HEADERS;

impl HeadSize {
    /// Notes bytes of the head. Those of a body that came with its end are counted, too: it costs less than to tell them apart,
    /// and matters only if the head is refused.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        let is_whole = self.bytes == 0 && bytes.ends_with(b"\r\n\r\n");
        self.bytes += bytes.len();
        // Nearly all: nothing is to be counted in them.
        if is_whole && bytes.len() <= FEW_LINES {
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

    /// Lines, with that which has begun: the framework refuses a header when its first byte comes.
    fn lines(self) -> usize {
        self.lines + usize::from(self.begun > 0)
    }

    /// Why the framework refused the head, and what would work.
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
            // Which of them it was the framework does not say.
            let detail = "send a request line, headers with names of letters and hyphens, one `Host` and at most one \
                `Content-Length`, of digits alone";
            (Refusal::RequestMalformed, Some(detail.to_owned()))
        }
    }
}

/// Whether the framework refuses a method, by the head that it writes. It takes no `CONNECT`.
fn is_about_method(framework: &[u8]) -> bool {
    framework.get(9..12) == Some(b"405")
}

/// The answer, as far as it has not been written.
#[derive(Debug)]
pub(crate) struct RefusedHead(Bytes);

impl RefusedHead {
    /// The answer to a head of this size whose target has so many bytes, in place of what the framework begins to write.
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

    /// Writes the answer in place of some bytes of the framework's, of which the last are taken for written once it has left.
    pub(crate) fn poll_write(
        &mut self,
        connection: &Connection,
        context: &mut Context<'_>,
        instead_of: usize,
    ) -> Poll<io::Result<usize>> {
        while !self.0.is_empty() {
            let count = ready!(
                connection
                    .with_outlet(|outlet, worker| outlet.poll_write(context, &self.0, worker))
            )?;
            self.0.advance(count);
        }
        Poll::Ready(Ok(instead_of))
    }
}

/// Head and body.
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
