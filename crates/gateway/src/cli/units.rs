//! Quantities as people read them.

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
