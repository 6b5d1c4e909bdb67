//! The checks of a configuration that has no errors in itself. Both `check` and `run` use them.

use config::{Config, Finding, StoreUrl};
use coordinator::CoordinatorOptions;
use store::PostgresOptions;

use crate::agents;

/// Returns everything that can be refused without reaching a store, a Redis or the disk.
pub(crate) fn judge(config: &Config) -> Vec<Finding> {
    [
        data_dir(config),
        store(config),
        redis(config),
        objects(config),
        agents::judge(config),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Refuses a `data_dir` that is a file, or whose sockets would have longer names than the system
/// takes.
fn data_dir(config: &Config) -> Option<Finding> {
    /// The bytes of `sun_path` on Linux, without the zero at its end.
    const MAX_PATH_BYTES: usize = 107;
    let data_dir = &config.server.data_dir;
    if data_dir.is_file() {
        let reason = "this is a file, and a gate keeps its data in a folder: name another one";
        return Some(finding("server", "data_dir", reason.to_owned()));
    }
    let sockets = [
        api_types::socket_path(data_dir),
        data_dir.join(gate::rpc::SOCKET_NAME),
    ];
    let length = sockets.iter().map(|path| path.as_os_str().len()).max();
    let length = length.filter(|length| *length > MAX_PATH_BYTES)?;
    let reason = format!(
        "the sockets that a gate makes in this folder would have names of {length} bytes, and the system takes {MAX_PATH_BYTES}: name one \
         with a shorter path"
    );
    Some(finding("server", "data_dir", reason))
}

fn store(config: &Config) -> Option<Finding> {
    let StoreUrl::Postgres(url) = &config.store.url else {
        return None;
    };
    let message = match PostgresOptions::parse(url.expose()).err()? {
        store::Error::Misconfigured(what) => what,
        other => other.to_string(),
    };
    Some(finding("store", "url", message))
}

fn redis(config: &Config) -> Option<Finding> {
    if config.redis.urls.is_empty() {
        return None;
    }
    let urls = config.redis.urls.iter();
    let urls = urls.map(|url| url.expose().to_owned()).collect();
    let error = CoordinatorOptions::new(urls, "").check().err()?;
    Some(finding("redis", "url", error.detail()))
}

#[cfg(feature = "object-store")]
fn objects(_: &Config) -> Option<Finding> {
    None
}

#[cfg(not(feature = "object-store"))]
fn objects(config: &Config) -> Option<Finding> {
    config.ledger.objects.as_ref()?;
    let reason = "this needs a tallygate that was built with the feature `object-store`: use such a one, or write \"\"";
    Some(finding("ledger", "objects", reason.to_owned()))
}

fn finding(section: &'static str, key: &'static str, message: String) -> Finding {
    Finding {
        section,
        key,
        message,
    }
}
