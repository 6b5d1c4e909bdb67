//! The SQLite store passes the suite of every store.

use std::sync::Arc;

use async_trait::async_trait;
use store::{SqliteOptions, SqliteStore, Store};
use store_conformance::StoreFactory;
use tempfile::TempDir;

struct Directory(TempDir);

#[async_trait]
impl StoreFactory for Directory {
    async fn fresh() -> Self {
        Self(TempDir::new().expect("a temporary directory"))
    }

    async fn open(&self) -> Arc<dyn Store> {
        let options = SqliteOptions::new(self.0.path());
        Arc::new(SqliteStore::open(options).expect("the store opens"))
    }
}

store_conformance::instantiate_conformance!(super::Directory);
store_conformance::instantiate_domain_conformance!(super::Directory);
store_conformance::instantiate_api_key_conformance!(super::Directory);
store_conformance::instantiate_webhook_conformance!(super::Directory);
