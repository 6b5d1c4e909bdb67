//! Quantities in the form in which people read them.

use model::Timestamp;
pub(crate) use model::cli::{left, whole};

/// Returns a count with separators: `1,234,567`.
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

/// Returns bytes in decimal units: `999 B`, `1.2 kB`, `34 MB`.
pub(crate) fn bytes(number: u64) -> String {
    scaled(number, 1_000, &["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

/// Returns microseconds in the unit that fits: `180 us`, `1.2 ms`, `34 s`.
pub(crate) fn micros(number: u64) -> String {
    scaled(number, 1_000, &["us", "ms", "s"])
}

/// Returns a time to the second, in UTC.
pub(crate) fn time(time: Timestamp) -> String {
    Timestamp::from_micros(time.seconds().saturating_mul(1_000_000)).to_string()
}

/// Returns a time to the second; an empty text for none.
pub(crate) fn maybe_time(at: Option<Timestamp>) -> String {
    at.map(time).unwrap_or_default()
}

/// Returns a value as text; an empty text for none.
pub(crate) fn maybe(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// Returns words, separated by commas.
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
            let message = whole::<u64>(text).expect_err(text);
            assert!(message.contains(says), "{text}: {message}");
        }
        assert_eq!(left("1000"), Ok(1000));
        for text in ["+1000", "-1"] {
            let message = left(text).expect_err(text);
            assert!(message.contains("adds nothing"), "{text}: {message}");
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
