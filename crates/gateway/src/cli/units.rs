//! Quantities as people read them.

use std::str::FromStr;

use model::Timestamp;

/// A count with separators: `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Reads a whole number of an argument that sets what is left. A sign is refused: with one, people mean to add to what is there.
///
/// # Errors
/// A sentence that says what to write instead.
pub(crate) fn left(text: &str) -> Result<u64, String> {
    if text.starts_with(['+', '-']) {
        let words = "this sets the number and adds nothing: write the whole number that it is to be, such as 1000";
        return Err(words.to_owned());
    }
    whole(text)
}

/// Reads a whole number.
///
/// # Errors
/// A sentence that says what to write instead.
pub(crate) fn whole<N: FromStr>(text: &str) -> Result<N, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(number) = digits.then(|| text.parse().ok()).flatten() {
        return Ok(number);
    }
    Err(match text.as_bytes() {
        [b'+' | b'-', ..] => "write a whole number in digits without a sign, such as 10",
        _ if digits => "that is more than can be counted: write a smaller number",
        _ => "write a whole number in digits, such as 1000",
    }
    .to_owned())
}

/// Bytes in decimal units: `999 B`, `1.2 kB`, `34 MB`.
pub(crate) fn bytes(number: u64) -> String {
    scaled(number, 1_000, &["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

/// Microseconds in the unit that fits: `180 us`, `1.2 ms`, `34 s`.
pub(crate) fn micros(number: u64) -> String {
    scaled(number, 1_000, &["us", "ms", "s"])
}

/// A time to the second, in UTC.
pub(crate) fn time(time: Timestamp) -> String {
    Timestamp::from_micros(time.seconds().saturating_mul(1_000_000)).to_string()
}

/// A time to the second, or nothing.
pub(crate) fn maybe_time(at: Option<Timestamp>) -> String {
    at.map(time).unwrap_or_default()
}

/// Something that may not be there, as text.
pub(crate) fn maybe(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// Words in a row.
pub(crate) fn words<T: ToString>(items: &[T]) -> String {
    items
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

fn scaled(number: u64, step: u64, units: &[&str]) -> String {
    let mut divisor = 1_u64;
    let mut unit = 0;
    while unit + 1 < units.len() && number / divisor >= step {
        divisor *= step;
        unit += 1;
    }
    let whole = number / divisor;
    if unit == 0 || whole >= 10 {
        return format!("{} {}", count(whole), units[unit]);
    }
    let tenth = number % divisor * 10 / divisor;
    format!("{whole}.{tenth} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_set_has_digits_and_no_sign() {
        assert_eq!(whole::<u64>("1000"), Ok(1000));
        assert_eq!(whole::<u32>("0"), Ok(0));
        for (text, says) in [
            ("+1000", "without a sign"),
            ("-1", "without a sign"),
            ("1e6", "in digits"),
            ("1_000", "in digits"),
            ("5.0", "in digits"),
            ("", "in digits"),
            ("18446744073709551616", "smaller"),
        ] {
            let told = whole::<u64>(text).expect_err(text);
            assert!(told.contains(says), "{text}: {told}");
        }
        assert_eq!(left("1000"), Ok(1000));
        for text in ["+1000", "-1"] {
            let told = left(text).expect_err(text);
            assert!(told.contains("adds nothing"), "{text}: {told}");
        }
    }

    #[test]
    fn quantities_are_short_and_never_rounded_up() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_299), "1.2 kB");
        assert_eq!(bytes(u64::MAX), "18 EB");
        assert_eq!(micros(1_999), "1.9 ms");
        assert_eq!(micros(7_200_000_000), "7,200 s");
        let at = "2026-01-31T12:00:00.5Z".parse().expect("valid");
        assert_eq!(time(at), "2026-01-31T12:00:00Z");
    }
}
