//! The terms of the configuration for software that is sold with an app.

use std::time::Duration;

use model::RateLimit;

/// The terms of the configuration for software that is sold with an app. What its seller decides
/// while it runs are [`AppSettings`](model::AppSettings).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoftwareTerms {
    /// Whether a device that finds no free slot frees all others, once in the life of the license.
    pub rebinds_once: bool,
    /// The most credits that the software of the app may use in a window, on this gate; `None`: no
    /// limit.
    pub burn_cap: Option<RateLimit>,
    /// The most validations of a license in a window, on this gate; `None`: no limit.
    pub validate_limit: Option<RateLimit>,
    /// The most validations from an address in a window, on this gate; `None`: no limit.
    pub validate_limit_per_address: Option<RateLimit>,
    /// The most heartbeats of a license in a window, on this gate; `None`: no limit.
    pub heartbeat_limit: Option<RateLimit>,
    /// The life of a session whose software asks for none.
    pub session_lifetime: Duration,
    /// Whether software may have files made by itself, by which it runs without a connection.
    pub offline_activation: bool,
}

impl SoftwareTerms {
    /// The shortest life of a session.
    pub const MIN_SESSION: Duration = Duration::from_secs(3_600);
    /// The longest life of a session.
    pub const MAX_SESSION: Duration = Duration::from_secs(604_800);

    /// Returns the life of a session whose software asks for this one: that one, within the
    /// shortest and the longest.
    #[must_use]
    pub fn session_life(&self, asked: Option<Duration>) -> Duration {
        asked
            .unwrap_or(self.session_lifetime)
            .clamp(Self::MIN_SESSION, Self::MAX_SESSION)
    }
}

/// The terms without any limit: sessions of a day, no rebinding, no offline files.
impl Default for SoftwareTerms {
    fn default() -> Self {
        Self {
            rebinds_once: false,
            burn_cap: None,
            validate_limit: None,
            validate_limit_per_address: None,
            heartbeat_limit: None,
            session_lifetime: Duration::from_secs(86_400),
            offline_activation: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_lasts_as_asked_within_an_hour_and_a_week() {
        let terms = SoftwareTerms::default();
        let life =
            |asked: Option<u64>| terms.session_life(asked.map(Duration::from_secs)).as_secs();
        assert_eq!(life(None), 86_400);
        assert_eq!(life(Some(0)), 3_600);
        assert_eq!(life(Some(7_200)), 7_200);
        assert_eq!(life(Some(u64::MAX)), 604_800);
    }
}
