//! A test on a file system of its own that can be filled.

use crate::namespace;

/// The folder that the small file system is mounted on, in the second process.
const INSIDE: &str = "TALLYGATE_TEST_ON_A_SMALL_DISK";

/// Runs the body of the test called `name` with every temporary folder on a fresh file system of so many MiB.
///
/// The test's own program is started once more in a mount namespace, where nothing that is mounted is seen by anybody else
/// or outlives it.
///
/// # Panics
/// When the body does, or when the system allows no such namespace.
pub fn run(name: &str, mebibytes: usize, body: impl FnOnce()) {
    let mount_point = tempfile::tempdir().expect("a temporary folder can be made");
    let script = format!(
        "export TMPDIR=\"${INSIDE}\" && mount -t tmpfs -o size={mebibytes}m,mode=700 none \"$TMPDIR\""
    );
    let inside = (INSIDE, mount_point.path().as_os_str());
    namespace::run(name, inside, &["--mount"], &script, body);
}
