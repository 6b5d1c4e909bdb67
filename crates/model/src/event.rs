//! Events: what happens to licenses and apps, as webhooks tell it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id::{CredentialId, EventId, LicenseId};
use crate::name::{AccountName, AppName};
use crate::time::Timestamp;
use crate::word_enum;

word_enum!(
    /// The type of an event.
    EventType: "The type of an event." {
        /// A license was made.
        LicenseCreated = 1 => "license.created",
        /// The terms of a license were changed.
        LicenseChanged = 2 => "license.changed",
        /// A license was disabled: it may be enabled again.
        LicenseDisabled = 3 => "license.disabled",
        /// A license that was disabled was enabled.
        LicenseActivated = 4 => "license.activated",
        /// A license was revoked for good.
        LicenseRevoked = 5 => "license.revoked",
        /// A license got a new key in place of those before.
        KeyRotated = 6 => "key.rotated",
        /// A license was bound to a device.
        DeviceBound = 7 => "device.bound",
        /// The devices of a license were freed.
        DevicesReset = 8 => "device.reset",
        /// Software validated its license.
        LicenseValidated = 20 => "license.validated",
        /// A license was used for the first time.
        LicenseFirstUsed = 21 => "license.first_used",
        /// A license has used 80 % of the units of its period.
        QuotaLow = 22 => "quota.low",
        /// A license has used all units of its period.
        QuotaExhausted = 23 => "quota.exhausted",
        /// A license ends in 7 days, or in 1.
        LicenseExpiring = 24 => "license.expiring",
        /// A license ended.
        LicenseExpired = 25 => "license.expired",
        /// An upstream of an app takes no connection any more.
        UpstreamDown = 26 => "upstream.down",
        /// An upstream of an app takes connections again.
        UpstreamUp = 27 => "upstream.up",
        /// A test that somebody asked for.
        Test = 40 => "webhook.test",
    }
);

/// The source of events. Events of one source about one license are delivered in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum EventSource {
    /// A change that the store made, with which the event was written.
    Store = 0,
    /// Calls that the ledger summed up, or a time that came.
    Ledger = 1,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The id, the same in every delivery.
    pub id: EventId,
    /// The type.
    pub kind: EventType,
    /// The time at which it happened.
    pub at: Timestamp,
    /// The account that it concerns.
    pub account: AccountName,
    /// The app that it concerns; [`AppName::every`]: each app of the account.
    pub app: AppName,
    /// The license that it concerns; `None`: it is about the app.
    pub license_id: Option<LicenseId>,
    /// The facts of the event beyond the fields above, without any secret.
    pub data: Map<String, Value>,
}

impl Event {
    /// Returns the key of the license with which it happened, where its facts name it.
    #[must_use]
    pub fn credential(&self) -> Option<CredentialId> {
        self.data.get("credential_id")?.as_str()?.parse().ok()
    }
}

impl EventType {
    /// Returns the source of events of this type.
    #[must_use]
    pub const fn source(self) -> EventSource {
        match self as u8 {
            ..20 => EventSource::Store,
            _ => EventSource::Ledger,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_survive_their_words_and_numbers() {
        for kind in EventType::ALL {
            assert_eq!(EventType::parse(kind.as_str()), Some(kind));
            assert_eq!(EventType::from_number(kind as u8), Some(kind));
        }
        assert_eq!(EventType::DevicesReset.source(), EventSource::Store);
        assert_eq!(EventType::LicenseValidated.source(), EventSource::Ledger);
    }
}
