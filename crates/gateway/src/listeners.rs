//! The listeners of a gate: data plane, control plane, metrics and the sockets between them.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;

use config::Config;
use control::{Access, Surfaces};
use gate::rpc;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::start_error::StartError;

/// Binds an address of the data plane.
pub(crate) fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).map_err(|error| StartError::Bind { address, error })
}

fn bind_async(address: SocketAddr) -> Result<tokio::net::TcpListener, StartError> {
    let listener = bind(address)?;
    let adopt = || {
        listener.set_nonblocking(true)?;
        tokio::net::TcpListener::from_std(listener)
    };
    adopt().map_err(|error| StartError::Bind { address, error })
}

/// Waits for the stop signal.
async fn until_stopped(mut stopped: watch::Receiver<bool>) {
    // An error means that the gate is gone, which is a stop as well.
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// Serves the metrics listener, and returns its address.
pub(crate) fn serve_observed(
    address: SocketAddr,
    router: axum::Router,
    stopped: &watch::Receiver<bool>,
) -> Result<(SocketAddr, JoinHandle<()>), StartError> {
    let listener = bind_async(address)?;
    let bound = listener.local_addr().unwrap_or(address);
    let stopped = until_stopped(stopped.clone());
    let server = tokio::spawn(async move {
        let serving = axum::serve(listener, router).with_graceful_shutdown(stopped);
        if let Err(error) = serving.await {
            tracing::error!(%error, "the metrics listener ended");
        }
    });
    Ok((bound, server))
}

/// Returns the listener on which the data plane takes calls from the control plane.
pub(crate) fn rpc_listener(data_dir: &Path) -> Result<UnixListener, StartError> {
    let bound = control::bind_private(data_dir, rpc::SOCKET_NAME);
    let bound = bound.and_then(tokio::net::UnixListener::into_std);
    bound.map_err(|error| StartError::Files {
        path: data_dir.join(rpc::SOCKET_NAME).display().to_string(),
        error,
    })
}

/// Serves the control listener, the one for `admin` if the native API is apart, and the Unix
/// socket. Returns the address of the native API.
pub(crate) fn serve_control(
    config: &Config,
    surfaces: Surfaces,
    stopped: &watch::Receiver<bool>,
    servers: &mut Vec<JoinHandle<()>>,
) -> Result<SocketAddr, StartError> {
    let mut serve = |address, router| {
        let listener = bind_async(address)?;
        let bound = listener.local_addr().unwrap_or(address);
        let access = Access::Keys {
            plain_http_from: config.control.plain_http_from.clone().into(),
        };
        let serving = control::serve(listener, router, access, until_stopped(stopped.clone()));
        servers.push(tokio::spawn(serving));
        Ok::<_, StartError>(bound)
    };
    let (native, protocols) = surfaces.clone().apart();
    let bound = match config.server.admin {
        None => serve(config.server.control, surfaces.together())?,
        Some(admin) => {
            serve(config.server.control, protocols)?;
            serve(admin, native.clone())?
        }
    };
    let data_dir = &config.server.data_dir;
    let socket = control::bind_socket(data_dir).map_err(|error| StartError::Files {
        path: api_types::socket_path(data_dir).display().to_string(),
        error,
    })?;
    let serving = control::serve(
        socket,
        native,
        Access::Local,
        until_stopped(stopped.clone()),
    );
    servers.push(tokio::spawn(serving));
    Ok(bound)
}
