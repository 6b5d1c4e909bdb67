//! The set-up on a machine that lacks something.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

/// The programs that a shell script needs, and those that every machine with this test has already.
const PRESENT: &[&str] = &["sh", "dirname", "id", "ls", "grep", "cargo", "cc", "cmake"];

#[test]
fn the_set_up_names_every_program_that_tests_start_and_the_machine_lacks() {
    let programs = tempfile::tempdir().expect("a temporary folder can be made");
    let path = std::env::var_os("PATH").expect("there is a search path");
    for name in PRESENT {
        let found = std::env::split_paths(&path).map(|folder| folder.join(name));
        let found = found.into_iter().find(|file| file.exists());
        symlink(
            found.expect("it builds and runs here"),
            programs.path().join(name),
        )
        .expect("linked");
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/setup.sh");
    // A machine without apt-get is not Debian, so nothing is installed: the missing programs are
    // named.
    let output = Command::new("/bin/sh")
        .arg(script)
        .arg("test")
        .env("PATH", programs.path())
        .output()
        .expect("there is a shell");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for program in ["Python 3", "Node.js", "npm", "Redis", "openssl", "curl"] {
        assert!(said.contains(program), "`{program}` is missing in:\n{said}");
    }
}
