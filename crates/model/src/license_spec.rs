//! The terms of a license: what the seller of an app decides about it, when it is made and later.
//!
//! A new term is a field of [`LicenseSpec`], or of [`Limits`] if it limits use, with its name in
//! the list below the struct. If it can be changed, it is a field of [`LicenseUpdate`], too. The
//! record, the requests and answers of the native API and the command line take it from here.

use clap::Args;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::address::parse_network;
use crate::agent::AgentIdentity;
use crate::cli::{left, some, whole};
use crate::limit::{Limits, RateLimit, Refill};
use crate::name::PlanName;
use crate::network::{Networks, given_networks, networks};
use crate::permission::Permission;
use crate::time::Timestamp;
use crate::update::{Nullable, nullable, or_default};
use crate::variables::Variables;

/// The terms of a license, which its seller decides. Without any, it belongs to no user, never
/// ends, is limited by the plan of its app alone, and may be used from everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Args)]
#[serde(default)]
pub struct LicenseSpec {
    /// The plan by which the license is priced and limited; `None`: that of the app.
    #[schemars(description = "The plan; absent: that of the app.")]
    #[arg(
        long,
        value_name = "NAME",
        help = "The plan [default: that of the app]"
    )]
    pub plan: Option<PlanName>,
    /// The seller's own name for the user whom the license is given to: 1 to 200 bytes without
    /// control characters; `None`: to nobody by name. No change of the license sets it; the
    /// deletion of the user takes it away.
    #[schemars(description = "The seller's own name for the user.")]
    #[arg(long, help = "Your own name for the user it is given to")]
    pub user: Option<String>,
    /// A label for people: 1 to 512 bytes without control characters; `None`: none.
    #[schemars(description = "A label for people.")]
    #[arg(long, help = "A word for people")]
    pub label: Option<String>,
    /// The time at which the license ends; `None`: never.
    #[schemars(description = "The time at which it ends; absent: never.")]
    #[arg(
        long,
        value_name = "TIME",
        help = "When it ends, as RFC 3339 [default: never]"
    )]
    pub expires_at: Option<Timestamp>,
    /// The limits of use.
    #[serde(flatten)]
    #[command(flatten)]
    pub limits: Limits,
    /// The paths that may be called; empty: all of the app.
    #[schemars(description = "The methods and paths that it may call; none: all of the app.")]
    #[arg(
        long = "permission",
        value_name = "METHOD /PATH",
        help = "Where it may call, as \"METHOD /path\"; may be repeated [default: everywhere]"
    )]
    pub permissions: Vec<Permission>,
    /// The networks from which calls may come; empty: all.
    #[schemars(description = "The networks from which it may be used; none: all.")]
    #[serde(deserialize_with = "networks")]
    #[schemars(with = "Vec<String>")]
    #[arg(
        long = "allow-ip",
        value_name = "CIDR",
        value_parser = parse_network,
        help = "From where it may be used; may be repeated [default: everywhere]"
    )]
    pub allow_ips: Vec<IpNet>,
    /// The number of devices that the license may be bound to at once, 1 to
    /// [`LicenseSpec::MAX_DEVICE_SLOTS`]; `None`: devices are not counted.
    #[schemars(description = "The devices that it may be bound to at once; absent: not counted.")]
    #[schemars(range(min = 1, max = LicenseSpec::MAX_DEVICE_SLOTS))]
    #[arg(
        long,
        value_name = "N",
        value_parser = whole::<u8>,
        help = "Devices that it may be bound to at once [default: they are not counted]"
    )]
    pub device_slots: Option<u8>,
    /// Whether any number of devices may use the license, whatever `device_slots` says.
    #[schemars(description = "Whether any number of devices may use it; `device_slots` is kept.")]
    #[arg(
        long,
        help = "Let any number of devices use it; the slots are kept, and not looked at"
    )]
    pub unlimited_devices: bool,
    /// The variables that the software with this license gets; none: those of its app alone.
    #[schemars(description = "The variables that software with this license gets.")]
    #[command(flatten)]
    pub variables: Variables,
    /// The agent that the license was given to, so that it is a token; `None`: it is no agent's. No
    /// change of the license sets it.
    #[schemars(
        description = "The agent that alone may show its key, where it is an agent's token."
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[arg(skip)]
    pub agent: Option<Box<AgentIdentity>>,
}

