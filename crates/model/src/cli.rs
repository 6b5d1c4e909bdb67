//! Values of arguments on the command line.

use std::str::FromStr;

/// Parses the whole number of an argument that sets what is left. A sign is refused, because people
/// who write one mean to add to what is there.
///
/// # Errors
/// Returns a sentence that says what to write instead.
pub fn left(text: &str) -> Result<u64, String> {
    if text.starts_with(['+', '-']) {
        let words = "this sets the number and adds nothing: write the whole number that it is to be, such as 1000";
        return Err(words.to_owned());
    }
    whole(text)
}

/// Parses a whole number.
///
/// # Errors
/// Returns a sentence that says what to write instead.
pub fn whole<N: FromStr>(text: &str) -> Result<N, String> {
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

/// Parses the new value of a field of a change.
///
/// # Errors
/// Returns the error of the value.
pub fn some<T: FromStr>(text: &str) -> Result<Option<T>, T::Err> {
    text.parse().map(Some)
}
