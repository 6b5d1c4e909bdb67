//! Networks in requests: a single address is the network that holds nothing else, as on the command line.

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de};

struct Network(IpNet);

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        model::parse_network(&text)
            .map(Self)
            .map_err(de::Error::custom)
    }
}

fn plain(networks: Vec<Network>) -> Vec<IpNet> {
    networks
        .into_iter()
        .map(|Network(network)| network)
        .collect()
}

/// Reads a list of networks and addresses.
pub(super) fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    Vec::deserialize(deserializer).map(plain)
}

/// [`networks`] where none may be given.
pub(super) fn given_networks<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<IpNet>>, D::Error> {
    Option::<Vec<Network>>::deserialize(deserializer).map(|given| given.map(plain))
}
