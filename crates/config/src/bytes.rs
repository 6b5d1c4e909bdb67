//! Sizes in bytes.

use std::fmt;
use std::str::FromStr;

use model::quantity::{self, Unit};

use crate::value::FromValue;

/// A size in bytes. Text form: `512B`, `64KiB`, `16MiB`, `1GiB`, `2TiB`; a bare number counts
/// bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ByteSize(u64);

/// The error for a text that is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a size: write a whole number and `B`, `KiB`, `MiB`, `GiB` or `TiB`, such as `16MiB`"
)]
pub struct ParseByteSizeError(String);

const UNITS: [Unit; 6] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
    ("", 1),
];

impl ByteSize {
    /// Returns a size of `count` × 1,024 × 1,024 bytes.
    pub(crate) const fn from_mebibytes(count: u64) -> Self {
        Self(count << 20)
    }

    pub(crate) const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Returns the number of bytes, at most that of an `i64`.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = ParseByteSizeError;

    fn from_str(text: &str) -> Result<Self, ParseByteSizeError> {
        let bytes = quantity::parse(text, &UNITS).flatten();
        let bytes = bytes.filter(|bytes| i64::try_from(*bytes).is_ok());
        bytes
            .map(Self)
            .ok_or_else(|| ParseByteSizeError(model::quoted(text, 40)))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("0"),
            bytes => quantity::write(f, bytes, &UNITS),
        }
    }
}

impl FromValue for ByteSize {
    const EXPECTED: &'static str = "a size in a string, such as \"16MiB\"";

    fn from_text(text: &str) -> Option<Result<Self, String>> {
        Some(
            text.parse()
                .map_err(|error: ParseByteSizeError| error.to_string()),
        )
    }

    fn from_integer(number: i128) -> Option<Result<Self, String>> {
        Self::from_text(&number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written_in_their_largest_unit() {
        for (text, bytes) in [
            ("0", 0),
            ("1B", 1),
            ("64KiB", 65_536),
            ("16MiB", 16 << 20),
            ("1GiB", 1 << 30),
        ] {
            let size: ByteSize = text.parse().expect(text);
            assert_eq!((size.bytes(), size.to_string().as_str()), (bytes, text));
        }
        assert_eq!(
            "1024".parse::<ByteSize>().expect("valid").to_string(),
            "1KiB"
        );
        for bad in [
            "",
            "B",
            "MiB",
            "1MB",
            "1 MiB",
            "-1",
            "1.5GiB",
            "8388608TiB",
            "99999999999999999999",
            "é",
        ] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
    }
}
