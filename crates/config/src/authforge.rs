//! `[app.authforge]`: software that is sold with an app, and validates its licenses by AuthForge's
//! protocol.

use model::{Interval, RateLimit, WindowKind};

use crate::reader::Section;
use crate::value::words;

/// `[app.authforge]`: the rules for software that is sold with an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authforge {
    /// The treatment of a device that finds no free slot \[it is refused\].
    pub rebind: Rebind,
    /// The most credits that the software of the app may use in a window, on each gate; `None`: no
    /// limit \[none\].
    pub burn_cap: Option<RateLimit>,
    /// The most validations of a license in a window, on each gate; `None`: no limit \[5 a
    /// minute\].
    pub validate_limit: Option<RateLimit>,
    /// The most validations from an address in a window, on each gate; `None`: no limit \[30 a
    /// minute\].
    pub validate_limit_per_address: Option<RateLimit>,
    /// The most heartbeats of a license in a window, on each gate; `None`: no limit \[6 a minute\].
    pub heartbeat_limit: Option<RateLimit>,
    /// The life of a session whose software asks for none \[1 d\].
    pub session_lifetime: Interval,
    /// Whether software may have files made by itself, by which it runs without a connection
    /// \[false\].
    pub offline_activation: bool,
}

words! {
    /// The treatment of a device that finds no free slot.
    Rebind {
        /// The device is refused.
        #[default]
        Never = "",
        /// The device frees all others, once in the life of the license.
        Once = "once",
    }
}

impl Default for Authforge {
    fn default() -> Self {
        let limit = |text: &str| Some(text.parse().expect("it is a rate limit"));
        Self {
            rebind: Rebind::default(),
            burn_cap: None,
            validate_limit: limit("5/1m"),
            validate_limit_per_address: limit("30/1m"),
            heartbeat_limit: limit("6/1m"),
            session_lifetime: Interval::from_seconds(86_400).expect("it is in range"),
            offline_activation: false,
        }
    }
}

impl Authforge {
    /// The shortest and the longest life of a session, in seconds.
    const SESSION_SECONDS: std::ops::RangeInclusive<u32> = 3_600..=604_800;

    pub(crate) fn read(section: Section<'_>) -> Self {
        const LIFETIME: &str = "session_lifetime";
        let default = Self::default();
        let authforge = Self {
            rebind: section.value("rebind", default.rebind),
            burn_cap: limit(&section, "burn_cap", default.burn_cap),
            validate_limit: limit(&section, "validate_limit", default.validate_limit),
            validate_limit_per_address: limit(
                &section,
                "validate_limit_per_address",
                default.validate_limit_per_address,
            ),
            heartbeat_limit: limit(&section, "heartbeat_limit", default.heartbeat_limit),
            session_lifetime: section.value(LIFETIME, default.session_lifetime),
            offline_activation: section.value("offline_activation", default.offline_activation),
        };
        if !Self::SESSION_SECONDS.contains(&authforge.session_lifetime.seconds()) {
            let message = format!(
                "{LIFETIME}: {} is not allowed here: write 1h to 7d",
                authforge.session_lifetime
            );
            section.report(section.at(LIFETIME), message);
        }
        section.finish();
        authforge
    }
}

/// Reads a window whose empty text means that there is no limit.
fn limit(
    section: &Section<'_>,
    key: &'static str,
    default: Option<RateLimit>,
) -> Option<RateLimit> {
    if !section.has(key) {
        return default;
    }
    let limit: RateLimit = section.unless_empty(key)?;
    if limit.kind != WindowKind::default() {
        let message = format!(
            "{key}: `{limit}` is not possible: these windows begin with the first request, write it without `,idle`"
        );
        section.report(section.at(key), message);
    }
    Some(limit)
}
