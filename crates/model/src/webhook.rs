//! Webhooks: receivers of events.

use serde::{Deserialize, Serialize};

use crate::event::EventType;
use crate::id::WebhookId;
use crate::name::{AccountName, AppName};
use crate::time::Timestamp;
use crate::word_enum;

word_enum!(
    /// The form in which a receiver gets events.
    #[derive(Default)]
    WebhookForm: "The form in which a receiver gets events." {
        /// `{type, timestamp, data}`, signed as Standard Webhooks say.
        #[default]
        Native = 0 => "native",
        /// AuthForge's body and headers, beside those of Standard Webhooks.
        Authforge = 1 => "authforge",
        /// APIMW's body and headers, beside those of Standard Webhooks.
        Apimw = 2 => "apimw",
    }
);

word_enum!(
    /// The state of a webhook.
    #[derive(Default)]
    WebhookState: "The state of a webhook." {
        /// It gets events.
        #[default]
        Active = 0 => "active",
        /// It gets no events for now. Those that happen meanwhile wait, as long as events are kept.
        Paused = 1 => "paused",
        /// An event could not be delivered however often it was tried. As paused, and somebody must
        /// look.
        Disabled = 2 => "disabled",
        /// Its receiver did not answer the challenge at registration. It never got an event.
        Unproven = 3 => "unproven",
    }
);

word_enum!(
    /// The state of a delivery.
    DeliveryState: "The state of a delivery." {
        /// It waits to be tried, or to be tried again.
        Waiting = 0 => "waiting",
        /// The receiver took it.
        Delivered = 1 => "delivered",
        /// It failed at its last try. Its webhook was disabled, unless it was a test.
        Failed = 2 => "failed",
    }
);

/// A receiver of events, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// The id.
    pub id: WebhookId,
    /// The account whose events it gets.
    pub account: AccountName,
    /// The app whose events alone it gets; `None`: every app of the account.
    pub app: Option<AppName>,
    /// The URL that events are posted to, of at most [`Webhook::MAX_URL_BYTES`] bytes.
    pub url: String,
    /// The types of events that it gets; empty: all.
    pub events: Vec<EventType>,
    /// The form of what it gets.
    pub form: WebhookForm,
    /// The state.
    pub state: WebhookState,
    /// The time of creation.
    pub created_at: Timestamp,
    /// The time of the last delivery that its receiver took; `None`: there was none.
    pub last_delivery_at: Option<Timestamp>,
}

impl Webhook {
    /// The length of the longest URL, in bytes.
    pub const MAX_URL_BYTES: usize = 2_048;

    /// Returns whether events of this type are among those that were chosen for it.
    #[must_use]
    pub fn wants(&self, kind: EventType) -> bool {
        self.events.is_empty() || self.events.contains(&kind)
    }

    /// Returns whether it gets events of this type: they were chosen, and its form has them.
    #[must_use]
    pub fn gets(&self, kind: EventType) -> bool {
        self.wants(kind) && self.form.has(kind)
    }
}

impl WebhookForm {
    /// Returns the name of a type of events in this form; `None`: it is not told in it.
    #[must_use]
    pub const fn name_of(self, kind: EventType) -> Option<&'static str> {
        match self {
            Self::Native | Self::Apimw => Some(kind.as_str()),
            Self::Authforge => match kind {
                EventType::LicenseCreated
                | EventType::LicenseValidated
                | EventType::LicenseActivated => Some(kind.as_str()),
                EventType::LicenseDisabled => Some("license.revoked"),
                EventType::LicenseRevoked => Some("license.deleted"),
                EventType::DeviceBound => Some("license.hwid_bound"),
                EventType::DevicesReset => Some("license.hwid_reset"),
                EventType::Test => Some("test.ping"),
                _ => None,
            },
        }
    }

    /// Returns the type of events that has this name in this form; `None`: none has that anybody
    /// asks for.
    #[must_use]
    pub fn type_named(self, name: &str) -> Option<EventType> {
        let found = self.told().find(|(_, own)| *own == name);
        found.map(|(kind, _)| kind)
    }

    /// Returns whether events of this type are told in this form.
    #[must_use]
    pub const fn has(self, kind: EventType) -> bool {
        self.name_of(kind).is_some()
    }

    /// Returns the types of events that are told in this form with their names in it, in the order
    /// of their numbers. A test is told in each and is none that anybody asks for.
    pub fn told(self) -> impl Iterator<Item = (EventType, &'static str)> {
        let asked_for = EventType::ALL.into_iter();
        let asked_for = asked_for.filter(|kind| *kind != EventType::Test);
        asked_for.filter_map(move |kind| Some((kind, self.name_of(kind)?)))
    }
}
