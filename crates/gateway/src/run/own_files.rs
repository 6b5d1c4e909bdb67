//! What lies below `data_dir` and is ours is our user's alone, also where it was not we who put it there: a file that was
//! copied back from a backup has the mode of the copy, and SQLite gives a database's mode to the files beside it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Files of ours directly below the folder. The secret is none of them: one that others may read may be known to them by now,
/// and is looked at when it is read.
const FILES: [&str; 7] = [
    "lock",
    "licenses.db",
    "licenses.db-wal",
    "licenses.db-shm",
    "ledger.db",
    "ledger.db-wal",
    "ledger.db-shm",
];

/// Takes what others may do with them from the files of databases and journal, before they are opened; then, in the
/// background, from the sealed files, of which there may be very many.
pub(super) fn take_back(data_dir: &Path) {
    let mut wider = Vec::new();
    for name in FILES {
        narrow(&data_dir.join(name), 0o600, &mut wider);
    }
    narrow_below(&data_dir.join("journal"), &mut wider);
    tell(data_dir, wider);
    let data_dir = data_dir.to_path_buf();
    let sealed = move || {
        let mut wider = Vec::new();
        narrow_below(&data_dir.join("ledger"), &mut wider);
        tell(&data_dir, wider);
    };
    let thread = std::thread::Builder::new().name("modes".to_owned());
    if let Err(error) = thread.spawn(sealed) {
        tracing::warn!(%error, "the modes of sealed files are not looked at");
    }
}

/// A folder of ours and all that lies in it. What is neither file nor folder, such as a link, is left alone.
fn narrow_below(folder: &Path, wider: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    narrow(folder, 0o700, wider);
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => narrow_below(&entry.path(), wider),
            Ok(_) => narrow(&entry.path(), 0o600, wider),
            Err(_) => {}
        }
    }
}

fn narrow(path: &Path, mode: u32, wider: &mut Vec<PathBuf>) {
    let Ok(found) = fs::symlink_metadata(path) else {
        return;
    };
    let ours = found.is_file() || found.is_dir();
    if !ours || found.permissions().mode() & 0o077 == 0 {
        return;
    }
    match fs::set_permissions(path, fs::Permissions::from_mode(mode)) {
        Ok(()) => wider.push(path.to_path_buf()),
        Err(error) => {
            tracing::warn!(%error, path = %path.display(), "others may use this file, and it cannot be taken from them");
        }
    }
}

/// One line, however many they were.
fn tell(data_dir: &Path, wider: Vec<PathBuf>) {
    let Some(first) = wider.first() else { return };
    tracing::warn!(
        data_dir = %data_dir.display(),
        first = %first.display(),
        files = wider.len(),
        "others could use files of the data directory, as after a copy with another umask: they are 0600 again"
    );
}
