//! The Unix socket on which a gate answers the native API on its own host.

use std::path::{Path, PathBuf};

/// The name of the Unix socket in the gate's `data_dir`.
pub const SOCKET_NAME: &str = "tallygate.sock";

/// Returns the path of the gate's Unix socket.
#[must_use]
pub fn socket_path(data_dir: &Path) -> PathBuf {
    data_dir.join(SOCKET_NAME)
}
