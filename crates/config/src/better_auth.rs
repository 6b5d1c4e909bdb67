//! `[better_auth]`: API keys in the manner of better-auth's plugin.

use model::{ApiKeyPrefix, Interval, RateLimit};

use crate::reader::Section;
use crate::value::{from_text, words};

/// `[better_auth]`: the creation of API keys, and their form for clients of better-auth's API key
/// plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BetterAuth {
    /// The shape of answers \[`current`\].
    pub shape: KeyShape,
    /// Whether known flaws of the original are repeated \[`standard`\].
    pub compat: Compat,
    /// Whether keys carry metadata \[false\].
    pub metadata: bool,
    /// Whether every key must have a name \[false\].
    pub name_required: bool,
    /// Letters of a key after its prefix, 32 to 128 \[64\].
    pub key_length: usize,
    /// The prefix of keys that ask for none \[none\].
    pub prefix: Option<ApiKeyPrefix>,
    /// The rate limit of keys that ask for none; `None`: they have none \[10 a day\].
    pub rate_limit: Option<RateLimit>,
    /// The soonest that a key may end after it is made or changed \[1 day\].
    pub shortest_expiry: Interval,
    /// The latest that a key may end after it is made or changed \[365 days\].
    pub longest_expiry: Interval,
}

words! {
    /// The shape of answers about API keys.
    KeyShape {
        /// The shape that version 1.7 of the plugin sends, with `userId`.
        #[default]
        Current = "current",
        /// The shape in the reference of the protocol: a bare list, permissions as text.
        Seed = "seed",
    }
}

words! {
    /// Whether known flaws of a protocol's original are repeated.
    Compat {
        /// Known flaws are not repeated.
        #[default]
        Standard = "standard",
        /// Known flaws that a client could depend on are repeated.
        Strict = "strict",
    }
}

from_text! {
    ApiKeyPrefix, "1 to 32 letters, digits, `_` or `-` in a string, such as \"pk_\"";
}

impl Default for BetterAuth {
    fn default() -> Self {
        let days = |days: u64| Interval::from_seconds(days * 86_400).expect("some days");
        Self {
            shape: KeyShape::Current,
            compat: Compat::Standard,
            metadata: false,
            name_required: false,
            key_length: 64,
            prefix: None,
            rate_limit: Some("10/1d".parse().expect("a rate limit")),
            shortest_expiry: days(1),
            longest_expiry: days(365),
        }
    }
}

impl BetterAuth {
    pub(crate) fn read(section: Section<'_>) -> Self {
        let default = Self::default();
        let length = default.key_length as u64;
        let is_set = section.has("rate_limit");
        let rate_limit: Option<RateLimit> = section.unless_empty("rate_limit");
        if let Err((_, reason)) = RateLimit::check_together(rate_limit.as_slice()) {
            section.report(section.at("rate_limit"), format!("rate_limit: {reason}"));
        }
        let read = Self {
            shape: section.value("shape", default.shape),
            compat: section.value("compat", default.compat),
            metadata: section.value("metadata", default.metadata),
            name_required: section.value("name_required", default.name_required),
            key_length: section.number("key_length", 32..=128, length) as usize,
            prefix: section.unless_empty("prefix"),
            rate_limit: if is_set {
                rate_limit
            } else {
                default.rate_limit
            },
            shortest_expiry: section.value("shortest_expiry", default.shortest_expiry),
            longest_expiry: section.value("longest_expiry", default.longest_expiry),
        };
        if read.longest_expiry < read.shortest_expiry {
            let message = format!(
                "longest_expiry: {} is shorter than shortest_expiry: write {} or longer",
                read.longest_expiry, read.shortest_expiry
            );
            section.report(section.at("longest_expiry"), message);
        }
        section.finish();
        read
    }
}
