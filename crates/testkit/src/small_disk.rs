//! A test on a file system of its own that can be filled.

use std::process::Command;

/// Says, in the second process, that the small file system is there.
const INSIDE: &str = "TALLYGATE_TEST_ON_A_SMALL_DISK";

/// Runs the body of the test called `name` with every temporary folder on a fresh file system of so many MiB.
///
/// The test's own program is started once more in a mount namespace (a user namespace besides, unless it is root's), where
/// nothing that is mounted is seen by anybody else or outlives it.
///
/// # Panics
/// When the body does, or when the system allows no such namespace.
pub fn run(name: &str, mebibytes: usize, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let program = std::env::current_exe().expect("a test knows its program");
    let mount_point = tempfile::tempdir().expect("a temporary folder can be made");
    let script = format!(
        "mount -t tmpfs -o size={mebibytes}m,mode=700 none \"$TMPDIR\" && exec \"$0\" --exact \"$1\" --nocapture"
    );
    let mut command = Command::new("unshare");
    if !is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let output = command
        .args(["--mount", "--", "sh", "-c", &script])
        .arg(program)
        .arg(name)
        .env(INSIDE, "1")
        .env("TMPDIR", mount_point.path())
        .output()
        .expect("unshare is part of util-linux");
    assert!(
        output.status.success(),
        "on the small disk: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}
