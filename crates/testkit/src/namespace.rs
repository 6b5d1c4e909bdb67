//! A second start of a test's own program in namespaces of its own.

use std::ffi::OsStr;
use std::process::Command;

/// Runs a test's body in namespaces of its own. It starts the test's program again by `unshare`
/// with these arguments, where `script` prepares the namespaces, and sets the variable `inside` to
/// say that they are there. `name` is the test's whole name, with its modules.
///
/// There is a user namespace as well unless the test runs as root. Nothing in them is seen by
/// another process or outlives the test.
///
/// # Panics
/// When the body does, when no test has the name, or when the system allows no such namespace.
pub(crate) fn run(
    name: &str,
    inside: (&str, &OsStr),
    unshare: &[&str],
    script: &str,
    body: impl FnOnce(),
) {
    let (variable, value) = inside;
    if std::env::var_os(variable).is_some() {
        return body();
    }
    let program = std::env::current_exe().expect("a test knows its program");
    let script = format!("{script} && exec \"$0\" --exact \"$1\" --nocapture");
    let mut command = Command::new("unshare");
    if !is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let output = command
        .args(unshare)
        .args(["--", "sh", "-c", &script])
        .arg(program)
        .arg(name)
        .env(variable, value)
        .output()
        .expect("unshare is part of util-linux");
    let printed = String::from_utf8_lossy(&output.stdout);
    // A name that no test has runs none, and the program ends well.
    assert!(
        output.status.success() && printed.contains("test result: ok. 1 passed"),
        "{name} in a namespace of its own: {}\n{printed}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}
