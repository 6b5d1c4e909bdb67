//! A child process in a group of its own, so that a signal reaches it and nothing else.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::{fs, os::unix::process::CommandExt};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

const STDOUT: &str = "stdout.log";
const STDERR: &str = "stderr.log";

#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    pid: Pid,
}

impl Process {
    pub(super) fn start(
        binary: &Path,
        arguments: &[String],
        environment: &[(String, String)],
        folder: &Path,
    ) -> Self {
        let child = Command::new(binary)
            .args(arguments)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .current_dir(folder)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log_file(folder, STDOUT))
            .stderr(log_file(folder, STDERR))
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", binary.display()));
        let pid = Pid::from_child(&child);
        Self { child, pid }
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the exit status, if the process has ended.
    pub(super) fn exited(&mut self) -> Option<ExitStatus> {
        self.child
            .try_wait()
            .expect("a child of ours can be waited for")
    }

    /// Sends a signal by its name, such as `SIGTERM`.
    pub(super) fn signal(&self, name: &str) {
        let signal = match name {
            "SIGTERM" => Signal::TERM,
            "SIGINT" => Signal::INT,
            "SIGQUIT" => Signal::QUIT,
            "SIGHUP" => Signal::HUP,
            "SIGUSR1" => Signal::USR1,
            "SIGUSR2" => Signal::USR2,
            other => panic!("no test sends {other}"),
        };
        kill_process(self.pid, signal).expect("a child that was not reaped takes a signal");
    }

    /// Stops the group where it is, or lets it go on.
    pub(super) fn hold(&self, still: bool) {
        let signal = if still { Signal::STOP } else { Signal::CONT };
        kill_process_group(self.pid, signal).expect("a child that was not reaped takes a signal");
    }

    /// Ends the whole group at once and reaps the child.
    pub(super) fn kill(mut self) {
        // The group is gone when the child ended by itself, which is what was wanted.
        let _gone = kill_process_group(self.pid, Signal::KILL);
        let _status = self.child.wait();
    }
}

/// Returns standard output and error of all starts in a folder.
pub(super) fn read_logs(folder: &Path) -> String {
    [STDOUT, STDERR]
        .map(|name| fs::read(folder.join(name)).unwrap_or_default())
        .iter()
        .map(|bytes| String::from_utf8_lossy(bytes))
        .collect()
}

fn log_file(folder: &Path, name: &str) -> File {
    let path = folder.join(name);
    let opened = File::options().create(true).append(true).open(&path);
    opened.unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()))
}
