//! Lists of networks in requests, where an address stands for the network that holds nothing else.

use std::borrow::Cow;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de};

use crate::address::parse_network;

/// A list of networks and addresses, as it is read.
#[derive(Deserialize)]
pub(crate) struct Networks(Vec<Network>);

struct Network(IpNet);

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        parse_network(&text).map(Self).map_err(de::Error::custom)
    }
}

impl From<Networks> for Vec<IpNet> {
    fn from(Networks(networks): Networks) -> Self {
        networks
            .into_iter()
            .map(|Network(network)| network)
            .collect()
    }
}

/// Reads a list of networks and addresses, for `#[serde(deserialize_with)]`.
///
/// # Errors
/// Returns an error for a text that is neither.
pub fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    Networks::deserialize(deserializer).map(Into::into)
}

/// Reads a list of networks and addresses that may be `null`, as [`networks`] does.
///
/// # Errors
/// As [`networks`].
pub fn given_networks<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<IpNet>>, D::Error> {
    Option::<Networks>::deserialize(deserializer).map(|given| given.map(Into::into))
}
