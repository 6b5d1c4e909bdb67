//! `[control]` and `[cache]`: the bounds of the control plane and of the license cache.

use ipnet::IpNet;

use crate::duration::Millis;
use crate::reader::Section;

/// `[control]`: the control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// The failed credentials per minute and address; more are refused unread. Loopback is not
    /// counted \[100\].
    pub failures_per_minute: u32,
    /// The networks that may come without TLS, besides loopback \[none\].
    pub plain_http_from: Vec<IpNet>,
    /// Whether webhooks may be posted into private networks, this host included \[no\].
    pub allow_private_webhook_targets: bool,
    /// Whether webhooks may be posted without TLS \[no\].
    pub allow_plain_webhook_targets: bool,
}

/// `[cache]`: the cache of licenses in the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cache {
    /// The number of keys whose license is remembered \[1,000,000\].
    pub licenses: usize,
    /// The number of keys that are remembered to have no license, apart from the others \[10,000\].
    pub negative: usize,
    /// The time for which the latter are remembered \[10 s\].
    pub negative_ttl: Millis,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            failures_per_minute: 100,
            plain_http_from: Vec::new(),
            allow_private_webhook_targets: false,
            allow_plain_webhook_targets: false,
        }
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            licenses: 1_000_000,
            negative: 10_000,
            negative_ttl: Millis::from_seconds(10),
        }
    }
}

impl Control {
    pub(crate) fn read(section: Section<'_>) -> Self {
        let default = Self::default();
        let failures = u64::from(default.failures_per_minute);
        let control = Self {
            failures_per_minute: section.number("failures_per_minute", 1..=1_000_000, failures)
                as u32,
            plain_http_from: section.list("plain_http_from", default.plain_http_from),
            allow_private_webhook_targets: section.value("allow_private_webhook_targets", false),
            allow_plain_webhook_targets: section.value("allow_plain_webhook_targets", false),
        };
        section.finish();
        control
    }
}

impl Cache {
    /// The largest capacity; with more a cache would not fit any memory.
    const MAX_CAPACITY: u64 = 1_000_000_000;

    pub(crate) fn read(section: Section<'_>) -> Self {
        let default = Self::default();
        let cache = Self {
            licenses: section.number("licenses", 1..=Self::MAX_CAPACITY, default.licenses as u64)
                as usize,
            negative: section.number("negative", 1..=Self::MAX_CAPACITY, default.negative as u64)
                as usize,
            negative_ttl: section.timeout("negative_ttl", default.negative_ttl),
        };
        section.finish();
        cache
    }
}
