//! Keys that the file does not have in this version, although earlier files or papers name them. They are refused by what
//! they are, never ignored and never taken for a slip of the keyboard.

/// A key or table, and what serves instead of it.
struct Later {
    /// The table that it would stand in, as messages name it.
    section: &'static str,
    key: &'static str,
    /// How people write it.
    shown: &'static str,
    instead: &'static str,
}

const LATER: [Later; 4] = [
    Later {
        section: "[server]",
        key: "tls",
        shown: "[[server.tls]]",
        instead: "take it out, and let a proxy before the gate take TLS, with its network in `trusted_proxies`",
    },
    Later {
        section: "[control]",
        key: "allow_private_webhook_targets",
        shown: "allow_private_webhook_targets",
        instead: "take it out; no webhooks are sent",
    },
    Later {
        section: "[[plan]]",
        key: "included_units",
        shown: "included_units",
        instead: "take it out; every billed unit is charged",
    },
    Later {
        section: "[[app]]",
        key: "agents",
        shown: "[app.agents]",
        instead: "take it out; agents are let in as anyone is, by their license",
    },
];

/// What to say of a key that a table has, if it is one of these.
pub(crate) fn refused(section: &str, key: &str) -> Option<String> {
    let later = LATER
        .iter()
        .find(|later| later.section == section && later.key == key)?;
    Some(format!(
        "`{}` is not in this version: {}",
        later.shown, later.instead
    ))
}
