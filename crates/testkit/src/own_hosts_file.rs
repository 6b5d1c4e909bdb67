//! A test with a hosts file of its own.

use std::ffi::OsStr;

use crate::namespace;

/// The variable that says, in the second process, that the hosts file is there.
const NAMESPACE_VARIABLE: &str = "TALLYGATE_TEST_WITH_OWN_NAMES";

/// Runs the body of the test called `name` where `both.test` has the addresses 127.0.0.1 and `::1`,
/// whatever the machine's `/etc/hosts` says.
///
/// # Panics
/// When the body does, or when the system allows no such namespace.
pub fn run(name: &str, body: impl FnOnce()) {
    let hosts = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    let lines = "127.0.0.1 localhost both.test\n::1 localhost both.test\n";
    std::fs::write(hosts.path(), lines).expect("it can be written");
    let script = format!("mount --bind '{}' /etc/hosts", hosts.path().display());
    let inside = (NAMESPACE_VARIABLE, OsStr::new("1"));
    namespace::run(name, inside, &["--mount"], &script, body);
}
