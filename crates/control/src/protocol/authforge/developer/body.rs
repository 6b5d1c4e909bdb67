//! The bodies of requests.

use model::{DeviceId, Timestamp};
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::http::field::Text;
use crate::http::schema::inline_schema;

/// The body of `POST /v1/licenses`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "AuthforgeCreate")]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Create {
    /// The id of the app.
    pub(super) app_id: String,
    /// The number of licenses, 1 to 100.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100))]
    pub(super) quantity: u32,
    /// The time at which they end; `null`: never.
    pub(super) expires_at: Option<Timestamp>,
    /// The number of devices that each may be bound to, 1 to 16.
    #[serde(default = "one_slot")]
    #[schemars(range(min = 1, max = 16))]
    pub(super) max_hwid_slots: u8,
    /// Whether any number of devices may use them.
    #[serde(default)]
    pub(super) unlimited_hwid_slots: bool,
    /// A label for people.
    pub(super) label: Option<Label>,
}

const fn one() -> u32 {
    1
}

const fn one_slot() -> u8 {
    1
}

/// A label for people: up to 128 characters, none of them a control character. An empty one is none.
#[derive(Debug)]
pub(super) struct Label(String);

inline_schema!(Label: { "type": "string", "maxLength": Label::MAX_CHARACTERS });

impl Label {
    /// The length of the longest label, in characters.
    const MAX_CHARACTERS: usize = 128;

    /// Returns the text; `None`: there is no label.
    pub(super) fn into_text(self) -> Option<String> {
        Some(self.0).filter(|text| !text.is_empty())
    }
}

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let most = Self::MAX_CHARACTERS;
        if text.chars().count() > most || text.contains(char::is_control) {
            let detail = format!("send at most {most} characters, without control characters");
            return Err(D::Error::custom(detail));
        }
        Ok(Self(text))
    }
}

/// The body of `PUT /v1/licenses/{key}`: an action, with the fields that it takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "AuthforgeChange")]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Change {
    /// What is done: `revoke`, `activate`, `extend`, `reset-hwid`, `set-label` or `set-slots`.
    pub(super) action: String,
    /// The new end, with `extend`; `null`: never.
    #[serde(default, deserialize_with = "given")]
    pub(super) expires_at: Option<Option<Timestamp>>,
    /// The new label, with `set-label`; `null` takes it away.
    #[serde(default, deserialize_with = "given")]
    pub(super) label: Option<Option<Label>>,
    /// The new number of devices, with `set-slots`.
    #[schemars(range(min = 1, max = 16))]
    pub(super) max_hwid_slots: Option<u8>,
    /// Whether any number of devices may use it, with `set-slots`.
    pub(super) unlimited_hwid_slots: Option<bool>,
}

/// Reads a field that tells `null` from absent.
fn given<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// The body of `POST /v1/licenses/{key}/offline-files`: for which devices the file is.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "AuthforgeMint")]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Mint {
    /// The text of the activation request of a device.
    pub(super) request: Option<String>,
    /// The devices.
    #[serde(default)]
    #[schemars(length(max = 100))]
    pub(super) hwids: Vec<DeviceId>,
    /// Whether it is for any device.
    #[serde(default)]
    pub(super) any_machine: bool,
    /// The time at which the file ends; `null`: when its license does.
    pub(super) expires_at: Option<Timestamp>,
}

/// The body of `PUT /v1/apps/{app}`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "AuthforgeChangeApp")]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ChangeApp {
    /// Whether licenses can be validated.
    pub(super) enabled: bool,
}

/// The body of `POST /v1/apps/{app}/webhooks`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "AuthforgeCreateWebhook")]
#[serde(deny_unknown_fields)]
pub(super) struct CreateWebhook {
    /// The URL that events are posted to.
    pub(super) url: String,
    /// The names of the events that it gets, at least one.
    pub(super) events: Vec<String>,
    /// Whether it gets events; `null`: yes.
    pub(super) enabled: Option<bool>,
}

/// The body of `PUT /v1/apps/{app}/webhooks/{webhook}`: what is changed.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "AuthforgeChangeWebhook")]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeWebhook {
    /// The URL that events are posted to.
    pub(super) url: Option<String>,
    /// The names of the events that it gets, at least one.
    pub(super) events: Option<Vec<String>>,
    /// Whether it gets events.
    pub(super) enabled: Option<bool>,
}

/// The body of `PUT /v1/apps/{app}/security`: the lists that are replaced.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "AuthforgePutLists")]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct PutLists {
    /// The devices that are refused.
    #[schemars(length(max = 1_000))]
    pub(super) hwid_blacklist: Option<Vec<DeviceId>>,
    /// The devices that alone are let in; empty: all.
    #[schemars(length(max = 1_000))]
    pub(super) hwid_whitelist: Option<Vec<DeviceId>>,
    /// The addresses and networks that are refused.
    #[schemars(length(max = 1_000))]
    pub(super) ip_blacklist: Option<Vec<Text<1, 45>>>,
    /// The addresses and networks that alone are let in; empty: all.
    #[schemars(length(max = 1_000))]
    pub(super) ip_whitelist: Option<Vec<Text<1, 45>>>,
}

/// The body of `POST /v1/apps/{app}/security/blacklist`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "AuthforgeBlock")]
#[serde(deny_unknown_fields)]
pub(super) struct Block {
    /// What is blocked: `hwid` or `ip`.
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// The device, or the address or network.
    pub(super) value: Text<1, { DeviceId::MAX_BYTES }>,
}
