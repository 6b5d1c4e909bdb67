//! The PostgreSQL store passes the suite of every store.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use store::postgres::Times;
use store::{PostgresOptions, PostgresStore, Store};
use store_conformance::StoreFactory;
use testkit::Postgres;

/// The longest wait for a server that shares the machine with builds.
const SERVER_TIMEOUT: Duration = Duration::from_secs(60);

struct Schema {
    url: String,
    _server: Arc<Postgres>,
}

#[async_trait]
impl StoreFactory for Schema {
    async fn fresh() -> Self {
        let server = Postgres::shared();
        Self {
            url: server.schema(),
            _server: server,
        }
    }

    async fn open(&self) -> Arc<dyn Store> {
        let mut options = PostgresOptions::parse(&self.url).expect("a valid URL");
        options.times = Times::Caller;
        options.connect_timeout = SERVER_TIMEOUT;
        options.statement_timeout = SERVER_TIMEOUT;
        Arc::new(PostgresStore::open(options).await.expect("the store opens"))
    }
}

store_conformance::instantiate_conformance!(super::Schema);
store_conformance::instantiate_domain_conformance!(super::Schema);
store_conformance::instantiate_api_key_conformance!(super::Schema);
store_conformance::instantiate_webhook_conformance!(super::Schema);
