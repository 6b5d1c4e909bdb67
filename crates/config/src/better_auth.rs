//! `[better_auth]`: API keys as better-auth's plugin knows them.

use model::{ApiKeyPrefix, Interval, RateLimit};

use crate::reader::Section;
use crate::value::{from_text, words};

/// `[better_auth]`: how API keys are made, and how they look to clients of better-auth's API key plugin.
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
    /// The latest \[365 days\].
    pub longest_expiry: Interval,
}

words! {
    /// The shape of answers about API keys.
    KeyShape {
        /// What version 1.7 of the plugin sends, and `userId`.
        #[default]
        Current = "current",
        /// What the reference of the protocol shows: a bare list, permissions as text.
        Seed = "seed",
    }
}

words! {
    /// Whether known flaws of a protocol's original are repeated.
    Compat {
        /// They are not.
        #[default]
        Standard = "standard",
        /// Those that a client could depend on are.
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
