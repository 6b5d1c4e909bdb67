//! The rules for the fields of requests.

use model::{
    DeviceId, LicenseSpec, Limits, MAX_SAFE_INTEGER, Method, Permission, RateLimit, Scope,
    Timestamp,
};

use crate::error::Error;

const MAX_TEXT_LENGTH: usize = 200;
const MAX_LABEL_LENGTH: usize = 512;
const MAX_ENTRIES: usize = 64;

/// Checks a text for people: 1 to 200 bytes without control characters.
pub(super) fn text(field: &'static str, text: Option<&str>) -> Result<(), Error> {
    text_of(field, text, MAX_TEXT_LENGTH)
}

/// Checks the label of a license: 1 to 512 bytes without control characters, so that 128 characters
/// of any script fit, which AuthForge takes.
pub(super) fn label(label: Option<&str>) -> Result<(), Error> {
    text_of("label", label, MAX_LABEL_LENGTH)
}

fn text_of(field: &'static str, text: Option<&str>, most: usize) -> Result<(), Error> {
    let Some(text) = text else { return Ok(()) };
    if text.is_empty() || text.len() > most || text.chars().any(char::is_control) {
        let reason = format!("must have 1 to {most} bytes and no control characters");
        return Err(Error::invalid(field, reason));
    }
    Ok(())
}

/// Checks a number of slots for devices.
pub(super) fn device_slots(slots: Option<u8>) -> Result<(), Error> {
    let most = LicenseSpec::MAX_DEVICE_SLOTS;
    match slots {
        Some(slots) if !(1..=most).contains(&slots) => {
            let reason = format!("must be 1 to {most}; `unlimited_devices` lets in any number");
            Err(Error::invalid("device_slots", reason))
        }
        _ => Ok(()),
    }
}

/// Checks the devices that a license is bound to from the start: each once, and no more than there
/// are slots, or could be where they are not counted.
pub(super) fn devices(devices: &[DeviceId], slots: Option<u8>) -> Result<(), Error> {
    const FIELD: &str = "devices";
    let most = usize::from(slots.unwrap_or(LicenseSpec::MAX_DEVICE_SLOTS));
    let count = devices.len();
    if count > most {
        let reason = match slots {
            Some(slots) => format!(
                "{count} are bound and there are {slots} slots: raise `device_slots`, or leave devices out"
            ),
            None => format!("{count} are bound, at most {most} can be: leave devices out"),
        };
        return Err(Error::invalid(FIELD, reason));
    }
    let again = (1..count).find(|at| devices[..*at].contains(&devices[*at]));
    match again {
        None => Ok(()),
        Some(at) => Err(Error::invalid(
            FIELD,
            format!(
                "the device at place {} stands there twice: name it once",
                at + 1
            ),
        )),
    }
}

/// Checks the length of a list: at most 64 entries.
pub(super) fn entries(field: &'static str, count: usize) -> Result<(), Error> {
    if count > MAX_ENTRIES {
        let reason = format!("has {count} entries, at most {MAX_ENTRIES} are allowed");
        return Err(Error::invalid(field, reason));
    }
    Ok(())
}

/// Returns the scopes of a new key for one license: those that are named, or all that it can have.
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

/// Checks permissions: at most 64, none of which is a pattern.
pub(super) fn permissions(permissions: &[Permission]) -> Result<(), Error> {
    const FIELD: &str = "permissions";
    entries(FIELD, permissions.len())?;
    let pattern = |permission: &Permission| {
        let parent = model::parent_path::before_pattern(&permission.path)?;
        let method = permission.method.map_or("*", Method::as_str);
        Some(format!(
            "`{permission}` has a pattern, which no path is: a permission holds for its path and all that lies below it, write `{method} {parent}`"
        ))
    };
    match permissions.iter().find_map(pattern) {
        None => Ok(()),
        Some(reason) => Err(Error::invalid(FIELD, reason)),
    }
}

/// Checks scopes: at most 64 of 1 to 64 characters of `a-z 0-9 : . _ - *`.
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

/// Checks limits that replace others. Units that stay as they are may be more than can be set: an
/// earlier version took more.
pub(super) fn limits(limits: &Limits, before: &Limits) -> Result<(), Error> {
    let amount = |limits: &Limits| limits.refill.map(|refill| refill.amount);
    for (field, units, kept) in [
        ("remaining", limits.remaining, before.remaining),
        ("refill", amount(limits), amount(before)),
    ] {
        if units != kept && units.unwrap_or(0) > MAX_SAFE_INTEGER {
            let reason = format!(
                "must be at most {MAX_SAFE_INTEGER}: readers of JSON round larger whole numbers"
            );
            return Err(Error::invalid(field, reason));
        }
    }
    if limits.concurrency == Some(0) {
        let reason = "must be at least 1; disable the license to let no call in";
        return Err(Error::invalid("concurrency", reason));
    }
    RateLimit::check_together(&limits.rate_limits)
        .map_err(|(_, reason)| Error::invalid("rate_limits", reason))
}

/// Checks that an end lies in the future. One that is over would make something that can never be
/// used, or would end something without saying so.
pub(super) fn end(instead: &str, end: Option<Timestamp>, now: Timestamp) -> Result<(), Error> {
    match end {
        Some(end) if end <= now => {
            let reason = format!("{end} is over already: write a time to come, {instead}");
            Err(Error::invalid("expires_at", reason))
        }
        _ => Ok(()),
    }
}
