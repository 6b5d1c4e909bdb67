//! Keys that this version does not have, although earlier files or papers name them. They are
//! refused by name, never ignored and never taken for a typing error.

/// A key or table that this version does not have, and its replacement.
struct UnsupportedKey {
    /// The table that the key would stand in, as messages name it.
    section: &'static str,
    key: &'static str,
    /// The key as people write it.
    shown: &'static str,
    instead: &'static str,
}

const UNSUPPORTED_KEYS: [UnsupportedKey; 2] = [
    UnsupportedKey {
        section: "[server]",
        key: "tls",
        shown: "[[server.tls]]",
        instead: "take it out, and let a proxy before the gate take TLS, with its network in `trusted_proxies`",
    },
    UnsupportedKey {
        section: "[[plan]]",
        key: "included_units",
        shown: "included_units",
        instead: "take it out; every billed unit is charged",
    },
];

/// Returns the message for a key of a table, if the key is one of these.
pub(crate) fn message_for(section: &str, key: &str) -> Option<String> {
    let unsupported = UNSUPPORTED_KEYS
        .iter()
        .find(|unsupported| unsupported.section == section && unsupported.key == key)?;
    Some(format!(
        "`{}` is not in this version: {}",
        unsupported.shown, unsupported.instead
    ))
}
