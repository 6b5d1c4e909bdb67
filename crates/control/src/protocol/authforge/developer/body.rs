//! The bodies of requests.

use model::{DeviceId, Timestamp};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::http::field::Text;

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
    pub(super) label: Option<Text<0, { Label::MAX_BYTES }>>,
}

const fn one() -> u32 {
    1
}

const fn one_slot() -> u8 {
    1
}

/// The bounds of a label.
pub(super) struct Label;

impl Label {
    /// The length of the longest label, in characters.
    pub(super) const MAX_CHARACTERS: usize = 128;
    /// The length of the longest label, in bytes.
    pub(super) const MAX_BYTES: usize = 4 * Self::MAX_CHARACTERS;
}

/// The body of `PUT /v1/licenses/{key}`.
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
    pub(super) label: Option<Option<Text<0, { Label::MAX_BYTES }>>>,
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
    pub(super) value: Text<1, 128>,
}
