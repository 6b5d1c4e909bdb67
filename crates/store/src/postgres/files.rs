//! [`SealedFiles`] on PostgreSQL: one row for a file, in the transaction of its line.

use std::sync::Arc;

use async_trait::async_trait;

use super::PostgresStore;
use super::backend_error::BackendError;
use super::conn::{Conn, PooledConn};
use super::convert::read;
use super::server::TxOptions;
use crate::error::Error;
use crate::files::SealedFiles;
use crate::ledger::SealedFile;
use crate::sql::manifest;

#[async_trait]
impl SealedFiles for PostgresStore {
    async fn commit_seal_with(&self, file: SealedFile, content: Vec<u8>) -> Result<(), Error> {
        let commit = |conn: Conn, sealed: Arc<(SealedFile, Vec<u8>)>| async move {
            let (file, content) = &*sealed;
            manifest::commit(&*conn, file).await?;
            put(&conn, &file.name, content).await
        };
        self.server
            .run_with(TxOptions::LOAD, (file, content), commit)
            .await
    }

    async fn put_content(&self, name: &str, content: Vec<u8>) -> Result<(), Error> {
        let put = |conn: Conn, file: Arc<(String, Vec<u8>)>| async move {
            put(&conn, &file.0, &file.1).await
        };
        self.server
            .run_with(TxOptions::LOAD, (name.to_owned(), content), put)
            .await
    }

    async fn content(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let find = |conn: Conn, name: Arc<String>| async move {
            let row = conn
                .row(
                    "SELECT content FROM sealed_bytes WHERE name = $1",
                    &[&*name],
                )
                .await?;
            row.map(|row| read(&row, 0)).transpose()
        };
        self.server
            .run_with(TxOptions::REPORT, name.to_owned(), find)
            .await
    }

    async fn content_names(&self) -> Result<Vec<String>, Error> {
        let list = |conn: Conn| async move {
            let rows = conn
                .rows("SELECT name FROM sealed_bytes ORDER BY name", &[])
                .await?;
            rows.iter().map(|row| read(row, 0)).collect()
        };
        self.server.run(TxOptions::REPORT, list).await
    }

    async fn remove_content(&self, name: &str) -> Result<(), Error> {
        let remove = |conn: Conn, name: Arc<String>| async move {
            let sql = "DELETE FROM sealed_bytes WHERE name = $1";
            conn.change(sql, &[&*name]).await?;
            Ok(())
        };
        self.server
            .run_with(TxOptions::LOAD, name.to_owned(), remove)
            .await
    }
}

async fn put(conn: &PooledConn, name: &str, content: &[u8]) -> Result<(), BackendError> {
    let sql = "INSERT INTO sealed_bytes (name, content) VALUES ($1, $2)
        ON CONFLICT (name) DO UPDATE SET content = excluded.content";
    conn.change(sql, &[&name, &content]).await?;
    Ok(())
}
