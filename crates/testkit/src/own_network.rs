//! A test on a network of its own, so that it can call as another host would.

use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr};

use crate::namespace;

/// The variable that says, in the second process, that the network is there.
const NAMESPACE_VARIABLE: &str = "TALLYGATE_TEST_ON_ITS_OWN_NETWORK";

/// An address of that network that is not a loopback one. A call from it comes from another host,
/// as far as a gate can tell.
pub const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

/// Runs the body of the test called `name` on a network with loopback and [`ADDRESS`] and nothing
/// else, whatever the machine has.
///
/// # Panics
/// When the body does, or when the system allows no such namespace.
pub fn run(name: &str, body: impl FnOnce()) {
    let script = format!("ip link set lo up && ip addr add {ADDRESS}/32 dev lo");
    namespace::run(
        name,
        (NAMESPACE_VARIABLE, OsStr::new("1")),
        &["--net"],
        &script,
        body,
    );
}
