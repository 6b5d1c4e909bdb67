//! Quantities: whole numbers with a unit, such as `30s` or `16MiB`.

use std::fmt;

/// A unit: the suffix of a number, and the factor that the number is multiplied by.
pub type Unit = (&'static str, u64);

/// Reads digits with one of these units.
///
/// Returns `None` for any other text, and `Some(None)` for a quantity that 64 bits do not hold.
#[must_use]
pub fn parse(text: &str, units: &[Unit]) -> Option<Option<u64>> {
    let is_number =
        |digits: &&str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let with_unit = |(suffix, factor): &Unit| {
        let digits = text.strip_suffix(suffix).filter(is_number)?;
        let number = digits.parse::<u64>().ok();
        Some(number.and_then(|number| number.checked_mul(*factor)))
    };
    units.iter().find_map(with_unit)
}

/// Writes a quantity with the first of these units that divides it, so the largest one should be the
/// first, and the last one should have the factor 1.
///
/// # Errors
/// Those of the formatter.
pub fn write(f: &mut fmt::Formatter<'_>, quantity: u64, units: &[Unit]) -> fmt::Result {
    let divides = |(_, factor): &&Unit| quantity.is_multiple_of(*factor);
    let (suffix, factor) = units.iter().find(divides).unwrap_or(&("", 1));
    write!(f, "{}{suffix}", quantity / factor)
}
