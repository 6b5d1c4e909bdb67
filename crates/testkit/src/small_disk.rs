//! A test on a small file system of its own that can be filled.

use crate::namespace;

/// The variable with the folder of the small file system, set in the second process.
const NAMESPACE_VARIABLE: &str = "TALLYGATE_TEST_ON_A_SMALL_DISK";

/// Runs the body of the test called `name` with every temporary folder on a fresh file system of so
/// many MiB.
///
/// The test's program is started once more in a mount namespace. No other process sees its mounts,
/// and they do not outlive it.
///
/// # Panics
/// When the body does, or when the system allows no such namespace.
pub fn run(name: &str, mebibytes: usize, body: impl FnOnce()) {
    let mount_point = tempfile::tempdir().expect("a temporary folder can be made");
    let script = format!(
        "export TMPDIR=\"${NAMESPACE_VARIABLE}\" && mount -t tmpfs -o size={mebibytes}m,mode=700 none \"$TMPDIR\""
    );
    let inside = (NAMESPACE_VARIABLE, mount_point.path().as_os_str());
    namespace::run(name, inside, &["--mount"], &script, body);
}
