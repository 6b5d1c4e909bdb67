//! What the fields of requests may be.

use model::{Counter, Limits, RateLimit, Scope};

use crate::error::Error;
use crate::plans::EffectiveLimits;

const LONGEST_TEXT: usize = 200;
const MOST_ENTRIES: usize = 64;
/// What a store's integer holds.
const MOST_UNITS: u64 = i64::MAX as u64;

/// A text for people: 1 to 200 bytes without control characters.
pub(super) fn text(field: &'static str, text: Option<&str>) -> Result<(), Error> {
    let Some(text) = text else { return Ok(()) };
    if text.is_empty() || text.len() > LONGEST_TEXT || text.chars().any(char::is_control) {
        let reason = format!("must have 1 to {LONGEST_TEXT} bytes and no control characters");
        return Err(Error::invalid(field, reason));
    }
    Ok(())
}

/// A list of at most 64 entries.
pub(super) fn entries(field: &'static str, count: usize) -> Result<(), Error> {
    if count > MOST_ENTRIES {
        let reason = format!("has {count} entries, at most {MOST_ENTRIES} are allowed");
        return Err(Error::invalid(field, reason));
    }
    Ok(())
}

/// The scopes of a new key for one license: those that are named, or all that it can have.
pub(super) fn reading(named: &[String]) -> Result<Vec<String>, Error> {
    let reads = |word: &String| word.parse().is_ok_and(Scope::only_reads);
    match named.iter().find(|word| !reads(word)) {
        Some(word) => {
            let reason = format!(
                "a key for one license only reads and cannot have `{word}`: leave it out, or make a key for the app"
            );
            Err(Error::invalid("scopes", reason))
        }
        None => {
            let held = Scope::held(named, true);
            Ok(held.iter().map(ToString::to_string).collect())
        }
    }
}

/// Scopes: at most 64 of 1 to 64 characters of `a-z 0-9 : . _ - *`.
pub(super) fn scopes(scopes: &[String]) -> Result<(), Error> {
    entries("scopes", scopes.len())?;
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b":._-*".contains(&b);
    let valid = |scope: &String| (1..=64).contains(&scope.len()) && scope.bytes().all(plain);
    match scopes.iter().find(|scope| !valid(scope)) {
        None => Ok(()),
        Some(_) => Err(Error::invalid(
            "scopes",
            "a scope has 1 to 64 of `a-z 0-9 : . _ - *`",
        )),
    }
}

pub(super) fn limits(limits: &Limits) -> Result<(), Error> {
    let refill = limits.refill.map_or(0, |refill| refill.amount);
    if limits.remaining.unwrap_or(0).max(refill) > MOST_UNITS {
        let field = if refill > MOST_UNITS {
            "refill"
        } else {
            "remaining"
        };
        return Err(Error::invalid(
            field,
            format!("must be at most {MOST_UNITS}"),
        ));
    }
    if limits.concurrency == Some(0) {
        let reason = "must be at least 1; disable the license to let no call in";
        return Err(Error::invalid("concurrency", reason));
    }
    rate_limits(limits)
}

fn rate_limits(limits: &Limits) -> Result<(), Error> {
    const FIELD: &str = "rate_limits";
    let most = EffectiveLimits::MOST_WINDOWS;
    let count = limits.rate_limits.len();
    if count > most {
        let reason = format!("has {count} windows, at most {most} are allowed");
        return Err(Error::invalid(FIELD, reason));
    }
    for (at, limit) in limits.rate_limits.iter().enumerate() {
        let window = limit.window;
        if limit.is_durable() && !window.seconds().is_multiple_of(60) {
            let hour = Counter::DURABLE_WINDOW;
            let reason =
                format!("`{limit}`: a window of {hour} seconds or more is one of whole minutes");
            return Err(Error::invalid(FIELD, reason));
        }
        let earlier = &limits.rate_limits[..at];
        let same = |other: &RateLimit| other.window == window && other.kind == limit.kind;
        if earlier.iter().any(same) {
            let reason = format!("two limits for windows of {window}: keep the smaller one");
            return Err(Error::invalid(FIELD, reason));
        }
    }
    Ok(())
}
