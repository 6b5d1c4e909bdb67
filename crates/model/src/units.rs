//! The units that an upstream states for a call, read from the forms in which upstreams write
//! numbers.

use crate::word_enum;

/// The units that a response states: a decimal whole number in any usual spelling (`3`, `3.0`,
/// `+3`, `1e3`, `1.5e1`).
///
/// A number that is too large for 64 bits is read as the largest of them, since every reader
/// compares it with a bound of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedUnits(u64);

word_enum!(
    /// The reason why a stated number of units cannot be read.
    UnreadableUnits {
        /// The value is empty.
        Empty = 1 => "empty",
        /// There is more than one number, even if they are equal.
        Several = 2 => "several",
        /// The number is below zero.
        Negative = 3 => "negative",
        /// The number is not whole.
        Fraction = 4 => "fraction",
        /// The value is not a decimal number.
        NotANumber = 5 => "not_a_number",
    }
);

/// The bound of exponents: all larger ones mean the same, far too large or a fraction.
const MAX_EXPONENT: i64 = 1_000_000;

impl NamedUnits {
    /// Reads the value of a header.
    ///
    /// # Errors
    /// The reason why the value is not a number of units.
    pub fn parse(value: &[u8]) -> Result<Self, UnreadableUnits> {
        let text = value.trim_ascii();
        if text.is_empty() {
            return Err(UnreadableUnits::Empty);
        }
        if text.contains(&b',') {
            return Err(UnreadableUnits::Several);
        }
        let (negative, text) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        let (mantissa, exponent) = match text.iter().position(|byte| matches!(byte, b'e' | b'E')) {
            Some(at) => (&text[..at], exponent(&text[at + 1..])?),
            None => (text, 0),
        };
        let point = mantissa.iter().position(|byte| *byte == b'.');
        let (whole, fraction) = match point {
            Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
            None => (mantissa, &[][..]),
        };
        let digits = || whole.iter().chain(fraction);
        if digits().next().is_none() || !digits().all(u8::is_ascii_digit) {
            return Err(UnreadableUnits::NotANumber);
        }
        let units = shifted(digits(), whole.len() as i64 + exponent)?;
        if negative && units > 0 {
            return Err(UnreadableUnits::Negative);
        }
        Ok(Self(units))
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

fn exponent(text: &[u8]) -> Result<i64, UnreadableUnits> {
    let (sign, digits) = match text {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        _ => (1, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(UnreadableUnits::NotANumber);
    }
    let add = |sum: i64, digit: &u8| (sum * 10 + i64::from(digit - b'0')).min(MAX_EXPONENT);
    Ok(sign * digits.iter().fold(0, add))
}

/// Returns the number of these digits with the point behind the first `point` of them.
fn shifted<'a>(digits: impl Iterator<Item = &'a u8>, point: i64) -> Result<u64, UnreadableUnits> {
    let (mut units, mut count) = (0_u64, 0_i64);
    for digit in digits {
        let digit = u64::from(digit - b'0');
        if count < point {
            units = units.saturating_mul(10).saturating_add(digit);
        } else if digit != 0 {
            return Err(UnreadableUnits::Fraction);
        }
        count += 1;
    }
    while count < point && units != 0 && units != u64::MAX {
        units = units.saturating_mul(10);
        count += 1;
    }
    Ok(units)
}

/// Takes any bytes as stated units, for fuzzers, and panics if a property does not hold.
///
/// # Panics
/// If a number that was read is not read again from its plain spelling, or a plain number is not
/// read as itself.
pub fn exercise(bytes: &[u8]) {
    let read = NamedUnits::parse(bytes);
    if let Ok(units) = read {
        let plain = units.get().to_string();
        for spelling in [
            plain.clone(),
            format!(" {plain}.0"),
            format!("{plain}0e-1\t"),
        ] {
            let again = NamedUnits::parse(spelling.as_bytes());
            // Where the number was cut at 64 bits, one more digit is cut as well.
            assert_eq!(again, Ok(units), "`{spelling}` is another number");
        }
    }
    let plain = std::str::from_utf8(bytes).ok().and_then(|text| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u64>().ok()).flatten()
    });
    if let Some(number) = plain {
        assert_eq!(read, Ok(NamedUnits(number)), "a plain number is itself");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_are_read_in_every_spelling(text in "[-+]?[0-9]{0,22}\\.?[0-9]{0,5}([eE][-+]?[0-9]{1,3})?", plain: u64) {
            exercise(text.as_bytes());
            exercise(plain.to_string().as_bytes());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            exercise(&bytes);
        }
    }

    #[test]
    fn usual_spellings_of_whole_numbers_are_read() {
        for (text, units) in [
            ("0", 0),
            ("3", 3),
            (" 3 ", 3),
            ("3.0", 3),
            ("3.", 3),
            ("+3", 3),
            ("003", 3),
            ("1e3", 1_000),
            ("1E+3", 1_000),
            ("1.5e1", 15),
            (".5e1", 5),
            ("1500e-2", 15),
            ("3.000000000000000000000000000000000", 3),
            ("-0", 0),
            ("0e999999999999", 0),
            ("18446744073709551615", u64::MAX),
            ("18446744073709551616", u64::MAX),
            ("1e30", u64::MAX),
        ] {
            assert_eq!(
                NamedUnits::parse(text.as_bytes()),
                Ok(NamedUnits(units)),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_number_of_units_says_why() {
        use UnreadableUnits as U;
        for (text, reason) in [
            ("", U::Empty),
            ("  ", U::Empty),
            ("5, 5", U::Several),
            ("1,000", U::Several),
            ("-1", U::Negative),
            ("-1e3", U::Negative),
            ("0.5", U::Fraction),
            ("15e-1", U::Fraction),
            ("1e-999999999999", U::Fraction),
            ("many", U::NotANumber),
            ("0x10", U::NotANumber),
            ("1e", U::NotANumber),
            ("e3", U::NotANumber),
            (".", U::NotANumber),
            ("1 2", U::NotANumber),
            ("1.2.3", U::NotANumber),
            ("--1", U::NotANumber),
            ("NaN", U::NotANumber),
            ("\u{664}", U::NotANumber),
        ] {
            assert_eq!(NamedUnits::parse(text.as_bytes()), Err(reason), "{text}");
        }
    }
}
