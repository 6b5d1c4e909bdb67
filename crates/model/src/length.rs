//! The length of a request's body, read in the one way in which it is judged and forwarded.

use std::str::FromStr;

/// The length of a body, as the head of its request states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BodyLength {
    /// The head states no length, so there is no body.
    Absent,
    /// The body has this many bytes.
    Known(u64),
    /// The body comes in chunks. A length beside it says nothing (RFC 9112, section 6.3).
    Chunked,
}

/// The error for a head of which two readers could disagree where the body ends, or that only a
/// reader who knows a coding could judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("a body has one `Content-Length`, or comes with `Transfer-Encoding: chunked` alone")]
pub struct MalformedLength;

impl BodyLength {
    /// Reads all lines of `Content-Length` and of `Transfer-Encoding`.
    ///
    /// # Errors
    /// Lengths that differ or are not numbers (the same one several times is one: RFC 9110, section
    /// 8.6), and every coding but a single `chunked`: the gate would have to undo it to know what
    /// it forwards (RFC 9112, section 6.1).
    pub fn read<'a>(
        lengths: impl Iterator<Item = &'a [u8]>,
        codings: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Self, MalformedLength> {
        let mut coding = codings.flat_map(items);
        if let Some(first) = coding.next() {
            let chunked = first.eq_ignore_ascii_case(b"chunked") && coding.next().is_none();
            return chunked.then_some(Self::Chunked).ok_or(MalformedLength);
        }
        let mut length = Self::Absent;
        for item in lengths.flat_map(items) {
            let stated = Self::Known(number(item).ok_or(MalformedLength)?);
            if length != Self::Absent && length != stated {
                return Err(MalformedLength);
            }
            length = stated;
        }
        Ok(length)
    }
}

fn items(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// Reads digits and nothing else: a sign or a blank is read by some servers and not by others.
fn number(item: &[u8]) -> Option<u64> {
    let digits = !item.is_empty() && item.iter().all(u8::is_ascii_digit);
    let text = digits.then(|| std::str::from_utf8(item).ok()).flatten()?;
    u64::from_str(text).ok()
}

/// Takes any bytes as lines, for fuzzers, and panics if a property does not hold. Lines of
/// `Transfer-Encoding` stand behind a NUL.
///
/// # Panics
/// If a length that was read, written and read again gives something else.
pub fn exercise(bytes: &[u8]) {
    let (lengths, codings) = match bytes.iter().position(|byte| *byte == 0) {
        Some(end) => (&bytes[..end], Some(&bytes[end + 1..])),
        None => (bytes, None),
    };
    let lines = |bytes: &'static [u8]| std::iter::once(bytes);
    let read = BodyLength::read(
        lengths.split(|byte| *byte == b'\n'),
        codings
            .into_iter()
            .flat_map(|codings| codings.split(|byte| *byte == b'\n')),
    );
    let again = match read {
        Ok(BodyLength::Known(length)) => {
            let text = length.to_string();
            BodyLength::read([text.as_bytes()].into_iter(), std::iter::empty())
        }
        Ok(BodyLength::Chunked) => BodyLength::read(std::iter::empty(), lines(b"chunked")),
        other => other,
    };
    assert_eq!(again, read, "what is written is read differently");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_judged_is_what_is_written(text in "[0-9, \n]{0,12}", coding in "[chunkedCHUNKED,gzip \n]{0,16}", bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            exercise(text.as_bytes());
            exercise(format!("{text}\0{coding}").as_bytes());
            exercise(&bytes);
        }
    }

    fn read(lengths: &[&str], codings: &[&str]) -> Result<BodyLength, MalformedLength> {
        BodyLength::read(
            lengths.iter().map(|line| line.as_bytes()),
            codings.iter().map(|line| line.as_bytes()),
        )
    }

    #[test]
    fn a_length_is_read_in_one_way_or_not_at_all() {
        use BodyLength::{Absent, Chunked, Known};
        assert_eq!(read(&[], &[]), Ok(Absent));
        for lengths in [&["3"][..], &["3, 3"], &["3", "3"], &["3,3", " 3 "], &["03"]] {
            assert_eq!(read(lengths, &[]), Ok(Known(3)), "{lengths:?}");
        }
        for lengths in [
            &["3, 4"][..],
            &["3", "4"],
            &["+3"],
            &["-3"],
            &["3 3"],
            &["0x3"],
            &[""],
            &["3,"],
            &["99999999999999999999"],
            &["\u{e9}"],
        ] {
            assert_eq!(read(lengths, &[]), Err(MalformedLength), "{lengths:?}");
        }
        assert_eq!(read(&[], &["chunked"]), Ok(Chunked));
        assert_eq!(read(&["3"], &["Chunked"]), Ok(Chunked));
        for codings in [
            &["gzip, chunked"][..],
            &["gzip", "chunked"],
            &["chunked, chunked"],
            &["chunked", "chunked"],
            &["identity"],
            &["chunked;q=1"],
            &["chunked,"],
            &[""],
        ] {
            assert_eq!(read(&["3"], codings), Err(MalformedLength), "{codings:?}");
        }
    }
}
