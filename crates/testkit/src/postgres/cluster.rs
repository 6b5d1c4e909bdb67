//! The programs of the Debian packages, and an initialised cluster that servers are copied from.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The superuser of every server.
pub(super) const USER: &str = "tallygate";
/// The superuser's password over TCP; over the Unix socket none is needed.
pub(super) const PASSWORD: &str = "secret";

/// The folder of the server's programs, and the user that runs them.
#[derive(Debug)]
pub(super) struct Programs {
    folder: PathBuf,
    /// The user and group to run as; `None`: those of the tests.
    pub(super) runs_as: Option<(u32, u32)>,
}

impl Programs {
    pub(super) fn find() -> Self {
        let versions = fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten()
            .flatten();
        let folders = versions.map(|entry| entry.path().join("bin"));
        let mut folders: Vec<_> = folders
            .filter(|folder| folder.join("initdb").exists())
            .collect();
        folders.sort();
        let folder = folders.pop();
        Self {
            folder: folder
                .expect("there is no /usr/lib/postgresql/*/bin/initdb: apt-get install postgresql"),
            runs_as: unprivileged(),
        }
    }

    pub(super) fn path(&self, program: &str) -> PathBuf {
        self.folder.join(program)
    }

    /// Gives a path to the server's user.
    pub(super) fn give_to_server_user(&self, path: &Path) {
        if let Some((user, group)) = self.runs_as {
            chown(path, Some(user), Some(group)).expect("root gives files away");
        }
    }

    /// Makes a cluster at a path. Initialising one takes a second or more, so it is done once and
    /// copied.
    pub(super) fn copy_cluster(&self, to: &Path) {
        let template = self.template();
        self.run(
            "cp",
            &[
                "-a",
                "--reflink=auto",
                &template.to_string_lossy(),
                &to.to_string_lossy(),
            ],
        );
    }

    /// Returns the cluster that others are copied from, made by the first process that needs it.
    fn template(&self) -> PathBuf {
        let name = self.folder.to_string_lossy().replace('/', "-");
        let owner = fs::metadata("/proc/self").expect("/proc is there").uid();
        let place = fast_temp_dir().join(format!("tallygate-cluster{name}-{owner}"));
        fs::create_dir_all(&place).expect("a folder can be made");
        self.give_to_server_user(&place);
        let lock = File::create(place.join("lock")).expect("a lock file can be made");
        lock.lock().expect("it can be locked");
        let template = place.join("template");
        if !template.exists() {
            let half = place.join("half");
            let password = place.join("password");
            fs::write(&password, PASSWORD).expect("the password can be written");
            fs::set_permissions(&password, fs::Permissions::from_mode(0o600))
                .expect("a file of ours");
            self.give_to_server_user(&password);
            let _absent = fs::remove_dir_all(&half);
            let (half_text, user) = (half.to_string_lossy(), format!("--username={USER}"));
            let password = format!("--pwfile={}", password.display());
            self.run(
                &self.path("initdb").to_string_lossy(),
                &[
                    "-D",
                    &half_text,
                    &user,
                    &password,
                    "--auth-local=trust",
                    "--auth-host=scram-sha-256",
                    "--encoding=UTF8",
                    "--locale=C",
                    "--no-sync",
                    "--wal-segsize=1",
                    "--no-instructions",
                ],
            );
            fs::rename(&half, &template).expect("a folder of ours can be renamed");
        }
        template
    }

    /// Makes a self-signed certificate for `localhost`.
    pub(super) fn make_certificate(&self, folder: &Path) {
        let (key, certificate) = (folder.join("server.key"), folder.join("server.crt"));
        let request = folder.join("request.cnf");
        let text = "[req]\ndistinguished_name = who\nx509_extensions = what\nprompt = no\n[who]\nCN = localhost\n\
            [what]\nsubjectAltName = DNS:localhost\nbasicConstraints = CA:FALSE\n";
        fs::write(&request, text).expect("a file can be written");
        let mut arguments = vec![
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
        ];
        arguments.extend(["-nodes", "-days", "30", "-config"]);
        let (request, key_text, certificate_text) = (
            request.to_string_lossy(),
            key.to_string_lossy(),
            certificate.to_string_lossy(),
        );
        arguments.extend([&request, "-keyout", &key_text, "-out", &certificate_text]);
        self.run("openssl", &arguments);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("a file of ours");
        fs::set_permissions(&certificate, fs::Permissions::from_mode(0o644))
            .expect("a file of ours");
    }

    /// Runs a program as the server's user.
    fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(program);
        command.args(arguments).current_dir("/");
        if let Some((user, group)) = self.runs_as {
            command.uid(user).gid(group);
        }
        let output = command
            .output()
            .unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} failed: {message}");
    }
}

/// Returns the folder for the data of servers: in memory if there is plenty, since they copy and
/// make thousands of files.
pub(super) fn fast_temp_dir() -> PathBuf {
    const MIN_FREE_BYTES: u64 = 2 << 30;
    let free = |path: &str| rustix::fs::statvfs(path).map_or(0, |is| is.f_bavail * is.f_frsize);
    if free("/dev/shm") >= MIN_FREE_BYTES {
        return PathBuf::from("/dev/shm");
    }
    std::env::temp_dir()
}

/// Returns the user and group that root runs the server as.
fn unprivileged() -> Option<(u32, u32)> {
    let owner = fs::metadata("/proc/self").expect("/proc is there").uid();
    if owner != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("users are listed");
    let find = |name: &str| {
        let line = users
            .lines()
            .find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    let user = find("postgres").or_else(|| find("nobody"));
    Some(user.expect("there is neither a user `postgres` nor `nobody` to run the server as"))
}
