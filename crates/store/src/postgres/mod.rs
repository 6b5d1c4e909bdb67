//! The store of a fleet: one PostgreSQL database that many gates share.
//!
//! A gate holds a bounded pool of connections. No call waits longer than the statement timeout and
//! [`PostgresOptions::GRACE`], long jobs aside; none waits at all for a server that is known to be
//! dead or hanging: a breaker fails it at once, and a task looks for the server in the background.
//! Each method is one transaction. Work that the server undid for the sake of another (a deadlock)
//! is done again; so is work whose connection broke while nothing was changed.
//!
//! Changes are numbered in commit order: see
//! `docs/decisions/0003-change-numbers-in-commit-order.md`.

mod audit;
mod backend_error;
mod breaker;
mod conn;
mod connect;
mod convert;
mod credits;
mod files;
mod ledger_store;
mod licenses;
mod node;
mod options;
mod quota;
#[cfg(test)]
mod quota_tests;
mod rollups;
mod schema;
mod server;
mod sql;
mod tls;
mod tokens;
mod usage_dimensions;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use model::Timestamp;
use tokio::runtime::Handle;
use tokio_postgres::Client;

pub use self::options::{PostgresOptions, Times};

use self::conn::Conn;
use self::connect::{Connector, check_server, check_sessions};
use self::server::{Server, TxOptions};
use self::usage_dimensions::UsageDimensions;
use crate::Named;
use crate::error::Error;
use crate::node::{NodeClaim, NodeStore};
use crate::sql::first_use::UsedLicenses;
use crate::sql::management::named;

/// The store on a PostgreSQL database.
pub struct PostgresStore {
    server: Server,
    times: Times,
    usage_dimensions: Arc<UsageDimensions>,
    used: UsedLicenses,
}

impl PostgresStore {
    /// Opens the store: checks that the server can be the store of record, and makes the schema or
    /// brings it up to date.
    ///
    /// Its connections live on the Tokio runtime that this is called on (with I/O and time
    /// enabled), whatever thread uses them later.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] with what is wrong; [`Error::NewerSchema`]; [`Error::Corrupt`] if
    /// the database holds tables of another program; [`Error::Unavailable`] if it is not reached.
    pub async fn open(options: PostgresOptions) -> Result<Self, Error> {
        let connector = Connector::new(&options)?;
        check_sessions(&connector).await?;
        let (client, task) = connector.connect().await?;
        let name = connector.name.clone();
        check_server(&client, &name).await?;
        let ready = match schema::check_rights(&client, &name).await {
            Ok(()) => schema::bring_up(&client, &name).await,
            Err(error) => Err(error),
        };
        task.abort();
        ready?;
        Ok(Self {
            server: Server::new(&options, connector, Handle::current())?,
            times: options.times,
            usage_dimensions: Arc::default(),
            used: UsedLicenses::default(),
        })
    }
}

/// Returns the plans and apps that licenses of a store name, without opening the store, of which
/// nothing is made or changed. `None`: there is no store yet.
///
/// # Errors
/// As [`PostgresStore::open`].
pub async fn named_at(options: PostgresOptions, at: Timestamp) -> Result<Option<Named>, Error> {
    let connector = Connector::new(&options)?;
    let (client, task) = connector.connect().await?;
    let named = read_named(&client, &connector.name, at).await;
    task.abort();
    named
}

async fn read_named(client: &Client, name: &str, at: Timestamp) -> Result<Option<Named>, Error> {
    schema::check_rights(client, name).await?;
    if !schema::is_there(client, name).await? {
        return Ok(None);
    }
    let named = named(client, at).await;
    let named = named
        .map_err(|backend_error: backend_error::BackendError| backend_error.classify(name).error)?;
    Ok(Some(named))
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("database", &self.server.connector().name)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl NodeStore for PostgresStore {
    async fn claim_node(&self, node: &str) -> Result<NodeClaim, Error> {
        node::claim(&self.server, node.to_owned())
            .await
            .map(NodeClaim::new)
    }

    async fn claimed_nodes(&self, nodes: Vec<String>) -> Result<Vec<String>, Error> {
        let look =
            |conn: Conn, nodes: Arc<Vec<String>>| async move { node::claimed(&conn, &nodes).await };
        self.server.run_with(TxOptions::READ, nodes, look).await
    }
}
