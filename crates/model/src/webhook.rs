//! Webhooks: receivers of events.

use schemars::JsonSchema;
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

/// The state of a webhook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum WebhookState {
    /// It gets events.
    #[default]
    Active = 0,
    /// It gets no events for now. Those that happen meanwhile wait, as long as events are kept.
    Paused = 1,
    /// An event could not be delivered however often it was tried. As paused, and somebody must
    /// look.
    Disabled = 2,
    /// Its receiver did not answer the challenge at registration. It never got an event.
    Unproven = 3,
}

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
    /// Returns whether events of this type are told in this form.
    #[must_use]
    pub const fn has(self, kind: EventType) -> bool {
        use EventType as Type;
        match self {
            Self::Native | Self::Apimw => true,
            Self::Authforge => matches!(
                kind,
                Type::LicenseCreated
                    | Type::LicenseDisabled
                    | Type::LicenseActivated
                    | Type::LicenseRevoked
                    | Type::LicenseValidated
                    | Type::DeviceBound
                    | Type::DevicesReset
                    | Type::Test
            ),
        }
    }
}
