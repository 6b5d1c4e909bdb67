//! The permissions of the gate's files. What is below `data_dir` and is ours is for our user alone,
//! also if another program put it there: a file that was copied back from a backup has the mode of
//! the copy, and SQLite gives a database's mode to the files beside it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The gate's files directly below the folder. The secret is not among them: one that others may
/// read may be known to them by now, and is checked when it is read.
const FILES: [&str; 7] = [
    "lock",
    "licenses.db",
    "licenses.db-wal",
    "licenses.db-shm",
    "ledger.db",
    "ledger.db-wal",
    "ledger.db-shm",
];

/// Takes other users' permissions from the files of databases and journal before they are opened;
/// then, in the background, from the sealed files, of which there may be very many.
pub(super) fn narrow_all(data_dir: &Path) {
    let mut narrowed = Vec::new();
    for name in FILES {
        narrow(&data_dir.join(name), 0o600, &mut narrowed);
    }
    narrow_below(&data_dir.join("journal"), &mut narrowed);
    log_narrowed(data_dir, narrowed);
    let data_dir = data_dir.to_path_buf();
    let sealed = move || {
        let mut narrowed = Vec::new();
        narrow_below(&data_dir.join("ledger"), &mut narrowed);
        log_narrowed(&data_dir, narrowed);
    };
    let thread = std::thread::Builder::new().name("modes".to_owned());
    if let Err(error) = thread.spawn(sealed) {
        tracing::warn!(%error, "the modes of sealed files are not looked at");
    }
}

/// Narrows a folder of ours and all that is in it. What is neither file nor folder, such as a link,
/// is left alone.
fn narrow_below(folder: &Path, narrowed: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    narrow(folder, 0o700, narrowed);
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => narrow_below(&entry.path(), narrowed),
            Ok(_) => narrow(&entry.path(), 0o600, narrowed),
            Err(_) => {}
        }
    }
}

fn narrow(path: &Path, mode: u32, narrowed: &mut Vec<PathBuf>) {
    let Ok(found) = fs::symlink_metadata(path) else {
        return;
    };
    let ours = found.is_file() || found.is_dir();
    if !ours || found.permissions().mode() & 0o077 == 0 {
        return;
    }
    match fs::set_permissions(path, fs::Permissions::from_mode(mode)) {
        Ok(()) => narrowed.push(path.to_path_buf()),
        Err(error) => {
            tracing::warn!(%error, path = %path.display(), "others may use this file, and it cannot be taken from them");
        }
    }
}

/// Logs one line, however many files there were.
fn log_narrowed(data_dir: &Path, narrowed: Vec<PathBuf>) {
    let Some(first) = narrowed.first() else {
        return;
    };
    tracing::warn!(
        data_dir = %data_dir.display(),
        first = %first.display(),
        files = narrowed.len(),
        "others could use files of the data directory, as after a copy with another umask: they are 0600 again"
    );
}
