//! The lock and the permissions of a gate's data directory.

use std::fs::File;
use std::path::Path;

use super::own_files;
use crate::start_error::StartError;

/// Makes the folder of a gate's data and locks it for as long as the returned file is open. From
/// then on only the user of this process may read what it writes, whatever umask it was started
/// with.
///
/// # Errors
/// Returns [`StartError::InUse`] if another process has the folder, and [`StartError::Files`] if it
/// cannot be made.
pub(super) fn lock_data_dir(data_dir: &Path) -> Result<File, StartError> {
    use std::os::unix::fs::DirBuilderExt;
    // The code that makes files of journal, ledger and stores need not know who may read them.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let path = data_dir.join("lock");
    let files = |path: &Path, error| StartError::Files {
        path: path.display().to_string(),
        error,
    };
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir);
    made.map_err(|error| match data_dir.is_file() {
        true => files(data_dir, std::io::ErrorKind::NotADirectory.into()),
        false => files(data_dir, error),
    })?;
    warn_if_others_may_enter(data_dir);
    let lock = File::create(&path).map_err(|error| files(&path, error))?;
    match lock.try_lock() {
        Ok(()) => {
            own_files::narrow_all(data_dir);
            Ok(lock)
        }
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(StartError::InUse(data_dir.display().to_string()))
        }
        Err(std::fs::TryLockError::Error(error)) => Err(files(&path, error)),
    }
}

/// Warns of a folder that others may enter. It is left as it is: it may be shared on purpose, with
/// a group that backs it up.
fn warn_if_others_may_enter(data_dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let Ok(found) = std::fs::metadata(data_dir) else {
        return;
    };
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        tracing::warn!(
            data_dir = %data_dir.display(),
            mode = format!("{mode:04o}"),
            "others may enter the data directory: `chmod 700` it, or say by its group who else is meant to"
        );
    }
}
