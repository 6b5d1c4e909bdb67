//! The store of record that the file names, and what its keyring is sealed with.

use std::path::Path;
use std::sync::Arc;

use config::{Config, StoreUrl};
use licensing::KeyringSecret;
use store::{Error, PostgresOptions, PostgresStore, SqliteOptions, SqliteStore, Store};

/// Looks at what can be seen of the store without reaching it.
///
/// # Errors
/// [`Error::Misconfigured`] for a URL that says nothing.
pub(crate) fn check(config: &Config) -> Result<(), Error> {
    match &config.store.url {
        StoreUrl::Sqlite => Ok(()),
        StoreUrl::Postgres(url) => PostgresOptions::parse(url.expose()).map(drop),
    }
}

/// Opens the store.
///
/// # Errors
/// Those of the store, with what is wrong.
pub(crate) async fn open(config: &Config) -> Result<Arc<dyn Store>, Error> {
    let settings = &config.store;
    match &settings.url {
        StoreUrl::Sqlite => {
            let store = SqliteStore::open(SqliteOptions::new(&config.server.data_dir))?;
            Ok(Arc::new(store))
        }
        StoreUrl::Postgres(url) => {
            let mut options = PostgresOptions::parse(url.expose())?;
            options.connections = settings.connections;
            options.connect_timeout = settings.connect_timeout.duration();
            options.statement_timeout = settings.timeout.duration();
            Ok(Arc::new(PostgresStore::open(options).await?))
        }
    }
}

/// Whether this gate has its store for itself.
pub(crate) fn is_alone(config: &Config) -> bool {
    config.store.url == StoreUrl::Sqlite
}

/// What the keyring is sealed with: gates that share it cannot use a secret that one of them generates.
pub(crate) fn secret<'a>(config: &'a Config, file: &'a Path) -> KeyringSecret<'a> {
    match &config.server.secret {
        Some(secret) => KeyringSecret::Configured(secret.expose()),
        None if is_alone(config) => KeyringSecret::File(file),
        None => KeyringSecret::None,
    }
}
