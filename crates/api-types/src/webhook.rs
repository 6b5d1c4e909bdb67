//! Webhooks on the wire.

use std::fmt;

use model::{
    AccountName, AppName, DeliveryState, Event, EventId, EventType, Interval, Timestamp,
    WebhookForm, WebhookId, WebhookState,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A request to create a webhook.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateWebhook {
    /// The URL that events are posted to: `https`, on the public internet, of at most 2,048 bytes.
    pub url: String,
    /// The account whose events it gets; absent: that of the app, of the key that asks, or `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountName>,
    /// The app whose events alone it gets; absent: every app of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
    /// The types of events that it gets; none: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventType>,
    /// The form of what it gets.
    #[serde(default)]
    pub form: WebhookForm,
    /// The secret that its owner chose, of 8 to 256 visible ASCII characters; absent: a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Whether it gets nothing until it is resumed.
    #[serde(default)]
    pub paused: bool,
}

/// A change of a webhook; absent fields stay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeWebhook {
    /// The URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The types of events that it gets; an empty list: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<EventType>>,
}

/// The length of time for which the secrets of a webhook before the new one go on signing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateWebhookSecret {
    /// The overlap; absent: one day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Interval>,
    /// Whether they end at once.
    #[serde(default)]
    pub at_once: bool,
}

/// A webhook as it is answered.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Webhook {
    /// The identity.
    pub id: WebhookId,
    /// The secret, in answers to creation and rotation only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The account whose events it gets.
    pub account: AccountName,
    /// The app whose events alone it gets.
    pub app: Option<AppName>,
    /// The URL that events are posted to.
    pub url: String,
    /// The types of events that it gets; none: all.
    pub events: Vec<EventType>,
    /// The form of what it gets.
    pub form: WebhookForm,
    /// The state: `active`, `paused`, `disabled` (an event could not be delivered), or `unproven` (its receiver did not answer the challenge).
    pub state: WebhookState,
    /// The time at which it was made.
    pub created_at: Timestamp,
    /// The time of the last delivery that its receiver took.
    pub last_delivery_at: Option<Timestamp>,
}

/// A try of a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryAttempt {
    /// The time at which it began.
    pub at: Timestamp,
    /// How long it took, in microseconds.
    pub duration_us: u64,
    /// The status that the receiver answered; `null`: it did not answer.
    pub status: Option<u16>,
    /// The beginning of its answer, or what failed.
    pub answer: String,
}

/// The delivery of an event to a webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Delivery {
    /// The number, which grows with time.
    pub number: u64,
    /// The event, which is the `webhook-id` of every try.
    pub event_id: EventId,
    /// The type of the event.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// The time of the event.
    pub event_at: Timestamp,
    /// The license that the event is about.
    pub license_id: Option<model::LicenseId>,
    /// The state.
    pub state: DeliveryState,
    /// The number of tries so far, of the present round.
    pub attempts: u32,
    /// The time of the next try.
    pub next_at: Option<Timestamp>,
    /// The last try.
    pub last: Option<DeliveryAttempt>,
}

/// The filter and the page of a list of deliveries, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeliveryQuery {
    /// The state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<DeliveryState>,
    /// The earliest time of their events, included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// The latest time of their events, excluded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// The event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<EventId>,
    /// The largest number of items of a page; 1 to 1,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// The `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<u64>,
}

/// A selection of deliveries to be made again: those of one event, or of a span of time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Redeliver {
    /// The event; absent: every event of the span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<EventId>,
    /// The earliest time of their events, included; absent: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// The latest time of their events, excluded; absent: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// Whether only those that failed are made again.
    #[serde(default)]
    pub failed: bool,
}

/// How many deliveries are due again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Redelivered {
    /// The number.
    pub deliveries: u64,
}

impl fmt::Debug for CreateWebhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateWebhook")
            .field("form", &self.form)
            .field("secret", &self.secret.as_ref().map(|_| "redacted"))
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("id", &self.id)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl From<model::Webhook> for Webhook {
    fn from(webhook: model::Webhook) -> Self {
        Self {
            id: webhook.id,
            secret: None,
            account: webhook.account,
            app: webhook.app,
            url: webhook.url,
            events: webhook.events,
            form: webhook.form,
            state: webhook.state,
            created_at: webhook.created_at,
            last_delivery_at: webhook.last_delivery_at,
        }
    }
}

impl Delivery {
    /// Returns the delivery of an event that has this state, and was tried so often.
    #[must_use]
    pub fn of_event(number: u64, event: &Event, state: DeliveryState, attempts: u32) -> Self {
        Self {
            number,
            event_id: event.id,
            kind: event.kind,
            event_at: event.at,
            license_id: event.license_id,
            state,
            attempts,
            next_at: None,
            last: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chosen_secret_never_shows_in_debug_output() {
        let create = CreateWebhook {
            secret: Some("very-secret-secret".to_owned()),
            ..CreateWebhook::default()
        };
        assert!(!format!("{create:?}").contains("very-secret"));
    }
}
