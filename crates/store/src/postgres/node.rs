//! The name of a node, held by one gate at a time: a lock of a session, which ends with its
//! process.

use std::time::Duration;

use tokio::task::{AbortHandle, JoinHandle};
use tokio_postgres::Client;

use super::backend_error::{BackendError, classify};
use super::breaker::Pauses;
use super::conn::PooledConn;
use super::connect::Connector;
use super::server::Server;
use crate::error::Error;

/// The SQL of the number of the lock of a `name`.
const LOCK: &str = "hashtextextended('tallygate node ' || current_schema() || ' ' || name, 0)";

/// The time that a claim waits for one that is about to end: the server needs a moment to notice
/// that a process has died.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(3);

/// A guard that ends the claim when it is dropped.
pub(super) struct Claim(AbortHandle);

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Claims a name for as long as the returned value lives, through restarts of the server.
pub(super) async fn claim(server: &Server, node: String) -> Result<Claim, Error> {
    let connector = server.connector().clone();
    let first = server.runtime().spawn(async move {
        let held = first_hold(&connector, &node).await;
        held.map(|held| (connector, node, held))
    });
    let (connector, node, held) = first
        .await
        .map_err(|_| Error::Unavailable("this gate is stopping".to_owned()))??;
    let keeping = server.runtime().spawn(keep(connector, node, held));
    Ok(Claim(keeping.abort_handle()))
}

/// A session that holds the lock; dropping it ends the session.
struct Held {
    /// The client of the session, which holds the lock and lives as long as this.
    _client: Client,
    ended: JoinHandle<()>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.ended.abort();
    }
}

async fn first_hold(connector: &Connector, node: &str) -> Result<Held, Error> {
    let until = tokio::time::Instant::now() + CLAIM_TIMEOUT;
    loop {
        if let Some(held) = hold(connector, node).await? {
            return Ok(held);
        }
        if tokio::time::Instant::now() >= until {
            return Err(Error::NodeTaken(node.to_owned()));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Takes the lock on a session of its own; `None`: another session has it.
async fn hold(connector: &Connector, node: &str) -> Result<Option<Held>, Error> {
    let (client, ended) = connector.connect().await?;
    let sql = format!("SELECT pg_try_advisory_lock({LOCK}) FROM (SELECT $1::text AS name) n");
    let row = client
        .query_one(&sql, &[&node])
        .await
        .map_err(|error| classify(&connector.name, &error).error)?;
    Ok(row.get::<_, bool>(0).then_some(Held {
        _client: client,
        ended,
    }))
}

/// Returns those of these names whose locks are held.
pub(super) async fn claimed(
    conn: &PooledConn,
    nodes: &Vec<String>,
) -> Result<Vec<String>, BackendError> {
    let sql = format!(
        "SELECT name FROM unnest($1::text[]) AS name WHERE EXISTS (
            SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1
              AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
              AND ((classid::bigint << 32) | objid::bigint) = {LOCK})"
    );
    let rows = conn.rows(&sql, &[nodes]).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Takes the lock again whenever its session has ended.
async fn keep(connector: Connector, node: String, mut held: Held) {
    loop {
        let _ = (&mut held.ended).await;
        let mut pauses = Pauses::new();
        held = loop {
            pauses.pause().await;
            match hold(&connector, &node).await {
                Ok(Some(held)) => break held,
                Ok(None) => tracing::error!(
                    node,
                    "another gate has taken the name of this node meanwhile"
                ),
                Err(error) => {
                    tracing::debug!(%error, "the name of this node is not held at the moment")
                }
            }
        };
    }
}
