//! Changes of settings of apps as the audit log shows them.

use std::collections::HashSet;
use std::fmt::Display;
use std::hash::Hash;

use model::AppSettings;
use serde_json::{Map, Value, json};

/// The number of entries that are named of those which came to a list, and of those which left it.
const MAX_NAMED: usize = 10;

/// Returns the states before and after a change. Lists, which may be long, are shown by their
/// lengths, with up to [`MAX_NAMED`] entries that came and as many that left.
pub(super) fn shown(before: &AppSettings, after: &AppSettings) -> (Value, Value) {
    let (mut old, mut new) = (plain(before), plain(after));
    let (was, is) = (&before.security, &after.security);
    let mut list = |name: &str, change: Change| {
        old.insert(name.to_owned(), json!(change.before));
        new.insert(name.to_owned(), json!(change.after));
        for (what, entries) in [("added", change.added), ("removed", change.removed)] {
            if !entries.is_empty() {
                new.insert(format!("{name}_{what}"), json!(entries));
            }
        }
    };
    list(
        "blocked_devices",
        Change::of(&was.blocked_devices, &is.blocked_devices),
    );
    list(
        "allowed_devices",
        Change::of(&was.allowed_devices, &is.allowed_devices),
    );
    list(
        "blocked_networks",
        Change::of(&was.blocked_networks, &is.blocked_networks),
    );
    list(
        "allowed_networks",
        Change::of(&was.allowed_networks, &is.allowed_networks),
    );
    (old.into(), new.into())
}

fn plain(settings: &AppSettings) -> Map<String, Value> {
    let members = [
        ("disabled_at", json!(settings.disabled_at)),
        ("variables", json!(settings.variables)),
        ("imported_id", json!(settings.imported_id)),
    ];
    members
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect()
}

/// A change of a list.
struct Change {
    before: usize,
    after: usize,
    added: Vec<String>,
    removed: Vec<String>,
}

impl Change {
    fn of<T: Display + Eq + Hash>(before: &[T], after: &[T]) -> Self {
        Self {
            before: before.len(),
            after: after.len(),
            added: missing(before, after),
            removed: missing(after, before),
        }
    }
}

/// Returns what is in `list` and not in `other`, as far as it is named.
fn missing<T: Display + Eq + Hash>(other: &[T], list: &[T]) -> Vec<String> {
    let other: HashSet<&T> = other.iter().collect();
    let new = list.iter().filter(|entry| !other.contains(entry));
    new.take(MAX_NAMED).map(T::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::DeviceId;

    #[test]
    fn what_came_to_a_list_and_what_left_it_is_named_within_bounds() {
        let ids = |range: std::ops::Range<u32>| -> Vec<DeviceId> {
            range
                .map(|id| format!("d{id}").parse().expect("valid"))
                .collect()
        };
        let (mut before, mut after) = (AppSettings::default(), AppSettings::default());
        before.security.blocked_devices = ids(0..3);
        after.security.blocked_devices = ids(2..4);
        after.security.allowed_devices = ids(0..1_000);
        after.security.blocked_networks = vec!["10.0.0.0/8".parse().expect("valid")];
        let (old, new) = shown(&before, &after);
        assert_eq!(old["blocked_devices"], 3);
        assert_eq!(new["blocked_devices"], 2);
        assert_eq!(new["blocked_devices_added"], json!(["d3"]));
        assert_eq!(new["blocked_devices_removed"], json!(["d0", "d1"]));
        assert_eq!(new["blocked_networks_added"], json!(["10.0.0.0/8"]));
        let named = new["allowed_devices_added"].as_array().expect("a list");
        assert_eq!(named.len(), MAX_NAMED);
        assert_eq!(new.get("allowed_networks_added"), None);
    }
}
