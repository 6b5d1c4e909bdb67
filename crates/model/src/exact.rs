//! Large whole numbers in JSON. Many readers, JavaScript among them, take every number for a double
//! and round a large one.

use std::fmt;
use std::str::FromStr;

use crate::forms::text_form;

/// The largest whole number up to which a double holds every one exactly: 2^53 - 1.
///
/// No number in a request may be larger: its sender may have meant another one, and its reader
/// would get another.
pub const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// The digits of a number above [`MAX_SAFE_INTEGER`], as text. Sums can become so large, and stand in
/// JSON a second time in this form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digits(u64);

/// The error for a text that is not digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write the digits of a whole number")]
pub struct ParseDigitsError;

impl Digits {
    /// Returns the digits of a number that a double may not hold; `None` for one that it does.
    #[must_use]
    pub const fn beyond(number: u64) -> Option<Self> {
        if number > MAX_SAFE_INTEGER {
            Some(Self(number))
        } else {
            None
        }
    }
}

impl fmt::Display for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Digits {
    type Err = ParseDigitsError;

    fn from_str(text: &str) -> Result<Self, ParseDigitsError> {
        text.parse().map(Self).map_err(|_| ParseDigitsError)
    }
}

text_form! { Digits {
    "description": "The digits of the number of the same name without `_text`, there only where it is above 9007199254740991.",
    "pattern": "^[0-9]{16,20}$",
    "examples": ["9007199254740993"],
} }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_digits_from_where_doubles_leave_numbers_out() {
        let as_double = |number: u64| number as f64 as u64;
        assert_eq!(as_double(MAX_SAFE_INTEGER), MAX_SAFE_INTEGER);
        assert_ne!(as_double(MAX_SAFE_INTEGER + 2), MAX_SAFE_INTEGER + 2);
        assert_eq!(Digits::beyond(MAX_SAFE_INTEGER), None);
        let digits = Digits::beyond(MAX_SAFE_INTEGER + 2).expect("above");
        assert_eq!(digits.to_string(), "9007199254740993");
        assert_eq!(digits.to_string().parse(), Ok(digits));
        assert_eq!("1e3".parse::<Digits>(), Err(ParseDigitsError));
    }
}
