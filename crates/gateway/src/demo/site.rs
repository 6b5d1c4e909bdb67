//! The gate of the demo, its surroundings, and the way in which the demo was called.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use api_types::License;
use model::AppName;

use crate::cli::Client;

/// A gate that runs in this process.
pub(crate) trait Gate {
    /// Returns the address on which the gate takes calls.
    fn listen(&self) -> SocketAddr;
    /// Returns the address of the native API.
    fn control(&self) -> SocketAddr;
    /// Returns the address of the metrics.
    fn metrics(&self) -> SocketAddr;
    /// Drains and stops the gate.
    async fn stop(self);
}

/// The way in which the demo was called.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Whether to make the tour's calls and end.
    pub(crate) once: bool,
    /// The configuration file, if one was named, for the commands that are printed.
    pub(crate) config: Option<PathBuf>,
    /// Whether its data are deleted when it ends.
    pub(crate) temporary: bool,
}

/// The addresses of the demo, and the license to try it with.
pub(super) struct Site {
    pub(super) client: Client,
    pub(super) app: AppName,
    /// The header that carries the key.
    pub(super) key_header: String,
    /// The `Host` of calls, if the app does not serve every host.
    pub(super) host: Option<String>,
    /// The path below which the app is served, without a slash at its end.
    pub(super) base: String,
    pub(super) sample: SocketAddr,
    pub(super) gate: SocketAddr,
    pub(super) license: License,
}

/// Returns the beginning of a command for this demo's gate, ready to paste.
pub(super) fn command(config: Option<&Path>) -> String {
    let binary = std::env::args()
        .next()
        .unwrap_or_else(|| "tallygate".to_owned());
    match config {
        Some(config) => format!("{binary} --config {}", config.display()),
        None => binary,
    }
}
