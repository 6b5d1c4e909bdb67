//! The store of record that the file names, and the secret that seals its keyring.

use std::path::Path;
use std::sync::Arc;

use config::{Config, StoreUrl};
use licensing::KeyringSecret;
use model::Timestamp;
use store::{
    Error, Named, PostgresOptions, PostgresStore, SealedFiles, SqliteOptions, SqliteStore, Store,
};

/// Opens the store.
///
/// # Errors
/// Returns the errors of the store.
pub(crate) async fn open(config: &Config) -> Result<Arc<dyn Store>, Error> {
    let settings = &config.store;
    match &settings.url {
        StoreUrl::Sqlite => {
            let store = SqliteStore::open(SqliteOptions::new(&config.server.data_dir))?;
            Ok(Arc::new(store))
        }
        StoreUrl::Postgres(url) => {
            let options = postgres_options(settings, url.expose())?;
            Ok(Arc::new(PostgresStore::open(options).await?))
        }
    }
}

fn postgres_options(settings: &config::Store, url: &str) -> Result<PostgresOptions, Error> {
    let mut options = PostgresOptions::parse(url)?;
    options.connections = settings.connections;
    options.connect_timeout = settings.connect_timeout.duration();
    options.statement_timeout = settings.timeout.duration();
    Ok(options)
}

/// Returns the plans and apps that licenses of the store name, which is read beside a gate that may
/// be running; `None`: there is no store yet.
///
/// # Errors
/// Returns the errors of the store.
pub(crate) async fn named(config: &Config, at: Timestamp) -> Result<Option<Named>, Error> {
    match &config.store.url {
        StoreUrl::Sqlite => store::sqlite::named_in(&config.server.data_dir, at),
        StoreUrl::Postgres(url) => {
            store::postgres::named_at(postgres_options(&config.store, url.expose())?, at).await
        }
    }
}

/// Returns the object store that the file names for sealed files, if it names one.
///
/// # Errors
/// Returns the errors of the object store.
#[cfg(feature = "object-store")]
pub(crate) async fn sealed_files(
    config: &Config,
    store: &Arc<dyn Store>,
) -> Result<Option<Arc<dyn SealedFiles>>, Error> {
    let Some(url) = &config.ledger.objects else {
        return Ok(None);
    };
    // A variable that is not UTF-8 is no setting of ours.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let files = store::ObjectFiles::open(url.as_str(), environment, Arc::clone(store)).await?;
    Ok(Some(Arc::new(files)))
}

/// Returns `None`: this program was built without object stores.
///
/// # Errors
/// Never.
#[cfg(not(feature = "object-store"))]
pub(crate) async fn sealed_files(
    _: &Config,
    _: &Arc<dyn Store>,
) -> Result<Option<Arc<dyn SealedFiles>>, Error> {
    Ok(None)
}

/// Returns whether this gate has its store for itself.
pub(crate) fn is_alone(config: &Config) -> bool {
    config.store.url == StoreUrl::Sqlite
}

/// Returns the secret that seals the keyring. Gates that share a store cannot use a secret that one
/// of them generates.
pub(crate) fn secret<'a>(config: &'a Config, file: &'a Path) -> KeyringSecret<'a> {
    match &config.server.secret {
        Some(secret) => KeyringSecret::Configured(secret.expose()),
        None if is_alone(config) => KeyringSecret::File(file),
        None => KeyringSecret::None,
    }
}