crate::fields::read_fields! {
    LicenseSpec: plan, user, label, expires_at; ..limits: Limits;
    permissions, allow_ips as Networks, device_slots, unlimited_devices, variables, agent
}

impl LicenseSpec {
    /// The largest number of slots for devices.
    pub const MAX_DEVICE_SLOTS: u8 = 16;

    /// Returns the number of devices that may be bound at once; `None`: any number may use the
    /// license, and none is bound.
    #[must_use]
    pub const fn device_limit(&self) -> Option<u8> {
        match self.unlimited_devices {
            true => None,
            false => self.device_slots,
        }
    }
}

/// A change of a license: a field that is absent stays, `null` takes the value away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Args)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "ChangeLicense")]
// The derive fills a group only where no field is flattened, so that each field names it.
#[group(id = "change", required = true, multiple = true)]
#[command(mut_arg("variables", |arg| arg.group("change")))]
pub struct LicenseUpdate {
    /// The plan; the inner `None`: that of the app.
    #[schemars(description = "The plan; `null`: that of the app.")]
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    #[arg(long, group = "change", value_name = "NAME", value_parser = some::<PlanName>, help = "The plan")]
    pub plan: Option<Nullable<PlanName>>,
    /// The label for people: 1 to 512 bytes without control characters; the inner `None`: none.
    #[schemars(description = "The label for people.")]
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    #[arg(long, group = "change", value_parser = some::<String>, help = "A word for people")]
    pub label: Option<Nullable<String>>,
    /// The time at which the license ends; the inner `None`: never.
    #[schemars(description = "The time at which it ends; `null`: never.")]
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    #[arg(
        long,
        group = "change",
        value_name = "TIME",
        value_parser = some::<Timestamp>,
        help = "When it ends, as RFC 3339"
    )]
    pub expires_at: Option<Nullable<Timestamp>>,
    /// The number of units that are left from now on; the inner `None`: they are not counted.
    #[schemars(description = "The units that are left from now on; `null`: not counted.")]
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = crate::MAX_SAFE_INTEGER))]
    #[arg(
        long,
        group = "change",
        value_name = "N",
        value_parser = |text: &str| left(text).map(Some),
        help = "Units left from now on"
    )]
    pub remaining: Option<Nullable<u64>>,
    /// The refill of the units; the inner `None`: none.
    #[schemars(description = "The refill of the units; `null`: none.")]
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    #[arg(
        long,
        group = "change",
        value_name = "N/DURATION[,add]",
        value_parser = some::<Refill>,
        help = "Units that come back by themselves; with `,add` what is left is kept"
    )]
    pub refill: Option<Nullable<Refill>>,
    /// The rate windows, which all hold at once; empty: those of the plan.
    #[schemars(description = "The rate limits, which all hold at once; empty: those of the plan.")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[arg(
        long = "rate-limit",
        group = "change",
        value_name = "N/DURATION",
        help = "Calls in a window, in place of those before; several hold at once"
    )]
    pub rate_limits: Option<Vec<RateLimit>>,
    /// The number of calls that may run at once; the inner `None`: that of the plan.
    #[schemars(description = "The largest number of calls at once; `null`: that of the plan.")]
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    #[arg(
        long,
        group = "change",
        value_name = "N",
        value_parser = |text: &str| whole::<u32>(text).map(Some),
        help = "Calls at once"
    )]
    pub concurrency: Option<Nullable<u32>>,
    /// The routes that the license may call; empty: all.
    #[schemars(description = "The methods and paths that it may call; empty: all of the app.")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[arg(
        long = "permission",
        group = "change",
        value_name = "METHOD /PATH",
        help = "Where it may call, as \"METHOD /path\", in place of those before; may be repeated"
    )]
    pub permissions: Option<Vec<Permission>>,
    /// The networks that the license may be used from; empty: all.
    #[schemars(description = "The networks from which it may be used; empty: all.")]
    #[serde(
        deserialize_with = "given_networks",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<Vec<String>>")]
    #[arg(
        long = "allow-ip",
        group = "change",
        value_name = "CIDR",
        value_parser = parse_network,
        help = "From where it may be used, in place of those before; may be repeated"
    )]
    pub allow_ips: Option<Vec<IpNet>>,
    /// The number of devices that the license may be bound to at once; the inner `None`: they are
    /// not counted. Devices that are bound stay so.
    #[schemars(description = "The devices that it may be bound to at once; `null`: not counted.")]
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = LicenseSpec::MAX_DEVICE_SLOTS))]
    #[arg(
        long,
        group = "change",
        value_name = "N",
        value_parser = |text: &str| whole::<u8>(text).map(Some),
        help = "Devices that it may be bound to at once"
    )]
    pub device_slots: Option<Nullable<u8>>,
    /// Whether any number of devices may use the license, whatever `device_slots` says.
    #[schemars(description = "Whether any number of devices may use it; `null`: no.")]
    #[serde(
        deserialize_with = "or_default",
        skip_serializing_if = "Option::is_none"
    )]
    #[arg(
        long,
        group = "change",
        value_name = "YES",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        help = "Let any number of devices use it, or with `=false` no more than it has slots"
    )]
    pub unlimited_devices: Option<bool>,
    /// The variables, in place of those before; empty: none.
    #[schemars(description = "The variables, in place of those before; `null`: none.")]
    #[serde(
        deserialize_with = "or_default",
        skip_serializing_if = "Option::is_none"
    )]
    #[command(flatten)]
    pub variables: Option<Variables>,
}

