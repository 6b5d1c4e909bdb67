//! The keys of a file, to find those that stand in it twice.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use model::{Credential, KeyDigest};
use serde_json::Value;

use super::row::{Fields, Wrong};

/// The lines of the keys that were seen, at most some 40 bytes for each spelling of one: keys of
/// AuthForge's shape have two. Twelve bytes of the
/// SHA-256 tell them apart: that two of a million have the same has a probability of 10⁻¹⁷.
#[derive(Debug, Default)]
pub(super) struct Seen(HashMap<[u8; 12], u32>);

impl Seen {
    /// Notes the key of a row, if it has one that can be read.
    ///
    /// # Errors
    /// The key stands on an earlier line, too.
    pub(super) fn note(&mut self, row: &Fields, line: u64) -> Result<(), Wrong> {
        let Some((field, digests)) = digests(row) else {
            return Ok(());
        };
        let line = u32::try_from(line).unwrap_or(u32::MAX);
        for digest in &digests {
            let beginning = digest.as_bytes()[..12].try_into();
            match self.0.entry(beginning.expect("a digest has 32 bytes")) {
                Entry::Vacant(place) => {
                    place.insert(line);
                }
                Entry::Occupied(before) => {
                    let before = before.get();
                    let reason = format!("line {before} has this key, too: leave one of them out");
                    return Err(Wrong::of(field, reason));
                }
            }
        }
        Ok(())
    }
}

/// Returns the SHA-256 of the key of a row in each of its spellings, and the field that it is from.
fn digests(row: &Fields) -> Option<(&'static str, Vec<KeyDigest>)> {
    if let Some(key) = row.get("key").and_then(Value::as_str) {
        let bare = key.replace('-', "");
        let spellings = match Credential::with_dashes(&bare) {
            Some(dashed) => vec![KeyDigest::of(dashed.expose()), KeyDigest::of(&bare)],
            None => vec![KeyDigest::of(key)],
        };
        return Some(("key", spellings));
    }
    let digest = row.get("key_sha256").and_then(Value::as_str)?;
    Some(("key_sha256", vec![digest.parse().ok()?]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_key_is_known_again_in_every_form() {
        let key = "A3K9-BFWX-7NP2-QHDT";
        let digest = KeyDigest::of(key).to_string();
        let forms = [
            json!({ "key": key }),
            json!({ "key": key.replace('-', "") }),
            json!({ "key_sha256": digest }),
            json!({ "key_sha256": digest.to_uppercase() }),
        ];
        let bare = KeyDigest::of(&key.replace('-', "")).to_string();
        let of_bare = json!({ "key_sha256": bare });
        let of_bare = of_bare.as_object().expect("an object");
        let forms = forms.map(|form| form.as_object().cloned().expect("an object"));
        for form in &forms[..2] {
            for (first, second) in [(form, of_bare), (of_bare, form)] {
                let mut seen = Seen::default();
                assert_eq!(seen.note(first, 7), Ok(()));
                assert!(seen.note(second, 9).is_err(), "{first:?} {second:?}");
            }
        }
        for first in &forms {
            for second in &forms {
                let mut seen = Seen::default();
                assert_eq!(seen.note(first, 7), Ok(()));
                let wrong = seen.note(second, 9).expect_err("the same key");
                assert!(wrong.reason.starts_with("line 7 "), "{wrong:?}");
                assert!(second.contains_key(&wrong.field), "{wrong:?}");
            }
        }
    }
}
