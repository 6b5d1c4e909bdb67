//! The protocol's names of fields that have other names here.

/// Fields by our names and by those of the protocol.
const NAMES: [(&str, &str); 8] = [
    ("expires_at", "expiresAt"),
    ("device_slots", "maxHwidSlots"),
    ("unlimited_devices", "unlimitedHwidSlots"),
    ("app_id", "appId"),
    ("blocked_devices", "hwidBlacklist"),
    ("allowed_devices", "hwidWhitelist"),
    ("blocked_networks", "ipBlacklist"),
    ("allowed_networks", "ipWhitelist"),
];

/// Returns the protocol's name of a field of ours.
pub(super) fn name_of(field: &'static str) -> &'static str {
    let found = NAMES.iter().find(|(own, _)| *own == field);
    found.map_or(field, |(_, name)| *name)
}

/// Returns a sentence with the protocol's names for the fields that it names in backquotes.
pub(super) fn in_its_names(sentence: &str) -> String {
    let quoted = |name: &str| format!("`{name}`");
    NAMES.iter().fold(sentence.to_owned(), |text, (own, name)| {
        text.replace(&quoted(own), &quoted(name))
    })
}