impl LicenseUpdate {
    /// Returns the limits that are in force after this change.
    #[must_use]
    pub fn limits(&self, before: &Limits) -> Limits {
        Limits {
            remaining: self.remaining.unwrap_or(before.remaining),
            refill: self.refill.unwrap_or(before.refill),
            rate_limits: match &self.rate_limits {
                Some(windows) => windows.clone(),
                None => before.rate_limits.clone(),
            },
            concurrency: self.concurrency.unwrap_or(before.concurrency),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_tells_null_from_absent() {
        let change: LicenseUpdate =
            serde_json::from_str(r#"{"label":null,"remaining":5}"#).expect("valid");
        assert_eq!(change.label, Some(None));
        assert_eq!(change.remaining, Some(Some(5)));
        assert_eq!(change.plan, None);
        let text = serde_json::to_string(&change).expect("plain data");
        assert_eq!(text, r#"{"label":null,"remaining":5}"#);
        let emptied: LicenseUpdate = serde_json::from_str(
            r#"{"device_slots":null,"unlimited_devices":null,"variables":null}"#,
        )
        .expect("valid");
        assert_eq!(emptied.device_slots, Some(None));
        assert_eq!(emptied.unlimited_devices, Some(false));
        assert_eq!(emptied.variables, Some(Variables::default()));
    }

    #[test]
    fn devices_are_counted_where_there_are_slots_and_they_are_not_set_aside() {
        for (device_slots, unlimited_devices, limit) in [
            (None, false, None),
            (Some(2), false, Some(2)),
            (Some(2), true, None),
            (None, true, None),
        ] {
            let spec = LicenseSpec {
                device_slots,
                unlimited_devices,
                ..LicenseSpec::default()
            };
            assert_eq!(spec.device_limit(), limit, "{spec:?}");
        }
    }
}
