//! What this program finds wrong with a file that reads well. `check` says it and `run` goes by it: there is one judge.

use config::{Config, Finding, StoreUrl};
use coordinator::CoordinatorOptions;
use store::PostgresOptions;

/// Everything that can be refused without reaching a store, a Redis or the disk.
pub(crate) fn judge(config: &Config) -> Vec<Finding> {
    [store(config), redis(config), objects(config)]
        .into_iter()
        .flatten()
        .collect()
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
