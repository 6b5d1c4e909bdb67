//! Software that is sold with an app: what its seller keeps for it beside the licenses.

use std::collections::HashSet;
use std::hash::Hash;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::device::DeviceId;
use crate::time::Timestamp;
use crate::variables::Variables;

/// What a seller decides about the software of an app while it runs; the configuration says the
/// rest. Kept in the store, as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AppSettings {
    /// The time from which on the software is switched off: nobody can validate a license. `None`:
    /// it is on.
    pub disabled_at: Option<Timestamp>,
    /// The variables that all copies of the software get.
    pub variables: Variables,
    /// The lists of devices and addresses.
    pub security: SecurityLists,
    /// The id by which the software knows the app, where it was made elsewhere: 1 to 128 visible
    /// ASCII characters; `None`: the app's own id alone.
    pub imported_id: Option<String>,
}

/// The devices and addresses that software may or may not be used from. A blocked one is refused
/// even if it is allowed, too; an empty list of allowed ones allows all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SecurityLists {
    /// The devices that are refused.
    pub blocked_devices: Vec<DeviceId>,
    /// The devices that alone are let in; empty: all.
    pub allowed_devices: Vec<DeviceId>,
    /// The networks that are refused; an address is a network of one.
    #[schemars(with = "Vec<String>")]
    pub blocked_networks: Vec<IpNet>,
    /// The networks that alone are let in; empty: all.
    #[schemars(with = "Vec<String>")]
    pub allowed_networks: Vec<IpNet>,
}

impl SecurityLists {
    /// The largest number of entries in each list.
    pub const MAX_ENTRIES: usize = 1_000;

    /// Adds a device and a network to those that are refused, unless they are there.
    pub fn block(&mut self, device: Option<&DeviceId>, network: Option<IpNet>) {
        add(&mut self.blocked_devices, device.cloned());
        add(&mut self.blocked_networks, network);
    }

    /// Leaves the first of entries that stand in a list several times.
    pub fn remove_repeats(&mut self) {
        remove_repeats(&mut self.blocked_devices);
        remove_repeats(&mut self.allowed_devices);
        remove_repeats(&mut self.blocked_networks);
        remove_repeats(&mut self.allowed_networks);
    }

    /// Returns whether software may be used from an address and a device. An address that is not
    /// known is let in unless only some are allowed. Costs a pass over the lists.
    #[must_use]
    pub fn admits(&self, address: Option<Address>, device: &DeviceId) -> bool {
        let is_in = |nets: &[IpNet]| address.is_some_and(|address| address.is_in(nets));
        !is_in(&self.blocked_networks)
            && (self.allowed_networks.is_empty() || is_in(&self.allowed_networks))
            && !self.blocked_devices.contains(device)
            && (self.allowed_devices.is_empty() || self.allowed_devices.contains(device))
    }
}

fn add<T: PartialEq>(list: &mut Vec<T>, value: Option<T>) {
    if let Some(value) = value.filter(|value| !list.contains(value)) {
        list.push(value);
    }
}

fn remove_repeats<T: Clone + Eq + Hash>(list: &mut Vec<T>) {
    let mut seen = HashSet::with_capacity(list.len());
    list.retain(|entry| seen.insert(entry.clone()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_stands_in_a_list_again_is_left_out_and_the_order_stays() {
        let mut lists = SecurityLists {
            blocked_devices: ["b", "a", "b", "c", "a"]
                .map(|id| id.parse().expect("valid"))
                .to_vec(),
            allowed_networks: ["10.0.0.0/8", "10.0.0.0/8"]
                .map(|net| net.parse().expect("valid"))
                .to_vec(),
            ..SecurityLists::default()
        };
        lists.remove_repeats();
        let left: Vec<_> = lists.blocked_devices.iter().map(DeviceId::as_str).collect();
        assert_eq!(left, ["b", "a", "c"]);
        assert_eq!(lists.allowed_networks.len(), 1);
    }

    #[test]
    fn who_is_blocked_is_refused_even_if_allowed_and_an_empty_list_allows_all() {
        let device = |text: &str| text.parse::<DeviceId>().expect("valid");
        let address = |text: &str| Some(text.parse::<Address>().expect("valid"));
        let none = SecurityLists::default();
        assert!(none.admits(None, &device("a")));
        let lists = SecurityLists {
            blocked_devices: vec![device("bad")],
            allowed_devices: vec![device("bad"), device("good")],
            blocked_networks: vec!["10.0.0.1/32".parse().expect("valid")],
            allowed_networks: vec!["10.0.0.0/8".parse().expect("valid")],
        };
        for (from, id, admitted) in [
            ("10.0.0.2", "good", true),
            ("10.0.0.1", "good", false),
            ("11.0.0.1", "good", false),
            ("10.0.0.2", "bad", false),
            ("10.0.0.2", "other", false),
        ] {
            assert_eq!(
                lists.admits(address(from), &device(id)),
                admitted,
                "{from} {id}"
            );
        }
        assert!(!lists.admits(None, &device("good")));
    }
}
